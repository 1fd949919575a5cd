"""Files into the index: only what changed is read and embedded, and the swap is one step.

Which documents an ingest may touch: those whose file lies at or below a path it was given. They are
added, replaced, or, when the file is gone or is now refused, removed. All others stay as they are,
but for a name that a new document wants too: then both get longer ones (`walk.named_apart`). Names
never get shorter again, so which of the folders a later ingest is given changes none.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from providers.base import Embedder
from rag import durable, lexical, store
from rag.chunk import CHUNKER_VERSION, chunks
from rag.clean import visible
from rag.read import READER_VERSION, Unreadable
from rag.sandbox import Sandbox
from rag.types import Chunk, Document
from rag.walk import File, Refusal, contents, is_below, named_apart, walk
from rag.words import WORDS_VERSION

BATCH = 96
"""Texts in one call of the embedder, which parts them into requests, some in flight at a time."""


class IngestBusy(Exception):
    """Another ingest is writing this index."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    phase: Literal["read", "embed", "write"]
    done: int
    total: int
    """Files while reading, chunks while embedding, 1 while writing."""
    source: str = ""
    """The file in hand."""


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


class NothingThere(Exception):
    """Starting afresh, and nothing that was given can be read: surely not what was meant."""


ProgressSink = Callable[[Progress], None]


async def ingest(
    paths: Sequence[Path | str],
    index_dir: Path | str,
    embedder: Embedder,
    *,
    fresh: bool = False,
    progress: ProgressSink | None = None,
) -> Report:
    """Bring the index up to date with files and folders.

    Args:
        fresh: Start from nothing: what is not given now leaves the index.

    A file that cannot be read is reported and left out. If anything else fails, or it is cancelled,
    the index stays as it was.

    Raises:
        FileNotFoundError: If a path does not exist; nothing is removed for it.
        NothingThere: If `fresh`, and nothing given can be read; the index stays as it was.
        IngestBusy: If another ingest holds the index.
        IndexUnreadable, IndexUnwritable: If the system refuses a file of the index.
        ProviderError: If the embedder failed.
    """
    began = time.monotonic()
    index_dir = Path(index_dir)
    roots = [_existing(path) for path in paths]
    with locked(index_dir):
        old, notes = (None, []) if fresh else await asyncio.to_thread(_old, index_dir)
        run = _Ingest(roots, index_dir, embedder, progress or (lambda _: None), old, notes)
        report = await run.run(may_be_empty=not fresh)
    return msgspec.structs.replace(report, took_s=time.monotonic() - began)


def _existing(path: Path | str) -> Path:
    try:
        return Path(path).resolve(strict=True)
    except OSError:
        raise FileNotFoundError(
            f"no such file or folder: {path}; nothing was changed. If it was deleted on purpose, "
            "give the folder it was in, or --remove"
        ) from None


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


def _old(index_dir: Path) -> tuple[store.Contents | None, list[str]]:
    """What the index holds, and what to note about it."""
    try:
        return store.load(index_dir), []
    except store.IndexMissing:
        return None, []
    except store.IndexDamaged as error:
        return None, [
            f"{error.what}; it is replaced, with only what was given now; "
            "name all your paths to have the rest in it again"
        ]


def _longer(name: str, old: Document | None) -> str:
    """The name a document had where it says more of its path than the one it would get."""
    if old is not None and old.source.endswith(f"/{name}"):
        return old.source
    return name


def _named_apart(documents: Sequence[Document]) -> list[Document]:
    names = named_apart({document.path: document.source for document in documents})
    renamed = (msgspec.structs.replace(d, source=names[d.path]) for d in documents)
    return sorted(renamed, key=lambda document: document.source)


def _chunk_all(documents: Sequence[Document]) -> list[Chunk]:
    return [chunk for document in documents for chunk in chunks(document)]


def save(
    index_dir: Path,
    documents: Sequence[Document],
    made: Sequence[Chunk],
    rows: NDArray[np.float32],
    *,
    embedder: str,
    reader: str = READER_VERSION,
    chunker: str = CHUNKER_VERSION,
) -> store.Manifest:
    return store.save(
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
    )


