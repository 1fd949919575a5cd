"""What a telephone provider says on a call's media connection, and how it is answered.

    frames of the provider ──read──▶ Started, Media, Key, Played, Full, Stopped
    frames for the provider ◀────── sound, mark, clear, hang_up

One adapter a call: it knows the provider's words and the stream's name, no clock and no socket.
leg.py does the rest, alike for all; tests/voice/test_telephony_conformance.py holds for each.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from voice.keypad import KEYS
from voice.settings_fields import AudioFormat


class Started(Struct, frozen=True):
    """The call is on this connection; once, before all else that counts."""

    call: str
    """The provider's name of the call, by which its other interfaces know it."""
    form: AudioFormat
    """Of the sound, both ways."""
    account: str = ""
    parameters: dict[str, str] = {}
    """What our own answer to the provider's webhook asked to be told here."""


class Media(Struct, frozen=True):
    """The caller's sound."""

    payload: bytes
    """In `Started.form`."""
    chunk: int | None = None
    """Its place among the others, one more each time; None: they come in order."""
    at_ms: int | None = None
    """Where it begins, since the stream did; None: nothing is ever left out."""


class Key(Struct, frozen=True):
    digit: str
    """One of voice/keypad.py's KEYS."""


class Played(Struct, frozen=True):
    """All that was sent before this mark is out of the provider's buffer: played, or cleared."""

    mark: str


class Full(Struct, frozen=True):
    """The provider takes no more sound for now, or does again."""

    is_full: bool


class Stopped(Struct, frozen=True):
    """The call is over, or has left this connection."""

    why: str = ""


Fact = Started | Media | Key | Played | Full | Stopped

T = TypeVar("T")

Position = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of a stream's; msgspec takes any number of digits, and floats do not."""


class Garbled(Exception):
    """A frame that the provider's protocol does not have; the text says what is wrong with it."""


class Unsupported(Garbled):
    """What this call asks for cannot be had: it ends, and the text says what to change."""


STARTED_TWICE = "the call started a second time"


class Adapter(Protocol):
    name: str
    """For logs, metrics and the carrier: twilio, telnyx, …"""
    sound_is_binary: bool
    """Of the connection's frames; what else is sent is text."""
    piece_ms: int
    """Sound is sent in multiples of this."""
    most_ms: int
    """The longest piece of sound to be sent at once."""

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        """One frame of the provider's; what it says that is none of ours is left out.

        Raises:
            Garbled: It is no frame of this provider's.
        """

    def begin(self) -> Sequence[bytes]:
        """What is said when the call has been taken."""

    def sound(self, payload: bytes) -> bytes:
        """To be played behind what was sent before it."""

    def mark(self, name: str) -> bytes | None:
        """Asks for Played behind what was sent; None: this provider never tells."""

    def clear(self) -> bytes | None:
        """Drop what has not been played; None: it cannot be recalled."""

    def hang_up(self) -> bytes | None:
        """End the call; None: it ends with the connection, or by the provider's REST interface."""


def read_json(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises:
    Garbled: It is no JSON, or not of this shape.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(str(error)) from None


def key_of(digit: str) -> list[Fact]:
    """Raises:
    Garbled: There is no such key.
    """
    if len(digit) != 1 or digit.upper() not in KEYS:
        raise Garbled(f"there is no such key: {digit[:20]!r}")
    return [Key(digit.upper())]
