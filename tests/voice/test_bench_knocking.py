"""Those who find all lines busy: when they knock, what it costs, and whose figures are compared."""

import asyncio
import sys
from collections.abc import Callable

import msgspec
import pytest

from tests.served import Served, realtime
from tests.voice.test_bench_report import report_of, step_of, text_of
from voice.bench import knocking
from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.distribution import distribution
from voice.bench.figures import TurnFigures
from voice.bench.html import to_html
from voice.bench.knocking import WINDOW_S, Door, Knock, Knocks, knock, knocks_of
from voice.bench.report import BenchReport
from voice.bench.run import measure
from voice.bench.speech import MADE_S
from voice.bench.turn import Outcome

Serve = Callable[..., Served]

KNOCKING = BenchConfig(knocking=5.0)


def turn(end_s: float, added_ms: float, waited_s: float = 0.7) -> TurnFigures:
    """Spoken to the end at `end_s` of the window."""
    return TurnFigures(
        caller=0,
        number=1,
        at_s=end_s - MADE_S,
        outcome=Outcome.COMPLETED,
        tts_start_ms=waited_s * 1000,
        added_ms=added_ms,
    )


def test_turns_are_told_apart_by_the_window_in_which_they_waited_for_their_answer() -> None:
    ends = ((0.5, 10.0), (1.2, 12.0), (2.5, 10.0), (3.2, 12.0))
    turns = [turn(at * WINDOW_S, added_ms) for at, added_ms in ends]
    found = knocks_of(KNOCKING, Door(), turns)
    assert found is not None and found.added_quiet_ms and found.added_knocking_ms
    assert (found.added_quiet_ms.count, found.added_quiet_ms.max) == (2, 10.0)
    assert (found.added_knocking_ms.count, found.added_knocking_ms.max) == (2, 12.0)
    assert found.growth == pytest.approx(1.2)


def test_a_turn_that_waited_in_both_is_in_neither() -> None:
    found = knocks_of(KNOCKING, Door(), [turn(WINDOW_S - 0.1, 10.0)])
    assert found is not None
    assert (found.added_quiet_ms, found.added_knocking_ms, found.growth) == (None, None, None)


def test_a_knock_costs_what_the_server_took_more_in_the_windows_that_had_any() -> None:
    # Each quiet window takes 1 s of CPU, each other one 1.05 s.
    found = knocks_of(KNOCKING, Door(cpu=[0.0, 1.0, 2.05, 3.05, 4.10, 9.0]), [])
    assert found is not None and found.cpu_ms == pytest.approx(50 / (5 * WINDOW_S))
    assert knocks_of(KNOCKING, Door(cpu=[0.0, 1.0]), []).cpu_ms is None  # type: ignore[union-attr]


def test_who_got_no_answer_or_a_line_is_counted_as_such() -> None:
    door = Door(knocks=[Knock(503, 2.0, "2"), Knock(503, 4.0), Knock(101, 9.0), Knock(0, 900.0)])
    found = knocks_of(KNOCKING, door, [])
    assert found is not None and found.refused_ms is not None
    assert found.statuses == {"503": 2, "101": 1, "none": 1}
    assert found.without_retry == 1
    assert (found.refused_ms.count, found.refused_ms.max) == (2, 4.0)


def test_without_knocking_there_is_nothing_to_tell() -> None:
    assert knocks_of(BenchConfig(), Door(), [turn(1.0, 10.0)]) is None


@pytest.mark.parametrize(
    "also", [{"churn": 2.0}, {"ramp": True}, {"callers": (1, 2)}, {"servers": 2, "spawn": True}]
)
def test_knocking_wants_one_full_server(also: dict[str, object]) -> None:
    with pytest.raises(BenchError, match="one server that is full"):
        BenchConfig(knocking=5.0, **also)  # type: ignore[arg-type]


def test_what_they_cost_is_shown() -> None:
    knocks = Knocks(
        statuses={"503": 40},
        without_retry=0,
        refused_ms=distribution([3.0, 7.0]),
        added_quiet_ms=distribution([10.0]),
        added_knocking_ms=distribution([11.0]),
        cpu_ms=0.5,
    )
    report = report_of(msgspec.structs.replace(step_of(1), knocks=knocks))
    shown = text_of(report)
    assert "40 x 503; 0.50 ms of the server's CPU each" in shown
    assert "p95 1.10 times that of quiet" in shown
    assert "<td>knocks refused, p95 ms</td><td>7.00</td>" in to_html(report)


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="generators are pinned and weighed")
def test_a_full_server_turns_all_who_knock_away_and_serves_the_others(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knocking, "WINDOW_S", 0.5)
    server = serving(server={"max_sessions": 2})

    async def go() -> BenchReport:
        return await measure(
            BenchConfig(
                url=realtime(server.url),
                server_pid=server.process.pid,
                callers=(2,),
                turns=1,
                warmup_turns=0,
                barge_in_every=0,
                ramp_s=0.1,
                knocking=20.0,
                known=KnownDelays(),
            )
        )

    report = asyncio.run(go())
    (step,) = report.steps
    assert step.knocks is not None
    assert set(step.knocks.statuses) == {"503"}
    assert step.knocks.without_retry == 0
    assert step.counts.completed == 2 and step.counts.closed == 0
    assert asyncio.run(knock(realtime(server.url))) == (101, ""), "then its lines are free again"
