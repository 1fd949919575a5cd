import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest

from mocks.serve_tts import FaultKind, SpeechServer, TtsFault, audio_of
from providers._tts_sanity import UnsoundError
from providers.base import Fault, ProviderError, SpeechAudio
from providers.tts_speech_api import SpeechApiTTS, SseAudio

TEXT = "We open at nine, every day."
KEY = "sk-very-secret"
WHOLE = audio_of(TEXT, 44_100)
MODES = pytest.mark.parametrize("mode", ["audio", "sse"])


def with_server(
    server: SpeechServer, work: Callable[[SpeechApiTTS], Awaitable[Any]], **options: Any
) -> Any:
    """What `work` makes of a client of `server`."""

    async def main() -> Any:
        async with server:
            tts = SpeechApiTTS(server.url, **options)
            try:
                async with asyncio.timeout(60):
                    return await work(tts)
            finally:
                await tts.aclose()

    return asyncio.run(main())


def speech(**options: Any) -> SpeechServer:
    return SpeechServer(**{"latency_ms": 2, "rtf": 0.0, **options})


async def say(tts: SpeechApiTTS, text: str = TEXT, **options: Any) -> bytes:
    async with aclosing(tts.stream(text, **options)) as events:
        return b"".join([event.pcm async for event in events if isinstance(event, SpeechAudio)])


def failure(
    server: SpeechServer, work: Callable[[SpeechApiTTS], Awaitable[Any]] = say, **options: Any
) -> ProviderError:
    """The error a clause ends in."""
    limits = {"first_audio_s": 0.4, "audio_gap_s": 0.2}
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, **{**limits, **options})
    return caught.value


