"""What every change of an index goes through: one writer at a time, one way to save and to tell."""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag import durable, lexical, publish, store
from rag.chunk import CHUNKER_VERSION
from rag.read import READER_VERSION
from rag.types import Chunk, Document
from rag.walk import Refusal, is_below


class IngestBusy(Exception):
    """Another ingest is writing this index."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    phase: Literal["read", "embed", "write"]
    done: int
    total: int
    """Files while reading, chunks while embedding, 1 while writing."""
    source: str = ""
    """The file in hand."""


ProgressSink = Callable[[Progress], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest did. The names are sources."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    """What else the operator should know, such as that a damaged index was replaced."""
    documents: int = 0
    chunks: int = 0
    """In the index now."""
    embedded: int = 0
    """Chunks that had to be embedded for it."""
    version: str = ""
    """Empty when nothing is in the index."""
    took_s: float = 0.0


@contextmanager
def locked(index_dir: Path) -> Iterator[None]:
    """One writer at a time. The lock goes with the process: one that was killed leaves none."""
    with durable.explained(index_dir):
        index_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = os.open(index_dir / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IngestBusy(
                f"another ingest is writing {index_dir}; wait until it is done"
            ) from None
        yield
    finally:
        os.close(lock)


def roots_of(candidates: Iterable[str], documents: Iterable[Document]) -> tuple[str, ...]:
    """Those of the files and folders that the documents lie at or below, none inside another.

    Empty if a document lies below none.
    """
    widest: list[Path] = []
    for root in sorted({Path(candidate) for candidate in candidates}):
        if not is_below(str(root), widest):
            widest.append(root)
    used: set[Path] = set()
    for document in documents:
        above = next((root for root in widest if is_below(document.path, [root])), None)
        if above is None:
            return ()
        used.add(above)
    return tuple(str(root) for root in widest if root in used)


def save(
    index_dir: Path,
    documents: Sequence[Document],
    made: Sequence[Chunk],
    rows: NDArray[np.float32],
    *,
    embedder: str,
    reader: str = READER_VERSION,
    chunker: str = CHUNKER_VERSION,
    roots: Sequence[str] = (),
) -> store.Manifest:
    return publish.save(
        index_dir,
        documents=documents,
        chunks=made,
        lexical=lexical.build(
            [chunk.text for chunk in made],
            [f"{chunk.title}\n{chunk.heading}" for chunk in made],
        ),
        rows=rows,
        embedder=embedder,
        reader=reader,
        chunker=chunker,
        roots=roots,
    )
