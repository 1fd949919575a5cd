"""The index on disk: complete versions side by side, and one pointer to the current one.

    data/index/
      current                    "<version> <SHA-256 of its manifest>"; replaced in one step
      lock                       held by the ingest that is writing
      20261121T094502-3f9c21d0/
        manifest.json            fingerprint, counts, size and SHA-256 of each file below
        documents.msgpack        texts, so that sources can be shown and chunked again
        chunks.msgpack
        lexical.npz
        vectors.faiss            row i belongs to chunk i

A reader follows `current`, reads every file whole, checks it against the manifest, and only then
lets anything parse the bytes: FAISS accepts most damaged files without a word.
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag import parts
from rag.lexical import LexicalIndex
from rag.types import Chunk, Document
from rag.words import WORDS_VERSION

FORMAT = 1
CURRENT = "current"


class IndexUnusable(Exception):
    """There is no index to search. The text says what to do, mostly the command that makes one."""

    def __init__(self, index_dir: Path, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy or f'run: {rebuild_command(index_dir)}'}")
        self.index_dir = index_dir
        self.what = what


class IndexMissing(IndexUnusable):
    """Nothing was ingested yet."""


class IndexDamaged(IndexUnusable):
    """A file of it is missing, cut short or changed."""


class IndexUnreadable(IndexUnusable):
    """The system refuses a file of it, perhaps only now. It must not be taken for damaged."""


class IndexMismatch(IndexUnusable):
    """It was made with another embedder, or other rules for words: it cannot be searched."""


def rebuild_command(index_dir: Path, roots: Iterable[str] = (), *, fresh: bool = False) -> str:
    """Args:
    roots: What to ingest; none: not known here.
    """
    paths = [shlex.quote(root) for root in roots] or ["PATH"]
    flag = " --fresh" if fresh else ""
    return f"kaiwa ingest {' '.join(paths)} --index {shlex.quote(str(index_dir))}{flag}"


def other_embedder(
    index_dir: Path, manifest: "Manifest", embedder: str, roots: Iterable[str], more: str = ""
) -> IndexMismatch:
    """Args:
    roots: Files and folders that it is to be made anew from.
    more: What else to say about them.
    """
    anew = rebuild_command(index_dir, roots, fresh=True)
    return IndexMismatch(
        index_dir,
        f"the index in {index_dir} was made with the embedder {manifest.embedder}, not {embedder}",
        ", ".join(filter(None, (f"to make it anew, run: {anew}", more))),
    )


Stamp = tuple[int, int]


class FileRecord(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    version: str
    created: str
    embedder: str
    """Fingerprint."""
    dimensions: int
    reader: str
    chunker: str
    words: str
    """Version of the terms in the lexical index."""
    documents: int
    chunks: int
    files: dict[str, FileRecord]
    roots: tuple[str, ...] = ()
    """Files and folders, absolute, that all its documents lie at or below; none: not known."""


class Contents(msgspec.Struct, frozen=True):
    """A whole index in memory."""

    manifest: Manifest
    documents: tuple[Document, ...]
    chunks: tuple[Chunk, ...]
    lexical: LexicalIndex
    vectors: Any
    """faiss.Index; row i belongs to chunk i."""
    copy_on_gpu: Any = None
    """The same, where there is a GPU to search it with."""

    def nearest(self, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """[up to count] Ids of the chunks nearest to a vector [1, dimensions], nearest first."""
        index = self.vectors if self.copy_on_gpu is None else self.copy_on_gpu
        _, found = index.search(np.ascontiguousarray(vector, np.float32), count)
        return np.asarray(found[0][found[0] >= 0], np.int64)

    def rows(self, ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, dimensions]"""
        if not len(ids):
            return np.zeros((0, self.manifest.dimensions), np.float32)
        return np.asarray(self.vectors.reconstruct_batch(np.asarray(ids, np.int64)), np.float32)


# --- reading --------------------------------------------------------------------------------------


