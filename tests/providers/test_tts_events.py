from typing import Any

import msgspec
import pytest

from providers._tts_events import SseAudio
from providers._tts_reply import ReportedError
from providers._tts_sanity import UnsoundError
from providers.base import Fault


def event(**fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def test_events_of_other_kinds_and_the_done_of_older_servers_are_passed_over() -> None:
    decoder = SseAudio(16_000)
    data = event(type="speech.created") + event(type="speech.audio.delta", audio="AQIDBA==")
    data += event(type="speech.audio.delta", audio="") + event(type="speech.audio.done")
    assert decoder.feed(data + b"data: [DONE]\n\n") == b"\1\2\3\4" and decoder.is_done


BAD = [
    (event(type="speech.audio.delta", audio="not base64!"), "not base64"),
    (event(type="speech.audio.delta", audio="AQI=", response_format="mp3"), "mp3 instead"),
    (b"data: nonsense\n\n", "no event"),
]


@pytest.mark.parametrize(("data", "complaint"), BAD)
def test_events_that_are_none_are_refused(data: bytes, complaint: str) -> None:
    decoder = SseAudio(16_000)
    assert decoder.feed(data) == b"" and decoder.is_done
    with pytest.raises(UnsoundError, match=complaint):
        decoder.end()


@pytest.mark.parametrize(("bad", "complaint"), BAD)
def test_what_came_before_in_the_same_piece_is_heard_and_nothing_behind(
    bad: bytes, complaint: str
) -> None:
    decoder, good = SseAudio(16_000), event(type="speech.audio.delta", audio="AQIDBA==")
    assert decoder.feed(good + bad + good) == b"\1\2\3\4"
    with pytest.raises(UnsoundError, match=complaint):
        decoder.end()


def test_an_error_of_the_server_comes_behind_the_audio_it_followed() -> None:
    decoder, good = SseAudio(16_000), event(type="speech.audio.delta", audio="AQIDBA==")
    assert decoder.feed(good + event(error={"code": 503, "message": "full"})) == b"\1\2\3\4"
    with pytest.raises(ReportedError) as caught:
        decoder.end()
    assert caught.value.fault is Fault.OVERLOADED
