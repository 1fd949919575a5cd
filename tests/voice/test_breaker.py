"""When a provider is asked, and when it is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.breaker import FAILURES, PAUSE_S, WITHIN_S, Breaker, State, Ticket


def opened() -> Breaker:
    breaker = Breaker()
    for second in range(FAILURES):
        breaker.failed(breaker.enter(second), second)
    return breaker


LAST = FAILURES - 1


def test_five_failures_in_half_a_minute_open_it() -> None:
    breaker = Breaker()
    for second in range(FAILURES):
        assert breaker.admits(second)
        breaker.failed(breaker.enter(second), second)
    assert breaker.state(LAST) is State.OPEN and not breaker.admits(LAST + PAUSE_S - 0.1)


def test_failures_spread_over_a_longer_time_do_not() -> None:
    breaker = Breaker()
    for number in range(20):
        now = number * (WITHIN_S / (FAILURES - 1) + 0.1)
        breaker.failed(breaker.enter(now), now)
    assert breaker.state(1000) is State.CLOSED


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for second in range(FAILURES - 1):
        breaker.failed(breaker.enter(second), second)
    breaker.succeeded(breaker.enter(LAST))
    breaker.failed(breaker.enter(LAST), LAST)
    assert breaker.state(LAST) is State.CLOSED


def test_half_open_admits_one_probe_whose_success_closes_it() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    assert breaker.state(now) is State.HALF_OPEN and breaker.admits(now)
    probe = breaker.enter(now)
    assert not breaker.admits(now)
    breaker.succeeded(probe)
    assert breaker.state(now) is State.CLOSED and breaker.admits(now)


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    breaker.failed(breaker.enter(now), now)
    assert not breaker.admits(now + PAUSE_S - 0.1) and breaker.admits(now + PAUSE_S)


def test_a_probe_that_nobody_waited_for_leaves_room_for_the_next() -> None:
    breaker, now = opened(), LAST + PAUSE_S
    breaker.abandoned(breaker.enter(now))
    assert breaker.admits(now)


@pytest.mark.parametrize("end", ["ok", "no", "drop"])
def test_a_request_from_before_it_opened_neither_frees_the_probes_place_nor_judges(
    end: str,
) -> None:
    breaker = Breaker()
    old = breaker.enter(0)
    for second in range(FAILURES):
        breaker.failed(breaker.enter(second), second)
    now = LAST + PAUSE_S
    probe = breaker.enter(now)
    end_of(breaker, old, end, now)
    assert breaker.state(now) is State.HALF_OPEN and not breaker.admits(now)
    breaker.succeeded(probe)
    assert breaker.state(now) is State.CLOSED


def test_who_asks_besides_is_believed_at_any_time() -> None:
    breaker = opened()
    breaker.close()
    assert breaker.state(LAST) is State.CLOSED
    for second in range(FAILURES):
        breaker.count(second)
    assert breaker.state(LAST) is State.OPEN


def end_of(breaker: Breaker, ticket: Ticket, end: str, now: float) -> None:
    match end:
        case "ok":
            breaker.succeeded(ticket)
        case "no":
            breaker.failed(ticket, now)
        case _:
            breaker.abandoned(ticket)


STEPS = st.tuples(st.sampled_from(["ask", "ok", "no", "drop", "wait"]), st.integers(0, 5))


@given(st.lists(STEPS, max_size=80))
def test_never_two_probes_at_a_time_while_half_open(steps: list[tuple[str, int]]) -> None:
    breaker, now = Breaker(failures=2), 0.0
    under_way: list[Ticket] = []
    probes: set[Ticket] = set()
    for step, which in steps:
        if step == "wait":
            now += 2.0 * which
        elif step == "ask" and breaker.admits(now):
            half = breaker.state(now) is State.HALF_OPEN
            under_way.append(breaker.enter(now))
            if half:
                probes.add(under_way[-1])
                assert len(probes) == 1
        elif step != "ask" and under_way:
            ticket = under_way.pop(which % len(under_way))
            probes.discard(ticket)
            end_of(breaker, ticket, step, now)