def load(index_dir: Path, embedder: str | None = None) -> Contents:
    """The current version. Blocking, 0.3 s for 10,000 chunks.

    Args:
        embedder: Fingerprint it must have been made with to be searched; None: only to be read;
            empty: not known yet, so that its words can be searched and its vectors cannot.
    Raises:
        IndexMissing, IndexDamaged, IndexMismatch
    """
    version, manifest_sha256 = pointer(index_dir)
    manifest = _manifest(index_dir, version, manifest_sha256)
    if embedder and manifest.embedder != embedder:
        raise other_embedder(index_dir, manifest, embedder, manifest.roots)
    if embedder is not None and manifest.words != WORDS_VERSION:
        raise IndexMismatch(
            index_dir,
            f"the index in {index_dir} is of an older version of Kaiwa",
            f"run: {rebuild_command(index_dir, manifest.roots)}",
        )
    files = {
        name: _checked(index_dir, index_dir / version / name, record.bytes, record.sha256)
        for name, record in manifest.files.items()
    }
    try:
        contents = Contents(
            manifest,
            parts.structs_from(files["documents.msgpack"], Document),
            parts.structs_from(files["chunks.msgpack"], Chunk),
            parts.lexical_from(files["lexical.npz"]),
            parts.vectors_from(files["vectors.faiss"]),
        )
    except (KeyError, ValueError, RuntimeError, msgspec.MsgspecError) as error:
        raise IndexDamaged(
            index_dir, f"the index in {index_dir} cannot be read ({error})"
        ) from None
    counts = {len(contents.chunks), contents.vectors.ntotal, contents.lexical.size, manifest.chunks}
    if len(counts) != 1 or contents.vectors.d != manifest.dimensions:
        raise IndexDamaged(index_dir, f"the parts of the index in {index_dir} do not fit together")
    return contents


def let_go(retired: list[Contents]) -> None:
    """Forgets them bit by bit: freed at once, 10,000 chunks hold every thread up for 3 ms.

    Args:
        retired: Emptied; nobody else may hold what is in it.
    """
    held: list[msgspec.Struct] = [one for old in retired for one in (*old.chunks, *old.documents)]
    retired.clear()
    parts.drop(held)


def current_stamp(index_dir: Path) -> Stamp | None:
    """Changes whenever the pointer does; None without one. One stat call."""
    try:
        found = os.stat(index_dir / CURRENT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # there may be one: loading it says what is wrong
        return 0, error.errno or 0
    return found.st_mtime_ns, found.st_ino


def pointer(index_dir: Path) -> tuple[str, str]:
    try:
        version, digest = (index_dir / CURRENT).read_text("ascii").split()
    except FileNotFoundError:
        raise IndexMissing(index_dir, f"there is no index in {index_dir}") from None
    except OSError as error:
        raise _refused(index_dir, index_dir / CURRENT, error) from None
    except ValueError:
        raise IndexDamaged(index_dir, f"{index_dir / CURRENT} cannot be read") from None
    if Path(version).name != version or version in (".", ".."):
        raise IndexDamaged(index_dir, f"{index_dir / CURRENT} names no version of this index")
    return version, digest


def _manifest(index_dir: Path, version: str, digest: str) -> Manifest:
    data = _checked(index_dir, index_dir / version / "manifest.json", None, digest)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError:
        manifest = None
    if manifest is None or manifest.format != FORMAT:
        raise IndexDamaged(index_dir, f"the index in {index_dir} is of another version of Kaiwa")
    return manifest


def _checked(index_dir: Path, path: Path, size: int | None, digest: str) -> bytes:
    try:
        if size is not None and path.stat().st_size != size:
            raise IndexDamaged(index_dir, f"{path} is not the size it was written with")
        data = path.read_bytes()
    except OSError as error:
        raise _refused(index_dir, path, error) from None
    if sha256(data).hexdigest() != digest:
        raise IndexDamaged(index_dir, f"{path} has changed since it was written")
    return data


def _refused(index_dir: Path, path: Path, error: OSError) -> IndexUnusable:
    what = f"{path} cannot be read ({error.strerror})"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return IndexDamaged(index_dir, what)
    return IndexUnreadable(index_dir, what, "make it readable for this user and try again")


def on_gpu(contents: Contents) -> Contents:
    """With a copy on the GPU, where there is one for it. Blocking."""
    copy = parts.copy_on_gpu(contents.vectors)
    return msgspec.structs.replace(contents, copy_on_gpu=copy)
