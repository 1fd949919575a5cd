import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from providers._openjtalk_voice import LEAD_S, TAIL_S, shares, trimmed
from providers.base import ProviderError, SpeechAudio, SpeechEvent, WordTiming
from providers.tts_openjtalk import RATE_HZ, OpenJTalkTTS
from tests.needed import missing

TEXT = "営業時間は午前9時から、午後8時までです。"
HAS_ENGINE = importlib.util.find_spec("pyopenjtalk") is not None
with_engine = pytest.mark.usefixtures("engine")


@pytest.fixture
def engine() -> None:
    if not HAS_ENGINE:
        missing("the extra `japanese` is not installed")


def with_voice(work: Callable[[OpenJTalkTTS], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        tts = OpenJTalkTTS()
        try:
            async with asyncio.timeout(60):
                await tts.start()
                return await work(tts)
        finally:
            await tts.aclose()

    return asyncio.run(main())


async def say(tts: OpenJTalkTTS, text: str = TEXT, **options: Any) -> list[SpeechEvent]:
    async with aclosing(tts.stream(text, **options)) as events:
        return [event async for event in events]


def pcm_of(events: list[SpeechEvent]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, SpeechAudio))


# --- pure -----------------------------------------------------------------------------------------


def test_silence_at_both_ends_is_cut_to_what_belongs_there() -> None:
    samples = np.concatenate([np.zeros(15_000), np.full(48_000, 9000.0), np.zeros(16_000)])
    kept = trimmed(samples, RATE_HZ)
    assert len(kept) == 48_000 + int((LEAD_S + TAIL_S) * RATE_HZ)
    assert len(trimmed(np.zeros(500), RATE_HZ)) == 500


def word(span: tuple[int, int], morae: int, phonemes: list[str]) -> dict[str, Any]:
    return {"char_span": span, "mora_count": morae, "phonemes": phonemes}


def test_words_begin_in_proportion_to_their_morae_and_pauses_count() -> None:
    words = [
        word((0, 2), 4, ["e"]),
        word((2, 3), 0, ["pau"]),
        word((3, 5), 3, ["g"]),
        word((0, 0), 0, ["x"]),
        word((5, 6), 2, ["d"]),
        word((6, 7), 0, ["pau"]),
    ]
    assert shares(words) == [(0, 2, 0.0), (3, 5, 6.5 / 11.5), (5, 6, 9.5 / 11.5)]
    assert shares([]) == [] and shares([word((0, 1), 0, ["pau"])]) == []


# --- the engine -----------------------------------------------------------------------------------


@pytest.mark.skipif(HAS_ENGINE, reason="the extra `japanese` is installed")
def test_without_the_extra_the_error_says_how_to_install_it() -> None:
    with pytest.raises(ProviderError, match=r"pip install 'kaiwa\[japanese\]'"):
        with_voice(say)


@with_engine
def test_kanji_are_spoken_at_once_and_as_long_as_people_take() -> None:
    pcm = np.frombuffer(pcm_of(with_voice(say)), "<i2")
    assert 2.0 < len(pcm) / RATE_HZ < 5.0
    assert np.abs(pcm[: RATE_HZ // 20].astype(int)).max() > 100, "no silence before it"
    assert np.abs(pcm.astype(int)).max() > 5000


@with_engine
def test_words_are_marked_before_their_audio_in_order_and_within_it() -> None:
    events = with_voice(say)
    marks = [event for event in events if isinstance(event, WordTiming)]
    assert [TEXT[mark.start : mark.end] for mark in marks][:4] == ["営業", "時", "間", "は"]
    times = [mark.at for mark in marks]
    assert times == sorted(times) and 0 <= times[0] and times[-1] < len(pcm_of(events)) / 96_000
    assert isinstance(events[len(marks)], SpeechAudio)


@with_engine
def test_speed_is_obeyed() -> None:
    async def work(tts: OpenJTalkTTS) -> tuple[int, int]:
        return len(pcm_of(await say(tts))), len(pcm_of(await say(tts, speed=2.0)))

    normal, fast = with_voice(work)
    assert 0.4 < fast / normal < 0.65
