"""A report on the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voice.bench.figures import MEANINGS
from voice.bench.html import NO_FAULT, PERCENTILES
from voice.bench.report import BenchReport, Step


def render(report: BenchReport) -> RenderableType:
    """Figures, counts and warnings, for `rich.print`."""
    parts: list[RenderableType] = [_figures(report), _steps(report)]
    for step in report.steps:
        for text in dict.fromkeys((*step.error_texts, *step.closed_texts)):
            parts.append(Text(f"{step.name}: {text}", style="red"))
    parts.append(Text(f"known delays: {_known(report)}", style="dim"))
    parts += [Text(text, style="yellow") for text in report.warnings]
    return Group(*parts)


def _known(report: BenchReport) -> str:
    total = "" if report.known_total_ms is None else f"{report.known_total_ms:g} ms, "
    return f"{total}{report.known_source}"


def _figures(report: BenchReport) -> Table:
    table = Table(title=f"Latency of {report.url}, ms", title_justify="left")
    table.add_column("")
    table.add_column("callers", justify="right")
    table.add_column("turns", justify="right")
    for share in PERCENTILES:
        table.add_column(share, justify="right")
    for name in MEANINGS:
        for step in report.steps:
            if (values := step.figures.get(name)) is not None:
                shares = [f"{getattr(values, share):.1f}" for share in PERCENTILES]
                title = name.removesuffix("_ms")
                table.add_row(title, str(step.callers), str(values.count), *shares)
    return table


def _steps(report: BenchReport) -> Table:
    table = Table(title_justify="left")
    for name in ("callers", "turns", "troubles", "late p99 ms"):
        table.add_column(name, justify="right" if name != "troubles" else "left")
    for name in ("CPU ms/s each", "cores", "MiB each"):
        table.add_column(name, justify="right")
    for step in report.steps:
        use = step.server
        costs = ["", "", ""]
        if use is not None:
            costs = [
                f"{use.cpu_per_session_s * 1000:.1f}",
                f"{use.cpu_cores:.2f}",
                _shown(use.memory_per_session_mb),
            ]
        late = Text(f"{step.lag_ms.p99:.2f}", style="" if step.is_trusted else "bold red")
        planned = str(step.counts.planned)
        table.add_row(str(step.callers), planned, _troubles(step), late, *costs)
    return table


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _troubles(step: Step) -> Text:
    counts = {name: getattr(step.counts, name) for name in step.counts.__struct_fields__}
    found = [
        f"{value} {name.replace('_', ' ')}"
        for name, value in counts.items()
        if value and name not in NO_FAULT
    ]
    return Text(", ".join(found), style="red") if found else Text("none", style="green")
