import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._balance import (
    ALONE_S,
    EXCUSE_S,
    LATE,
    LEAST_LATE_S,
    LONGEST_REST_S,
    LOST_S,
    REST_S,
    Balance,
)


def test_a_server_runs_one_request_at_a_time() -> None:
    balance = Balance(2)
    for _ in range(2):
        index = balance.choose(0.0)
        assert index is not None
        balance.begin(index, 0.0, 1.0)
    assert balance.choose(0.0) is None and balance.running == 2


def test_servers_take_turns() -> None:
    balance, order = Balance(3), []
    for turn in range(6):
        index = balance.choose(float(turn))
        assert index is not None
        balance.begin(index, float(turn), 1.0)
        balance.succeeded(index, turn + 0.5)
        order.append(index)
    assert order == [0, 1, 2, 0, 1, 2]


def test_a_server_that_works_for_nobody_is_asked_last_until_it_is_through() -> None:
    balance = Balance(2)
    balance.begin(0, 0.0, 4.0)
    balance.abandoned(0)
    balance.begin(1, 0.5, 1.0)
    balance.succeeded(1, 1.0)
    assert balance.choose(2.0) == 1
    assert balance.busy_for_s(0, 2.0) == pytest.approx(2.0)
    assert not balance.is_idle(0, 2.0) and balance.is_idle(0, 4.1)
    assert balance.choose(4.1) == 0


def test_with_all_others_taken_a_draining_server_is_better_than_waiting() -> None:
    balance = Balance(2)
    balance.begin(0, 0.0, 10.0)
    balance.abandoned(0)
    balance.begin(1, 0.0, 1.0)
    assert balance.choose(1.0) == 0


def test_what_is_sent_behind_an_abandoned_request_begins_when_that_ends() -> None:
    balance = Balance(1)
    balance.begin(0, 0.0, 3.0)
    balance.abandoned(0)
    balance.begin(0, 1.0, 2.0)
    balance.abandoned(0)
    assert balance.busy_for_s(0, 1.0) == pytest.approx(4.0)


def test_the_estimate_learns_how_fast_a_server_is() -> None:
    balance = Balance(1)
    for turn in range(30):
        balance.begin(0, 10.0 * turn, 2.0)
        balance.succeeded(0, 10.0 * turn + 0.4)
    balance.begin(0, 1000.0, 10.0)
    balance.abandoned(0)
    assert balance.busy_for_s(0, 1000.0) == pytest.approx(2.0, rel=0.05)


def test_a_server_that_failed_rests_longer_each_time_and_is_still_the_last_resort() -> None:
    balance = Balance(2)
    balance.begin(1, 0.0, 1.0)
    balance.refused(1)  # was asked last: the other one's turn, where both are well
    balance.failed(0, 0.0)
    assert balance.choose(REST_S - 0.1) == 1 and balance.choose(REST_S + 0.1) == 0
    balance.begin(1, 0.1, 1.0)
    assert balance.choose(0.1) == 0
    balance.refused(1)
    balance.failed(0, 2.0)
    assert balance.choose(2.0 + 2 * REST_S - 0.1) == 1
    for _ in range(10):
        balance.failed(0, 5.0)
    assert balance.choose(5.0 + LONGEST_REST_S - 0.1) == 1
    assert balance.choose(5.0 + LONGEST_REST_S + 0.1) == 0
    balance.failed(0, 50.0)
    balance.succeeded(0, 51.0)
    assert balance.choose(51.0) == 0


def test_a_refusal_is_no_reason_to_rest() -> None:
    balance = Balance(2)
    balance.begin(1, 0.0, 1.0)
    balance.begin(0, 1.0, 1.0)
    balance.refused(0)
    balance.failed(1, 1.0)
    assert balance.choose(1.0) == 0


def test_a_lost_server_is_not_chosen_while_another_is_there_though_it_be_busy() -> None:
    balance = Balance(2)
    balance.lost(0, 0.0)
    assert balance.choose(0.0) == 1
    balance.begin(1, 0.0, 1.0)
    assert balance.choose(0.1) is None
    balance.found(0, 0.2)
    assert balance.choose(0.2) == 0


def test_when_all_are_lost_one_is_tried() -> None:
    balance = Balance(2)
    balance.lost(0, 0.0)
    balance.lost(1, 0.0)
    assert balance.choose(0.1) is not None and balance.choose(0.1, {0}) == 1


def test_a_lost_server_is_found_by_its_next_success_and_forgotten_in_the_end() -> None:
    balance = Balance(2)
    balance.lost(0, 0.0)
    assert balance.is_lost(0, LOST_S - 0.1) and not balance.is_lost(0, LOST_S)
    balance.begin(0, 1.0, 1.0)
    balance.succeeded(0, 2.0)
    assert not balance.is_lost(0, 2.0)


def test_what_was_abandoned_excuses_for_longer_than_it_should_take() -> None:
    balance = Balance(1)
    assert not balance.is_excused(0, 0.0)
    balance.begin(0, 0.0, 3.0)
    assert balance.is_excused(0, 100.0)
    balance.abandoned(0)
    assert balance.is_idle(0, 3.1) and balance.is_excused(0, 3.1)
    assert balance.is_excused(0, 6.0 + EXCUSE_S - 0.1) and not balance.is_excused(0, 6.0 + EXCUSE_S)


