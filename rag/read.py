"""Files to plain text with headings, one function a format. Runs in the child of `sandbox`.

Every format becomes a list of blocks, headings or paragraphs; `_assemble` cleans them and counts.
"""

from collections.abc import Callable, Iterator

from rag.clean import clean
from rag.read_markup import read_html, read_md
from rag.read_pages import read_docx, read_pdf
from rag.read_text import LONGEST_TEXT, Block, Unreadable, read_txt
from rag.types import Heading, Text

READER_VERSION = "2"
"""Change it with any change of what is read out of a file: unchanged files are read again."""


def read(suffix: str, data: bytes) -> Text:
    """Plain text of a file.

    Args:
        suffix: Lower case, with the dot; one of `SUFFIXES`.
    Raises:
        Unreadable: If it is not what its name says, is protected, broken or too large.
    """
    try:
        reader = _READERS[suffix]
    except KeyError:
        raise Unreadable(f"not one of {', '.join(SUFFIXES)}") from None
    if not data.strip():
        raise Unreadable("is empty")
    return _assemble(reader(data))


def _assemble(blocks: Iterator[Block]) -> Text:
    pieces: list[str] = []
    headings: list[Heading] = []
    at = 0
    for level, raw in blocks:
        text = clean(raw).strip()
        if level:
            text = " ".join(text.split())
        if not text:
            continue
        if pieces:
            at += 2
        if level:
            headings.append(Heading(at, at + len(text), level, text))
        pieces.append(text)
        at += len(text)
        if at > LONGEST_TEXT:
            raise Unreadable(f"holds more than {LONGEST_TEXT:,} characters; split it")
    if len(headings) == len(pieces):  # nothing that could be a passage
        below = " below its headings" if headings else "; a scanned page needs OCR first"
        raise Unreadable(f"holds no text{below}")
    title = headings[0].text if headings and headings[0].level == 1 else ""
    return Text(text="\n\n".join(pieces), title=title, headings=tuple(headings))


_READERS: dict[str, Callable[[bytes], Iterator[Block]]] = {
    ".md": read_md,
    ".markdown": read_md,
    ".txt": read_txt,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
SUFFIXES = tuple(_READERS)
