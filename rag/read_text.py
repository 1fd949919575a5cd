"""Text files, and what all readers share: blocks, paragraphs, refusals."""

import re
from collections.abc import Iterator

from rag.sentences import CJK_CHARACTER

LONGEST_TEXT = 5_000_000
LONGEST_TITLE = 80

Block = tuple[int, str]
"""Level of the heading, 0 for a paragraph; its text."""


class Unreadable(Exception):
    """This file is refused; the text says why and, where there is something, what to do."""


def decode(data: bytes) -> str:
    """Text of a text file: UTF-8, or UTF-16 with its mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if len(text) > 2 * LONGEST_TEXT:
        raise Unreadable(f"holds more than {LONGEST_TEXT:,} characters; split it")
    controls = sum(char < " " and char not in "\n\r\t\f" for char in text[:100_000])
    if "\0" in text or controls > len(text[:100_000]) // 100:
        raise Unreadable("is not text but binary data")
    return text


def join_lines(lines: list[str]) -> str:
    """Lines of one paragraph: a space between them, none between CJK characters."""
    joined = ""
    for line in (line.strip() for line in lines):
        both_cjk = (
            joined and line and CJK_CHARACTER.match(joined[-1]) and CJK_CHARACTER.match(line[0])
        )
        joined += line if not joined or both_cjk else f" {line}"
    return joined


def read_txt(data: bytes) -> Iterator[Block]:
    paragraphs = re.split(
        r"\n\s*\n", decode(data).replace("\r\n", "\n").replace("\r", "\n").strip()
    )
    for index, paragraph in enumerate(paragraphs):
        lines = paragraph.split("\n")
        if index == 0 and len(paragraphs) > 1 and len(lines) == 1 and _is_title(paragraph):
            yield 1, paragraph
        else:
            yield from ((0, line) for line in unwrapped(lines))


def _is_title(line: str) -> bool:
    return len(line) <= LONGEST_TITLE and not line.rstrip().endswith(
        (".", "!", "?", "。", ":", ",")
    )


def unwrapped(lines: list[str]) -> Iterator[str]:
    """Hard-wrapped lines joined; short lines (lists, addresses) left alone."""
    paragraph: list[str] = []
    for line in lines:
        paragraph.append(line)
        if len(line) < 50 and not re.search(r"[,\-–]$", line.rstrip()):
            yield join_lines(paragraph)
            paragraph = []
    if paragraph:
        yield join_lines(paragraph)
