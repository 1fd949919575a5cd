"""Marks: which are set, and what their echoes say."""

from voice.playout import EXTRAPOLATE_MS
from voice.transports.telephony.heard import MARK_MS, MOST_WAITING, Marks


def test_a_mark_is_set_behind_each_so_many_milliseconds_and_behind_the_end() -> None:
    marks = Marks()
    set_at = [ms for ms in range(40, 1001, 40) if marks.due("a", ms)]
    assert set_at == list(range(MARK_MS, 1001, MARK_MS))
    assert marks.due("a", 1000, is_end=True) and not marks.due("a", 1000, is_end=True)
    assert MARK_MS < EXTRAPOLATE_MS, "else the estimate stands still between two"


def test_an_echo_says_how_much_of_which_answer_was_heard() -> None:
    marks = Marks()
    first, second = marks.due("a", 200), marks.due("a", 400)
    third = marks.due("b", 180)
    assert marks.played(first) == ("a", 200)
    assert marks.played(second) == ("a", 400)
    assert marks.played(third) == ("b", 180)


def test_an_echo_counts_once_and_those_behind_a_clear_never() -> None:
    marks = Marks()
    first, second = marks.due("a", 200), marks.due("a", 400)
    assert marks.played(first) and marks.played(first) is None
    marks.cleared()
    assert marks.played(second) is None
    again = marks.due("b", 200)
    assert again not in (first, second) and marks.played(again) == ("b", 200)


def test_echoes_that_never_come_are_given_up() -> None:
    marks = Marks()
    names = [marks.due("a", 200.0 * (n + 1)) for n in range(MOST_WAITING + 10)]
    assert len(set(names)) == len(names)
    assert marks.played(names[0]) is None
    assert marks.played(names[-1]) == ("a", 200.0 * len(names))