def known(*took_s: float, speech_s: float = 2.0) -> Balance:
    """One server, and what its requests took; idle since 100 s."""
    balance = Balance(1)
    for turn, one_s in enumerate(took_s):
        balance.begin(0, 10.0 * turn, speech_s)
        balance.succeeded(0, 10.0 * turn + one_s)
    return balance


def test_one_that_answers_as_fast_as_ever_is_never_late_and_a_slow_one_neither() -> None:
    for took_s in (0.2, 0.7, 3.0):
        balance = known(took_s, took_s)
        balance.begin(0, 100.0, 2.0)
        assert not balance.is_late(0, 100.0 + took_s)


def test_one_that_is_silent_for_longer_than_lately_is_late_until_something_is_heard() -> None:
    balance = known(0.3, 1.0, 0.4)
    balance.begin(0, 100.0, 2.0)
    late_at = 100.0 + LATE * 1.0
    assert not balance.is_late(0, late_at - 0.01) and balance.is_late(0, late_at + 0.01)
    balance.succeeded(0, 105.0)
    assert not balance.is_late(0, 105.0)


def test_a_fast_one_has_time_all_the_same_and_a_longer_text_more() -> None:
    balance = known(0.1)
    balance.begin(0, 100.0, 0.5)
    assert not balance.is_late(0, 100.0 + LEAST_LATE_S - 0.01)
    assert balance.is_late(0, 100.0 + LEAST_LATE_S + 0.01)
    balance = known(1.0, speech_s=2.0)
    balance.begin(0, 100.0, 4.0)
    assert not balance.is_late(0, 100.0 + LATE * 2.0 - 0.01)


def test_what_was_cut_off_is_waited_for_until_somebody_has_asked_again() -> None:
    """A server that is busy with it, as far as we can tell, is asked nothing until it is done."""
    balance = known(1.0)
    balance.begin(0, 100.0, 2.0)
    balance.abandoned(0)
    through_at = 100.0 + balance.busy_for_s(0, 100.0)
    late_at = through_at + LEAST_LATE_S
    assert not balance.is_late(0, late_at - 0.01) and balance.is_late(0, late_at + 0.01)
    balance.found(0, through_at)
    assert not balance.is_late(0, late_at + 0.01)


def test_what_comes_behind_one_that_was_cut_off_waits_for_both() -> None:
    balance = known(1.0)
    balance.begin(0, 100.0, 2.0)
    balance.abandoned(0)
    balance.begin(0, 100.5, 2.0)
    assert not balance.is_late(0, 102.7) and balance.is_late(0, 104.0)


def test_one_that_is_late_stays_so_whatever_else_is_asked_of_it() -> None:
    balance = known(0.3)
    balance.begin(0, 100.0, 2.0)
    balance.abandoned(0)
    for cut in range(5):
        balance.begin(0, 103.0 + cut, 2.0)
        assert balance.is_late(0, 103.1 + cut)
        balance.abandoned(0)


def test_an_answer_to_an_earlier_ping_tells_nothing_of_a_later_request() -> None:
    """ping sent 100.0 ─▶ a request 100.02 ─▶ the ping's answer 100.04 ─▶ it hangs all the same"""
    balance = known(0.3)
    balance.begin(0, 100.02, 2.0)
    balance.found(0, 100.0)
    assert balance.is_late(0, 101.0)


def test_one_that_failed_or_is_lost_is_told_of_as_that_and_not_as_late() -> None:
    for end in (Balance.failed, Balance.lost):
        balance = known(0.3)
        balance.begin(0, 100.0, 2.0)
        end(balance, 0, 101.0)
        assert not balance.is_late(0, 200.0)


def test_nobody_is_late_who_was_asked_nothing_or_has_never_done_anything() -> None:
    balance = known(1.0)
    assert not balance.is_late(0, 1000.0)
    balance = Balance(1)
    balance.begin(0, 0.0, 1.0)
    assert not balance.is_late(0, 1000.0)


def test_a_ping_without_an_answer_makes_late_unless_it_came_with_a_request() -> None:
    """ping sent 100.0 ─▶ a request 0.05 | 0.2 s behind it ─▶ no answer by 100.9"""
    for behind_s, is_late in ((ALONE_S / 2, False), (2 * ALONE_S, True)):
        balance = known(3.0)
        balance.begin(0, 100.0 + behind_s, 2.0)
        balance.unheard(0, 100.0, 100.9)
        assert balance.is_late(0, 101.0) is is_late
        balance.found(0, 101.0)
        assert not balance.is_late(0, 200.0)


def test_servers_to_avoid_are_not_chosen() -> None:
    assert Balance(2).choose(0.0, {0}) == 1
    assert Balance(2).choose(0.0, {0, 1}) is None


def test_no_server_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Balance(0)


@given(
    count=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from("bsfa"), st.floats(0, 3)), max_size=60),
)
def test_a_running_server_is_never_chosen(count: int, steps: list[tuple[str, float]]) -> None:
    balance, running, now = Balance(count), set[int](), 0.0
    for step, seconds in steps:
        now += seconds
        index = balance.choose(now)
        assert (index is None) == (len(running) == count) and index not in running
        if step == "b" and index is not None:
            balance.begin(index, now, 1.0)
            running.add(index)
        elif running:
            ended = running.pop()
            if step == "s":
                balance.succeeded(ended, now)
            elif step == "f":
                balance.failed(ended, now)
            else:
                balance.abandoned(ended)
