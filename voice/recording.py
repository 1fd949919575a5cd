"""Recordings of calls: what a file holds, written and read.

    magic │ Start │ Wake │ Wake │ … │ Closed or Cut

A session does nothing by itself: it is woken, by facts or by its timer, reads the clock, and sends.
So a Wake is all of that together, one after another the whole call. Each record is

    length, CRC-32 of the rest (both 4 bytes, little-endian), MessagePack

and a file that breaks off is whole up to its last whole record. Times are the session's own clock,
as floats to the last bit. What does not stand in it: voice/recorded.py; how a fact does:
voice/recorded_facts.py.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from providers.base import Message
from voice.carrier import WEBSOCKET, Carrier
from voice.errors import KaiwaError

SUFFIX = ".kaiwa"
MAGIC = b"kaiwa call 1\n"
GZIP = b"\x1f\x8b"
_HEAD = struct.Struct("<II")
MOST_RECORD_BYTES = 1 << 28
"""Longer than any: such a length is damage."""


class RecordingError(KaiwaError):
    """A file that cannot be replayed; the text says which, and where it ends to make sense."""


# --- what goes out --------------------------------------------------------------------------------


class SentEvent(Struct, frozen=True, array_like=True, tag="event"):
    data: bytes
    """As the client gets it: JSON."""


class SentFrame(Struct, frozen=True, array_like=True, tag="frame"):
    event_id: str
    item_id: str
    turn: int
    at_ms: int
    length: int
    """Bytes of s16le, before the wire's coding."""
    crc: int


class Cleared(Struct, frozen=True, array_like=True, tag="clear"):
    """Sound that has not left is dropped."""


class HungUp(Struct, frozen=True, array_like=True, tag="end"):
    code: int
    reason: str


class HandedOver(Struct, frozen=True, array_like=True, tag="transfer"):
    """The carrier was asked to give the caller to somebody else."""

    name: str


class Remembered(Struct, frozen=True, array_like=True, tag="history"):
    """What a model would be shown next, at the call's end: of answers, what was heard."""

    messages: tuple[Message, ...]


Out = SentEvent | SentFrame | Cleared | HungUp | HandedOver | Remembered


# --- records --------------------------------------------------------------------------------------


class Start(Struct, frozen=True, array_like=True, tag="start"):
    session: str
    begun: str
    """ISO 8601, by the clock on the wall."""
    version: str
    recogniser: str
    """The wire names it."""
    config: dict[str, Any]
    carrier: Carrier = WEBSOCKET


class Told(Struct, frozen=True, array_like=True):
    """A fact, and when it came in."""

    at: float
    kind: str
    fact: msgspec.Raw


class Wake(Struct, frozen=True, array_like=True, tag="wake"):
    due: float
    """What the timer was set for that woke the session; 0: facts did."""
    wakes_at: float | None
    """What it was set for in the end."""
    clock: tuple[float, ...]
    """What the clock said, each time it was asked."""
    told: tuple[Told, ...]
    out: tuple[Out, ...]
    level: int = 0
    """What the server left out meanwhile: voice/load.py."""

    @property
    def at(self) -> float:
        return self.clock[0] if self.clock else self.told[0].at


class Closed(Struct, frozen=True, array_like=True, tag="closed"):
    code: int
    reason: str
    clock: tuple[float, ...]
    out: tuple[Out, ...]


class Cut(Struct, frozen=True, array_like=True, tag="cut"):
    """The recording stops here, the call went on."""

    why: str


Record = Start | Wake | Closed | Cut
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_encoder = msgspec.msgpack.Encoder()


def encoded(record: Record) -> bytes:
    """With its head."""
    data = _encoder.encode(record)
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


# --- reading --------------------------------------------------------------------------------------


class Recording(Struct, frozen=True):
    start: Start
    wakes: list[Wake]
    closed: Closed | None = None
    incomplete: str = ""
    """Why the call's end is not in it."""

    @property
    def begun_at(self) -> float:
        return self.wakes[0].at if self.wakes else 0.0


def read(path: Path) -> Recording:
    """Raises:
    RecordingError: No recording, or damaged before its end.
    """
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from None
    try:
        return parsed(data)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def parsed(data: bytes) -> Recording:
    """Raises:
    RecordingError: No recording, or damaged before its end.
    """
    if not data.startswith(MAGIC):
        raise RecordingError("is no recording of a call, or another version's")
    start, wakes = None, list[Wake]()
    records = _records(data)
    for record in records:
        match record:
            case Start() if start is None:
                start = record
            case Wake() if start is not None:
                wakes.append(record)
            case Closed() if start is not None:
                return Recording(start, wakes, record)
            case Cut() if start is not None:
                return Recording(start, wakes, None, record.why)
            case str() if start is not None:
                return Recording(start, wakes, None, record)
            case _:
                break
    raise RecordingError("holds no call: its first record is missing")


def _records(data: bytes) -> Iterator[Record | str]:
    """Each record, and if the end is missing, why.

    Raises:
        RecordingError: Damaged.
    """
    at = len(MAGIC)
    while at < len(data):
        left = len(data) - at - _HEAD.size
        length, crc = _HEAD.unpack_from(data, at) if left >= 0 else (0, 0)
        if length > MOST_RECORD_BYTES:
            raise RecordingError(f"damaged at byte {at}: no record is {length} bytes long")
        if left < length:
            missing = length - left if left >= 0 else -left
            yield f"it breaks off in the middle of a record ({missing} bytes are missing)"
            return
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if zlib.crc32(payload) != crc:
            raise RecordingError(f"damaged at byte {at}: the checksum is wrong")
        try:
            yield _decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise RecordingError(f"byte {at} holds another version's record: {error}") from None
        at += _HEAD.size + length
    yield "it breaks off behind a record: the call went on, or the server died"
