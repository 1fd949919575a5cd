"""Pieces of audio for the recogniser: one at a time, none of them twice."""

from voice.endpoint import AudioClock, samples
from voice.events import AbandonSegment, BeginSegment, EndSegment
from voice.segments import Segments
from voice.utterance import Utterance


def at(ms: int) -> tuple[AudioClock, Segments]:
    clock = AudioClock()
    clock.arrive(samples(ms), ms / 1000)
    clock.judge(samples(ms))
    return clock, Segments(clock)


def test_one_begins_in_front_of_its_sound_but_not_before_the_call() -> None:
    _, segments = at(1000)
    assert segments.start_for(samples(1000), 300) == samples(700)
    assert segments.start_for(samples(100), 300) == 0


def test_none_begins_in_what_another_has_heard() -> None:
    clock, segments = at(1000)
    assert segments.begin(Utterance(1, 0), 0) == BeginSegment(1, 1, 0)
    assert segments.is_live and segments.end() == [EndSegment(1)]
    assert segments.end() == [] and not segments.is_live
    assert segments.start_for(clock.position + samples(100), 300) == samples(1000)


def test_one_that_is_abandoned_has_heard_nothing_until_it_is_said_so() -> None:
    _, segments = at(1000)
    segments.begin(Utterance(1, 0), 0)
    assert segments.abandon() == [AbandonSegment(1)] and segments.abandon() == []
    assert segments.start_for(samples(1000), 300) == samples(700)
    segments.forget(samples(900))
    assert segments.start_for(samples(1000), 300) == samples(900)


def test_a_buffer_that_grows_is_heard_in_pieces_of_the_limit() -> None:
    clock, segments = at(1000)
    said = Utterance(1, 0)
    segments.begin(said, 0)
    assert segments.roll_over(said, samples(1000), 2.0) == []
    clock.arrive(samples(1000), 2.0)
    assert segments.roll_over(said, samples(2000), 2.0) == [
        EndSegment(1),
        BeginSegment(1, 2, samples(2000)),
    ]
    assert said.owns(1) and said.owns(2)
