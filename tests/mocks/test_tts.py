import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from mocks.clock import now, run_virtual
from mocks.faults import ScriptedFault
from mocks.tts import ToneTTS
from providers.base import ProviderError, SpeechAudio, SpeechEvent, WordTiming

TEXT = "We are open from nine."


async def timed(
    tts: ToneTTS, text: str = TEXT, speed: float = 1.0
) -> list[tuple[int, SpeechEvent]]:
    async with aclosing(tts.stream(text, speed=speed)) as events:
        return [(round(now() * 1000), event) async for event in events]


def pcm_of(events: list[tuple[int, SpeechEvent]]) -> bytes:
    return b"".join(event.pcm for _, event in events if isinstance(event, SpeechAudio))


def test_audio_is_as_long_as_its_text() -> None:
    pcm = pcm_of(run_virtual(timed(ToneTTS())))
    assert len(pcm) / 2 / 24_000 == pytest.approx(len(TEXT) * 0.065, abs=1e-4)


def test_the_first_piece_comes_after_30_ms_and_the_rest_faster_than_real_time() -> None:
    events = run_virtual(timed(ToneTTS(word_timings=False)))
    assert [at for at, _ in events][:3] == [30, 35, 40]


def test_audio_is_loud_whole_and_without_clicks() -> None:
    samples = np.frombuffer(pcm_of(run_virtual(timed(ToneTTS(), "word " * 20))), dtype="<i2")
    assert 1000 < np.sqrt(np.mean(samples.astype(float) ** 2)) < 12_000
    assert np.abs(np.diff(samples.astype(int))).max() < 6000


def test_every_word_is_timed_before_its_audio() -> None:
    at_s, words = 0.0, []
    for _, event in run_virtual(timed(ToneTTS())):
        if isinstance(event, WordTiming):
            assert event.at >= at_s
            words.append(TEXT[event.start : event.end])
        else:
            at_s += len(event.pcm) / 2 / 24_000
    assert words == TEXT.split()


def test_double_speed_is_half_the_audio() -> None:
    slow, fast = (len(pcm_of(run_virtual(timed(ToneTTS(), speed=speed)))) for speed in (1, 2))
    assert fast == pytest.approx(slow / 2, abs=2)


def test_blank_text_is_silent() -> None:
    assert run_virtual(timed(ToneTTS(), "  ")) == []


def test_closing_it_early_counts_as_aborted() -> None:
    async def main() -> ToneTTS:
        tts = ToneTTS()
        async with aclosing(tts.stream(TEXT)) as events:
            await anext(events)
        return tts

    tts = run_virtual(main())
    assert (tts.running, tts.aborted, tts.finished, tts.texts) == (0, 1, 0, [TEXT])


def test_faults_cut_fail_and_stall_at_their_piece() -> None:
    async def main(kind: str) -> bytes:
        fault = ScriptedFault(kind=kind, item=2)  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            return pcm_of(await timed(ToneTTS(faults=[fault])))

    assert len(run_virtual(main("cut"))) == 2 * 2 * 2400
    with pytest.raises(ProviderError):
        run_virtual(main("fail"))
    with pytest.raises(TimeoutError):
        run_virtual(main("stall"))
