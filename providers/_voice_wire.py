"""What passes between the server and a voice's process: length, then msgpack.

server  Speak … Speak … Stop
voice   Ready | Refused    Word Audio … Done | Failed   per job, one job after another
"""

import struct

import msgspec

_LENGTH = struct.Struct("<I")
PIECE_BYTES = 1 << 16
"""Longer audio is sent in pieces, so that nothing waits for the whole of it."""


class Speak(msgspec.Struct, frozen=True, tag="speak", array_like=True):
    job: int
    text: str
    voice: str
    speed: float


class Stop(msgspec.Struct, frozen=True, tag="stop", array_like=True):
    """Nobody listens to this job any more, whether it has begun or not."""

    job: int


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    rate_hz: int
    voices: int
    check_text: str
    """A word that this voice can say."""


class Refused(msgspec.Struct, frozen=True, tag="refused", array_like=True):
    """Instead of Ready."""

    reason: str


class Audio(msgspec.Struct, frozen=True, tag="audio", array_like=True):
    job: int
    pcm: bytes


class Word(msgspec.Struct, frozen=True, tag="word", array_like=True):
    job: int
    start: int
    end: int
    at: float


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    job: int


class Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    """This job is lost, the voice is not."""

    job: int
    reason: str


ToVoice = Speak | Stop
OfJob = Audio | Word | Done | Failed
FromVoice = Ready | Refused | OfJob

to_voice: msgspec.msgpack.Decoder[ToVoice] = msgspec.msgpack.Decoder(ToVoice)
from_voice: msgspec.msgpack.Decoder[FromVoice] = msgspec.msgpack.Decoder(FromVoice)
_encoder = msgspec.msgpack.Encoder()


def pack(message: ToVoice | FromVoice) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body
