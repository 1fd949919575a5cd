"""Every fault of a server that speaks over HTTP has its name, whatever its dialect."""

import asyncio
from typing import Any, Literal

import pytest

from mocks.serve_tts import FaultKind, TtsFault, TtsServer
from providers.base import Fault, ProviderError
from providers.tts_fish import FishTTS
from providers.tts_speech_api import SpeechApiTTS
from tests.providers.voices import KEY, TEXT, fish, say, speech, with_server

Dialect = Literal["fish", "audio", "sse"]
DIALECTS: tuple[Dialect, ...] = ("fish", "audio", "sse")
LATE = "no audio in 0.4 s"

ALL: list[tuple[FaultKind, Fault, str]] = [
    ("hang_up", Fault.UNREACHABLE, "is the server at"),
    ("hang", Fault.TIMEOUT, LATE),
    ("slow", Fault.TIMEOUT, LATE),
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
BARE: list[tuple[FaultKind, Fault, str]] = [
    ("drip", Fault.TIMEOUT, "behind"),
    ("malformed", Fault.BROKEN, "in the middle of a sample"),
]
EVENTS: list[tuple[FaultKind, Fault, str]] = [
    ("malformed", Fault.BROKEN, "no event of a speech stream"),
    ("error_event", Fault.BROKEN, "the server reports: it broke"),
    ("unended", Fault.BROKEN, "without speech.audio.done"),
]
CASES = [
    (dialect, *case)
    for dialect in DIALECTS
    for case in (*ALL, *(EVENTS if dialect == "sse" else BARE))
]


def server_of(dialect: Dialect, **options: Any) -> TtsServer:
    return fish(**options) if dialect == "fish" else speech(**options)


def failure(dialect: Dialect, server: TtsServer, **options: Any) -> ProviderError:
    """The error a clause ends in."""
    mode = {} if dialect == "fish" else {"stream": dialect}
    limits = {"first_audio_s": 0.4, "audio_gap_s": 0.2}
    with pytest.raises(ProviderError) as caught:
        with_server(server, say, **limits, **mode, **options)
    return caught.value


@pytest.mark.parametrize(("dialect", "kind", "fault", "words"), CASES)
def test_every_fault_has_its_name(
    dialect: Dialect, kind: FaultKind, fault: Fault, words: str
) -> None:
    faults = [TtsFault(kind=kind, request=0)]
    error = failure(dialect, server_of(dialect, latency_ms=30, faults=faults))
    assert (error.fault, words in str(error)) == (fault, True), str(error)


@pytest.mark.parametrize("dialect", ["fish", "audio"])
@pytest.mark.parametrize(("key", "remedy"), [("", "set TTS_API_KEY"), (KEY, "check TTS_API_KEY")])
def test_a_missing_or_wrong_key_says_which_variable_to_set(
    dialect: Dialect, key: str, remedy: str
) -> None:
    error = failure(dialect, server_of(dialect, api_key="right"), api_key=key)
    assert error.fault is Fault.REFUSED and remedy in str(error) and KEY not in str(error)


@pytest.mark.parametrize("dialect", ["fish", "audio"])
def test_the_right_key_opens(dialect: Dialect) -> None:
    assert with_server(server_of(dialect, api_key=KEY), say, api_key=KEY)


@pytest.mark.parametrize(
    "tts", [FishTTS(["http://127.0.0.1:9"]), SpeechApiTTS("http://127.0.0.1:9")]
)
def test_a_server_that_is_not_there_is_named(tts: Any) -> None:
    async def main() -> None:
        try:
            await say(tts, TEXT)
        finally:
            await tts.aclose()

    with pytest.raises(ProviderError, match=r"is the server at http://127.*TTS_ENDPOINT") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE
