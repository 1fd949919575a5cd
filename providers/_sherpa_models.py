"""Which of sherpa-onnx's streaming models lies in a folder.

    files                               and in the ONNX file's metadata          kind
    encoder, decoder, joiner            T, decode_chunk_len                      transducer
                                        window_size, chunk_shift                 NeMo transducer
    encoder, decoder                    lfr_window_size                          paraformer
    one model                           encoder_dims, decode_chunk_len           zipformer2 CTC
                                        cache_last_channel_dim1, window_size     NeMo CTC
                                        cnn_module_kernel, right_context         WeNet CTC
                                        frame_length_ms, state_dim               T-One CTC

and always tokens.txt; beside NeMo's and zipformer2's CTC also a graph to decode with, HLG.fst, as
icefall's recipes make it. sherpa-onnx itself exits, or crashes, on a model of another kind than it
was told; so that is found out before. Metadata names: sherpa-onnx 2.0, csrc/online-*-model.cc.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from providers import _openfst
from providers._onnx_metadata import ModelError, read_metadata
from providers._sherpa_symbols import describe_symbols, need_blank, read_symbols

__all__ = ["Kind", "ModelError", "SherpaModel", "find_model"]

FRAME_MS = 10
TONE_LEAD_MS = 300
GRAPH = "HLG.fst"
TAKES_GRAPH = {"zipformer2_ctc", "nemo_ctc"}
GRAPH_REMEDY = (
    "download it again (Kaiwa's own: kaiwa models pull --force tiny-en), or take it away to decode "
    "without"
)
SMALL_GRAPH_BYTES = 2_000_000
SMALL_GRAPH_PATHS = 100
"""With the graph of `tiny_en` they hear what sherpa-onnx's 3000 hear, for up to twice the CPU of
greedy decoding on noise instead of 6 times; measured on 185 sentences, noisy ones too."""
PARAFORMER_FRAMES = (61, 60)
"""Window and shift, fixed in csrc/online-recognizer-paraformer-impl.h."""
WENET_CHUNK = 16
_PRECISION = re.compile(r"[.-](int8|fp16|float16|uint8|quant)$")


class Kind(StrEnum):
    TRANSDUCER = "transducer"
    NEMO_TRANSDUCER = "nemo_transducer"
    PARAFORMER = "paraformer"
    ZIPFORMER2_CTC = "zipformer2_ctc"
    NEMO_CTC = "nemo_ctc"
    WENET_CTC = "wenet_ctc"
    T_ONE_CTC = "t_one_ctc"


SINGLE_KINDS = {
    Kind.T_ONE_CTC: ("frame_length_ms", "state_dim", "sample_rate"),
    Kind.NEMO_CTC: ("cache_last_channel_dim1", "window_size", "chunk_shift"),
    Kind.ZIPFORMER2_CTC: ("encoder_dims", "T", "decode_chunk_len"),
    Kind.WENET_CTC: ("cnn_module_kernel", "right_context", "subsampling_factor"),
}
ENCODER_KINDS = {
    Kind.TRANSDUCER: ("T", "decode_chunk_len"),
    Kind.NEMO_TRANSDUCER: ("window_size", "chunk_shift"),
}


class SherpaModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as `OnlineRecognizer` wants to be told of it."""

    kind: Kind
    name: str
    """Of its folder."""
    tokens: str
    files: dict[str, str]
    """Paths by the argument's name: encoder, decoder, joiner, or model."""
    model_type: str = ""
    """Of a transducer; told beforehand, its encoder is loaded once instead of twice."""
    window_ms: int
    """What a step looks at."""
    shift_ms: int
    """How far a step goes on."""
    lead_ms: int = 0
    """Silence that it was trained to hear first."""
    rate_hz: int = 16_000
    chunk: tuple[int, int] = (0, 0)
    """WeNet's chunk size and number of left chunks."""
    is_upper: bool = False
    """It writes in capitals only."""
    graph: str = ""
    """Path of HLG.fst; without one, CTC is decoded greedily."""
    max_active: int = 3000
    """Paths through the graph that are kept at each row; sherpa-onnx's default."""
    modeling_unit: str = "cjkchar"
    bpe_vocab: str = ""

    @property
    def takes_hotwords(self) -> bool:
        return self.kind is Kind.TRANSDUCER

    @property
    def tail_ms(self) -> int:
        """Silence behind the speech after which every word has come out: the last sample must
        have been in a whole window, and a step is taken only when more than one is there."""
        return self.window_ms + self.shift_ms + FRAME_MS


