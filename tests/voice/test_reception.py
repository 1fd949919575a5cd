"""What is reported of a sender, in the words of RFC 3550."""

import pytest

from voice.reception import Reception, ntp_of


def test_nothing_is_lost_where_everything_came_over_the_wrap_too() -> None:
    heard = Reception(1, 48_000)
    for number in range(100):
        heard.add((65_500 + number) & 0xFFFF, number * 960, number * 0.02)
    assert (heard.expected, heard.lost) == (100, 0)
    assert heard.highest == 65_500 + 99
    assert heard.jitter_ms == pytest.approx(0, abs=1e-6)


def test_the_share_that_is_lost_is_that_since_the_last_report() -> None:
    heard = Reception(1, 48_000)
    for number in range(0, 100, 2):
        heard.add(number, number * 960, number * 0.02)
    assert heard.fraction_lost() == 49 * 256 // 99
    for number in range(99, 200):
        heard.add(number, number * 960, number * 0.02)
    assert heard.fraction_lost() == 0
    assert heard.lost == 49


def test_packets_that_overtake_each_other_are_not_lost() -> None:
    heard = Reception(1, 48_000)
    for number in (0, 2, 1, 3):
        heard.add(number, number * 960, number * 0.02)
    assert (heard.expected, heard.lost) == (4, 0)


def test_jitter_is_the_mean_change_of_the_transit_time() -> None:
    heard = Reception(1, 48_000)
    for number in range(2000):
        heard.add(number, number * 960, number * 0.02 + (number % 2) * 0.01)
    assert heard.jitter_ms == pytest.approx(10, rel=0.01)


def test_the_senders_last_report_is_answered_with_its_age() -> None:
    heard = Reception(1, 48_000)
    assert heard.last_sender_report(5.0) == (0, 0)
    heard.sender_reported(0x1122_3344_5566_7788, 5.0)
    assert heard.last_sender_report(5.5) == (0x3344_5566, 32_768)


def test_network_time_begins_in_1900() -> None:
    assert ntp_of(0.5) == (2_208_988_800 << 32) + (1 << 31)


def test_a_stray_is_no_loss_and_neither_is_another_line_of_numbers() -> None:
    heard = Reception(1, 48_000)
    for number in (0, 1, 20_000, 2, 3):
        heard.add(number, number * 960, number * 0.02)
    assert (heard.expected, heard.lost, heard.fraction_lost()) == (4, 0, 0)
    for number in range(50):
        heard.add(40_000 + number, number * 960, 1 + number * 0.02)
    assert (heard.lost, heard.fraction_lost()) == (0, 0)
    assert heard.highest == 40_049
    assert heard.jitter_ms == pytest.approx(0, abs=1e-6)
