"""What happens on the line: the facts of a session that are no event of the client's.

Facts of providers are in providers/base.py, those of an answer in voice/reply.py.
"""

from typing import Any

from msgspec import Struct


class Opened(Struct, frozen=True):
    """The client has connected."""

    settings: dict[str, Any] | None = None
    """What it had set before: as a `session.update` has them, and checked."""


class AudioIn(Struct, frozen=True):
    """The next piece of the caller's audio, as the wire had it."""

    data: bytes


class PauseJudged(Struct, frozen=True):
    """How a pause of the caller's sounds to the turn model."""

    sample: int
    """Where the pause begins: its name."""
    complete: float
    """Probability that nothing will follow, 0..1."""


class KeyPressed(Struct, frozen=True):
    """The caller pressed a key of the telephone."""

    key: str
    """0 to 9, *, #, A to D."""
    received_at: int = 0
    """Unix time in seconds; 0: as it comes in."""


class TransferEnded(Struct, frozen=True):
    """What became of a transfer that the carrier was asked for."""

    problem: str = ""
    """Why the caller is still here; empty: they are with somebody else."""


class Returned(Struct, frozen=True):
    """The caller was transferred before this call began, and nobody took them."""

    why: str
    """The carrier's own word: busy, no-answer, failed."""


class Complaint(Struct, frozen=True):
    """The client sent what is no event."""

    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class HangUp(Struct, frozen=True):
    """Somebody beside the caller ends the call."""

    code: int
    reason: str


class Suspended(Struct, frozen=True):
    """Nothing at all comes from the far end any more; it may come back."""


class Resumed(Struct, frozen=True):
    """It has come back."""