async def until(condition: Callable[[], bool], limit_s: float = 2.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server's counters have no event
            await asyncio.sleep(0.005)


# --- the stream -----------------------------------------------------------------------------------


@MODES
def test_the_samples_are_the_servers_however_they_come(mode: Any) -> None:
    assert with_server(speech(piece_ms=33), say, stream=mode) == WHOLE


@MODES
def test_audio_is_handed_on_while_the_rest_is_being_made(mode: Any) -> None:
    async def work(tts: SpeechApiTTS) -> None:
        async with aclosing(tts.stream(TEXT)) as events:
            first = await anext(events)
            assert isinstance(first, SpeechAudio) and len(first.pcm) < len(WHOLE) / 2
            assert server.running == 1

    server = speech(rtf=1.0)
    with_server(server, work, stream=mode)


def test_a_header_is_taken_off() -> None:
    assert with_server(speech(faults=[TtsFault(kind="wav")]), say) == WHOLE


def test_events_are_read_as_such_though_bare_audio_was_asked_for() -> None:
    server = speech(refuses=["stream_format"])  # `stream` alone means events there
    assert with_server(server, say, stream="audio") == WHOLE
    assert server.requests == 2


def test_what_is_asked_for_reaches_the_server() -> None:
    server = speech(model="s2-pro")
    options = {"model": "s2-pro", "voice": "ryan", "extra": {"task_type": "CustomVoice"}}
    with_server(server, say, **options)
    assert server.bodies[0] == {
        "input": TEXT,
        "model": "s2-pro",
        "voice": "ryan",
        "response_format": "pcm",
        "stream": True,
        "stream_format": "audio",
        "task_type": "CustomVoice",
    }


def test_fields_that_the_server_complains_of_are_left_out_from_then_on() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        for _ in range(3):
            assert await say(tts) == WHOLE

    server = speech(refuses=["stream", "stream_format"])
    with_server(server, work)
    assert server.requests == 5
    assert set(server.bodies[-1]) == {"input", "response_format"}


def test_where_streams_have_one_speed_a_clause_is_said_at_that() -> None:
    server = speech()
    assert with_server(server, lambda tts: say(tts, speed=1.5)) == WHOLE
    assert "speed" in server.bodies[0] and "speed" not in server.bodies[1]


@pytest.mark.parametrize("path", ["", "/v1", "/v1/audio/speech"])
def test_the_endpoint_may_end_anywhere_on_the_way(path: str) -> None:
    tts = SpeechApiTTS("http://gpu:8091" + path)
    assert tts.info.endpoint == "http://gpu:8091/v1"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"endpoint": "gpu:8091"}, "TTS_ENDPOINT must be like"),
        ({"rate_hz": 44}, "rate_hz must be 8000..96000, got 44"),
        ({"api_key": "a b"}, "TTS_API_KEY"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        SpeechApiTTS(**{"endpoint": "http://gpu", **options})


def test_nothing_to_say_asks_nobody_and_a_speed_that_cannot_be_is_refused() -> None:
    server = speech()
    assert with_server(server, lambda tts: say(tts, " \n")) == b"" and server.requests == 0
    assert failure(speech(), lambda tts: say(tts, speed=9)).fault is Fault.REFUSED


# --- voices and rates -----------------------------------------------------------------------------


def test_an_unknown_voice_is_an_error_at_start_that_names_the_known() -> None:
    error = failure(speech(), SpeechApiTTS.start, voice="anna")
    assert error.fault is Fault.REFUSED and "one of: vivian, ryan" in str(error)


def test_a_callers_voice_is_used_where_the_server_has_it() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        await tts.start()
        await say(tts, voice="Ryan")
        await say(tts, voice="alloy")

    server = speech()
    with_server(server, work, voice="vivian")
    assert [body.get("voice") for body in server.bodies] == ["vivian", "ryan", "vivian"]


def test_a_server_without_a_list_is_trusted() -> None:
    server = speech(voices=None)
    with_server(server, SpeechApiTTS.start, voice="alloy")
    assert server.bodies[0]["voice"] == "alloy"


def test_another_rate_than_the_one_set_is_told_where_the_server_tells_it() -> None:
    error = failure(speech(content_type="audio/pcm;rate=24000"))
    assert error.fault is Fault.REFUSED and "set TTS_RATE_HZ" in str(error)
    pcm = with_server(speech(rate_hz=24_000), say, rate_hz=24_000)
    assert pcm == audio_of(TEXT, 24_000)


# --- failures -------------------------------------------------------------------------------------


_BOTH = [
    ("hang_up", Fault.UNREACHABLE, "is the server at"),
    ("hang", Fault.TIMEOUT, "no audio in 0.4 s"),
    ("slow", Fault.TIMEOUT, "no audio in 0.4 s"),
    ("error", Fault.BROKEN, "CUDA out of memory"),
    ("busy", Fault.OVERLOADED, "takes no more now"),
    ("html", Fault.BROKEN, "text/html instead of audio"),
    ("stall", Fault.TIMEOUT, "behind"),
    ("reset", Fault.BROKEN, "the connection broke"),
    ("cut", Fault.BROKEN, "the connection broke"),
    ("odd", Fault.BROKEN, "in the middle of a sample"),
    ("short", Fault.BROKEN, "of audio for a text"),
    ("empty", Fault.BROKEN, "no audio at all"),
    ("long", Fault.BROKEN, "still speaking"),
    ("silence", Fault.BROKEN, "silence"),
    ("noise", Fault.BROKEN, "noise"),
    ("float", Fault.BROKEN, "no 16-bit"),
    ("mp3", Fault.BROKEN, "compressed"),
    ("stuck", Fault.BROKEN, "stand still"),
    ("clipped", Fault.BROKEN, "clipped"),
]
_CASES = [(mode, *case) for mode in ("audio", "sse") for case in _BOTH] + [
    ("audio", "drip", Fault.TIMEOUT, "behind"),
    ("audio", "malformed", Fault.BROKEN, "in the middle of a sample"),
    ("sse", "malformed", Fault.BROKEN, "no event of a speech stream"),
    ("sse", "error_event", Fault.BROKEN, "the server reports: it broke"),
    ("sse", "unended", Fault.BROKEN, "without speech.audio.done"),
]


@pytest.mark.parametrize(("mode", "kind", "fault", "words"), _CASES)
def test_every_fault_of_the_server_has_its_name(
    mode: Any, kind: FaultKind, fault: Fault, words: str
) -> None:
    server = speech(latency_ms=30, faults=[TtsFault(kind=kind, request=0)])
    error = failure(server, stream=mode)
    assert (error.fault, words in str(error)) == (fault, True), str(error)


def test_how_long_the_server_asked_to_be_left_alone_is_kept() -> None:
    error = failure(speech(faults=[TtsFault(kind="busy", retry_after="7")]))
    assert getattr(error, "retry_after_s", None) == 7.0


@pytest.mark.parametrize(("key", "remedy"), [("", "set TTS_API_KEY"), (KEY, "check TTS_API_KEY")])
def test_a_missing_or_wrong_key_says_which_variable_to_set(key: str, remedy: str) -> None:
    error = failure(speech(api_key="right"), api_key=key)
    assert error.fault is Fault.REFUSED and remedy in str(error) and KEY not in str(error)


def test_an_unknown_model_is_a_refusal_in_the_servers_words() -> None:
    error = failure(speech(), model="tts-9")
    assert error.fault is Fault.REFUSED and "`tts-9` does not exist" in str(error)


def test_a_server_that_is_not_there_is_named() -> None:
    async def main() -> None:
        tts = SpeechApiTTS("http://127.0.0.1:9")
        try:
            await say(tts)
        finally:
            await tts.aclose()

    with pytest.raises(ProviderError, match=r"is the server at http://127.*TTS_ENDPOINT") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE


def test_a_slow_listener_is_no_slow_server() -> None:
    async def work(tts: SpeechApiTTS) -> bytes:
        pcm = b""
        async with aclosing(tts.stream(TEXT * 4)) as events:
            async for event in events:
                assert isinstance(event, SpeechAudio)
                pcm += event.pcm
                await asyncio.sleep(0.1)  # the caller hears at this pace
        return pcm

    pcm = with_server(speech(piece_ms=400), work, audio_gap_s=0.05)
    assert pcm == audio_of(TEXT * 4, 44_100)


# --- events ---------------------------------------------------------------------------------------


def event(**fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def test_events_of_other_kinds_and_the_done_of_older_servers_are_passed_over() -> None:
    decoder = SseAudio(16_000)
    data = event(type="speech.created") + event(type="speech.audio.delta", audio="AQIDBA==")
    data += event(type="speech.audio.delta", audio="") + event(type="speech.audio.done")
    assert decoder.feed(data + b"data: [DONE]\n\n") == b"\1\2\3\4" and decoder.is_done


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (event(type="speech.audio.delta", audio="not base64!"), "not base64"),
        (event(type="speech.audio.delta", audio="AQI=", response_format="mp3"), "mp3 instead"),
        (b"data: nonsense\n\n", "no event"),
    ],
)
def test_events_that_are_none_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(UnsoundError, match=complaint):
        SseAudio(16_000).feed(data)


