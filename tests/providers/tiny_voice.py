"""A VITS model of a few kilobytes with random weights: it hums a tone for every letter.

Its graph has the inputs and metadata that sherpa-onnx asks of a VITS with the `characters` front
end, so that `OfflineTts` runs for real. Nobody would call it speech.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE_HZ = 16_000
SPEAKERS = 3
LETTERS = " abcdefghijklmnopqrstuvwxyz.,!?:'-"
SAMPLES_PER_LETTER = 1280
"""80 ms: thirteen letters a second."""
CHANNELS = 8


def write(
    folder: Path, *, layers: int = 0, sound: str = "hum", letters: str = LETTERS, **metadata: object
) -> Path:
    """Args:
    layers: Convolutions that do nothing but take time.
    sound: `hum`, `silence` or `nan`.
    metadata: Replaces entries of the model's own; None takes one away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(
        _graph(layers, sound, len(letters)), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    entries: dict[str, object] = {
        "model_type": "vits",
        "comment": "tiny",
        "language": "English",
        "n_speakers": SPEAKERS,
        "sample_rate": RATE_HZ,
        "frontend": "characters",
        "add_blank": 0,
        "use_eos_bos": 0,
    } | metadata
    helper.set_model_props(model, {k: str(v) for k, v in entries.items() if v is not None})
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    lines = [f"{letter} {index}" for index, letter in enumerate(letters)]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _graph(layers: int, sound: str, letters: int) -> onnx.GraphProto:
    """Letters to vectors, stretched by length_scale, each vector to a sum of sines."""
    random = np.random.default_rng(0)
    at = np.arange(SAMPLES_PER_LETTER) / RATE_HZ
    waves = np.sin(2 * np.pi * np.outer(125.0 * np.arange(1, CHANNELS + 1), at)) * 0.1
    scale = {"silence": 0.0, "nan": np.nan}.get(sound, 1.0)
    weights = {
        "vectors": random.normal(size=(letters, CHANNELS)).clip(-1, 1),
        "waves": waves[:, None, :] * scale,
        "ones": np.ones(2),
    }
    nodes = [
        helper.make_node("Gather", ["vectors", "x"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["ones", "length_scale"], ["scales"], axis=0),
        helper.make_node("Resize", ["columns", "", "scales"], ["s0"], mode="nearest"),
    ]
    for n in range(layers):
        weights[f"k{n}"] = np.eye(CHANNELS)[:, :, None] * np.array([0.0, 1.0, 0.0])
        nodes.append(helper.make_node("Conv", [f"s{n}", f"k{n}"], [f"s{n + 1}"], pads=[1, 1]))
    nodes += [
        helper.make_node(
            "ConvTranspose", [f"s{layers}", "waves"], ["sum"], strides=[SAMPLES_PER_LETTER]
        ),
        helper.make_node("Tanh", ["sum"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("x_length", TensorProto.INT64, [1]),
        *(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
            for name in ("noise_scale", "length_scale", "noise_scale_w")
        ),
        helper.make_tensor_value_info("sid", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "t"])]
    initial = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    return helper.make_graph(nodes, "vits", inputs, outputs, initial)
