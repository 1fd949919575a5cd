"""A media stream, as Twilio began it and others speak it: JSON both ways, sound in base64.

    start   the call, its coding          differs by provider: `started` says what it means
    media   sound, with its number, where it belongs in the stream, and its direction
    dtmf    a key          mark    comes back when what stands before it has been played
    clear   drops the sound that has not been          stop    the call is over

Numbers come as strings. Closing the connection ends the stream.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from voice.transports.telephony.adapter import (
    Fact,
    Garbled,
    Media,
    Played,
    Position,
    Started,
    Stopped,
    key_of,
    read_json,
)

S = TypeVar("S")
"""A provider's `start`."""


class _Media(Struct):
    payload: bytes
    chunk: Position | None = None
    timestamp: Position | None = None
    track: str = "inbound"


class _Key(Struct):
    digit: str


class _Mark(Struct):
    name: str


class Frame(Struct, Generic[S]):
    event: str
    start: S | None = None
    media: _Media | None = None
    dtmf: _Key | None = None
    mark: _Mark | None = None


_encode = msgspec.json.encode


class MediaStream(ABC, Generic[S]):
    """An Adapter but for its `name`."""

    sound_is_binary = False
    piece_ms, most_ms = 20, 1000
    decoder: msgspec.json.Decoder[Frame[S]]

    def __init__(self) -> None:
        self.address: dict[str, str] = {}
        """Stands in every frame for the provider: which stream is meant, where it asks for that."""

    @abstractmethod
    def started(self, start: S) -> Started:
        """Raises:
        Garbled: The call cannot start like this.
        """

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        if binary:
            raise Garbled("a binary frame; this provider sends none")
        frame = read_json(self.decoder, data)
        match frame:
            case Frame(event="media", media=_Media() as media):
                if not media.track.startswith("inbound"):
                    return []
                return [Media(media.payload, media.chunk, media.timestamp)]
            case Frame(event="mark", mark=_Mark() as mark):
                return [Played(mark.name)]
            case Frame(event="dtmf", dtmf=_Key() as key):
                return key_of(key.digit)
            case Frame(event="start", start=start) if start is not None:
                return [self.started(start)]
            case Frame(event="stop"):
                return [Stopped()]
            case Frame(event="media" | "mark" | "dtmf" | "start"):
                raise Garbled(f"an event {frame.event!r} without its field of the same name")
        return []

    def begin(self) -> Sequence[bytes]:
        return []

    def sound(self, payload: bytes) -> bytes:
        return self._frame("media", media={"payload": payload})

    def mark(self, name: str) -> bytes:
        return self._frame("mark", mark={"name": name})

    def clear(self) -> bytes:
        return self._frame("clear")

    def hang_up(self) -> None:
        return None

    def _frame(self, event: str, **fields: Any) -> bytes:
        return _encode({"event": event, **self.address, **fields})
