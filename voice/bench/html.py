"""A report as one HTML page that asks no other host for anything."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

import msgspec

from voice.bench import plots
from voice.bench.distribution import PERCENTILES, Distribution
from voice.bench.figures import MEANINGS
from voice.bench.plots import Series
from voice.bench.report import BenchReport, Step

NO_FAULT = ("planned", "completed", "cut", "hung_up")
"""Counts that are no sign of trouble; of all others each one is."""


def to_html(report: BenchReport) -> str:
    template = Template((files("voice.bench") / "report.html").read_text(encoding="utf-8"))
    steps = report.steps
    present = [name for name in MEANINGS if any(name in step.figures for step in steps)]
    return template.substitute(
        title=f"Latency of {escape(report.url)}",
        subtitle=escape(f"{report.date} · {report.environment.processor}".strip(" ·")),
        warnings="".join(f'<p class="warning">{escape(text)}</p>' for text in report.warnings)
        + ("" if report.ramp is None else f"<p><b>{escape(str(report.ramp))}</b></p>"),
        figures=_figure_table(steps, present),
        counts=_count_table(steps),
        texts=_texts(steps),
        step_key=_key(step.name for step in steps),
        percentile_key=_key(PERCENTILES),
        distributions="".join(
            _figure(name, plots.ecdf(_values(steps, name), name)) for name in present
        ),
        over_time="".join(
            _figure(name, plots.scatter(_values(steps, name), name, "s"))
            for name in present
            if name in ("partial_ms", "final_ms", "tts_start_ms", "added_ms", "barge_in_stop_ms")
        ),
        by_step="".join(_figure(name, plots.bars(_groups(steps, name), name)) for name in present),
        spans=_spans(steps),
        facts=_facts(report),
    )


def _values(steps: Sequence[Step], name: str) -> list[Series]:
    """A series for each step, also for one without values: so that colours mean the same."""
    series = []
    for step in steps:
        points = [(turn.at_s, getattr(turn, name)) for turn in step.turns]
        known = [(at, value) for at, value in points if value is not None]
        at, values = tuple(at for at, _ in known), tuple(value for _, value in known)
        series.append(Series(step.name, values, at))
    return series


def _groups(steps: Sequence[Step], name: str) -> list[tuple[str, list[Series]]]:
    return [
        (
            str(step.callers),
            [Series(share, (getattr(step.figures[name], share),)) for share in PERCENTILES],
        )
        for step in steps
        if name in step.figures
    ]


def _figure(name: str, svg: str) -> str:
    if not svg:
        return ""
    caption = f"<h3>{_title(name)}</h3>{escape(MEANINGS[name])}"
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"


def _title(name: str) -> str:
    return escape(name.removesuffix("_ms"))


def _key(names: Iterable[str]) -> str:
    return "".join(
        f'<span class="s{number % plots.SERIES_COLOURS}">● {escape(name)}</span>'
        for number, name in enumerate(names)
    )


def _figure_table(steps: Sequence[Step], present: Sequence[str]) -> str:
    rows = [
        f"<tr><td>{_title(name)}</td><td>{step.callers}</td>"
        + _cells(step.figures[name])
        + f'<td class="meaning">{escape(MEANINGS[name])}</td></tr>'
        for name in present
        for step in steps
        if name in step.figures
    ]
    return _table(("", "callers", "turns", *PERCENTILES, ""), rows, "")


def _cells(values: Distribution) -> str:
    shown = "".join(f"<td>{getattr(values, share):.1f}</td>" for share in PERCENTILES)
    return f"<td>{values.count}</td>{shown}"


def _table(head: Sequence[str], rows: Sequence[str], caption: str) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _count_table(steps: Sequence[Step]) -> str:
    rows = []
    for name in steps[0].counts.__struct_fields__:
        values = [getattr(step.counts, name) for step in steps]
        cells = "".join(
            f'<td class="bad">{value}</td>'
            if value and name not in NO_FAULT
            else f"<td>{value}</td>"
            for value in values
        )
        rows.append(f"<tr><td>{escape(name.replace('_', ' '))}</td>{cells}</tr>")
    rows.append(_row("generator late, p99 ms", [f"{step.lag_ms.p99:.2f}" for step in steps]))
    rows.append(_row("callers, mean", [f"{step.mean_callers:.1f}" for step in steps]))
    rows.append(_row("calls", [str(step.calls) for step in steps]))
    lags = [step.loop_lag.p99_ms if step.loop_lag is not None else None for step in steps]
    if any(lag is not None for lag in lags):
        shown = ["–" if lag is None else f"≤ {lag:g}" for lag in lags]
        rows.append(_row("server's loop late, p99 ms", shown))
    rows.append(_row("load average", [f"{step.load_average:.1f}" for step in steps]))
    uses = [step.server for step in steps if step.server is not None]
    if len(uses) == len(steps):
        costs: dict[str, list[float | None]] = {
            "CPU, ms per session-second": [use.cpu_per_session_s * 1000 for use in uses],
            "CPU, cores busy": [use.cpu_cores for use in uses],
            "memory, MiB": [use.memory_mb for use in uses],
            "memory, MiB per session": [use.memory_per_session_mb for use in uses],
        }
        rows += [
            _row(name, ["–" if value is None else f"{value:.2f}" for value in values])
            for name, values in costs.items()
        ]
        for name in ("busy", "waited"):
            shares = [" + ".join(f"{share:.2f}" for share in getattr(use, name)) for use in uses]
            rows.append(_row(f"each server's core, {name}", shares))
    rows += _knock_rows(steps)
    return _table(("", *(step.name for step in steps)), rows, "")


def _knock_rows(steps: Sequence[Step]) -> list[str]:
    knocks = [step.knocks for step in steps if step.knocks is not None]
    if not knocks or len(knocks) < len(steps):
        return []
    found: dict[str, list[float | None]] = {
        "knocks refused, p95 ms": [one.refused_p95_ms for one in knocks],
        "knocks, server's CPU, ms": [one.cpu_ms for one in knocks],
        "added p95, knocking / quiet": [one.growth for one in knocks],
    }
    rows = [
        _row("knocks", [" ".join(f"{n} x {s}" for s, n in one.statuses.items()) for one in knocks])
    ]
    return rows + [
        _row(name, ["–" if value is None else f"{value:.2f}" for value in values])
        for name, values in found.items()
    ]


def _row(name: str, values: Sequence[str]) -> str:
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _texts(steps: Sequence[Step]) -> str:
    texts = [text for step in steps for text in _told(step)]
    return "".join(f'<p class="warning">{escape(text)}</p>' for text in dict.fromkeys(texts))


def _told(step: Step) -> tuple[str, ...]:
    return (*step.error_texts, *step.closed_texts, *step.refused_texts)


def _spans(steps: Sequence[Step]) -> str:
    rows = [
        f"<tr><td>{escape(name)}</td><td>{step.callers}</td>{_cells(values)}</tr>"
        for step in steps
        for name, values in step.spans.items()
    ]
    if not rows:
        return ""
    table = _table(("", "callers", "turns", *PERCENTILES), rows, "Spans of kaiwa.turn.timeline")
    return f'<h2>The server\'s own account</h2><div class="wide">{table}</div>'


def _facts(report: BenchReport) -> str:
    environment, known = report.environment, report.known
    delays = "none" if known is None else json.dumps(msgspec.to_builtins(known))
    total = "" if report.known_total_ms is None else f" = {report.known_total_ms:g} ms"
    facts = {
        "speech": f"{report.speech}, {report.speech_ms:g} ms of it spoken",
        "known delays": f"{delays}{total} ({report.known_source})",
        "time": "from due times: a frame is due when its last sample was captured",
        "percentiles": "nearest rank: values that were really measured",
        "cores": f"{environment.cores}; server on {list(environment.server_cores) or 'any'}, "
        f"generator on {list(environment.generator_cores)}",
        "system": f"{environment.system}, Python {environment.python}",
        "versions": ", ".join(f"{name} {value}" for name, value in environment.versions.items()),
        "config": json.dumps(msgspec.to_builtins(report.config)),
    }
    return "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()
    )
