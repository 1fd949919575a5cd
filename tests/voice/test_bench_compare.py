import asyncio
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.voice.test_bench_report import step_of
from voice.bench.calibration import unit_s
from voice.bench.check import check
from voice.bench.compare import (
    MEANINGS,
    TOLERANCES,
    Baseline,
    Round,
    better_of,
    compared,
    ratios,
    read_baseline,
    to_json,
)
from voice.bench.config import BenchError
from voice.bench.distribution import distribution
from voice.bench.report import Step
from voice.bench.table import render_comparison

COMMITTED = Path(__file__).parents[2] / "voice" / "bench" / "baseline.json"


def step(callers: int, added_ms: float, *, cpu_ms: float = 6.0, late_ms: float = 0.5) -> Step:
    found = step_of(callers, late_ms=late_ms)
    assert found.server is not None
    added, stop = distribution([added_ms]), distribution([60.0])
    assert added is not None and stop is not None
    return msgspec.structs.replace(
        found,
        figures={"added_ms": added, "barge_in_stop_ms": stop},
        counts=msgspec.structs.replace(found.counts, errors=0),
        server=msgspec.structs.replace(found.server, cpu_per_session_s=cpu_ms / 1000),
    )


def round_of(few_ms: float, many_ms: float, *, cpu_ms: float = 6.0, late_ms: float = 0.5) -> Round:
    many = step(25, many_ms, cpu_ms=cpu_ms, late_ms=late_ms)
    return Round(few=step(5, few_ms), many=many, unit_s=0.002)


BASELINE = Baseline(
    ratios={"added_growth": 2.0, "cpu_per_call": 3.0, "troubles": 0.0},
    tolerances={"added_growth": 1.5, "cpu_per_call": 1.2, "troubles": 1.0},
)


def test_each_ratio_is_the_median_of_the_rounds() -> None:
    rounds = [round_of(10, 20), round_of(10, 90, cpu_ms=30), round_of(10, 30, cpu_ms=8)]
    assert ratios(rounds) == {
        "added_growth": 3.0,
        "stop_growth": 1.0,
        "cpu_per_call": 4.0,
        "memory_per_call": 1.0,
        "troubles": 0.0,
    }


def test_latencies_below_a_frame_or_two_count_as_that_much() -> None:
    assert ratios([round_of(-1, 3)])["added_growth"] == 1.0


def test_the_trouble_of_a_single_round_is_trouble() -> None:
    fine = round_of(10, 20)
    counts = msgspec.structs.replace(fine.many.counts, lost=2)
    bad = msgspec.structs.replace(fine, many=msgspec.structs.replace(fine.many, counts=counts))
    assert ratios([fine, bad, fine])["troubles"] == 2.0


def test_a_late_generator_leaves_latencies_out_and_costs_in() -> None:
    found = ratios([round_of(10, 80, late_ms=16.0)])
    assert set(found) == {"cpu_per_call", "memory_per_call", "troubles"}
    line = compared(BASELINE, found)[0]
    assert (line.name, line.now, line.is_worse) == ("added_growth", None, False)


@pytest.mark.parametrize(
    ("now", "worse"),
    [
        ({"added_growth": 3.0, "cpu_per_call": 3.6, "troubles": 0.0}, []),
        ({"added_growth": 3.1, "cpu_per_call": 1.0, "troubles": 0.0}, ["added_growth"]),
        ({"added_growth": 1.0, "cpu_per_call": 3.7, "troubles": 1.0}, ["cpu_per_call", "troubles"]),
    ],
)
def test_a_ratio_is_worse_above_its_tolerance_only(now: dict[str, float], worse: list[str]) -> None:
    assert [line.name for line in compared(BASELINE, now) if line.is_worse] == worse


def test_of_two_tries_the_lower_counts_as_noise_only_adds() -> None:
    first = compared(BASELINE, {"added_growth": 5.0, "cpu_per_call": 3.0, "troubles": 0.0})
    second = compared(BASELINE, {"added_growth": 2.5, "cpu_per_call": 9.0, "troubles": 0.0})
    assert [line.now for line in better_of(first, second)] == [2.5, 3.0, 0.0]


def test_the_table_says_what_got_worse_and_what_better() -> None:
    lines = compared(BASELINE, {"added_growth": 5.0, "cpu_per_call": 1.0})
    console = Console(width=160, record=True, file=Path("/dev/null").open("w"))
    with console.file:
        console.print(render_comparison(BASELINE, lines))
    rows = [line for line in console.export_text().splitlines() if line.startswith("│")]
    shown = {row.split("│")[1].strip(): row for row in rows}
    assert "worse" in shown["added_growth"]
    assert "better" in shown["cpu_per_call"]
    assert "not measured" in shown["troubles"]


def test_a_baseline_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(to_json(BASELINE))
    assert read_baseline(str(path)) == BASELINE
    path.write_text('{"ratios": {"speed": 1}}')
    with pytest.raises(BenchError, match="ratios must be some of"):
        read_baseline(str(path))
    with pytest.raises(BenchError, match="is no baseline"):
        read_baseline(str(tmp_path / "none.json"))


def test_the_committed_baseline_has_every_ratio_with_its_tolerance() -> None:
    found = read_baseline(str(COMMITTED))
    assert list(found.ratios) == list(MEANINGS) == list(found.tolerances) == list(TOLERANCES)
    assert found.ratios["troubles"] == 0
    assert found.measured_on


def test_the_bare_minimum_of_a_call_takes_some_cpu_and_less_than_a_core() -> None:
    assert 0 < unit_s() < 1


def checked(*tries: Round) -> tuple[list[str], int]:
    """What is worse in the end, and how often it was measured again."""
    left, retries = list(tries), []

    async def measure() -> list[Round]:
        return [left.pop(0)]

    lines = asyncio.run(check(BASELINE, measure, lambda: retries.append(1)))
    assert not left
    return [line.name for line in lines if line.is_worse], len(retries)


def test_what_holds_is_measured_once_and_what_is_worse_once_more() -> None:
    assert checked(round_of(10, 20)) == ([], 0)
    assert checked(round_of(10, 90), round_of(10, 20)) == ([], 1)
    assert checked(round_of(10, 90), round_of(10, 80, cpu_ms=30)) == (["added_growth"], 1)
