"""When keys are a turn."""

import pytest

from voice.keypad import KEYS, MOST_KEYS, Keypad, KeypadRules, words_of


def test_the_pause_behind_the_last_key_ends_the_turn() -> None:
    keypad = Keypad(KeypadRules(pause_s=2.0))
    assert keypad.press("4", 10.0) == "" and keypad.press("2", 11.5) == ""
    assert keypad.waits and keypad.deadline() == 13.5
    assert keypad.tick(13.4) == ""
    assert keypad.tick(13.5) == "42"
    assert not keypad.waits and keypad.deadline() is None and keypad.tick(20.0) == ""


def test_the_end_key_ends_it_at_once_and_is_no_part_of_it() -> None:
    keypad = Keypad(KeypadRules())
    keypad.press("4", 0.0)
    assert keypad.press("#", 0.1) == "4"
    assert keypad.deadline() is None


def test_the_end_key_alone_is_a_turn() -> None:
    assert Keypad(KeypadRules()).press("#", 0.0) == "#"


def test_without_an_end_key_it_is_one_like_others() -> None:
    keypad = Keypad(KeypadRules(end=""))
    assert [keypad.press(key, 0.0) for key in "1#"] == ["", ""]
    assert keypad.tick(2.0) == "1#"


def test_without_a_pause_each_key_is_a_turn() -> None:
    keypad = Keypad(KeypadRules(pause_s=0.0))
    assert [keypad.press(key, 0.0) for key in "12#"] == ["1", "2", "#"]


@pytest.mark.parametrize("key", KEYS.replace("#", ""))
def test_a_key_that_never_stops_is_a_turn_all_the_same(key: str) -> None:
    keypad = Keypad(KeypadRules())
    turns = [turn for turn in (keypad.press(key, at / 10) for at in range(130)) if turn]
    assert turns == [key * MOST_KEYS] * 2


def test_a_model_reads_them_one_by_one() -> None:
    assert words_of("123") == "Keys pressed: 1 2 3"
