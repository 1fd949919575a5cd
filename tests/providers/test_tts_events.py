from typing import Any

import msgspec
import pytest

from providers._tts_events import SseAudio
from providers._tts_sanity import UnsoundError


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