# --- check, cancel, close -------------------------------------------------------------------------


def test_check_speaks_once_and_then_believes_the_traffic() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        for _ in range(3):
            await tts.check()
        assert server.requests == 1
        await server.refuse()
        with pytest.raises(ProviderError) as caught:
            await tts.check()
        assert caught.value.fault is Fault.UNREACHABLE
        await server.reopen()
        await tts.check()

    server = speech()
    with_server(server, work)


def test_after_a_callers_failure_check_asks_again_and_sees_the_repair() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        with pytest.raises(ProviderError):
            await say(tts)
        await tts.check()
        assert await say(tts) == WHOLE

    with_server(speech(faults=[TtsFault(kind="silence")]), work)


def test_check_fails_while_the_voice_is_silent() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        for _ in range(3):
            with pytest.raises(ProviderError, match="silence"):
                await tts.check()
        assert server.requests == 1

    server = speech(faults=[TtsFault(kind="silence", request=0)])
    with_server(server, work)


@MODES
def test_closing_the_stream_stops_the_server(mode: Any) -> None:
    async def work(tts: SpeechApiTTS) -> None:
        async with aclosing(tts.stream(TEXT)) as events:
            await anext(events)
        await until(lambda: server.running == 0, 1.0)
        assert server.aborted == 1

    server = speech(rtf=5.0)
    with_server(server, work, stream=mode)


def test_one_connection_serves_many_clauses() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        for _ in range(4):
            await say(tts)
            assert server.connections == 1

    server = speech()
    with_server(server, work)


async def cancel_at_random(tts: SpeechApiTTS, times: int) -> None:
    """Cancelled or closed while connecting, waiting or listening, six at a time."""
    chance = random.Random(7)

    async def one() -> None:
        if chance.random() < 0.5:
            asking = asyncio.create_task(say(tts))
            await asyncio.sleep(chance.uniform(0, 0.02))
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            return
        async with aclosing(tts.stream(TEXT)) as events:
            for _ in range(chance.randrange(5)):
                await anext(events, None)

    for _ in range(times // 6):
        await asyncio.gather(*(one() for _ in range(6)))


@MODES
def test_random_cancels_leak_nothing(mode: Any, times: int = 200) -> None:
    async def work(tts: SpeechApiTTS) -> None:
        await say(tts)
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        await cancel_at_random(tts, times)
        await until(lambda: server.running == 0)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files + 12)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 6)
        assert await say(tts) == WHOLE

    server = speech(latency_ms=2, jitter_ms=4, rtf=0.01)
    with_server(server, work, stream=mode)


def test_aclose_leaves_no_connection_and_may_be_called_twice() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        await say(tts)
        await tts.aclose()
        await tts.aclose()
        await until(lambda: server.connections == 0)

    server = speech()
    with_server(server, work)
