"""Models of a few kB with random weights, in every form that sherpa-onnx streams.

They know no language, but what they write depends on what they hear and on what they heard before,
so that streams mixed up, audio lost or said twice, all show in the text.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FEATURES = 80
STATE = 8
WORDS = ("<blk>", *(f"\u2581{a}{b}" for a in "BDGKMNR" for b in "AEIO"))
"""Symbol 0 is blank, except for NeMo's form, where the blank comes last."""
FLOAT, INT64, INT32, HALF = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.FLOAT16,
)
Shape = Sequence[int | str]


class Graph:
    """An ONNX graph under construction."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, kind: int, shape: Shape) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def weight(self, array: NDArray[np.generic]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight((self._rng.standard_normal(shape) * scale).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def every(self, value: str, axis: int, start: int, stop: int, step: int) -> str:
        return self.add(
            "Slice", value, self.ints(start), self.ints(stop), self.ints(axis), self.ints(step)
        )

    def save(self, path: Path, metadata: Mapping[str, object] | None = None) -> None:
        graph = helper.make_graph(
            self._nodes, "tiny", self._inputs, self._outputs, initializer=self._weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        helper.set_model_props(model, {key: str(value) for key, value in (metadata or {}).items()})
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def heard(graph: Graph, frames: str, memory: str, size: int) -> tuple[str, str]:
    """[N, T, 80] frames and [N, 8] memory to [N, T, size] scores and the next memory."""
    quiet = graph.add("Mul", frames, graph.weight(np.array(0.2, np.float32)))
    mean = graph.add("ReduceMean", quiet, axes=[1], keepdims=0)
    news = graph.add("MatMul", mean, graph.random(FEATURES, STATE, scale=0.2))
    kept = graph.add("Mul", memory, graph.weight(np.array(0.5, np.float32)))
    after = graph.add("Tanh", graph.add("Add", kept, news))
    now = graph.add("MatMul", quiet, graph.random(FEATURES, size, scale=0.3))
    before = graph.add("MatMul", memory, graph.random(STATE, size, scale=2.0))
    row = graph.add("Unsqueeze", before, graph.ints(1))
    return graph.add("Add", now, row), after


def write_tokens(folder: Path, *, blank_last: bool, words: Sequence[str] = WORDS) -> None:
    symbols = [*words[1:], words[0]] if blank_last else list(words)
    lines = [f"{symbol} {index}" for index, symbol in enumerate(symbols)]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", "utf-8")


def nemo_ctc(folder: Path, seed: int = 1) -> None:
    """Looks at 24 frames, goes on by 16."""
    window, shift, size = 24, 16, len(WORDS)
    graph = Graph(seed)
    x = graph.input("audio_signal", FLOAT, ["N", FEATURES, "T"])
    graph.input("length", INT64, ["N"])
    channel = graph.input("cache_last_channel", FLOAT, ["N", 1, 1, STATE])
    time = graph.input("cache_last_time", FLOAT, ["N", 1, 1, 1])
    count = graph.input("cache_last_channel_len", INT64, ["N"])
    frames = graph.every(graph.add("Transpose", x, perm=[0, 2, 1]), 1, 0, shift, 4)
    memory = graph.add("Reshape", channel, graph.ints(-1, STATE))
    scores, after = heard(graph, frames, memory, size)
    graph.output(graph.add("LogSoftmax", scores, axis=2), "logprobs", FLOAT, ["N", "S", size])
    graph.output(count, "encoded_lengths", INT64, ["N"])
    channel_after = graph.add("Reshape", after, graph.ints(-1, 1, 1, STATE))
    graph.output(channel_after, "cache_last_channel_next", FLOAT, ["N", 1, 1, STATE])
    graph.output(time, "cache_last_time_next", FLOAT, ["N", 1, 1, 1])
    graph.output(count, "cache_last_channel_next_len", INT64, ["N"])
    dims = {f"cache_last_channel_dim{i}": d for i, d in enumerate((1, 1, STATE), 1)}
    dims |= {f"cache_last_time_dim{i}": 1 for i in (1, 2, 3)}
    graph.save(
        folder / "model.onnx",
        {
            "model_type": "EncDecCTCModelBPE",
            "window_size": window,
            "chunk_shift": shift,
            "subsampling_factor": 4,
            "vocab_size": size - 1,
            **dims,
        },
    )
    write_tokens(folder, blank_last=True)


def transducer(folder: Path, seed: int = 2, *, words: Sequence[str] = WORDS) -> None:
    """Of the LSTM form; looks at 20 frames, goes on by 16."""
    window, shift, size, wide = 20, 16, len(words), 16
    encoder = Graph(seed)
    x = encoder.input("x", FLOAT, ["N", "T", FEATURES])
    h = encoder.input("h", FLOAT, [1, "N", STATE])
    c = encoder.input("c", FLOAT, [1, "N", STATE])
    memory = encoder.add("Squeeze", h, encoder.ints(0))
    scores, after = heard(encoder, encoder.every(x, 1, 0, shift, 4), memory, wide)
    encoder.output(scores, "encoder_out", FLOAT, ["N", "S", wide])
    encoder.output(encoder.add("Unsqueeze", after, encoder.ints(0)), "next_h", FLOAT, [1, "N", 8])
    encoder.output(c, "next_c", FLOAT, [1, "N", STATE])
    encoder.save(
        folder / "encoder.onnx",
        {
            "model_type": "lstm",
            "num_encoder_layers": 1,
            "T": window,
            "decode_chunk_len": shift,
            "rnn_hidden_size": STATE,
            "d_model": STATE,
        },
    )
    decoder = Graph(seed + 1)
    y = decoder.input("y", INT64, ["N", 2])
    embedded = decoder.add("Gather", decoder.random(size, wide), y, axis=0)
    summed = decoder.add("ReduceSum", embedded, decoder.ints(1), keepdims=0)
    decoder.output(summed, "decoder_out", FLOAT, ["N", wide])
    decoder.save(folder / "decoder.onnx", {"vocab_size": size, "context_size": 2})
    joiner = Graph(seed + 2)
    left = joiner.input("encoder_out", FLOAT, ["N", wide])
    right = joiner.input("decoder_out", FLOAT, ["N", wide])
    mixed = joiner.add("Tanh", joiner.add("Add", left, right))
    logits = joiner.add("MatMul", mixed, joiner.random(wide, size))
    joiner.output(logits, "logit", FLOAT, ["N", size])
    joiner.save(folder / "joiner.onnx")
    write_tokens(folder, blank_last=False, words=words)


def zipformer2_ctc(folder: Path, seed: int = 10) -> None:
    """One layer, whose caches are carried and not used, except the first."""
    window, shift, size, left = 45, 32, len(WORDS), 4
    graph = Graph(seed)
    x = graph.input("x", FLOAT, ["N", "T", FEATURES])
    caches: list[tuple[str, int, Shape]] = [
        ("cached_key_0", FLOAT, [left, "N", STATE]),
        ("cached_nonlin_attn_0", FLOAT, [1, "N", left, 6]),
        ("cached_val1_0", FLOAT, [left, "N", STATE]),
        ("cached_val2_0", FLOAT, [left, "N", STATE]),
        ("cached_conv1_0", FLOAT, ["N", STATE, 1]),
        ("cached_conv2_0", FLOAT, ["N", STATE, 1]),
        ("embed_states", FLOAT, ["N", 128, 3, 19]),
        ("processed_lens", INT64, ["N"]),
    ]
    values = [graph.input(name, kind, shape) for name, kind, shape in caches]
    memory = graph.add("Gather", values[0], graph.weight(np.array(0, np.int64)), axis=0)
    scores, after = heard(graph, graph.every(x, 1, 0, shift, 4), memory, size)
    graph.output(graph.add("LogSoftmax", scores, axis=2), "log_probs", FLOAT, ["N", "S", size])
    row = graph.add("Unsqueeze", after, graph.ints(0))
    values[0] = graph.add("Concat", row, row, row, row, axis=0)
    for value, (name, kind, shape) in zip(values, caches, strict=True):
        graph.output(value, f"new_{name}", kind, shape)
    graph.save(
        folder / "ctc-epoch-1-avg-1.int8.onnx",
        {
            "model_type": "zipformer2",
            "T": window,
            "decode_chunk_len": shift,
            "encoder_dims": STATE,
            "query_head_dims": 4,
            "value_head_dims": 4,
            "num_heads": 2,
            "num_encoder_layers": 1,
            "cnn_module_kernels": 3,
            "left_context_len": left,
        },
    )
    write_tokens(folder, blank_last=False)


def t_one_ctc(folder: Path, seed: int = 4) -> None:
    """Hears samples, not features: 300 ms at 8 kHz a step, ten symbols for them."""
    rate, step_ms, size = 8000, 300, len(WORDS)
    samples = rate * step_ms // 1000
    graph = Graph(seed)
    x = graph.input("signal", INT32, ["N", samples, 1])
    state = graph.input("state", HALF, ["N", STATE])
    scaled = graph.add(
        "Mul", graph.add("Cast", x, to=FLOAT), graph.weight(np.array(1 / 500, np.float32))
    )
    frames = graph.add("Reshape", scaled, graph.ints(-1, 10, samples // 10))
    frames = graph.every(frames, 2, 0, samples // 10, 3)
    memory = graph.add("Cast", state, to=FLOAT)
    scores, after = heard(graph, frames, memory, size)
    graph.output(graph.add("LogSoftmax", scores, axis=2), "logprobs", FLOAT, ["N", 10, size])
    graph.output(graph.add("Cast", after, to=HALF), "state_next", HALF, ["N", STATE])
    graph.save(
        folder / "model.onnx",
        {
            "model_type": "t-one",
            "frame_length_ms": step_ms,
            "state_dim": STATE,
            "sample_rate": rate,
        },
    )
    write_tokens(folder, blank_last=False)


def wenet_ctc(folder: Path, seed: int = 5) -> None:
    """Chunks of 4; the library decodes these one by one."""
    chunk, left, by, size = 4, 2, 4, len(WORDS)
    cache = chunk * left
    graph = Graph(seed)
    x = graph.input("x", FLOAT, ["N", "T", FEATURES])
    graph.input("offset", INT64, [1])
    graph.input("required_cache_size", INT64, [1])
    attention = graph.input("attn_cache", FLOAT, [1, 2, cache, STATE])
    convolution = graph.input("conv_cache", FLOAT, [1, 1, STATE, 2])
    graph.input("attn_mask", TensorProto.BOOL, [1, 1, "M"])
    first = graph.every(convolution, 3, 0, 1, 1)
    memory = graph.add("Reshape", first, graph.ints(1, STATE))
    frames = graph.every(x, 1, 0, chunk * by, by)
    scores, after = heard(graph, frames, memory, size)
    graph.output(graph.add("LogSoftmax", scores, axis=2), "log_probs", FLOAT, [1, "S", size])
    graph.output(attention, "next_attn_cache", FLOAT, [1, 2, cache, STATE])
    column = graph.add("Reshape", after, graph.ints(1, 1, STATE, 1))
    twice = graph.add("Concat", column, column, axis=3)
    graph.output(twice, "next_conv_cache", FLOAT, [1, 1, STATE, 2])
    graph.save(
        folder / "model-streaming.onnx",
        {
            "model_type": "wenet_ctc",
            "head": 2,
            "num_blocks": 1,
            "output_size": STATE,
            "cnn_module_kernel": 3,
            "right_context": 6,
            "subsampling_factor": by,
            "vocab_size": size,
            "chunk_size": chunk,
            "left_chunks": left,
        },
    )
    write_tokens(folder, blank_last=False, words=("<blank>", *WORDS[1:]))


def paraformer(folder: Path, seed: int = 6) -> None:
    """Fires about twice in a window; the library decodes these one by one."""
    window, shift, wide, size = 7, 6, 16, len(WORDS)
    encoder = Graph(seed)
    x = encoder.input("speech", FLOAT, ["N", "T", FEATURES * window])
    lengths = encoder.input("speech_lengths", INT32, ["N"])
    quiet = encoder.add("Mul", x, encoder.weight(np.array(0.02, np.float32)))
    out = encoder.add("MatMul", quiet, encoder.random(FEATURES * window, wide, scale=0.2))
    encoder.output(out, "enc", FLOAT, ["N", "T", wide])
    encoder.output(lengths, "enc_len", INT32, ["N"])
    weights = encoder.add("ReduceMean", encoder.add("Sigmoid", out), axes=[2], keepdims=0)
    encoder.output(weights, "alphas", FLOAT, ["N", "T"])
    mean = ",".join(["0.0"] * FEATURES * window)
    encoder.save(
        folder / "encoder.int8.onnx",
        {
            "model_type": "paraformer",
            "vocab_size": size,
            "lfr_window_size": window,
            "lfr_window_shift": shift,
            "encoder_output_size": wide,
            "decoder_num_blocks": 1,
            "decoder_kernel_size": 3,
            "neg_mean": mean,
            "inv_stddev": mean.replace("0.0", "1.0"),
        },
    )
    decoder = Graph(seed + 1)
    decoder.input("enc", FLOAT, ["N", "T", wide])
    decoder.input("enc_len", INT32, ["N"])
    acoustic = decoder.input("acoustic_embeds", FLOAT, ["N", "S", wide])
    decoder.input("acoustic_embeds_len", INT32, ["N"])
    cache = decoder.input("in_cache_0", FLOAT, ["N", wide, 2])
    logits = decoder.add("MatMul", acoustic, decoder.random(wide, size))
    decoder.output(logits, "logits", FLOAT, ["N", "S", size])
    picked = decoder.add("ArgMax", logits, axis=2, keepdims=0)
    decoder.output(picked, "sample_ids", INT64, ["N", "S"])
    decoder.output(cache, "out_cache_0", FLOAT, ["N", wide, 2])
    decoder.save(folder / "decoder.int8.onnx", {"model_type": "paraformer"})
    write_tokens(folder, blank_last=False, words=tuple(w.lstrip("\u2581") for w in WORDS))


MAKERS: dict[str, Callable[[Path], None]] = {
    "nemo_ctc": nemo_ctc,
    "transducer": transducer,
    "zipformer2_ctc": zipformer2_ctc,
    "t_one_ctc": t_one_ctc,
    "wenet_ctc": wenet_ctc,
    "paraformer": paraformer,
}
"""By the kind's name in `providers._sherpa_models.Kind`."""
