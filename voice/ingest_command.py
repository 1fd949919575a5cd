"""`kaiwa ingest` on the terminal: a bar, then what was done and what was refused."""

import asyncio
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rag.ingest import IngestBusy, Report, ingest
from rag.ingest import Progress as Done
from rag.store import IndexUnusable
from voice.build import make
from voice.config import Config
from voice.errors import KaiwaError

PHASES = {"read": "reading files", "embed": "embedding passages", "write": "writing the index"}


def run_ingest(config: Config, paths: list[Path], index: Path, console: Console) -> int:
    """Returns the exit status: 1 where nothing at all could be taken in."""
    try:
        report = asyncio.run(_ingest(config, paths, index, console))
    except (IngestBusy, IndexUnusable, OSError) as error:
        raise KaiwaError(f"ingest: {error}") from None
    _tell(report, index, console)
    return 0 if report.documents else 1


async def _ingest(config: Config, paths: list[Path], index: Path, console: Console) -> Report:
    embedder = make(config, "embedder")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        await embedder.start()
        with Progress(*columns, TextColumn("{task.fields[source]}"), console=console) as bar:
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

            return await ingest(paths, index, embedder, progress=show)
    finally:
        await embedder.aclose()


def _tell(report: Report, index: Path, console: Console) -> None:
    for refused in report.refused:
        why = escape(f"{refused.source}: {refused.reason}")
        console.print(f"[yellow]left out[/] {why}", highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(note, highlight=False, markup=False)
    console.print(
        f"{report.documents} documents, {report.chunks} passages in {escape(str(index))} "
        f"({len(report.added)} new, {len(report.changed)} changed, {len(report.removed)} removed, "
        f"{len(report.unchanged)} unchanged) in {report.took_s:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if not report.documents:
        console.print(
            "Nothing is in the index: name files or folders with md, txt, html, pdf, docx."
        )
