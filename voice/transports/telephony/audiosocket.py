"""Asterisk's AudioSocket: frames over TCP, each `type u8, length u16 big-endian, payload`.

    0x00 hang-up   0x01 UUID of the call, first   0x02 silence   0x03 a key
    0x10 … 0x18    s16le mono at 8, 12, 16, 24, 32, 44.1, 48, 96, 192 kHz          0xff error

It has no marks and takes nothing back: what is sent is heard. So the sound waits on this side
(paced.py), and so do marks: a frame of a type of our own, which never leaves.

Source: Asterisk, res/res_audiosocket.c and channels/chan_audiosocket.c
"""

import struct
from collections.abc import Iterator, Sequence
from uuid import UUID

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import (
    Fact,
    Garbled,
    Media,
    Played,
    Stopped,
    key_of,
)

HANG_UP, CALL, SILENCE, KEY, ERROR = 0x00, 0x01, 0x02, 0x03, 0xFF
MARK = 0xFE
"""Ours: not Asterisk's."""
RATES_HZ = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
HEAD = struct.Struct(">BH")
PIECE_MS = 20
FRAME_ERROR = b"\x02"
"""Asterisk's own code for a frame that could not be dealt with."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


def check_head(kind: int, length: int) -> None:
    """Raises:
    Garbled: No such frame comes from Asterisk.
    """
    sizes = {HANG_UP: (0, 0), CALL: (16, 16), KEY: (1, 1), SILENCE: (0, 65_535), ERROR: (0, 255)}
    if kind in RATES_HZ:
        if length % 2:
            raise Garbled(f"{length} bytes of sound are no whole samples")
        return
    if kind not in sizes:
        raise Garbled(f"there are no frames of type 0x{kind:02x}")
    least, most = sizes[kind]
    if not least <= length <= most:
        raise Garbled(f"a frame of type 0x{kind:02x} with {length} bytes")


def check_place(one: bytes, kind: int) -> None:
    """Args:
        kind: Of the call's sound; its UUID has come.
    Raises:
        Garbled: This frame cannot come here.
    """
    found = one[0]
    if found == CALL:
        raise Garbled("a second UUID")
    if found in RATES_HZ and found != kind:
        was = f"type 0x{kind:02x}"
        raise Garbled(f"frames of type 0x{found:02x} in a call that began with {was}")
    if found == KEY:
        key_of(one[HEAD.size :].decode("ascii", "replace"))


class Splitter:
    """One connection's bytes as frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Frames that are whole, with their heads.

        Raises:
            Garbled: What comes next is none; as soon as its head is here.
        """
        self._rest += data
        while len(self._rest) >= HEAD.size:
            kind, length = HEAD.unpack_from(self._rest)
            check_head(kind, length)
            size = HEAD.size + length
            if len(self._rest) < size:
                return
            one = bytes(self._rest[:size])
            del self._rest[:size]
            yield one


def call_of(payload: bytes) -> str:
    return str(UUID(bytes=payload))


def form_of(kind: int) -> AudioFormat:
    return AudioFormat(type="audio/pcm", rate=RATES_HZ[kind])


class AudioSocket:
    """An Adapter, for a call whose UUID and first sound have come.

    Args:
        kind: Of its sound, both ways.
    """

    name = "audiosocket"
    sound_is_binary = True
    piece_ms, most_ms = PIECE_MS, PIECE_MS

    def __init__(self, kind: int) -> None:
        self._kind = kind

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        kind, length = HEAD.unpack_from(data)
        payload = data[HEAD.size :]
        if kind == MARK:
            return [Played(payload.decode())]
        check_head(kind, length)
        if kind == self._kind:
            return [Media(payload)] if payload else []
        match kind:
            case 0x00:
                return [Stopped()]
            case 0x03:
                return key_of(payload.decode("ascii", "replace"))
            case 0xFF:
                return [Stopped(f"Asterisk told an error: {payload.hex() or 'no code'}")]
            case 0x02:
                return []
            case _:
                raise Garbled(f"a frame of type 0x{kind:02x} in a call of 0x{self._kind:02x}")

    def begin(self) -> Sequence[bytes]:
        return []

    def sound(self, payload: bytes) -> bytes:
        return frame(self._kind, payload)

    def mark(self, name: str) -> bytes:
        return frame(MARK, name.encode())

    def clear(self) -> None:
        """Nothing is out that could be taken back."""

    def hang_up(self) -> bytes:
        return frame(HANG_UP)
