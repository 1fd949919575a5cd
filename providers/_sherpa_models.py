"""Which of sherpa-onnx's streaming models lies in a folder.

    files                               and in the ONNX file's metadata          kind
    encoder, decoder, joiner            T, decode_chunk_len                      transducer
                                        window_size, chunk_shift                 NeMo transducer
    encoder, decoder                    lfr_window_size                          paraformer
    one model                           encoder_dims, decode_chunk_len           zipformer2 CTC
                                        cache_last_channel_dim1, window_size     NeMo CTC
                                        cnn_module_kernel, right_context         WeNet CTC
                                        frame_length_ms, state_dim               T-One CTC

and always tokens.txt. sherpa-onnx itself exits, or crashes, on a model of another kind than it was
told; so that is found out before. Metadata names: sherpa-onnx 2.0, csrc/online-*-model.cc.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import msgspec

FRAME_MS = 10
TONE_LEAD_MS = 300
PARAFORMER_FRAMES = (61, 60)
"""Window and shift, fixed in csrc/online-recognizer-paraformer-impl.h."""
WENET_CHUNK = 16
PIECE = "\u2581"
_PRECISION = re.compile(r"[.-](int8|fp16|float16|uint8|quant)$")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class ModelError(ValueError):
    """There is no model that can be used; the text says what was found and what is needed."""


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
    return msgspec.convert(
        {
            "name": folder.name,
            "tokens": str(tokens),
            "files": {part: str(path) for part, path in parts.items()},
            **described,
            **_describe_symbols(symbols, folder),
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


def read_metadata(path: Path) -> dict[str, str]:
    """`metadata_props` of an ONNX file, without reading the weights.

    Raises:
        ModelError: If it is no ONNX file, or not all of it is there.
    Source: onnx.proto: ModelProto.graph = 7, .metadata_props = 14; StringStringEntryProto.
    """
    metadata = {}
    has_graph = False
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            while file.tell() < size:
                field, body = _next_field(file, size, {14})
                has_graph = has_graph or field == 7
                if field == 14:
                    entry = dict(_entries(body))
                    metadata[entry.get(1, "")] = entry.get(2, "")
        except EOFError:
            raise ModelError(f"{path} is cut short ({size} bytes); download it again") from None
        except (ValueError, UnicodeDecodeError):
            has_graph = False
    if not has_graph:
        raise ModelError(
            f"{path} is no ONNX file ({size} bytes); a Git LFS pointer or an error page in its "
            "place? Download it again"
        )
    return metadata


def _next_field(file: BinaryIO, size: int, wanted: set[int]) -> tuple[int, bytes]:
    """Number and, if it is wanted, content of the next field of a message; skips the others."""
    tag = _varint(file)
    field, wire_type = tag >> 3, tag & 7
    if field == 0 or wire_type not in (0, 1, 2, 5):
        raise ValueError(f"tag {tag}")
    if wire_type == 0:
        _varint(file)
        return field, b""
    length = _varint(file) if wire_type == 2 else {1: 8, 5: 4}[wire_type]
    if file.tell() + length > size:
        raise EOFError
    if field in wanted:
        return field, file.read(length)
    file.seek(length, 1)
    return field, b""


def _entries(body: bytes) -> Iterable[tuple[int, str]]:
    start = 0
    while start + 2 <= len(body):
        field, length, shift = body[start] >> 3, 0, 0
        start += 1
        while True:
            byte = body[start]
            length |= (byte & 127) << shift
            start, shift = start + 1, shift + 7
            if byte < 128:
                break
        yield field, body[start : start + length].decode()
        start += length


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number without an end")


# --- symbols ---


def read_symbols(path: Path) -> list[str]:
    """The symbols of a tokens.txt, by their ids.

    Raises:
        ModelError: If a line is not a symbol and a number.
    """
    symbols: dict[int, str] = {}
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{path} is not UTF-8; download it again") from None
    for number, line in enumerate(text.split("\n"), 1):
        symbol, _, index = line.rstrip("\r").rpartition(" ")
        if not line.strip():
            continue
        if not index.isdecimal():
            raise ModelError(f"{path}, line {number}: expected 'SYMBOL NUMBER', got {line[:40]!r}")
        symbols[int(index)] = symbol or " "
    if not symbols:
        raise ModelError(f"{path} is empty; download it again")
    return [symbols[index] for index in sorted(symbols)]


def _describe_symbols(symbols: list[str], folder: Path) -> dict[str, object]:
    words = "".join(s for s in symbols if not (s.startswith("<") and s.endswith(">")))
    has_pieces = any(len(s) > 1 and s.startswith(PIECE) for s in symbols)
    unit = "cjkchar"
    if has_pieces:
        unit = "cjkchar+bpe" if _CJK.search(words) else "bpe"
    vocab = folder / "bpe.vocab"
    return {
        "is_upper": words.isupper(),
        "modeling_unit": unit,
        "bpe_vocab": str(vocab) if vocab.is_file() else "",
    }
