import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from voice.bench.config import BenchConfig, KnownDelays
from voice.bench.distribution import distribution
from voice.bench.environment import environment_of
from voice.bench.figures import TurnFigures, count, distributions, span_distributions
from voice.bench.html import to_html
from voice.bench.plots import Series, bars, ecdf, scatter, ticks
from voice.bench.report import BenchReport, ServerUse, Step, to_json
from voice.bench.table import render
from voice.bench.turn import Outcome


class Balanced(HTMLParser):
    """Every element closed in the order it was opened; what it asks of other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def step_of(callers: int, *, late_ms: float = 0.5, lost: int = 0) -> Step:
    turns = tuple(
        TurnFigures(
            caller=n % callers,
            number=3,
            at_s=float(n),
            outcome=Outcome.COMPLETED,
            partial_ms=200.0 + n,
            tts_start_ms=400.0 + n,
            added_ms=-1.0 + n,
            spans={"endpoint": 300.0},
        )
        for n in range(20)
    )
    lag = distribution([late_ms])
    assert lag is not None
    return Step(
        callers=callers,
        window_s=20.0,
        figures=distributions(turns),
        spans=span_distributions(turns),
        counts=count(turns, planned=20 + lost, unasked=0, errors=1, closed=0),
        lag_ms=lag,
        server=ServerUse(
            cpu_per_session_s=0.004,
            cpu_cores=0.1,
            memory_before_mb=100.0,
            memory_mb=125.0,
            memory_per_session_mb=1.0,
            processes=2,
        ),
        error_texts=("rate_limit: <script>alert(1)</script>",),
        closed_texts=(),
        turns=turns,
    )


def report_of(*steps: Step) -> BenchReport:
    known = KnownDelays(endpoint_ms=300)
    return BenchReport(
        date="2026-01-01",
        url="ws://127.0.0.1:1/v1/realtime",
        speech="made",
        speech_ms=2000.0,
        cut_lead_ms=0.0,
        cut_tail_ms=0.0,
        known=known,
        known_source="given with the run",
        known_total_ms=known.total_ms,
        config=BenchConfig(callers=tuple(step.callers for step in steps)),
        environment=environment_of(()),
        figures=distributions([turn for step in steps for turn in step.turns]),
        steps=steps,
        warnings=("look out & beware",),
    )


def text_of(report: BenchReport) -> str:
    console = Console(width=160, record=True, file=Path("/dev/null").open("w"))
    with console.file:
        console.print(render(report))
    return console.export_text()


def test_the_page_is_whole_and_asks_no_other_host_for_anything() -> None:
    page = to_html(report_of(step_of(1), step_of(10)))
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert parser.addresses == []
    assert "script" not in parser.elements
    assert not re.search(r"url\(|@import|\$[a-z]", page)
    assert parser.elements.count("svg") == 3 + 3 + 3  # Three figures, in each of three kinds.


def test_words_of_the_server_are_shown_and_not_run() -> None:
    page = to_html(report_of(step_of(1)))
    assert "rate_limit: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "look out &amp; beware" in page


def test_the_page_has_light_and_dark_colours() -> None:
    assert "prefers-color-scheme: dark" in to_html(report_of(step_of(1)))


def test_a_report_reads_back_as_it_was_written() -> None:
    report = report_of(step_of(1), step_of(10))
    assert msgspec.json.decode(to_json(report), type=BenchReport) == report


def test_the_terminal_shows_figures_troubles_and_costs() -> None:
    shown = text_of(report_of(step_of(10, lost=2)))
    assert re.search(r"tts_start\W+10\W+20\W+409\.0\W+417\.0\W+418\.0\W+419\.0\W+419\.0", shown)
    assert "2 lost, 1 errors" in shown
    assert "4.0" in shown  # ms of CPU a second.


def test_a_late_generator_makes_the_report_untrustworthy() -> None:
    assert report_of(step_of(1, late_ms=4.9)).is_trusted
    assert not report_of(step_of(1), step_of(2, late_ms=5.1)).is_trusted


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (0.0, 0.07, [0, 0.02, 0.04, 0.06, 0.08]),
        (481.0, 484.9, [481, 482, 483, 484, 485]),
        (3.0, 3.0, [3.0, 3.2, 3.4, 3.6, 3.8, 4.0]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    assert ticks(low, high) == expected


def test_a_distribution_rises_to_the_top_at_its_largest_value() -> None:
    svg = ecdf([Series("one", (0.0, 5.0, 10.0))], "x")
    path = re.search(r' d="([^"]+)"', svg)
    assert path is not None
    # 48..448 across, 196..10 up: thirds at 0, 5 and 10.
    assert path[1] == "M48.0,196.0V134.0L248.0,134.0V72.0L448.0,72.0V10.0H448.0"


def test_plots_without_values_are_left_out() -> None:
    assert ecdf([Series("one", ())], "x") == ""
    assert scatter([Series("one", ())], "x", "s") == ""
    assert bars([], "x") == ""


def test_bars_below_nothing_hang_from_the_zero_line() -> None:
    svg = bars([("1", [Series("p50", (-10.0,))])], "added")
    bar = re.search(r'class="bar s0" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg)
    assert bar is not None
    assert float(bar[1]) == 10.0
    assert float(bar[2]) == pytest.approx(186.0)
