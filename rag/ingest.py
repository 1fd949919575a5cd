"""Files into the index: only what changed is read and embedded, and the swap is one step.

Which documents an ingest may touch: those whose file lies at or below a path it was given. They are
added, replaced, or, when the file is gone or is now refused, removed. All others stay as they are,
but for a name that a new document wants too: then both get longer ones (`walk.named_apart`). Names
never get shorter again, so which of the folders a later ingest is given changes none.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from providers.base import Embedder, Fault, ProviderError, Slot
from rag import store
from rag.chunk import chunks
from rag.gather import Gathering, all_named_apart
from rag.read import READER_VERSION
from rag.types import Chunk, Document
from rag.update import Progress, ProgressSink, Report, locked, roots_of, save
from rag.walk import Refusal, is_below
from rag.words import WORDS_VERSION

BATCH = 96
"""Texts in one call of the embedder, which parts them into requests, some in flight at a time."""


class NothingThere(Exception):
    """Starting afresh, and nothing that was given can be read: surely not what was meant."""


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
        IndexMismatch: If the index was made with another embedder, unless `fresh`.
        NothingThere: If `fresh`, and nothing given can be read; the index stays as it was.
        IngestBusy: If another ingest holds the index.
        IndexUnreadable, IndexUnwritable: If the system refuses a file of the index.
        ProviderError: If the embedder failed, or became another one meanwhile.
    """
    began = time.monotonic()
    index_dir = Path(index_dir)
    roots = [_existing(path) for path in paths]
    fingerprint = embedder.fingerprint
    with locked(index_dir):
        old, notes = (None, []) if fresh else await asyncio.to_thread(_old, index_dir)
        if old and old.documents and old.manifest.embedder != fingerprint:
            raise _refusal(index_dir, old, fingerprint, roots)
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


def _refusal(
    index_dir: Path, old: store.Contents, fingerprint: str, given: Sequence[Path]
) -> store.IndexMismatch:
    """With a command that names all that is in the index, lest what is not given now be lost."""
    named = [*old.manifest.roots, *map(str, given)]
    roots = roots_of(named, old.documents)
    added = [str(root) for root in given if not is_below(str(root), [Path(one) for one in roots])]
    if roots:
        return store.other_embedder(index_dir, old.manifest, fingerprint, [*roots, *added])
    missing = sum(not is_below(d.path, list(map(Path, named))) for d in old.documents)
    return store.other_embedder(
        index_dir,
        old.manifest,
        fingerprint,
        named,
        f"with the other files and folders that it is to hold: {missing} of its documents lie "
        "elsewhere, see --list",
    )


def _chunk_all(documents: Sequence[Document]) -> list[Chunk]:
    return [chunk for document in documents for chunk in chunks(document)]


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
        self._fingerprint = embedder.fingerprint
        self._progress = progress
        self._refused: tuple[Refusal, ...] = ()
        self._notes = notes
        self._old = old

    async def run(self, *, may_be_empty: bool) -> Report:
        known = {document.path: document for document in self._old.documents} if self._old else {}
        kept = [known[path] for path in known if not is_below(path, self._roots)]
        is_of_another_reader = bool(self._old and self._old.manifest.reader != READER_VERSION)
        files = Gathering(self._roots, known, self._progress, rereads=is_of_another_reader)
        documents = all_named_apart([*kept, *await files.run()])
        self._refused = tuple(files.refused)
        if not documents and not may_be_empty:
            raise NothingThere(self._why_nothing())
        made = await asyncio.to_thread(_chunk_all, documents)
        report = self._report(known, documents, made)
        if self._old and self._is_current(documents, made):
            return msgspec.structs.replace(report, version=self._old.manifest.version)
        rows, embedded = await self._embed(made)
        self._progress(Progress(phase="write", done=0, total=1))
        manifest = await asyncio.to_thread(
            save,
            self._index_dir,
            documents,
            made,
            rows,
            embedder=self._fingerprint,
            roots=self._all_roots(documents),
        )
        self._progress(Progress(phase="write", done=1, total=1))
        return msgspec.structs.replace(report, embedded=embedded, version=manifest.version)

    def _all_roots(self, documents: list[Document]) -> tuple[str, ...]:
        known = self._old.manifest.roots if self._old else ()
        return roots_of([*known, *map(str, self._roots)], documents)

    def _why_nothing(self) -> str:
        left_out = "; ".join(f"{one.source}: {one.reason}" for one in self._refused[:5])
        why = f" ({left_out})" if left_out else ""
        given = ", ".join(str(root) for root in self._roots)
        return (
            f"nothing in {given} can be taken in{why}; the index stays as it was. Name files or "
            "folders with md, txt, html, pdf, docx"
        )

    # --- deciding

    def _is_current(self, documents: list[Document], made: list[Chunk]) -> bool:
        old = self._old
        return (
            old is not None
            and old.manifest.embedder == self._fingerprint
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
            refused=self._refused,
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
            found = await self._embedder.embed([made[i].searched for i in batch], "passage")
            self._expect_the_same()
            rows[batch] = found
        self._progress(Progress(phase="embed", done=len(fresh), total=len(fresh)))
        return rows, len(fresh)

    def _expect_the_same(self) -> None:
        """An index of two embedders' vectors would look whole and find nothing."""
        now = self._embedder.fingerprint
        if now != self._fingerprint:
            raise ProviderError(
                Slot.EMBEDDER,
                self._embedder.info.provider,
                Fault.BROKEN,
                f"{self._fingerprint} became {now} while it embedded the documents; nothing was "
                "written: run it again once one and the same embedder serves",
            )

    def _take_over(self, made: list[Chunk], rows: NDArray[np.float32]) -> list[int]:
        """Fill the rows the old index holds; the positions that remain."""
        old = self._old
        if old is None or old.manifest.embedder != self._fingerprint:
            return list(range(len(made)))
        position = {chunk.searched: i for i, chunk in enumerate(old.chunks)}
        taken = [i for i, chunk in enumerate(made) if chunk.searched in position]
        rows[taken] = old.rows([position[made[i].searched] for i in taken])
        return [i for i, chunk in enumerate(made) if chunk.searched not in position]
