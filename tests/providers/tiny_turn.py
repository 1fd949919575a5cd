"""A network with Smart Turn v3's input and output, of 1 kB, that listens to one thing only.

    complete = sigmoid(6 · (loudness 600 to 400 ms before the end - loudness 400 to 200 ms before))

Loudness is the mean of a frame's log-mel bands: who fades out before 200 ms of silence has
finished, who is as loud as before has not. Made anew by every test that needs it.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto

from providers._whisper_mel import BANDS, FRAMES
from tests.providers.tiny_models import FLOAT, HALF, Graph

STEEPNESS = 6.0
__all__ = ["HALF", "expected", "save"]
EARLIER, LATER = (740, 760), (760, 780)
"""Frames of 10 ms."""


def save(
    path: Path,
    *,
    name: str = "input_features",
    shape: tuple[int | str, ...] = ("n", BANDS, FRAMES),
    kind: int = FLOAT,
    with_sigmoid: bool = True,
    second_input: bool = False,
) -> Path:
    """As published, unless told otherwise."""
    graph = Graph(0)
    heard = graph.input(name, kind, shape)
    if kind != FLOAT:
        heard = graph.add("Cast", heard, to=TensorProto.FLOAT)
    if second_input:
        heard = graph.add("Add", heard, graph.input("context", FLOAT, (1,)))
    if len(shape) == 2:
        heard = graph.add("Unsqueeze", heard, graph.ints(1))
    loudness = graph.add("ReduceMean", heard, axes=[1], keepdims=0)
    faded = graph.add("Sub", _over(graph, loudness, EARLIER), _over(graph, loudness, LATER))
    steep = graph.weight(np.array([STEEPNESS if with_sigmoid else 1000.0], np.float32))
    out = graph.add("Mul", faded, steep)
    if with_sigmoid:
        out = graph.add("Sigmoid", out)
    else:
        out = graph.add("Add", out, graph.weight(np.array([2.5], np.float32)))
    graph.output(out, "logits", FLOAT, ("n", 1))
    graph.save(path)
    return path


def _over(graph: Graph, loudness: str, frames: tuple[int, int]) -> str:
    return graph.add("ReduceMean", graph.every(loudness, 1, *frames, 1), axes=[1], keepdims=1)


def expected(features: np.ndarray) -> float:
    """What the published form makes of [80, 800], without onnxruntime."""
    loudness = features.mean(axis=0)
    faded = loudness[slice(*EARLIER)].mean() - loudness[slice(*LATER)].mean()
    return float(1 / (1 + np.exp(-STEEPNESS * faded)))
