"""A model's tokens.txt: its symbols, and what they tell of how it spells."""

import re
from pathlib import Path

from providers._onnx_metadata import ModelError

BLANKS = {"<blk>", "<eps>", "<blank>"}
PIECE = "\u2581"
"""Before the first piece of a word."""
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


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


def need_blank(symbols: list[str], path: Path) -> None:
    """sherpa-onnx exits without it.

    Raises:
        ModelError: There is none of the names that CTC's blank has.
    """
    if not BLANKS & set(symbols):
        raise ModelError(
            f"{path} has {len(symbols)} symbols, and the blank {', '.join(sorted(BLANKS))} is none "
            "of them: it is cut off, or another model's; download it again (what was pulled: kaiwa "
            "models pull --force NAME)"
        )


def describe_symbols(symbols: list[str], folder: Path) -> dict[str, object]:
    """Fields of `SherpaModel`."""
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
