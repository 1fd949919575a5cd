"""What of the agent's own words may come back, and when."""

import pytest

from voice.endpoint import samples
from voice.own_voice import ECHO_TAIL_MS, OwnVoice

END = samples(5000)


def said(*, sounded: bool = True, times: int = 1) -> OwnVoice:
    """An answer is over, of which so often something came back."""
    voice = OwnVoice()
    voice.spoken = "we are open from nine"
    if sounded:
        voice.sounding_at = 1.0
    for _ in range(times):
        voice.came_back(1)
    voice.over(END, "from nine")
    return voice


def test_while_it_sounds_all_that_is_said_may_come_back_and_before_that_nothing() -> None:
    voice = OwnVoice()
    voice.spoken = "we are open"
    assert voice.words_in(0, 100, replying=True) == ""
    voice.sounding_at = 1.0
    assert voice.words_in(0, 100, replying=True) == "we are open"


def test_behind_its_end_the_last_words_may_for_as_long_as_an_echo_takes() -> None:
    last = END + samples(ECHO_TAIL_MS)
    assert said().words_in(END, last, replying=False) == "from nine"
    assert said().words_in(END - 1, last, replying=False) == "we are open from nine"
    assert said().words_in(END, last + 1, replying=False) == ""


def test_sound_behind_the_end_is_suspected_only_where_something_came_back_before() -> None:
    soon, late = END + samples(200), END + samples(ECHO_TAIL_MS) + 1
    assert said().may_end_at(soon) and not said().may_end_at(late)
    assert not said(times=0).may_end_at(soon)
    assert not said(sounded=False).may_end_at(soon), "nothing of it was heard"


@pytest.mark.parametrize(
    ("times", "same", "next_"), [(0, False, False), (1, True, False), (2, True, True)]
)
def test_an_echo_is_expected_in_its_own_answer_and_after_two_in_every_one(
    times: int, same: bool, next_: bool
) -> None:
    voice = said(times=times)
    assert (voice.comes_back(1), voice.comes_back(2)) == (same, next_)


def test_only_the_first_part_of_what_is_heard_is_protected() -> None:
    voice = OwnVoice()
    assert not voice.is_protected_at(1.0, 500), "nothing is heard yet"
    voice.sounding_at = 1.0
    found = [voice.is_protected_at(at, 500) for at in (0.9, 1.0, 1.4, 1.5)]
    assert found == [False, True, True, False]
    assert not voice.is_protected_at(1.0, 0)
    voice.cut()
    assert not voice.is_heard_at(9.0)
