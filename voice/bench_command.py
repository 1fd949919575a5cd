"""`kaiwa bench` on the terminal: a bar while it measures."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from voice.bench.config import BenchConfig
from voice.bench.report import BenchReport
from voice.bench.run import Progress as Done
from voice.bench.run import run


def run_bench(config: BenchConfig, console: Console) -> BenchReport:
    """Raises:
    BenchError: It cannot be measured.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("connecting", total=None)

        def show(done: Done) -> None:
            what = f"{done.callers} callers (step {done.step + 1} of {done.steps})"
            bar.update(task, description=what, completed=done.turns_over, total=done.turns_planned)

        return run(config, show)
