"""Where sentences begin and end: English and its neighbours, Japanese, Chinese, Korean."""

import re
from collections.abc import Sequence
from itertools import zip_longest

_CJK = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af\u3000-\u303f\uff00-\uff65"
)
CJK_CHARACTER = re.compile(f"[{_CJK}]")

# A full stop ends a sentence only before white space, so decimals, URLs and file names hold
# together. 。 and its like need no space after them.
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？｡]+[」』）”’]*|\n\s*\n|\n(?=\s*[-•*–]\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|Nos|vs|etc|approx"
    r"|Inc|Ltd|Co|Corp|Fig|Vol|pp?|e\.g|i\.e|cf|ca|Tel|Ave|Rd|Blvd|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?"
    r"|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)$"
)


def sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Spans of the sentences in `text[start:end]`, without the white space round them.

    Together they hold every character that is not white space.
    """
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    begin = start
    for mark in _END.finditer(text, start, end):
        if mark[0][0] == "." and _is_abbreviation(text, begin, mark.start(), mark.end(), end):
            continue
        _append_stripped(spans, text, begin, mark.end())
        begin = mark.end()
    _append_stripped(spans, text, begin, end)
    return spans


def _is_abbreviation(text: str, begin: int, dot: int, after: int, end: int) -> bool:
    if not _ABBREVIATION.search(text, max(begin, dot - 12), dot):
        return False
    following = text[after:end].lstrip()[:1] if after < end else ""
    return bool(following)


def _append_stripped(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end -= len(piece) - len(piece.rstrip())
    if start < end:
        spans.append((start, end))


def spoken_length(text: str) -> int:
    """Length in letters of an alphabet: a CJK character takes as long to say as about two."""
    return len(text) + len(CJK_CHARACTER.findall(text))


def table_sentences(rows: Sequence[Sequence[str]]) -> list[str]:
    """What a table says, row by row: "Ferret: price per night 18." The first row holds the headers.

    The first cell of a row names what the row is about; cells beyond the headers stand alone.
    """
    if len(rows) < 2:
        return [", ".join(filter(None, row)) for row in rows]
    return [_row_sentence(rows[0], row) for row in rows[1:]]


def _row_sentence(headers: Sequence[str], cells: Sequence[str]) -> str:
    said = [
        " ".join(filter(None, (_lowered(header), cell)))
        for header, cell in zip_longest(headers[1:], cells[1:], fillvalue="")
        if cell
    ]
    row = ": ".join(filter(None, ("".join(cells[:1]), ", ".join(said))))
    if not row or row.endswith((".", "!", "?", "。")):
        return row
    return row + ("。" if CJK_CHARACTER.match(row[-1]) else ".")


def _lowered(header: str) -> str:
    return header[:1].lower() + header[1:] if header[1:2].islower() else header