def find_model(folder: Path, *, prefers_int8: bool = True) -> SherpaModel:
    """The model in the folder, or in the one folder within it that holds any.

    Reads names and the ONNX files' headers, a few ms even for large models.

    Raises:
        ModelError: If there is none, more than one, or one that does not stream.
    """
    folder = _folder_of(folder)
    tokens = folder / "tokens.txt"
    if not tokens.is_file():
        raise ModelError(f"{_found(folder)}; tokens.txt is needed beside the model")
    symbols = read_symbols(tokens)
    parts = _parts(folder, prefers_int8)
    if "encoder" in parts and "decoder" in parts:
        described = _describe_pair(parts)
    elif "model" in parts:
        described = _describe_single(parts["model"])
        parts = {"model": parts["model"]}
    else:
        raise ModelError(
            f"{_found(folder)}; needed are encoder, decoder and joiner (transducer), encoder and "
            "decoder (paraformer), or one model*.onnx (CTC)"
        )
    if str(described["kind"]).endswith("_ctc"):
        need_blank(symbols, tokens)
    return msgspec.convert(
        {
            "name": folder.name,
            "tokens": str(tokens),
            "files": {part: str(path) for part, path in parts.items()},
            **described,
            **_describe_graph(folder, str(described["kind"]), len(symbols)),
            **describe_symbols(symbols, folder),
        },
        SherpaModel,
    )


