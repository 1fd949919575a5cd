"""`kaiwa ingest` on the terminal: a bar, then what was done and refused; --remove and --list."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rag.clean import visible
from rag.durable import IndexUnwritable
from rag.ingest import NothingThere, ingest
from rag.remove import NotIndexed, remove
from rag.store import IndexUnusable, load
from rag.update import IngestBusy, Report
from rag.update import Progress as Done
from voice.build import make
from voice.config import Config
from voice.errors import KaiwaError

PHASES = {"read": "reading files", "embed": "embedding passages", "write": "writing the index"}


def index_folder(given: str) -> Path:
    """Raises:
    KaiwaError: It is empty, which would mean the current folder.
    """
    if not given.strip():
        raise KaiwaError(
            "--index: the name of the index's folder is empty (it comes from --index, else from "
            "RAG_INDEX_PATH or rag.index); name one, such as --index data/index"
        )
    return Path(given)


def given_paths(paths: list[str]) -> list[str]:
    """Raises:
    KaiwaError: One is empty, which would mean the current folder.
    """
    if not all(path.strip() for path in paths):
        raise KaiwaError("ingest: one of the paths is empty; for the folder you are in, write .")
    return paths


def run_ingest(
    config: Config, paths: list[str], index: Path, console: Console, *, fresh: bool = False
) -> int:
    """Returns the exit status: 1 where nothing that was given could be taken in.

    Raises:
        KaiwaError: The index is as it was; the text says what to do.
    """
    with _explained():
        report = asyncio.run(_ingest(config, paths, index, console, fresh=fresh))
    _tell(report, index, console)
    return 0 if report.added or report.changed or report.unchanged else 1


def run_remove(names: list[str], index: Path, console: Console) -> None:
    """Raises:
    KaiwaError: The index is as it was; the text says what to do.
    """
    with _explained():
        report = remove(names, index)
    for source in report.removed:
        console.print(f"removed {source}", highlight=False, markup=False, soft_wrap=True)
    _count(report, index, console)


def show_list(index: Path, console: Console) -> None:
    """One line a document: its passages, its name, its file.

    Raises:
        KaiwaError: There is no index, or it cannot be read.
    """
    with _explained():
        held = load(index)
    passages = Counter(chunk.source for chunk in held.chunks)
    for document in held.documents:
        line = f"{passages[document.source]:6}  {document.source}  {visible(document.path)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{len(held.documents)} documents, {len(held.chunks)} passages in {index}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (
        IngestBusy,
        NothingThere,
        NotIndexed,
        IndexUnusable,
        IndexUnwritable,
        FileNotFoundError,
    ) as error:
        raise KaiwaError(f"ingest: {error}") from None
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise KaiwaError(
            f"ingest: the system refused: {what}. The index is as it was; see to its memory, "
            "open files and disk, then run it again"
        ) from None


async def _ingest(
    config: Config, paths: list[str], index: Path, console: Console, *, fresh: bool
) -> Report:
    embedder = make(config, "embedder")
    source = TextColumn("{task.fields[source]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), source)
    try:
        await embedder.start()
        with Progress(*columns, console=console) as bar:
            tasks = {
                phase: bar.add_task(name, total=None, source="", visible=False)
                for phase, name in PHASES.items()
            }

            def show(done: Done) -> None:
                bar.update(
                    tasks[done.phase],
                    completed=done.done,
                    total=done.total,
                    source=done.source,
                    visible=True,
                )

            return await ingest(paths, index, embedder, fresh=fresh, progress=show)
    finally:
        await embedder.aclose()


def _tell(report: Report, index: Path, console: Console) -> None:
    for refused in report.refused:
        why = escape(f"{refused.source}: {refused.reason}")
        console.print(f"[yellow]left out[/] {why}", highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(note, highlight=False, markup=False)
    _count(report, index, console)
    if not report.documents:
        console.print(
            "Nothing is in the index: name files or folders with md, txt, html, pdf, docx."
        )


def _count(report: Report, index: Path, console: Console) -> None:
    console.print(
        f"{report.documents} documents, {report.chunks} passages in {escape(str(index))} "
        f"({len(report.added)} new, {len(report.changed)} changed, {len(report.removed)} removed, "
        f"{len(report.unchanged)} unchanged) in {report.took_s:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
