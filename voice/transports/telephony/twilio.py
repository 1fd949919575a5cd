"""Twilio Media Streams, bidirectional: JSON both ways, μ-law at 8 kHz in base64.

Numbers come as strings. Marks are echoed when what stands before them has been played, and all at
once after `clear`. Closing the connection goes on with the TwiML behind <Connect>.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import (
    STARTED_TWICE,
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

ULAW = AudioFormat(type="audio/pcmu")


class _Format(Struct, frozen=True):
    encoding: str = ""
    sampleRate: int = 0
    channels: int = 1


class _Start(Struct):
    callSid: str
    streamSid: str
    accountSid: str = ""
    mediaFormat: _Format = _Format()
    customParameters: dict[str, str] = {}


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


class Twilio:
    name = "twilio"
    sound_is_binary = False
    piece_ms, most_ms = 20, 1000

    def __init__(self) -> None:
        self._stream = ""

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        if binary:
            raise Garbled("a binary frame; this provider sends none")
        frame = read_json(_decoder, data)
        match frame:
            case _Frame(event="media", media=_Media() as media):
                if media.track != "inbound":
                    return []
                return [Media(media.payload, media.chunk, media.timestamp)]
            case _Frame(event="mark", mark=_Mark() as mark):
                return [Played(mark.name)]
            case _Frame(event="dtmf", dtmf=_Key() as key):
                return key_of(key.digit)
            case _Frame(event="start", start=_Start() as start):
                return [self._started(start)]
            case _Frame(event="stop"):
                return [Stopped()]
            case _Frame(event="media" | "mark" | "dtmf" | "start"):
                raise Garbled(f"an event {frame.event!r} without its field of the same name")
        return []

    def _started(self, start: _Start) -> Started:
        if self._stream:
            raise Garbled(STARTED_TWICE)
        form = start.mediaFormat
        if (form.encoding, form.sampleRate, form.channels) != ("audio/x-mulaw", 8000, 1):
            raise Unsupported(
                f"sound comes as {form.encoding} at {form.sampleRate} Hz in {form.channels} "
                "channels; it must be audio/x-mulaw at 8000 Hz in one"
            )
        self._stream = start.streamSid
        return Started(
            call=start.callSid,
            form=ULAW,
            account=start.accountSid,
            parameters=start.customParameters,
        )

    def begin(self) -> Sequence[bytes]:
        return []

    def sound(self, payload: bytes) -> bytes:
        media = {"payload": payload}
        return _encode({"event": "media", "streamSid": self._stream, "media": media})

    def mark(self, name: str) -> bytes:
        return _encode({"event": "mark", "streamSid": self._stream, "mark": {"name": name}})

    def clear(self) -> bytes:
        return _encode({"event": "clear", "streamSid": self._stream})

    def hang_up(self) -> None:
        return None
