"""When to stop asking a provider that fails, and when to ask it again.

closed ──5 failures in 30 s──▶ open ──10 s──▶ half-open ──one probe succeeds──▶ closed
                                ▲                 │
                                └────it fails─────┘
"""

from collections import deque
from enum import StrEnum

FAILURES = 5
WITHIN_S = 30.0
PAUSE_S = 10.0


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Told of every request's end; all times are of one monotonic clock, in seconds."""

    def __init__(
        self, *, failures: int = FAILURES, within_s: float = WITHIN_S, pause_s: float = PAUSE_S
    ) -> None:
        self._within_s, self._pause_s = within_s, pause_s
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._opened_at: float | None = None
        self._probing = False

    def state(self, now: float) -> State:
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if now < self._opened_at + self._pause_s else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a request may be made now; `enter` makes it."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self._probing)

    def enter(self, now: float) -> None:
        """A request begins; exactly one of the three below ends it."""
        self._probing = self.state(now) is State.HALF_OPEN

    def succeeded(self) -> None:
        self._failed_at.clear()
        self._opened_at, self._probing = None, False

    def failed(self, now: float) -> None:
        self._failed_at.append(now)
        full = len(self._failed_at) == self._failed_at.maxlen
        if self._opened_at is not None or (full and now - self._failed_at[0] <= self._within_s):
            self._opened_at = now
        self._probing = False

    def abandoned(self) -> None:
        """Nobody waited for its end."""
        self._probing = False