def _folder_of(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; put a streaming sherpa-onnx model there")
    if any(folder.glob("*.onnx")):
        return folder
    within = sorted({path.parent for path in folder.glob("*/*.onnx")})
    if len(within) == 1:
        return within[0]
    if within:
        names = ", ".join(path.name for path in within)
        raise ModelError(f"{folder} holds several models: {names}; name the folder of one")
    raise ModelError(
        f"{_found(folder)}; a streaming sherpa-onnx model is needed (*.onnx, tokens.txt)"
    )


def _found(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{folder} holds {shown or 'nothing'}"


# --- files ---


def _describe_graph(folder: Path, kind: str, labels: int) -> dict[str, object]:
    path = folder / GRAPH
    if kind not in TAKES_GRAPH or not path.is_file():
        return {}
    with path.open("rb") as file:
        is_openfst = file.read(len(_openfst.MAGIC)) == _openfst.MAGIC
    if not is_openfst:
        raise ModelError(f"{path} is no graph of OpenFst; {GRAPH_REMEDY}")
    try:
        _openfst.look_through(path, labels)
    except _openfst.DamagedError as error:
        raise ModelError(f"{path} is cut off or damaged ({error}); {GRAPH_REMEDY}") from None
    is_small = path.stat().st_size < SMALL_GRAPH_BYTES
    return {"graph": str(path), **({"max_active": SMALL_GRAPH_PATHS} if is_small else {})}


def _parts(folder: Path, prefers_int8: bool) -> dict[str, Path]:
    parts = {}
    for part in ("encoder", "decoder", "joiner", "model"):
        paths = [path for path in folder.glob("*.onnx") if _part_of(path.name) == part]
        if paths:
            # The decoder is small, and loses most by int8: the published recipes leave it alone.
            parts[part] = _choose(folder, part, paths, prefers_int8 and part != "decoder")
    return parts


def _part_of(name: str) -> str:
    return next(
        (part for part in ("encoder", "decoder", "joiner") if part in name.lower()), "model"
    )


def _choose(folder: Path, part: str, paths: list[Path], prefers_int8: bool) -> Path:
    streaming = [path for path in paths if "streaming" in path.name.lower()]
    paths = streaming or paths
    stems = {_PRECISION.sub("", path.stem) for path in paths}
    if len(stems) > 1:
        names = ", ".join(sorted(path.name for path in paths))
        raise ModelError(f"{folder} holds more than one {part}: {names}; leave one")
    order = ["int8", "", "fp16"] if prefers_int8 else ["", "fp16", "int8"]

    def rank(path: Path) -> int:
        found = _PRECISION.search(path.stem)
        precision = found[1] if found else ""
        return order.index(precision) if precision in order else len(order)

    return min(paths, key=rank)


# --- metadata ---


def _describe_pair(parts: Mapping[str, Path]) -> dict[str, object]:
    encoder = parts["encoder"]
    metadata = read_metadata(encoder)
    for part in parts.values():
        read_metadata(part)  # whole?
    if "joiner" not in parts:
        _need(metadata, encoder, {Kind.PARAFORMER: ("lfr_window_size", "encoder_output_size")})
        window, shift = PARAFORMER_FRAMES
        return {"kind": Kind.PARAFORMER, **_timing(window, shift)}
    kind = _need(metadata, encoder, ENCODER_KINDS)
    window, shift = (_number(metadata, key, encoder) for key in ENCODER_KINDS[kind])
    model_type = metadata.get("model_type", "") if kind is Kind.TRANSDUCER else ""
    return {"kind": kind, "model_type": model_type, **_timing(window, shift)}


def _describe_single(path: Path) -> dict[str, object]:
    metadata = read_metadata(path)
    kind = _need(metadata, path, SINGLE_KINDS)

    def number(key: str) -> int:
        return _number(metadata, key, path)

    match kind:
        case Kind.T_ONE_CTC:
            step_ms = number("frame_length_ms")
            timing = {"window_ms": step_ms, "shift_ms": step_ms, "lead_ms": TONE_LEAD_MS}
            return {"kind": kind, "rate_hz": number("sample_rate"), **timing}
        case Kind.NEMO_CTC:
            return {"kind": kind, **_timing(number("window_size"), number("chunk_shift"))}
        case Kind.ZIPFORMER2_CTC:
            return {"kind": kind, **_timing(number("T"), number("decode_chunk_len"))}
    chunk = number("chunk_size") if "chunk_size" in metadata else 0
    left = number("left_chunks") if "left_chunks" in metadata else 0
    chunk, left = (chunk if chunk > 0 else WENET_CHUNK), (left if left > 0 else 4)
    by = number("subsampling_factor")
    window = (chunk - 1) * by + number("right_context") + 1
    return {"kind": kind, "chunk": (chunk, left), **_timing(window, chunk * by)}


def _need(metadata: Mapping[str, str], path: Path, kinds: Mapping[Kind, tuple[str, ...]]) -> Kind:
    for kind, keys in kinds.items():
        if all(key in metadata for key in keys):
            return kind
    has = ", ".join(sorted(metadata)) or "none"
    needed = "; ".join(f"{', '.join(keys)} ({kind})" for kind, keys in kinds.items())
    raise ModelError(
        f"{path} is no streaming model that sherpa-onnx can load: its metadata are {has}; needed "
        f"are {needed}. Take a model with 'streaming' in its name"
    )


def _number(metadata: Mapping[str, str], key: str, path: Path) -> int:
    try:
        return int(metadata[key])
    except ValueError:
        raise ModelError(f"{path}: its metadata {key} is {metadata[key]!r}, not a number") from None


def _timing(window: int, shift: int) -> dict[str, int]:
    return {"window_ms": window * FRAME_MS, "shift_ms": shift * FRAME_MS}
