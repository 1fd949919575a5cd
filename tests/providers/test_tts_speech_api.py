import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from mocks.serve_tts import SpeechServer, TtsFault, audio_of
from providers.base import Fault, ProviderError, SpeechAudio
from providers.tts_speech_api import SpeechApiTTS
from tests.providers.voices import TEXT, Work, say, speech, until, with_server

WHOLE = audio_of(TEXT, 44_100)
MODES = pytest.mark.parametrize("mode", ["audio", "sse"])


def failure(server: SpeechServer, work: Work = say, **options: Any) -> ProviderError:
    """The error a clause ends in."""
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, **{"first_audio_s": 0.4, "audio_gap_s": 0.2, **options})
    return caught.value


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


# --- rates ----


def test_another_rate_than_the_one_set_is_told_where_the_server_tells_it() -> None:
    error = failure(speech(content_type="audio/pcm;rate=24000"))
    assert error.fault is Fault.REFUSED and "set TTS_RATE_HZ" in str(error)
    pcm = with_server(speech(rate_hz=24_000), say, rate_hz=24_000)
    assert pcm == audio_of(TEXT, 24_000)


# --- failures -------------------------------------------------------------------------------------


def test_how_long_the_server_asked_to_be_left_alone_is_kept() -> None:
    error = failure(speech(faults=[TtsFault(kind="busy", retry_after="7")]))
    assert getattr(error, "retry_after_s", None) == 7.0


def test_an_unknown_model_is_a_refusal_in_the_servers_words() -> None:
    error = failure(speech(), model="tts-9")
    assert error.fault is Fault.REFUSED and "`tts-9` does not exist" in str(error)


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


# --- cancel, close -------------------------------------------------------------------------


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


def test_aclose_leaves_no_connection_and_may_be_called_twice() -> None:
    async def work(tts: SpeechApiTTS) -> None:
        await say(tts)
        await tts.aclose()
        await tts.aclose()
        await until(lambda: server.connections == 0)

    server = speech()
    with_server(server, work)
