"""The documents that files and folders hold now: those known already are not read again."""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from rag.clean import visible
from rag.read_text import Unreadable
from rag.sandbox import Sandbox
from rag.types import Document
from rag.update import Progress, ProgressSink
from rag.walk import File, Refusal, contents, named_apart, walk


class Gathering:
    """Args:
    known: By path, those that were in the index.
    rereads: Whether files are read again though they did not change.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        known: Mapping[str, Document],
        progress: ProgressSink,
        *,
        rereads: bool,
    ) -> None:
        self._roots, self._known, self._progress = roots, known, progress
        self._rereads = rereads
        self.refused: list[Refusal] = []

    async def run(self) -> list[Document]:
        """One after the other, in a child process; what is refused is in `refused` then."""
        files = await asyncio.to_thread(self._walk)
        documents = []
        async with Sandbox() as sandbox:
            for done, file in enumerate(files):
                self._tell(done, len(files), file.source)
                try:
                    documents.append(await self._document(file, sandbox))
                except Unreadable as refusal:
                    self.refused.append(Refusal(file.source, str(refusal)))
        self._tell(len(files), len(files))
        return documents

    def _tell(self, done: int, total: int, source: str = "") -> None:
        self._progress(Progress(phase="read", done=done, total=total, source=source))

    def _walk(self) -> list[File]:
        files: dict[Path, File] = {}
        for root in self._roots:
            for found in walk(root):
                if isinstance(found, Refusal):
                    self.refused.append(found)
                else:
                    files.setdefault(found.path, found)  # given twice: a folder, and what is in it
        return list(files.values())

    async def _document(self, file: File, sandbox: Sandbox) -> Document:
        data = await asyncio.to_thread(contents, file)
        digest = sha256(data).hexdigest()
        old = self._known.get(str(file.path))
        source = _longer(file.source, old)
        if old is not None and not self._rereads and old.sha256 == digest:
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


def _longer(name: str, old: Document | None) -> str:
    """The name a document had where it says more of its path than the one it would get."""
    if old is not None and old.source.endswith(f"/{name}"):
        return old.source
    return name


def all_named_apart(documents: Sequence[Document]) -> list[Document]:
    names = named_apart({document.path: document.source for document in documents})
    renamed = (msgspec.structs.replace(d, source=names[d.path]) for d in documents)
    return sorted(renamed, key=lambda document: document.source)
