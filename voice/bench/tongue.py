"""What a caller and a server say to each other on one kind of line.

    Line  ── sockets, due times ──▶  Tongue  ── frames ◀──▶ events  ──▶  Caller

A tongue makes what is sent into WebSocket frames that are ready for the socket, and what comes into
the events that voice/bench/turns.py knows, each with the time it happened at.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from voice.bench.config import BenchError
from voice.bench.messages import text_frame
from voice.bench.turn import EXTENSIONS_EVENT_ID
from voice.bench.wire_events import ServerEvent

_decoder = msgspec.json.Decoder(ServerEvent)
_encode = msgspec.json.encode


class Heard(msgspec.Struct, frozen=True):
    """What came of one message, or of time."""

    events: Sequence[tuple[ServerEvent, float]] = ()
    answers: Sequence[bytes] = ()
    """Frames that are sent at once."""


class Tongue(Protocol):
    headers: dict[str, str]
    """Of the upgrade."""
    ready: bool
    """The server has heard all it must know; the caller may speak."""
    silence_ms: float | None
    """That ends a turn, where the server tells."""
    bytes_per_second: int
    """Of the answer's sound."""

    def begin(self) -> Sequence[bytes]:
        """Frames behind the upgrade."""

    def speech(self, frame: int) -> bytes:
        """A frame of the utterance."""

    def background(self, frame: int) -> bytes:
        """A frame between two utterances."""

    def receive(self, message: bytes, now: float) -> Heard:
        """Raises:
        BenchError: It is no message of this wire, or ends the call before it began.
        """

    def tick(self, now: float) -> Heard:
        """What time brings; asked before every frame that is sent."""

    def say(self, message: dict[str, Any]) -> bytes | None:
        """What the caller tells as a stock client would; None: this line has no words for it."""

    def goodbye(self) -> Sequence[bytes]:
        """Frames in front of the close frame."""


class Sound(msgspec.Struct, frozen=True):
    """What all callers say, in whatever form their tongue wants it."""

    speech: tuple[bytes, ...]
    background: tuple[bytes, ...]


NOTHING = Heard()


class Realtime:
    """The OpenAI Realtime wire. `sound` holds whole frames: the same bytes serve every caller."""

    bytes_per_second = 48_000

    def __init__(
        self, sound: Sound, first_messages: Sequence[dict[str, Any]], api_key: str
    ) -> None:
        self._sound, self._first_messages = sound, first_messages
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.ready = False
        self.silence_ms: float | None = None

    def begin(self) -> Sequence[bytes]:
        return ()

    def speech(self, frame: int) -> bytes:
        return self._sound.speech[frame]

    def background(self, frame: int) -> bytes:
        return self._sound.background[frame % len(self._sound.background)]

    def receive(self, message: bytes, now: float) -> Heard:
        try:
            event = _decoder.decode(message)
        except msgspec.DecodeError as error:
            raise BenchError(f"the server sent what is no event: {error}") from None
        if event.silence_ms is not None:
            self.silence_ms = event.silence_ms
        if self.ready:
            return Heard([(event, now)])
        return self._begun(event)

    def _begun(self, event: ServerEvent) -> Heard:
        if event.type == "session.created":
            return Heard(answers=[self.say(first) for first in self._first_messages])
        if event.type == "session.updated":
            self.ready = True
        elif event.type == "error" and event.error is not None:
            if event.error.event_id != EXTENSIONS_EVENT_ID:
                raise BenchError(f"the server refused the session: {event.error.message}")
        return NOTHING

    def tick(self, now: float) -> Heard:
        return NOTHING

    def say(self, message: dict[str, Any]) -> bytes:
        return text_frame(_encode(message))

    def goodbye(self) -> Sequence[bytes]:
        return ()
