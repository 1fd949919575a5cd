"""Telnyx media streaming, bidirectional in mode rtp: JSON both ways, G.711 in base64.

Like Twilio's, with snake_case names and no stream's name in what is sent back. The order of media
is not guaranteed; their numbers tell it.

Source: https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import (
    Fact,
    Garbled,
    Media,
    Played,
    Position,
    Started,
    Stopped,
    Unsupported,
    key_of,
    read_json,
)

_FORMS = {"PCMU": AudioFormat(type="audio/pcmu"), "PCMA": AudioFormat(type="audio/pcma")}


class _Format(Struct, frozen=True):
    encoding: str = ""
    sample_rate: int = 0
    channels: int = 1


class _Start(Struct):
    call_control_id: str
    media_format: _Format = _Format()


class _Media(Struct):
    payload: bytes
    chunk: Position | None = None
    timestamp: Position | None = None
    track: str = "inbound"


class _Key(Struct):
    digit: str


class _Mark(Struct):
    name: str


class _Frame(Struct):
    event: str
    start: _Start | None = None
    media: _Media | None = None
    dtmf: _Key | None = None
    mark: _Mark | None = None


_decoder = msgspec.json.Decoder(_Frame, strict=False)
_encode = msgspec.json.encode


class Telnyx:
    name = "telnyx"
    sound_is_binary = False
    piece_ms, most_ms = 20, 1000

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        if binary:
            raise Garbled("a binary frame; this provider sends none")
        frame = read_json(_decoder, data)
        match frame:
            case _Frame(event="media", media=_Media() as media):
                if not media.track.startswith("inbound"):
                    return []
                return [Media(media.payload, media.chunk, media.timestamp)]
            case _Frame(event="mark", mark=_Mark() as mark):
                return [Played(mark.name)]
            case _Frame(event="dtmf", dtmf=_Key() as key):
                return key_of(key.digit)
            case _Frame(event="start", start=_Start() as start):
                return [_started(start)]
            case _Frame(event="stop"):
                return [Stopped()]
            case _Frame(event="media" | "mark" | "dtmf" | "start"):
                raise Garbled(f"an event {frame.event!r} without its field of the same name")
        return []

    def begin(self) -> Sequence[bytes]:
        return []

    def sound(self, payload: bytes) -> bytes:
        return _encode({"event": "media", "media": {"payload": payload}})

    def mark(self, name: str) -> bytes:
        return _encode({"event": "mark", "mark": {"name": name}})

    def clear(self) -> bytes:
        return _encode({"event": "clear"})

    def hang_up(self) -> None:
        return None


def _started(start: _Start) -> Started:
    coded = start.media_format
    form = _FORMS.get(coded.encoding.upper())
    if form is None or (coded.sample_rate, coded.channels) != (8000, 1):
        raise Unsupported(
            f"sound comes as {coded.encoding} at {coded.sample_rate} Hz in {coded.channels} "
            "channels; it must be PCMU or PCMA at 8000 Hz in one: set the stream's codec"
        )
    return Started(
        call=start.call_control_id,
        form=form,
    )
