"""Weights to the file that `OnlineRecognizer.from_nemo_ctc` loads.

    audio_signal [b, 80, t] ─▶ scaled, stacked ─▶ LSTMs ─▶ log_probs [b, t/4, pieces + blank]
    cache_last_channel [b, layers, 1, cells]: the LSTMs' h;  cache_last_time: their c

Weights are stored as int8, one scale per column, and become float when the file is loaded: the file
is small, and a stream is decoded alike alone and in a batch, which activations quantised over the
batch would not be. Source of the form: sherpa-onnx, csrc/online-nemo-ctc-model.cc.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en.features import BINS
from providers.tiny_en.model import CELLS, LAYERS, STACK, Weights

CHUNK_FRAMES = 16
"""160 ms: four rows of output per call."""
OPSET = 17
IR_VERSION = 9


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._make, self._constant = helper.make_node, numpy_helper.from_array
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, name: str = "", **options: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self._make(kind, list(inputs), [name], **options))
        return name

    def add_node(self, kind: str, inputs: list[str], outputs: list[str], **options: Any) -> None:
        self.nodes.append(self._make(kind, inputs, outputs, **options))

    def constant(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._constant(np.ascontiguousarray(value), name))
        return name

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def int8(self, matrix: NDArray[np.float32]) -> str:
        """[rows, columns] rounded; the scale is its row's. Cast and Mul, since ONNX Runtime folds
        them when it loads the file; DequantizeLinear would run at every call."""
        scale = np.abs(matrix).max(axis=1, keepdims=True) / 127
        rounded = np.rint(matrix / scale).astype(np.int8)
        whole = self.add("Cast", self.constant(rounded), to=1)
        return self.add("Mul", whole, self.constant(scale.astype(np.float32)))


def graph_of(weights: Weights) -> Any:
    from onnx import TensorProto, helper

    graph = _Graph()
    outputs = weights["out"].shape[1]
    x = graph.add("Transpose", "audio_signal", perm=[0, 2, 1])
    x = graph.add("Sub", x, graph.constant(weights["mean"]))
    x = graph.add("Div", x, graph.constant(weights["deviation"]))
    batch = graph.add("Shape", "audio_signal", start=0, end=1)
    stacked = graph.add("Concat", batch, graph.numbers(-1, STACK * BINS), axis=0)
    x = graph.add("Transpose", graph.add("Reshape", x, stacked), perm=[1, 0, 2])
    hidden, cell = [], []
    for layer in range(LAYERS):
        x, h, c = _layer(graph, weights, layer, x)
        hidden.append(h)
        cell.append(c)
    for name, states in (("cache_last_channel", hidden), ("cache_last_time", cell)):
        whole = graph.add("Concat", *states, axis=1)
        graph.add("Unsqueeze", whole, graph.numbers(2), name=f"{name}_next")
    out = graph.add("Transpose", graph.int8(weights["out"].T), perm=[1, 0])
    logits = graph.add("Add", graph.add("MatMul", x, out), graph.constant(weights["out_bias"]))
    graph.add(
        "LogSoftmax", graph.add("Transpose", logits, perm=[1, 0, 2]), axis=-1, name="logprobs"
    )
    graph.add("Div", "length", graph.numbers(STACK), name="encoded_lengths")
    graph.add("Identity", "cache_last_channel_len", name="cache_last_channel_len_next")

    signal: Any = ["batch", BINS, "frames"]
    steps: Any = ["batch", "steps", outputs]
    state: Any = ["batch", LAYERS, 1, CELLS]
    value, real, whole_number = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT64
    return helper.make_graph(
        graph.nodes,
        "tiny_en",
        [
            value("audio_signal", real, signal),
            value("length", whole_number, ["batch"]),
            value("cache_last_channel", real, state),
            value("cache_last_time", real, state),
            value("cache_last_channel_len", whole_number, ["batch"]),
        ],
        [
            value("logprobs", real, steps),
            value("encoded_lengths", whole_number, ["batch"]),
            value("cache_last_channel_next", real, state),
            value("cache_last_time_next", real, state),
            value("cache_last_channel_len_next", whole_number, ["batch"]),
        ],
        graph.constants,
    )


def _layer(graph: _Graph, weights: Weights, layer: int, x: str) -> tuple[str, str, str]:
    """The layer's output [t, b, cells], its h and c [b, 1, cells]."""
    at = graph.constant(np.array([layer], np.int64))
    h, c = (
        graph.add("Transpose", graph.add("Squeeze", one, graph.numbers(2)), perm=[1, 0, 2])
        for one in (
            graph.add("Gather", name, at, axis=1)
            for name in ("cache_last_channel", "cache_last_time")
        )
    )
    first = graph.numbers(0)
    inward, again = (
        graph.add("Unsqueeze", graph.int8(weights[f"{name}{layer}"].T), first)
        for name in ("in", "again")
    )
    bias = np.concatenate([weights[f"bias{layer}"], np.zeros(4 * CELLS, np.float32)])[None]
    names = [f"{name}{layer}" for name in ("y", "h", "c")]
    graph.add_node(
        "LSTM", [x, inward, again, graph.constant(bias), "", h, c], names, hidden_size=CELLS
    )
    y = graph.add("Squeeze", names[0], graph.numbers(1))
    hidden, cell = (graph.add("Transpose", name, perm=[1, 0, 2]) for name in names[1:])
    return y, hidden, cell


def export(weights: Weights, path: Path) -> None:
    import onnx
    from onnx import helper

    imports = [helper.make_opsetid("", OPSET)]
    file = helper.make_model(graph_of(weights), opset_imports=imports, producer_name="kaiwa")
    file.ir_version = IR_VERSION
    facts = {
        "model_type": "EncDecCTCModelBPE",
        "window_size": CHUNK_FRAMES,
        "chunk_shift": CHUNK_FRAMES,
        "subsampling_factor": STACK,
        "vocab_size": weights["out"].shape[1] - 1,
        "cache_last_channel_dim1": LAYERS,
        "cache_last_channel_dim2": 1,
        "cache_last_channel_dim3": CELLS,
        "cache_last_time_dim1": LAYERS,
        "cache_last_time_dim2": 1,
        "cache_last_time_dim3": CELLS,
        "comment": "A tiny English model trained on synthesised speech; see README.md.",
        "license": "Apache-2.0",
    }
    helper.set_model_props(file, {name: str(value) for name, value in facts.items()})
    onnx.checker.check_model(file)
    onnx.save(file, str(path))
