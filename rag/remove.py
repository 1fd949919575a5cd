"""Documents out of the index, by where their files were or by what they are called."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rag import store
from rag.types import Document
from rag.update import Report, locked, roots_of, save
from rag.walk import is_below


class NotIndexed(Exception):
    """What is to be removed is not in the index. The text says how to see what is."""


def remove(names: Sequence[str], index_dir: Path | str) -> Report:
    """Take documents out of the index. Blocking; embeds nothing.

    Args:
        names: Files and folders, which need not exist any more, or names of documents or of their
            folders in the index.
    Raises:
        NotIndexed: If one of them means no document; nothing is removed.
        IngestBusy, IndexUnusable, IndexUnwritable
    """
    began = time.monotonic()
    index_dir = Path(index_dir)
    if store.current_stamp(index_dir) is None:
        raise store.IndexMissing(index_dir, f"there is no index in {index_dir}")
    with locked(index_dir):
        old = store.load(index_dir)
        gone = {document.path for name in names for document in _meant(name, old, index_dir)}
        documents = [document for document in old.documents if document.path not in gone]
        sources = {document.source for document in documents}
        ids = [i for i, chunk in enumerate(old.chunks) if chunk.source in sources]
        manifest = save(
            index_dir,
            documents,
            [old.chunks[i] for i in ids],
            old.rows(ids),
            embedder=old.manifest.embedder,
            reader=old.manifest.reader,
            chunker=old.manifest.chunker,
            roots=roots_of(old.manifest.roots, documents),
        )
    return Report(
        removed=tuple(d.source for d in old.documents if d.path in gone),
        documents=len(documents),
        chunks=len(ids),
        version=manifest.version,
        took_s=time.monotonic() - began,
    )


def _meant(name: str, old: store.Contents, index_dir: Path) -> list[Document]:
    by_path = [d for d in old.documents if is_below(d.path, [Path(name).resolve()])]
    found = by_path or [
        d for d in old.documents if f"{d.source}/".startswith(f"{name.rstrip('/')}/")
    ]
    if not found:
        raise NotIndexed(
            f"no document in {index_dir} is {name} or lies below it; nothing was removed; "
            f"see what there is: kaiwa ingest --list --index {shlex.quote(str(index_dir))}"
        )
    return found
