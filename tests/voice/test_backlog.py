"""A recogniser is given time for the audio that came at once, and none for what came as spoken."""

import pytest

from voice.backlog import MAX_S, PACE, Backlog


@pytest.mark.parametrize("frame_s", [0.01, 0.02, 0.06, 0.1])
def test_audio_that_comes_as_it_is_spoken_leaves_none(frame_s: float) -> None:
    backlog = Backlog()
    for n in range(1, 100):
        backlog.arrive(frame_s, n * frame_s)
        assert backlog.left_s(n * frame_s) == 0


@pytest.mark.parametrize("frame_s", [0.02, 0.5, 20.0])
def test_audio_that_comes_at_once_takes_its_time_whatever_its_frames(frame_s: float) -> None:
    backlog = Backlog()
    for _ in range(round(20 / frame_s)):
        backlog.arrive(frame_s, 5.0)
    assert backlog.left_s(5.0) == pytest.approx(20 / PACE, abs=0.1)
    assert backlog.left_s(9.0) == pytest.approx(20 / PACE - 4, abs=0.1)
    assert backlog.left_s(60.0) == 0


def test_a_burst_is_worked_off_while_the_caller_goes_on_speaking() -> None:
    backlog = Backlog()
    backlog.arrive(4.0, 0.0)
    for n in range(1, 251):
        backlog.arrive(0.02, n * 0.02)
    assert backlog.left_s(5.0) == 0


def test_nobody_is_waited_for_without_end() -> None:
    backlog = Backlog()
    backlog.arrive(100_000.0, 0.0)
    assert backlog.left_s(0.0) == MAX_S
