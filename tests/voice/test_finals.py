"""A final is waited for as long as its audio takes, and none cuts another's time short."""

import pytest

from voice.backlog import PACE, Backlog
from voice.finals import Finals

LIMIT_S = 2.0


def burst() -> Backlog:
    """16 s at once, at 5 s."""
    backlog = Backlog()
    backlog.arrive(16.0, 5.0)
    return backlog


def test_what_was_heard_as_it_was_spoken_has_the_limit_and_no_more() -> None:
    backlog = Backlog()
    for n in range(1, 100):
        backlog.arrive(0.02, n * 0.02)
    finals = Finals(LIMIT_S, backlog)
    assert finals.expect(2.0) == LIMIT_S


def test_what_came_at_once_has_the_time_for_it_too() -> None:
    finals = Finals(LIMIT_S, burst())
    assert finals.expect(5.0) == pytest.approx(LIMIT_S + 16.0 / PACE, abs=0.1)


def test_a_later_one_does_not_shorten_the_wait_for_one_that_is_still_to_come() -> None:
    finals = Finals(LIMIT_S, burst())
    long_s = finals.expect(5.0)
    assert finals.expect(30.0) == long_s


def test_behind_the_last_one_the_wait_is_the_usual_one_again() -> None:
    finals = Finals(LIMIT_S, burst())
    finals.expect(5.0)
    finals.settled()
    assert finals.expect(30.0) == LIMIT_S
