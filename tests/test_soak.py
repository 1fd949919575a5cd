"""The soak, small; KAIWA_SOAK=10000 makes it long."""

import os
from collections.abc import Callable

import pytest

from tests.served import Served
from tests.soak import RUDE, SETTINGS, slope_mib, soak

CALLS = int(os.environ.get("KAIWA_SOAK", "90"))
ENOUGH = 2000
"""Calls from which on memory says something about itself, and not about the allocator."""


def test_the_slope_is_that_of_the_later_batches() -> None:
    calls = list(range(100, 1100, 100))
    assert slope_mib(calls, [90.0, 99.0] + [100 + n / 500 for n in calls[2:]]) == pytest.approx(2)


@pytest.mark.real_time
def test_of_callers_who_come_and_go_politely_or_not_nothing_is_left(
    serving: Callable[..., Served],
) -> None:
    report = soak(serving(fresh=True, **SETTINGS), CALLS)
    assert set(report.ended) == {*RUDE, "politely"}, "each way was gone"
    assert sum(report.ended.values()) == CALLS
    assert report.after.tasks <= report.before.tasks, report
    assert report.after.files <= report.before.files, report
    assert report.after.threads <= report.before.threads, report
    if CALLS >= ENOUGH:
        assert report.slope_mib < 0.5, report
