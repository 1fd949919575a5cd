import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.voice.test_bench_report import step_of
from voice.bench.config import BenchError
from voice.bench.ramp import climb, loads
from voice.bench.report import Ramp, Step
from voice.bench.slo import broken, names, parse, value_of

SLO = parse("added_p95_ms=20,lost=0")


def run_ramp(
    broken_at: Sequence[int],
    callers: tuple[int, ...] = (10, 20, 30),
    *,
    late_at: int = 0,
    dead_at: int = 0,
) -> tuple[list[int], Ramp]:
    """A server that loses a turn at the loads of `broken_at`, each time one is taken off."""
    left = list(broken_at)

    async def measure(load: int) -> Step:
        if load == dead_at:
            raise BenchError("the server ended every call")
        lost = 0
        if load in left:
            left.remove(load)
            lost = 1
        return step_of(load, lost=lost, late_ms=9.0 if load == late_at else 0.5)

    steps, ramp = asyncio.run(climb(loads(callers), SLO, measure))
    return [step.callers for step in steps], ramp


def test_the_ramp_ends_at_the_step_that_breaks_twice_and_names_the_one_before() -> None:
    measured, ramp = run_ramp([30, 30])
    assert measured == [10, 20, 30, 30]
    assert (ramp.held, ramp.broke, ramp.why) == (20, 30, ("lost 1 > 0",))
    assert ramp.is_decided
    assert (
        str(ramp) == "Held up to 20 callers; 30 broke twice: lost 1 > 0. (added_p95_ms=20,lost=0)"
    )


def test_what_breaks_once_and_holds_then_is_held() -> None:
    measured, ramp = run_ramp([20])
    assert measured == [10, 20, 20, 30]
    assert (ramp.held, ramp.broke) == (30, None)
    assert "may hold more" in str(ramp)


def test_a_single_number_is_raised_by_itself() -> None:
    measured, ramp = run_ramp([75, 75], callers=(25,))
    assert measured == [25, 50, 75, 75]
    assert ramp.held == 50


def test_a_generator_that_was_late_decides_nothing() -> None:
    _, ramp = run_ramp([20, 20], late_at=20)
    assert (ramp.held, ramp.is_decided) == (10, False)
    assert "nothing can be said of the server" in str(ramp)


def test_a_server_that_gives_up_has_broken_and_one_that_never_served_is_an_error() -> None:
    _, ramp = run_ramp([], dead_at=30)
    assert (ramp.held, ramp.broke, ramp.why) == (20, 30, ("the server ended every call",))
    with pytest.raises(BenchError, match="ended every call"):
        run_ramp([], dead_at=10)


def test_not_even_the_first_step_may_hold() -> None:
    _, ramp = run_ramp([10, 10])
    assert ramp.held == 0
    assert str(ramp).startswith("Not even the first step held; 10 broke twice")


def test_every_figure_that_can_be_promised_is_found_in_a_step_or_missing() -> None:
    step = step_of(4)
    found = {name: value_of(step, name) for name in names()}
    assert found["added_p95_ms"] == 17.0
    assert found["added_p999_ms"] == 18.0
    assert found["cpu_ms"] == 4.0
    assert found["memory_mib"] == 1.0
    assert found["errors"] == 1.0
    assert found["barge_in_stop_p95_ms"] is None
    assert found["loop_lag_p99_ms"] is None


def test_a_promise_nobody_measured_is_not_kept() -> None:
    assert broken(step_of(4), parse("loop_lag_p99_ms=5, cpu_ms=4,tts_start_p50_ms=400")) == (
        "loop_lag_p99_ms was not measured",
        "tts_start_p50_ms 409 > 400",
    )


@pytest.mark.parametrize("text", ["speed=3", "lost", "added_p95_ms=fast", "", "added_p12_ms=1"])
def test_a_wrong_promise_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="slo"):
        parse(text)


def test_a_step_says_how_late_the_servers_loop_was() -> None:
    from voice.bench.scrape import LoopLag

    lag = LoopLag(count=9, p50_ms=0.5, p99_ms=10.0, p999_ms=None)
    step = msgspec.structs.replace(step_of(4), loop_lag=lag)
    assert value_of(step, "loop_lag_p99_ms") == 10.0
    assert value_of(step, "loop_lag_p999_ms") is None
