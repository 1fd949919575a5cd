"""espeak-ng: whole words, true timings, a thread that is free again at once."""

import asyncio
import contextlib

import numpy as np
import pytest

from providers.base import ProviderError, SpeechAudio, SpeechEvent, WordTiming
from providers.tts_espeak import EspeakTTS, is_voice, voices_for

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


@pytest.mark.parametrize("text", ["", "  \n ", "\x00", "\x01", "\u202e", "\u2066\u2069"])
def test_text_without_words_gives_nothing(text: str) -> None:
    assert speak(text) == []


def test_markup_is_spoken_or_dropped_but_never_obeyed() -> None:
    plain = seconds_of(speak("and the end"))
    assert seconds_of(speak("and <break time='30s'/> the end")) < plain + 5
    assert "lo" in "".join(words_of("[[h@loU]] x", speak("[[h@loU]] x")))
    # \x01 begins an embedded command of espeak: this one would set the slowest rate.
    assert seconds_of(speak("\x0180S and the end")) < plain + 2


@pytest.mark.parametrize(
    "text",
    [
        "The \u202eshop is\u202c open.",  # right to left, and the end of it
        "\u2067The\u2069 shop \u200fis\u200e open.",
        "\ufeffThe\u2028shop\u2029is\x85open\x00.",
        "The\x07 \x1b[31mshop is\u200b open.",
        "The shop is open. \U000e0041\ud800",
    ],
)
def test_invisible_characters_do_not_shift_the_timings(text: str) -> None:
    events = speak(text)
    names = " ".join(words_of(text, events))
    assert [w for w in ("The", "shop", "is", "open") if w in names] == ["The", "shop", "is", "open"]
    at = [event.at for event in events if isinstance(event, WordTiming)]
    assert at == sorted(at) and at[-1] < seconds_of(events)


def test_a_voice_is_known_before_it_is_spoken_with() -> None:
    known = ["en-us", "de", "cmn", "en-us+f3", "+f3", "en+13", "de+Mr serious"]
    unknown = ["", "nobody", "zh-hans-cn", "en-us+nobody", "+nobody", "../../../etc/passwd", "f3"]
    assert [name for name in known if not is_voice(name)] == []
    assert [name for name in unknown if is_voice(name)] == []


def test_a_variant_without_its_plus_is_no_voice_but_not_silent_either() -> None:
    text = "The shop is open."
    normal = seconds_of(speak(text))
    for name in ("f3", "female1", "Mr serious"):
        assert seconds_of(speak(text, voice=name)) == pytest.approx(normal, rel=0.1)


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
        ("你好", "", "zh-Hans-CN", "zh-hans-cn"),
        ("你好", "", "zh-HK", "yue"),
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


@pytest.mark.parametrize(
    ("text", "language", "best"),
    [
        ("The shop is open.", "ja", "en-us"),
        ("The shop is open.", "zh-Hans-CN", "en-us"),
        ("The shop is open.", "bn", "en-us"),
        ("こんにちは、カイワーです", "en", "ja"),
        ("ﾊﾝｶｸ", "de", "ja"),
        ("漢字とかな", "zh", "ja"),
        ("你好", "ko", "cmn"),
        ("привет", "fr-FR", "ru"),
        ("hello", "ru", "en-us"),
        ("I said привет to them", "ru", "en-us"),
        ("привет, это Kaiwa", "en", "ru"),
    ],
)
def test_a_script_that_contradicts_the_language_comes_before_it(
    text: str, language: str, best: str
) -> None:
    assert voices_for(text, "", language)[0] == best
    assert voices_for(text, "+f3", language)[0] == best + "+f3"
    assert voices_for(text, "fr", language)[0] == "fr"


@pytest.mark.parametrize(
    ("text", "language", "best"),
    [
        ("hello", "de", "de"),
        ("Guten Tag", "fr", "fr"),
        ("漢字", "ja", "ja"),
        ("これはWiFiです", "ja", "ja"),
        ("привет", "uk", "uk"),
        ("привет, это Kaiwa", "ru", "ru"),
        ("zdravo", "sr-Latn", "sr-latn"),
        ("zdravo", "sr", "sr"),
        ("ni hao", "cmn-Latn-pinyin", "cmn-latn-pinyin"),
        ("10:30 – 12!", "ja", "ja"),
        ("ᚠᚢᚦ", "ja", "ja"),
        ("ab вг", "ru", "ru"),
    ],
)
def test_a_script_of_the_language_leaves_the_voice_to_the_language(
    text: str, language: str, best: str
) -> None:
    assert voices_for(text, "", language)[0] == best


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [("The shop is open from nine.", "ja", "en"), ("おみせは くじから です。", "en", "ja")],
)
def test_text_with_the_tag_of_another_script_is_spoken_as_with_its_own(
    text: str, wrong: str, right: str
) -> None:
    own = seconds_of(speak(text, language=right))
    assert seconds_of(speak(text, language=wrong)) == pytest.approx(own, rel=0.05)


@pytest.mark.real_time
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
