"""A new version of an index onto the disk, and the pointer turned to it: see `rag.store`."""

import contextlib
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag import durable, parts, store
from rag.lexical import LexicalIndex
from rag.types import Chunk, Document
from rag.words import WORDS_VERSION

_VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


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
    roots: Sequence[str] = (),
) -> store.Manifest:
    """Write a new version and point to it. Blocking; until the last step readers see the old.

    A crash at any moment leaves the old one or the new one. Only one may be saving at a time.

    Raises:
        IndexUnwritable: The old one is current still.
    """
    now = datetime.now(UTC)
    version = f"{now:%Y%m%dT%H%M%S}-{token_hex(4)}"
    files = {
        "documents.msgpack": parts.structs_bytes(documents),
        "chunks.msgpack": parts.structs_bytes(chunks),
        "lexical.npz": parts.lexical_bytes(lexical),
        "vectors.faiss": parts.vectors_bytes(rows),
    }
    manifest = store.Manifest(
        format=store.FORMAT,
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
            name: store.FileRecord(len(data), sha256(data).hexdigest())
            for name, data in files.items()
        },
        roots=tuple(roots),
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest))
    before = _pointed(index_dir)
    with durable.explained(index_dir):
        _write(index_dir / version, {**files, "manifest.json": encoded})
        _point(index_dir, version, sha256(encoded).hexdigest())
    _prune(index_dir, {version, before})
    return manifest


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
        durable.replace(index_dir / store.CURRENT, f"{version} {digest}\n".encode("ascii"))
    except BaseException:
        if _pointed(index_dir) != version:  # interrupted after the swap, it is in use
            shutil.rmtree(index_dir / version, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # the swap is done; a disk that fails now is told elsewhere
        durable.sync(index_dir)


def _pointed(index_dir: Path) -> str:
    """The current version; empty without one."""
    with contextlib.suppress(store.IndexUnusable):
        return store.pointer(index_dir)[0]
    return ""


def _prune(index_dir: Path, kept: set[str]) -> None:
    """Keeps the one before too, which a reader may be in the middle of; what crashes left goes."""
    with contextlib.suppress(OSError):  # the new index is in use; the rest can wait
        for path in index_dir.iterdir():
            if _VERSION.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        for path in index_dir.glob(f".{store.CURRENT}-*"):
            path.unlink(missing_ok=True)
