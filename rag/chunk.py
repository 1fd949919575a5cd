"""Documents into chunks: within one heading, whole sentences, short enough to be read aloud.

# Opening hours            heading, part of no chunk but carried by those below it
## Weekdays
We are open from ...       chunk 1   start..end are offsets in the document's text
## Weekend
On Saturday ...            chunk 2
"""

import re
from collections.abc import Iterator
from hashlib import blake2b

from rag.sentences import sentences, spoken_length
from rag.types import Chunk, Document, Heading

CHUNKER_VERSION = "1"
"""Part of what decides whether an old index still holds: change it with any change of the cuts."""

LONGEST = 700
"""Letters in a chunk (`spoken_length`): about 45 s of speech, more than any answer reads out."""
USUAL = 500
"""A chunk is closed when the next sentence would carry it past this."""
SHORTEST = 150
"""A rest shorter than this joins the chunk before it."""

_CLAUSE_END = re.compile(r"[,;:、，；：][\"'”’)\]]*\s*|\s+[-–—]\s+")
_SPACE = re.compile(r"\s+")

Span = tuple[int, int]


def chunks(document: Document) -> tuple[Chunk, ...]:
    """All chunks of a document, in its order. Pure: the same document gives the same ids."""
    found = []
    for heading, section in _sections(document):
        for start, end in _pack(document.text, section):
            text = document.text[start:end]
            found.append(
                Chunk(
                    id=_id(document.source, start, text),
                    source=document.source,
                    title=document.title,
                    heading=heading,
                    start=start,
                    end=end,
                    text=text,
                )
            )
    return tuple(found)


def _sections(document: Document) -> Iterator[tuple[str, Span]]:
    path: list[Heading] = []
    begin = 0
    for heading in document.headings:
        yield _joined(path, document.title), (begin, heading.start)
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
        begin = heading.end
    yield _joined(path, document.title), (begin, len(document.text))


def _joined(path: list[Heading], title: str) -> str:
    texts = [heading.text for heading in path]
    if texts and texts[0] == title:
        del texts[0]  # the page shows the title already
    return " › ".join(texts)


def _pack(text: str, section: Span) -> list[Span]:
    packed: list[Span] = []
    open_length = 0
    for start, end in _pieces(text, section):
        length = spoken_length(text[start:end])
        if packed and open_length + length <= USUAL:
            packed[-1] = (packed[-1][0], end)
            open_length += length
        else:
            packed.append((start, end))
            open_length = length
    if len(packed) > 1 and open_length < SHORTEST:
        joined = (packed[-2][0], packed[-1][1])
        if spoken_length(text[joined[0] : joined[1]]) <= LONGEST:
            packed[-2:] = [joined]
    return packed


def _pieces(text: str, section: Span) -> Iterator[Span]:
    """Sentences; one that is too long is cut at a clause, else at a space, else anywhere."""
    for start, end in sentences(text, *section):
        while spoken_length(text[start:end]) > LONGEST:
            cut = _cut(text, start, end)
            yield start, start + len(text[start:cut].rstrip())
            start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        if start < end:
            yield start, end


def _cut(text: str, start: int, end: int) -> int:
    window = start
    length = 0
    while window < end and length < USUAL:
        length += spoken_length(text[window])
        window += 1
    for mark in (_CLAUSE_END, _SPACE):
        cuts = [found.end() for found in mark.finditer(text, start, window)]
        if cuts and cuts[-1] - start > (window - start) // 3:
            return cuts[-1]
    return window


def _id(source: str, start: int, text: str) -> str:
    return blake2b(f"{source}\0{start}\0{text}".encode(), digest_size=8).hexdigest()