class _Ingest:
    """One run: what was, what is found, what becomes of it."""

    def __init__(
        self,
        roots: list[Path],
        index_dir: Path,
        embedder: Embedder,
        progress: ProgressSink,
        old: store.Contents | None,
        notes: list[str],
    ) -> None:
        self._roots = roots
        self._index_dir = index_dir
        self._embedder = embedder
        self._progress = progress
        self._refused: list[Refusal] = []
        self._notes = notes
        self._old = old

    async def run(self, *, may_be_empty: bool) -> Report:
        known = {document.path: document for document in self._old.documents} if self._old else {}
        kept = [known[path] for path in known if not is_below(path, self._roots)]
        documents = _named_apart([*kept, *await self._read(known)])
        if not documents and not may_be_empty:
            raise NothingThere(self._why_nothing())
        made = await asyncio.to_thread(_chunk_all, documents)
        report = self._report(known, documents, made)
        if self._old and self._is_current(documents, made):
            return msgspec.structs.replace(report, version=self._old.manifest.version)
        rows, embedded = await self._embed(made)
        self._progress(Progress(phase="write", done=0, total=1))
        manifest = await asyncio.to_thread(
            save, self._index_dir, documents, made, rows, embedder=self._embedder.fingerprint
        )
        self._progress(Progress(phase="write", done=1, total=1))
        return msgspec.structs.replace(report, embedded=embedded, version=manifest.version)

    def _why_nothing(self) -> str:
        left_out = "; ".join(f"{one.source}: {one.reason}" for one in self._refused[:5])
        why = f" ({left_out})" if left_out else ""
        given = ", ".join(str(root) for root in self._roots)
        return (
            f"nothing in {given} can be taken in{why}; the index stays as it was. Name files or "
            "folders with md, txt, html, pdf, docx"
        )

    # --- reading

    async def _read(self, known: dict[str, Document]) -> list[Document]:
        files = await asyncio.to_thread(self._walk)
        documents = []
        async with Sandbox() as sandbox:
            for done, file in enumerate(files):
                self._progress(
                    Progress(phase="read", done=done, total=len(files), source=file.source)
                )
                try:
                    documents.append(await self._document(file, known.get(str(file.path)), sandbox))
                except Unreadable as refusal:
                    self._refused.append(Refusal(file.source, str(refusal)))
        self._progress(Progress(phase="read", done=len(files), total=len(files)))
        return documents

    def _walk(self) -> list[File]:
        files: dict[Path, File] = {}
        for root in self._roots:
            for found in walk(root):
                if isinstance(found, Refusal):
                    self._refused.append(found)
                else:
                    files.setdefault(found.path, found)  # given twice: a folder, and what is in it
        return list(files.values())

    async def _document(self, file: File, old: Document | None, sandbox: Sandbox) -> Document:
        data = await asyncio.to_thread(contents, file)
        digest = sha256(data).hexdigest()
        source = _longer(file.source, old)
        is_same_reader = self._old is not None and self._old.manifest.reader == READER_VERSION
        if old is not None and is_same_reader and old.sha256 == digest:
            return msgspec.structs.replace(old, source=source)
        text = await sandbox.read(file.path.suffix.lower(), data)
        return Document(
            path=str(file.path),
            source=source,
            sha256=digest,
            text=text.text,
            title=text.title or visible(file.path.stem).replace("-", " ").replace("_", " "),
            headings=text.headings,
        )

    # --- deciding

    def _is_current(self, documents: list[Document], made: list[Chunk]) -> bool:
        old = self._old
        return (
            old is not None
            and old.manifest.embedder == self._embedder.fingerprint
            and old.manifest.reader == READER_VERSION
            and old.manifest.words == WORDS_VERSION
            and old.documents == tuple(documents)
            and old.chunks == tuple(made)
        )

    def _report(
        self,
        known: dict[str, Document],
        documents: list[Document],
        made: list[Chunk],
    ) -> Report:
        now = {document.path for document in documents}
        found = [document for document in documents if is_below(document.path, self._roots)]
        old_hash = {path: document.sha256 for path, document in known.items()}
        return Report(
            added=tuple(d.source for d in found if d.path not in known),
            changed=tuple(
                d.source for d in found if d.path in known and old_hash[d.path] != d.sha256
            ),
            unchanged=tuple(d.source for d in found if old_hash.get(d.path) == d.sha256),
            removed=tuple(d.source for path, d in known.items() if path not in now),
            refused=tuple(self._refused),
            notes=tuple(self._notes),
            documents=len(documents),
            chunks=len(made),
        )

    # --- embedding and writing

    async def _embed(self, made: list[Chunk]) -> tuple[NDArray[np.float32], int]:
        """[chunks, dimensions], and how many of the rows are new."""
        rows = np.zeros((len(made), self._embedder.dimensions), np.float32)
        fresh = await asyncio.to_thread(self._take_over, made, rows)
        for begin in range(0, len(fresh), BATCH):
            batch = fresh[begin : begin + BATCH]
            self._progress(
                Progress(phase="embed", done=begin, total=len(fresh), source=made[batch[0]].source)
            )
            rows[batch] = await self._embedder.embed([made[i].searched for i in batch], "passage")
        self._progress(Progress(phase="embed", done=len(fresh), total=len(fresh)))
        return rows, len(fresh)

    def _take_over(self, made: list[Chunk], rows: NDArray[np.float32]) -> list[int]:
        """Fill the rows the old index holds; the positions that remain."""
        old = self._old
        if old is None or old.manifest.embedder != self._embedder.fingerprint:
            return list(range(len(made)))
        position = {chunk.searched: i for i, chunk in enumerate(old.chunks)}
        taken = [i for i, chunk in enumerate(made) if chunk.searched in position]
        rows[taken] = old.rows([position[made[i].searched] for i in taken])
        return [i for i, chunk in enumerate(made) if chunk.searched not in position]
