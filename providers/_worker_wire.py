"""What passes between the server and a recogniser's worker process: length, then msgpack.

    server  Begin Feed Feed … End | Abandon        per job; audio is 16 kHz s16le mono
    worker  Ready | Refused   Partial Partial … Final | Failed   per job
            Trying, Beat                                         of itself

A job is one utterance. Nothing else goes over the worker's stdin and stdout.
"""

import struct
from collections.abc import Iterator

import msgspec

_LENGTH = struct.Struct("<I")
BEAT_S = 0.5
"""A worker that lives and does not hang says something so often, `Beat` if nothing else."""
MAX_MESSAGE_BYTES = 16 << 20
"""Far above the largest replay; a longer one means that the stream is no protocol of ours."""


class Begin(msgspec.Struct, frozen=True, tag="begin", array_like=True):
    job: int
    language: str = ""
    memory: str = ""
    """What an earlier job of the same call handed on; the recogniser's own business."""
    careful: bool = False
    """It was with a worker that died: decode it by itself, and say so before with Trying."""
    hotwords: tuple[str, ...] = ()
    is_replay: bool = False
    """It was with another worker: what that one said of it already need not be said again."""


class Feed(msgspec.Struct, frozen=True, tag="feed", array_like=True):
    job: int
    pcm: bytes


class End(msgspec.Struct, frozen=True, tag="end", array_like=True):
    job: int


class Abandon(msgspec.Struct, frozen=True, tag="abandon", array_like=True):
    job: int


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    """Models are loaded; jobs are welcome."""


class Refused(msgspec.Struct, frozen=True, tag="refused", array_like=True):
    """Instead of Ready: it cannot serve as it was started, and goes."""

    reason: str


class Beat(msgspec.Struct, frozen=True, tag="beat", array_like=True):
    """Nothing to say, but alive."""


class Trying(msgspec.Struct, frozen=True, tag="trying", array_like=True):
    """If the worker dies now, this job is why; 0: no longer."""

    job: int


class Partial(msgspec.Struct, frozen=True, tag="partial", array_like=True):
    job: int
    text: str


class Final(msgspec.Struct, frozen=True, tag="final", array_like=True):
    job: int
    text: str
    memory: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    """This job is lost, the worker is not."""

    job: int
    reason: str


ToWorker = Begin | Feed | End | Abandon
FromWorker = Ready | Refused | Beat | Trying | Partial | Final | Failed

to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_encoder = msgspec.msgpack.Encoder()


def pack(message: ToWorker | FromWorker) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Bytes in any pieces, whole message bodies out."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises ValueError if the length is absurd: something else wrote into the pipe."""
        self._held += piece
        start = 0
        while len(self._held) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, start)
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"message of {length} bytes; the pipe carries something else")
            end = start + _LENGTH.size + length
            if len(self._held) < end:
                break
            yield bytes(self._held[start + _LENGTH.size : end])
            start = end
        del self._held[:start]
