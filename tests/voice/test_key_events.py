import pytest

from voice.key_events import REMEMBERED, Event, Presses, read_event
from voice.keypad import KEYS


def test_an_event_is_read_as_it_was_written() -> None:
    assert read_event(b"\x05\x8a\x03\x20") == Event(5, True, 800)
    assert read_event(b"\x0b\x0a\x00\xa0") == Event(11, False, 160)


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x00\x00"])
def test_what_is_too_short_is_no_event(payload: bytes) -> None:
    assert read_event(payload) is None


def test_a_key_is_pressed_once_whichever_of_its_packets_come() -> None:
    presses = Presses()
    assert presses.receive(1, 100, Event(5, False, 160)) == "5"
    assert presses.receive(1, 100, Event(5, True, 800)) == ""
    assert presses.receive(1, 2000, Event(5, True, 800)) == "5"  # again, its first packets lost
    assert presses.receive(1, 2000, Event(5, True, 800)) == ""
    assert presses.receive(1, 100, Event(5, True, 800)) == "", "late"


def test_every_key_has_its_code_and_what_is_no_key_is_none() -> None:
    presses = Presses()
    pressed = [presses.receive(1, code, Event(code, False, 0)) for code in range(20)]
    assert "".join(pressed) == KEYS == "0123456789*#ABCD"


def test_what_is_remembered_is_bounded() -> None:
    presses = Presses()
    for at in range(10 * REMEMBERED):
        presses.receive(1, at, Event(1, False, 0))
    assert len(presses._seen) == REMEMBERED
