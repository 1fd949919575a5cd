import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.driving import Call, converse
from voice.endpoint import MAX_AHEAD_S, UNJUDGED_SAMPLES, AudioClock, samples

FRAME = 320
"""20 ms."""


def clock_at(frames: int, *, judged: int | None = None, size: int = FRAME) -> AudioClock:
    """`frames` arrived on time, 20 ms apart; all whole chunks judged unless said otherwise."""
    clock = AudioClock()
    for n in range(frames):
        clock.arrive(size, (n + 1) * size / 16000)
    clock.judge(clock.position // 512 * 512 if judged is None else judged)
    return clock


def test_a_sample_already_judged_was_reached_when_its_audio_came() -> None:
    clock = clock_at(50)
    assert clock.when(8000) == clock.arrived_at == 1.0
    assert clock.reached(8000, 1.0)


def test_a_sample_within_the_next_frame_is_reached_before_the_frame_lands() -> None:
    clock = clock_at(50)
    assert clock.when(16000 + 160) == pytest.approx(1.01)
    assert not clock.reached(16000 + 160, 1.009)
    assert clock.reached(16000 + 160, 1.01)


def test_the_clock_never_runs_more_than_one_frame_ahead() -> None:
    clock = clock_at(50)
    assert clock.when(16000 + FRAME) == pytest.approx(1.02)
    assert clock.when(16000 + FRAME + 1) is None
    assert not clock.reached(16000 + FRAME + 1, 100.0)


def test_a_very_long_frame_does_not_let_the_clock_run_a_second_ahead() -> None:
    clock = clock_at(1, size=16000)
    assert clock.when(16000 + samples(MAX_AHEAD_S * 1000)) == pytest.approx(1.0 + MAX_AHEAD_S)
    assert clock.when(16000 + samples(MAX_AHEAD_S * 1000) + 1) is None


def test_a_chunk_that_vad_is_just_at_holds_the_end_of_the_turn_up_by_nothing() -> None:
    clock = clock_at(50, judged=16000 - UNJUDGED_SAMPLES + 1)
    assert clock.reached(16000 + 160, 1.01)


def test_while_vad_lags_behind_by_more_nothing_ahead_of_it_is_reached() -> None:
    clock = clock_at(50, judged=16000 - UNJUDGED_SAMPLES)
    ahead = 16000 - UNJUDGED_SAMPLES + 1
    assert clock.when(ahead) is None
    assert not clock.reached(ahead, 100.0)
    clock.judge(ahead)
    assert clock.reached(ahead, 1.0)


def test_a_burst_moves_the_clock_by_its_samples_and_not_by_its_delay() -> None:
    clock = AudioClock()
    for _ in range(25):
        clock.arrive(FRAME, 3.0)  # half a second of audio, all at once
    clock.judge(8000 // 512 * 512)
    assert clock.position == 8000
    assert clock.when(8000 + FRAME) == pytest.approx(3.02)


def test_vad_never_takes_a_judgement_back() -> None:
    clock = clock_at(10, judged=2048)
    clock.judge(1024)
    assert clock.judged == 2048


def test_milliseconds_round_to_samples() -> None:
    assert (samples(20), samples(0), samples(62.5)) == (320, 0, 1000)


@given(
    frames=st.lists(st.tuples(st.integers(1, 2400), st.floats(0, 0.5)), min_size=1, max_size=40),
    lag=st.integers(0, 8),
    target=st.integers(0, 60_000),
)
def test_nothing_is_reached_before_it_can_have_been_spoken(
    frames: list[tuple[int, float]], lag: int, target: int
) -> None:
    """A frame arrives when its last sample has been spoken, or later, never before."""
    clock = AudioClock()
    position, delay_until = 0, 0.0
    for count, delay in frames:
        position += count
        delay_until = max(delay_until, position / 16000 + delay)
        clock.arrive(count, delay_until)
        clock.judge(max(0, position // 512 - lag) * 512)
        due = clock.when(target)
        if due is not None:
            assert due >= min(target / 16000, clock.arrived_at) - 1e-9
            assert due >= clock.arrived_at
            ahead = target - clock.position
            assert ahead <= max(0, min(count, samples(MAX_AHEAD_S * 1000)))
            assert clock.reached(target, due)
            assert ahead <= 0 or not clock.reached(target, due - 1e-4)


def test_what_was_spoken_before_it_came_is_reached_so_much_sooner() -> None:
    clock = AudioClock()
    clock.arrive(FRAME, 1.0, delay_s=0.003)
    clock.judge(FRAME)
    assert clock.when(FRAME + 160) == pytest.approx(1.0 - 0.003 + 0.01)


@pytest.mark.parametrize("rate_hz", [8000, 24_000])
def test_a_resamplers_delay_keeps_no_caller_waiting(rate_hz: int) -> None:
    def ended_at(rate_hz: int) -> float:
        loud = (np.sin(np.arange(rate_hz // 50)) * 8000).astype("<i2").tobytes()
        form = {"type": "audio/pcm", "rate": rate_hz}

        async def scenario(call: Call) -> None:
            call.update(audio={"input": {"format": form}})
            await call.stream(loud, 1.0)
            await call.stream(bytes(len(loud)), 1.5)

        call = converse(scenario)
        at: float = call.one("input_audio_buffer.committed").at
        return at

    # 4 ms: the blocks in which it is told where loudness ended
    assert ended_at(rate_hz) <= ended_at(16_000) + 0.0046
