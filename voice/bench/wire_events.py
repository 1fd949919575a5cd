"""What of a server's events the benchmark looks at; all other fields are skipped."""

import msgspec


class Span(msgspec.Struct, frozen=True):
    """One part of a turn as the server counts it (`kaiwa.turn.timeline`)."""

    name: str
    ms: float


class WireResponse(msgspec.Struct, frozen=True):
    id: str = ""
    status: str = ""


class WireError(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None
    event_id: str | None = None


class _TurnDetection(msgspec.Struct, frozen=True):
    silence_duration_ms: float | None = None


class _Input(msgspec.Struct, frozen=True):
    turn_detection: _TurnDetection | None = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input | None = None


class _Session(msgspec.Struct, frozen=True):
    audio: _Audio | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """Any event: the fields that matter here."""

    type: str
    item_id: str | None = None
    response_id: str | None = None
    delta: str | None = None
    text: str | None = None
    response: WireResponse | None = None
    session: _Session | None = None
    error: WireError | None = None
    spans: tuple[Span, ...] = ()
    ducked: bool | None = None

    @property
    def silence_ms(self) -> float | None:
        """Of an event about the session: how long a caller must be silent to have ended."""
        audio = self.session.audio if self.session is not None else None
        detection = audio.input.turn_detection if audio is not None and audio.input else None
        return detection.silence_duration_ms if detection is not None else None
