"""Vonage's WebSocket endpoint: sound is binary, 16-bit samples, 20 ms a frame; words are JSON.

A mark is `notify`, which comes back when what was sent before it has been played. `clear` drops the
sound that has not been.

Source: https://developer.vonage.com/en/voice/voice-api/concepts/websockets
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import (
    Fact,
    Garbled,
    Media,
    Played,
    Started,
    Unsupported,
    key_of,
    read_json,
)

RATES_HZ = (8000, 16_000, 24_000)
CALL = "kaiwa_call"
"""Our header in the NCCO that says which call this is: the endpoint's own words do not."""
MOST_HEADER = 1000
"""Characters of a header that are kept."""

_CONTENT = re.compile(r"audio/l16;\s*rate=(\d{4,5})")


class _Words(Struct):
    name: str = ""


class _Frame(Struct):
    event: str
    digit: str = ""
    payload: _Words = msgspec.field(default_factory=_Words)


_decoder = msgspec.json.Decoder(_Frame, strict=False)
_headers = msgspec.json.Decoder(dict[str, object])
_encode = msgspec.json.encode


class Vonage:
    name = "vonage"
    sound_is_binary = True
    piece_ms = most_ms = 20

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        if binary:
            return [Media(_whole_samples(data))]
        frame = read_json(_decoder, data)
        match frame.event:
            case "websocket:connected":
                return [_started(read_json(_headers, data))]
            case "websocket:dtmf":
                return key_of(frame.digit)
            case "websocket:notify":
                return [Played(frame.payload.name)]
        return []

    def begin(self) -> Sequence[bytes]:
        return []

    def sound(self, payload: bytes) -> bytes:
        return payload

    def mark(self, name: str) -> bytes:
        return _encode({"action": "notify", "payload": {"name": name}})

    def clear(self) -> bytes:
        return _encode({"action": "clear"})

    def hang_up(self) -> None:
        return None


def _whole_samples(data: bytes) -> bytes:
    if len(data) % 2:
        raise Garbled(f"{len(data)} bytes are no whole number of 16-bit samples")
    return data


def _started(fields: dict[str, object]) -> Started:
    content = str(fields.get("content-type", ""))
    found = _CONTENT.fullmatch(content)
    if found is None or int(found[1]) not in RATES_HZ:
        raise Unsupported(
            f"sound comes as {content[:60]!r}; it must be audio/l16 with a rate of 8000, 16000 or "
            "24000: see the NCCO's content-type"
        )
    told = {k: v for k, v in fields.items() if isinstance(v, str) and len(v) <= MOST_HEADER}
    return Started(
        call=told.get(CALL, ""),
        form=AudioFormat(type="audio/pcm", rate=int(found[1])),
        parameters=told,
    )
