import asyncio

import numpy as np
import pytest

from mocks.clock import now, run_virtual
from mocks.vad import LoudnessVAD, ScriptedVAD, speech_at
from providers.base import VadFrame


def loud(samples: int, amplitude: int) -> bytes:
    return np.where(np.arange(samples) % 2, amplitude, -amplitude).astype("<i2").tobytes()


def judge(vad: ScriptedVAD | LoudnessVAD, *pieces: bytes) -> list[VadFrame]:
    async def main() -> list[VadFrame]:
        frames: list[VadFrame] = []
        stream = vad.open(frames.append)
        for piece in pieces:
            stream.feed(piece)
        await asyncio.sleep(1)
        stream.close()
        return frames

    return run_virtual(main())


def test_the_script_is_said_chunk_by_chunk_and_then_the_rest() -> None:
    frames = judge(ScriptedVAD([0.1, 0.9], rest=0.3), bytes(1024 * 3))
    assert [(f.end_sample, f.probability) for f in frames] == [(512, 0.1), (1024, 0.9), (1536, 0.3)]


def test_spans_of_speech_become_chunks() -> None:
    assert speech_at((0.064, 0.128), until_s=0.16) == [0, 0, 1, 1, 0]


def test_pieces_that_are_no_whole_chunks_are_put_together() -> None:
    frames = judge(ScriptedVAD(), *[bytes(640)] * 8)
    assert [frame.end_sample for frame in frames] == [512, 1024, 1536, 2048, 2560]


@pytest.mark.parametrize(("amplitude", "probability"), [(500, 0.5), (1000, 0.95), (250, 0.05)])
def test_loudness_is_speech(amplitude: int, probability: float) -> None:
    (frame,) = judge(LoudnessVAD(threshold_rms=500), loud(512, amplitude))
    assert frame.probability == pytest.approx(probability, abs=0.001)
    assert frame.rms == pytest.approx([amplitude] * 8)


def test_loudness_is_given_per_block() -> None:
    (frame,) = judge(LoudnessVAD(), bytes(2 * 448) + loud(64, 2000))
    assert frame.rms == pytest.approx([0] * 7 + [2000])


def test_digital_silence_is_no_speech() -> None:
    (frame,) = judge(LoudnessVAD(), bytes(1024))
    assert frame.probability < 0.001


def test_judgement_comes_after_its_delay() -> None:
    async def main() -> list[float]:
        times: list[float] = []
        stream = ScriptedVAD(delay_ms=5).open(lambda _: times.append(now()))
        stream.feed(bytes(1024))
        await asyncio.sleep(0.1)
        stream.feed(bytes(1024))
        stream.close()
        await asyncio.sleep(0.1)
        return times

    assert run_virtual(main()) == [pytest.approx(0.005)]
