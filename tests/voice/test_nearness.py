"""Whose voice it is, by its level alone: what sounds over an answer, against the caller's turns."""

from providers.base import VAD_CHUNK_SAMPLES, VadFrame
from voice.endpoint import samples
from voice.nearness import Nearness


class Line:
    """Chunks of one level after the other."""

    def __init__(self) -> None:
        self.nearness, self.at = Nearness(), 0

    def sounds(self, ms: int, rms: float, probability: float = 0.9) -> int:
        """Returns where it began."""
        start, end = self.at, self.at + samples(ms)
        while self.at < end:
            self.at += VAD_CHUNK_SAMPLES
            self.nearness.hear(VadFrame(self.at, probability, (rms,) * 8))
        return start

    def turn(self, rms: float) -> None:
        self.nearness.learn(self.sounds(1000, rms), self.at)

    def is_far(self, rms: float) -> bool:
        return self.nearness.is_far(self.sounds(300, rms), 18.0)


def test_nobody_is_far_before_the_caller_was_heard() -> None:
    assert not Line().is_far(10)


def test_a_voice_20_db_below_the_callers_is_far_and_one_15_db_below_is_not() -> None:
    line = Line()
    line.turn(5000)
    assert line.is_far(500) and not line.is_far(5000 / 5.6)


def test_a_click_and_silence_are_no_part_of_a_voices_level() -> None:
    line = Line()
    start = line.sounds(500, 5000)
    line.sounds(500, 5, probability=0.1)
    line.sounds(64, 30000)
    line.nearness.learn(start, line.at)
    assert line.is_far(500) and not line.is_far(1000)


def test_the_callers_voice_over_a_far_one_is_near() -> None:
    line = Line()
    line.turn(5000)
    start = line.sounds(2000, 300)
    assert line.nearness.is_far(start, 18.0)
    line.sounds(320, 5000)
    assert not line.nearness.is_far(start, 18.0)


def test_who_puts_the_telephone_down_is_near_again_after_a_turn_or_two() -> None:
    line = Line()
    line.turn(5000)
    line.turn(500)
    assert not line.is_far(500)
    line.turn(5000)
    assert line.is_far(500), "and up again at once"


def test_a_shout_among_usual_turns_makes_nobody_far() -> None:
    line = Line()
    for rms in (1000, 1000, 16000):
        line.turn(rms)
        assert not line.is_far(1000)
    first = Line()
    first.turn(16000)
    assert first.is_far(1000), "nothing else is known of the caller yet"
    first.turn(1000)
    assert not first.is_far(500)


def test_a_television_that_was_taken_for_the_caller_once_is_far_again_after_the_next_turn() -> None:
    line = Line()
    for rms in (5000, 5000, 300, 5000):
        line.turn(rms)
    assert line.is_far(300)


def test_who_lowers_the_voice_after_many_loud_turns_is_near_with_the_next() -> None:
    line = Line()
    for rms in (5000, 5000, 5000, 500):
        line.turn(rms)
    assert not line.is_far(500)


def test_nobody_is_far_in_the_first_tenth_of_a_second_nor_where_it_is_switched_off() -> None:
    line = Line()
    line.turn(5000)
    start = line.sounds(64, 300)
    assert not line.nearness.is_far(start, 18.0)
    line.sounds(300, 300)
    assert not line.nearness.is_far(start, 0.0)
