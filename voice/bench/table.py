"""A report on the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voice.bench import compare
from voice.bench.distribution import PERCENTILES
from voice.bench.draining import Drain
from voice.bench.figures import MEANINGS
from voice.bench.html import NO_FAULT
from voice.bench.report import BenchReport, ServerUse, Step

HEADS = {"p999": "p99.9"}


def render(report: BenchReport) -> RenderableType:
    """Figures, counts and warnings, for `rich.print`."""
    parts: list[RenderableType] = [_figures(report), _steps(report)]
    for step in report.steps:
        for text in dict.fromkeys((*step.error_texts, *step.closed_texts, *step.refused_texts)):
            parts.append(Text(f"{step.name}: {text}", style="red"))
    parts += [_knocks(step) for step in report.steps if step.knocks is not None]
    if report.ramp is not None:
        parts.append(Text(str(report.ramp), style="bold"))
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
        table.add_column(HEADS.get(share, share), justify="right")
    for name in MEANINGS:
        for step in report.steps:
            if (values := step.figures.get(name)) is not None:
                shares = [f"{getattr(values, share):.1f}" for share in PERCENTILES]
                title = name.removesuffix("_ms")
                table.add_row(title, str(step.callers), str(values.count), *shares)
    return table


def _steps(report: BenchReport) -> Table:
    table = Table(title_justify="left")
    heads = ("callers", "turns", "troubles", "late p99 ms", "CPU ms/s each", "core busy, waited")
    for name in (*heads, "MiB each", "loop lag p99 ms", "load"):
        table.add_column(name, justify="right" if name != "troubles" else "left")
    for step in report.steps:
        use, lag = step.server, step.loop_lag
        costs = ["", "", ""]
        if use is not None:
            costs = [
                f"{use.cpu_per_session_s * 1000:.1f}",
                _cores(use),
                _shown(use.memory_per_session_mb),
            ]
        late = Text(f"{step.lag_ms.p99:.2f}", style="" if step.is_trusted else "bold red")
        callers = str(step.callers)
        if report.config.churn:
            callers = f"{step.mean_callers:.1f} ({step.calls} calls)"
        # The probe's histogram knows between which of its bounds a lag lies: at most so much.
        lagging = "" if lag is None else "> all" if lag.p99_ms is None else f"≤ {lag.p99_ms:g}"
        parts: list[RenderableType] = [callers, str(step.counts.planned), _troubles(step), late]
        table.add_row(*parts, *costs, lagging, f"{step.load_average:.1f}")
    return table


def _knocks(step: Step) -> Table:
    """Those who were turned away, and the others meanwhile."""
    knocks = step.knocks
    assert knocks is not None
    answers = ", ".join(f"{count} x {status}" for status, count in knocks.statuses.items())
    cpu = "" if knocks.cpu_ms is None else f"; {knocks.cpu_ms:.2f} ms of the server's CPU each"
    growth = "" if knocks.growth is None else f"; p95 {knocks.growth:.2f} times that of quiet"
    table = Table(title=f"Beside {step.name}: {answers or 'no knock'}{cpu}", title_justify="left")
    table.add_column("ms")
    for share in ("count", *PERCENTILES):
        table.add_column(HEADS.get(share, share), justify="right")
    for name, values in (
        ("due → refused", knocks.refused_ms),
        ("added, quiet", knocks.added_quiet_ms),
        (f"added, knocking{growth}", knocks.added_knocking_ms),
    ):
        if values is not None:
            shares = [f"{getattr(values, share):.1f}" for share in PERCENTILES]
            table.add_row(name, str(values.count), *shares)
    return table


def render_drain(drain: Drain) -> RenderableType:
    """What was seen of it, and what should not have been."""
    title = f"SIGTERM while {drain.callers} callers speak"
    table = Table(title=title, title_justify="left", show_header=False)
    codes = ", ".join(f"{count} x {code}" for code, count in drain.codes.items())
    for name, value in {
        "utterances heard to the end": f"{drain.heard} of {drain.callers}",
        "answers that came to their end": f"{drain.answered} of {drain.callers}",
        "/ready not 200 any more": f"{drain.ready_off_ms:.1f} ms after the signal",
        "a new call": f"{drain.refused_with} after {drain.refused_ms:.1f} ms, "
        f"Retry-After: {drain.retry_s or 'none'}",
        "calls closed with": codes,
        "the last one": f"{drain.last_call_s:.2f} s after the signal",
        "the process": f"{drain.exit_s:.2f} s after the signal, status {drain.exit_status}",
        "after a second signal": f"{drain.second_exit_s:.2f} s",
        "load average": f"{drain.load_average:.1f}",
    }.items():
        table.add_row(name, value)
    verdict = [Text(what, style="bold red") for what in drain.broken]
    return Group(table, *(verdict or [Text("Nobody was cut.", style="green")]))


def render_comparison(baseline: compare.Baseline, lines: list[compare.Line]) -> RenderableType:
    """Each ratio beside its baseline, and whether it is worse."""
    table = Table(title="Ratios, beside the baseline", title_justify="left")
    for name in ("", "", "baseline", "at most", "now", ""):
        table.add_column(name, justify="left" if not name else "right")
    for line in lines:
        verdict = Text("ok", style="green")
        if line.now is None:
            verdict = Text("not measured", style="yellow")
        elif line.is_worse:
            verdict = Text("worse", style="bold red")
        elif line.now * baseline.tolerances.get(line.name, 1.0) < line.baseline:
            verdict = Text("better: write a new baseline", style="cyan")
        now = "–" if line.now is None else f"{line.now:.2f}"
        meaning = compare.MEANINGS[line.name]
        table.add_row(line.name, meaning, f"{line.baseline:.2f}", f"{line.limit:.2f}", now, verdict)
    return Group(table, Text(f"baseline: {baseline.measured_on}", style="dim"))


def _cores(use: ServerUse) -> str:
    """A line for each server."""
    return "\n".join(
        f"{busy:.2f}, {waited:.2f}" for busy, waited in zip(use.busy, use.waited, strict=True)
    )


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
