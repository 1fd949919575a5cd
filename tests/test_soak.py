"""The soak, small; KAIWA_SOAK=10000 makes it long."""

import os
from collections.abc import Callable

import msgspec
import pytest

from tests.served import Served
from tests.soak import ENOUGH, RUDE, SETTINGS, Report, State, slope_mib, soak, table

CALLS = int(os.environ.get("KAIWA_SOAK", "90"))


def test_the_slope_is_that_of_the_later_batches() -> None:
    calls = list(range(100, 1100, 100))
    assert slope_mib(calls, [90.0, 99.0] + [100 + n / 500 for n in calls[2:]]) == pytest.approx(2)


def test_what_is_left_is_told() -> None:
    before = State(tasks=5, files=20, threads=4, rss_mib=90.0)
    report = Report(
        calls=ENOUGH,
        seconds=60.0,
        ended={"politely": ENOUGH - 1, "?": 1},
        before=before,
        after=State(tasks=6, files=20, threads=4, rss_mib=92.0),
        rss_mib=[],
        slope_mib=0.7,
    )
    told = [
        "tasks: 6 after, 5 before",
        "1 calls were not served",
        "memory grows by 0.7 MiB for 1,000 calls",
    ]
    assert report.broken == told
    assert all(what in table(report) for what in (*told, "| descriptors | 20 | 20 |"))
    few = msgspec.structs.replace(report, calls=ENOUGH - 1, ended={}, after=before)
    assert few.broken == [], "of few calls, memory says nothing"


@pytest.mark.real_time
def test_of_callers_who_come_and_go_politely_or_not_nothing_is_left(
    serving: Callable[..., Served],
) -> None:
    report = soak(serving(fresh=True, **SETTINGS), CALLS)
    assert set(report.ended) == {*RUDE, "politely"}, "each way was gone"
    assert sum(report.ended.values()) == CALLS
    assert report.broken == [], report
