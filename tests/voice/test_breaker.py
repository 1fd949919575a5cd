"""When a provider is asked, and when it is left alone."""

from hypothesis import given
from hypothesis import strategies as st

from voice.breaker import FAILURES, PAUSE_S, WITHIN_S, Breaker, State


def opened() -> Breaker:
    breaker = Breaker()
    for second in range(FAILURES):
        breaker.enter(second)
        breaker.failed(second)
    return breaker


LAST = FAILURES - 1


def test_five_failures_in_half_a_minute_open_it() -> None:
    breaker = Breaker()
    for second in range(FAILURES):
        assert breaker.admits(second)
        breaker.failed(second)
    assert breaker.state(LAST) is State.OPEN and not breaker.admits(LAST + PAUSE_S - 0.1)


def test_failures_spread_over_a_longer_time_do_not() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.failed(number * (WITHIN_S / (FAILURES - 1) + 0.1))
    assert breaker.state(1000) is State.CLOSED


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for second in range(FAILURES - 1):
        breaker.failed(second)
    breaker.succeeded()
    breaker.failed(LAST)
    assert breaker.state(LAST) is State.CLOSED


def test_half_open_admits_one_probe_whose_success_closes_it() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    assert breaker.state(now) is State.HALF_OPEN and breaker.admits(now)
    breaker.enter(now)
    assert not breaker.admits(now)
    breaker.succeeded()
    assert breaker.state(now) is State.CLOSED and breaker.admits(now)


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    breaker.enter(now)
    breaker.failed(now)
    assert not breaker.admits(now + PAUSE_S - 0.1) and breaker.admits(now + PAUSE_S)


def test_a_probe_that_nobody_waited_for_leaves_room_for_the_next() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    breaker.enter(now)
    breaker.abandoned()
    assert breaker.admits(now)


@given(st.lists(st.sampled_from(["ask", "ok", "no", "drop", "wait"]), max_size=60))
def test_never_two_probes_at_a_time_while_half_open(steps: list[str]) -> None:
    breaker, now, probes = opened(), float(LAST), 0
    for step in steps:
        if step == "wait":
            now += 4.0
        elif step == "ask" and breaker.admits(now):
            half = breaker.state(now) is State.HALF_OPEN
            breaker.enter(now)
            probes += half
            assert probes <= 1
        elif step != "ask" and probes:
            probes = 0
            if step == "no":
                breaker.failed(now)
            else:
                (breaker.succeeded if step == "ok" else breaker.abandoned)()
