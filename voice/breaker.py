"""When to stop asking a provider that fails, and when to ask it again.

closed ──5 failures in 30 s──▶ open ──10 s──▶ half-open ──one probe succeeds──▶ closed
                                ▲                 │
                                └────it fails─────┘

A request that began before it opened and ends later says nothing new: only the probe's end counts.
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


Ticket = int
"""A request that was entered; it ends once."""


class Breaker:
    """Told of every request's end; all times are of one monotonic clock, in seconds."""

    def __init__(
        self, *, failures: int = FAILURES, within_s: float = WITHIN_S, pause_s: float = PAUSE_S
    ) -> None:
        self._within_s, self._pause_s = within_s, pause_s
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._opened_at: float | None = None
        self._entered = 0
        self._probe: Ticket | None = None

    def state(self, now: float) -> State:
        if self._opened_at is None:
            return State.CLOSED
        return State.OPEN if now < self._opened_at + self._pause_s else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether a request may be made now; `enter` makes it."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and self._probe is None)

    @property
    def is_probed(self) -> bool:
        return self._probe is not None

    def enter(self, now: float) -> Ticket:
        """A request begins; exactly one of the three below ends it. While this is open, it is a
        probe that somebody had a reason for."""
        self._entered += 1
        if self.state(now) is not State.CLOSED:
            self._probe = self._entered
        return self._entered

    def succeeded(self, ticket: Ticket) -> None:
        if self._opened_at is None or ticket == self._probe:
            self.close()

    def failed(self, ticket: Ticket, now: float) -> None:
        if self._opened_at is None or ticket == self._probe:
            self.count(now)

    def abandoned(self, ticket: Ticket) -> None:
        """Nobody waited for its end."""
        if ticket == self._probe:
            self._probe = None

    # --- by somebody who asks besides, and whose word counts at any time --------------------------

    def close(self) -> None:
        self._failed_at.clear()
        self._opened_at, self._probe = None, None

    def count(self, now: float) -> None:
        """One more failure."""
        self._failed_at.append(now)
        full = len(self._failed_at) == self._failed_at.maxlen
        if self._opened_at is not None or (full and now - self._failed_at[0] <= self._within_s):
            self._opened_at = now
        self._probe = None
