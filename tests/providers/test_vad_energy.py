"""Loudness over an adaptive floor."""

import asyncio

import numpy as np
import pytest

from providers.base import VadFrame
from providers.vad_energy import EnergyVAD

RNG = np.random.default_rng(2)


def noise(seconds: float, level: float) -> bytes:
    return (RNG.normal(size=int(seconds * 16_000)) * level).astype("<i2").tobytes()


def listen(pcm: bytes) -> list[VadFrame]:
    frames: list[VadFrame] = []
    EnergyVAD().open(frames.append).feed(pcm)
    return frames


def test_a_steady_room_is_silence_and_a_voice_over_it_is_speech() -> None:
    frames = listen(noise(1, 100) + noise(1, 2000) + noise(1, 100))
    loud = [frame.end_sample for frame in frames if frame.probability > 0.5]
    assert loud[0] <= 16_000 + 512 and loud[-1] <= 32_000 + 512 and len(loud) >= 30


def test_a_room_that_became_louder_is_silence_again_within_ten_seconds() -> None:
    frames = listen(noise(1, 100) + noise(12, 700))
    assert frames[40].probability > 0.5
    assert all(frame.probability < 0.5 for frame in frames[-60:])


def test_digital_silence_and_faint_dither_are_no_speech() -> None:
    assert max(frame.probability for frame in listen(bytes(32_000) + noise(1, 20))) < 0.5


def test_nothing_comes_after_close_not_even_from_within_the_sink() -> None:
    frames: list[VadFrame] = []

    def hang_up(frame: VadFrame) -> None:
        frames.append(frame)
        stream.close()

    stream = EnergyVAD().open(hang_up)
    stream.feed(bytes(10_240))
    stream.feed(bytes(10_240))
    assert [frame.end_sample for frame in frames] == [512]


def test_odd_bytes_are_refused_and_check_passes() -> None:
    with pytest.raises(ValueError, match="whole 16-bit samples"):
        listen(b"a")
    asyncio.run(EnergyVAD().check())
