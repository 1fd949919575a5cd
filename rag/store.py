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

import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag import durable
from rag.lexical import LexicalIndex, Postings
from rag.types import Chunk, Document
from rag.words import WORDS_VERSION

FORMAT = 1
CURRENT = "current"
_GPU_SCRATCH_BYTES = 64 << 20
"""FAISS would take 1.5 GB for itself."""
_VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


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


def rebuild_command(index_dir: Path) -> str:
    return f"kaiwa ingest PATH --index {shlex.quote(str(index_dir))}"


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
    version, manifest_sha256 = _pointer(index_dir)
    manifest = _manifest(index_dir, version, manifest_sha256)
    if embedder and manifest.embedder != embedder:
        raise IndexMismatch(
            index_dir,
            f"the index in {index_dir} was made with the embedder {manifest.embedder}, "
            f"not {embedder}",
        )
    if embedder is not None and manifest.words != WORDS_VERSION:
        raise IndexMismatch(index_dir, f"the index in {index_dir} is of an older version of Kaiwa")
    files = {
        name: _checked(index_dir, index_dir / version / name, record.bytes, record.sha256)
        for name, record in manifest.files.items()
    }
    try:
        contents = Contents(
            manifest,
            msgspec.msgpack.decode(files["documents.msgpack"], type=tuple[Document, ...]),
            msgspec.msgpack.decode(files["chunks.msgpack"], type=tuple[Chunk, ...]),
            _lexical_from(files["lexical.npz"]),
            _vectors_from(files["vectors.faiss"]),
        )
    except (KeyError, ValueError, RuntimeError, msgspec.MsgspecError) as error:
        raise IndexDamaged(
            index_dir, f"the index in {index_dir} cannot be read ({error})"
        ) from None
    counts = {len(contents.chunks), contents.vectors.ntotal, contents.lexical.size, manifest.chunks}
    if len(counts) != 1 or contents.vectors.d != manifest.dimensions:
        raise IndexDamaged(index_dir, f"the parts of the index in {index_dir} do not fit together")
    return contents


def current_stamp(index_dir: Path) -> Stamp | None:
    """Changes whenever the pointer does; None without one. One stat call."""
    try:
        found = os.stat(index_dir / CURRENT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # there may be one: loading it says what is wrong
        return 0, error.errno or 0
    return found.st_mtime_ns, found.st_ino


def _pointer(index_dir: Path) -> tuple[str, str]:
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


def _lexical_from(data: bytes) -> LexicalIndex:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

        def postings(name: str) -> Postings:
            return Postings(*(arrays[f"{name}.{part}"] for part in ("keys", "offsets", "ids")))

        return LexicalIndex(
            size=int(arrays["size"]),
            words=postings("words"),
            weights=arrays["weights"],
            spellings=postings("spellings"),
            sounds=postings("sounds"),
            gram_counts=arrays["gram_counts"],
        )


def _vectors_from(data: bytes) -> Any:
    import faiss  # 0.25 s: on first use, in the thread that needs it

    faiss.set_deserialization_vector_byte_limit(2 * len(data))
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def pick_device(faiss: Any) -> Literal["cpu", "gpu"]:
    """Where this build of the module `faiss` can search: faiss-cpu knows of no GPU at all."""
    has_gpus = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    return "gpu" if has_gpus else "cpu"


def on_gpu(contents: Contents) -> Contents:
    """With a copy on the GPU, if faiss-gpu is installed and sees one with room for it. Blocking.

    The index is flat on both sides, and scores are computed from the rows here: the same answers.
    """
    import faiss

    if pick_device(faiss) == "cpu":
        return contents
    try:
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(_GPU_SCRATCH_BYTES)
        copy = faiss.index_cpu_to_gpu(resources, 0, contents.vectors)
    except RuntimeError:  # its memory is full of models: the CPU finds the same
        return contents
    return msgspec.structs.replace(contents, copy_on_gpu=copy)


# --- writing --------------------------------------------------------------------------------------


def save(
    index_dir: Path,
    *,
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    lexical: LexicalIndex,
    rows: NDArray[np.float32],
    embedder: str,
    reader: str,
    chunker: str,
) -> Manifest:
    """Write a new version and point to it. Blocking; until the last step readers see the old.

    A crash at any moment leaves the old one or the new one. Only one may be saving at a time.

    Raises:
        IndexUnwritable: The old one is current still.
    """
    now = datetime.now(UTC)
    version = f"{now:%Y%m%dT%H%M%S}-{token_hex(4)}"
    files = {
        "documents.msgpack": msgspec.msgpack.encode(documents),
        "chunks.msgpack": msgspec.msgpack.encode(chunks),
        "lexical.npz": _lexical_bytes(lexical),
        "vectors.faiss": _vector_bytes(rows),
    }
    manifest = Manifest(
        format=FORMAT,
        version=version,
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        embedder=embedder,
        dimensions=rows.shape[1],
        reader=reader,
        chunker=chunker,
        words=WORDS_VERSION,
        documents=len(documents),
        chunks=len(chunks),
        files={
            name: FileRecord(len(data), sha256(data).hexdigest()) for name, data in files.items()
        },
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest))
    before = _pointed(index_dir)
    with durable.explained(index_dir):
        _write(index_dir / version, {**files, "manifest.json": encoded})
        _point(index_dir, version, sha256(encoded).hexdigest())
    _prune(index_dir, {version, before})
    return manifest


def _lexical_bytes(lexical: LexicalIndex) -> bytes:
    arrays: dict[str, NDArray[Any]] = {
        "size": np.array(lexical.size),
        "weights": lexical.weights,
        "gram_counts": lexical.gram_counts,
    }
    for name in ("words", "spellings", "sounds"):
        postings: Postings = getattr(lexical, name)
        arrays |= {
            f"{name}.keys": postings.keys,
            f"{name}.offsets": postings.offsets,
            f"{name}.ids": postings.ids,
        }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
    return buffer.getvalue()


def _vector_bytes(rows: NDArray[np.float32]) -> bytes:
    import faiss

    # Flat: exact, nothing to train, rows can be taken over into the next version. 100,000 rows of
    # 384 take 6 ms a search; an approximate index pays off beyond that.
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows, np.float32))
    return bytes(faiss.serialize_index(index))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(mode=0o750, parents=True)
    try:
        for name, data in files.items():
            durable.write(folder / name, data)
        durable.sync(folder)
        durable.sync(folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _point(index_dir: Path, version: str, digest: str) -> None:
    try:
        durable.replace(index_dir / CURRENT, f"{version} {digest}\n".encode("ascii"))
    except BaseException:
        if _pointed(index_dir) != version:  # interrupted after the swap, it is in use
            shutil.rmtree(index_dir / version, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # the swap is done; a disk that fails now is told elsewhere
        durable.sync(index_dir)


def _pointed(index_dir: Path) -> str:
    """The current version; empty without one."""
    with contextlib.suppress(IndexUnusable):
        return _pointer(index_dir)[0]
    return ""


def _prune(index_dir: Path, kept: set[str]) -> None:
    """Keeps the one before too, which a reader may be in the middle of; what crashes left goes."""
    with contextlib.suppress(OSError):  # the new index is in use; the rest can wait
        for path in index_dir.iterdir():
            if _VERSION.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        for path in index_dir.glob(f".{CURRENT}-*"):
            path.unlink(missing_ok=True)
