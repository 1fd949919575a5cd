"""espeak-ng: whole words, true timings, a thread that is free again at once."""

import asyncio
import contextlib

import numpy as np
import pytest

from providers.base import ProviderError, SpeechAudio, SpeechEvent, WordTiming
from providers.tts_espeak import EspeakTTS, voices_for

RATE_HZ = 22_050


async def collect(tts: EspeakTTS, text: str, **options: str | float) -> list[SpeechEvent]:
    async with contextlib.aclosing(tts.stream(text, **options)) as events:  # type: ignore[arg-type]
        return [event async for event in events]


def speak(text: str, **options: str | float) -> list[SpeechEvent]:
    async def run() -> list[SpeechEvent]:
        tts = EspeakTTS()
        await tts.start()
        return await collect(tts, text, **options)

    return asyncio.run(run())


def pcm_of(events: list[SpeechEvent]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, SpeechAudio))


def seconds_of(events: list[SpeechEvent]) -> float:
    return len(pcm_of(events)) / 2 / RATE_HZ


def words_of(text: str, events: list[SpeechEvent]) -> list[str]:
    return [text[event.start : event.end] for event in events if isinstance(event, WordTiming)]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Hello there, this is a test.", "en", ["Hello", "there", "this", "is", "a", "test"]),
        ("Äpfel über Öl, schön.", "de", ["Äpfel", "über", "Öl", "schön"]),
        ("Ça va très bien.", "fr-FR", ["Ça", "va", "très", "bien"]),
        ("こんにちは。わたしは かいわ です。", "", ["こんにちは", "わたしは", "かいわ", "です"]),
        ("안녕하세요 반갑습니다.", "", ["안녕하세요", "반갑습니다"]),
    ],
)
def test_timings_name_every_word_in_order_inside_the_audio(
    text: str, language: str, words: list[str]
) -> None:
    events = speak(text, language=language)
    assert words_of(text, events) == words
    at = [event.at for event in events if isinstance(event, WordTiming)]
    assert at == sorted(set(at)) and at[0] < 0.1 and at[-1] < seconds_of(events)


def test_a_timing_comes_no_later_than_the_audio_it_lies_in() -> None:
    samples = 0
    for event in speak("One two three four five six seven eight nine ten."):
        if isinstance(event, SpeechAudio):
            samples += len(event.pcm) // 2
        else:
            assert event.at * RATE_HZ >= samples - 1


def test_every_word_adds_to_the_length() -> None:
    one, ten = speak("seven"), speak(" ".join(["seven"] * 10))
    assert 5 < seconds_of(ten) / seconds_of(one) < 11


def test_silence_before_the_first_sound_is_short_and_nothing_clips() -> None:
    for text in ("Bold", "<b>", "あ", "Quite a long sentence, with a comma."):
        samples = np.frombuffer(pcm_of(speak(text)), np.int16).astype(np.int32)
        assert np.nonzero(np.abs(samples) > 50)[0][0] <= 0.021 * RATE_HZ
        assert 1000 < np.abs(samples).max() < 32_700


@pytest.mark.parametrize("text", ["", "  \n ", "\x00", "\x01"])
def test_text_without_words_gives_nothing(text: str) -> None:
    assert speak(text) == []


def test_markup_is_spoken_or_dropped_but_never_obeyed() -> None:
    plain = seconds_of(speak("and the end"))
    assert seconds_of(speak("and <break time='30s'/> the end")) < plain + 5
    assert "lo" in "".join(words_of("[[h@loU]] x", speak("[[h@loU]] x")))
    # \x01 begins an embedded command of espeak: this one would set the slowest rate.
    assert seconds_of(speak("\x0180S and the end")) < plain + 2


def test_speed_voice_and_unknown_names_are_heeded() -> None:
    text = "The shop is open from nine until eight."
    normal = speak(text)
    assert seconds_of(speak(text, speed=2.0)) < 0.65 * seconds_of(normal)
    assert pcm_of(speak(text, voice="en-us+f3")) != pcm_of(normal)
    assert seconds_of(speak(text, voice="nobody")) == pytest.approx(seconds_of(normal), rel=0.1)
    assert seconds_of(speak(text, voice="../../../etc/passwd")) == pytest.approx(
        seconds_of(normal), rel=0.1
    )
    assert seconds_of(speak(text, language="xx-YY")) == pytest.approx(seconds_of(normal), rel=0.1)


def test_a_speed_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(ProviderError, match=r"speed must be 0\.25\.\.4, got 9"):
        speak("x", speed=9)


@pytest.mark.parametrize(
    ("text", "voice", "language", "best"),
    [
        ("你好", "", "", "cmn"),
        ("漢字とかな", "", "", "ja"),
        ("hello", "", "zh-Hans-CN", "zh-hans-cn"),
        ("hello", "", "en_GB", "en-gb"),
        ("привет", "", "", "ru"),
        ("hello", "+f3", "de", "de+f3"),
        ("hello", "", "", "en-us"),
    ],
)
def test_the_voice_follows_the_request_then_the_language_then_the_script(
    text: str, voice: str, language: str, best: str
) -> None:
    tried = voices_for(text, voice, language)
    assert tried[0] == best and tried[-1] == "en-us"


def test_closing_the_stream_frees_the_thread_for_the_next_request() -> None:
    async def run() -> float:
        tts = EspeakTTS()
        await tts.start()
        async with contextlib.aclosing(tts.stream("A very long story. " * 2000)) as events:
            async for event in events:
                if isinstance(event, SpeechAudio):
                    break
        began = asyncio.get_running_loop().time()
        assert pcm_of(await collect(tts, "next"))
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 0.05


def test_requests_at_the_same_time_are_each_whole() -> None:
    texts = ["The first of them.", "Ein zweiter Satz, etwas länger.", "third"] * 4

    async def run() -> tuple[list[bytes], list[bytes]]:
        tts = EspeakTTS()
        await tts.start()
        alone = [pcm_of(await collect(tts, text)) for text in texts]
        together = await asyncio.gather(*(collect(tts, text) for text in texts))
        return alone, [pcm_of(events) for events in together]

    alone, together = asyncio.run(run())
    for one, other in zip(alone, together, strict=True):
        assert len(other) == pytest.approx(len(one), rel=0.05)


def test_it_says_what_to_do_when_it_was_not_started() -> None:
    with pytest.raises(ProviderError, match="start"):
        asyncio.run(EspeakTTS().check())
