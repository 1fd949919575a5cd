"""When to ask a model for a token, only to know that it answers: asking costs, listening does not.

a caller had an answer      known for FRESH_S
a caller met a failure      in doubt: asked at the next check
the token failed, too       asked again after 2 s, 4 s, 8 s, 8 s …; it fails until then
"""

import math

from providers.base import ProviderError

FRESH_S = 300.0
AGAIN_S = 2.0
MOST_AGAIN_S = 8.0
"""A repair is known within 15 s."""


class TokenProbe:
    """Told of all requests, callers' and its own. `now` is seconds on any steady clock."""

    def __init__(self) -> None:
        self._ask_at = -math.inf
        self._pause_s = AGAIN_S
        self._failure: ProviderError | None = None
        self.is_doubted = False
        """A request failed since the last that succeeded: that the server lives says nothing."""

    def is_due(self, now: float) -> bool:
        """Whether only asking can tell; if not, all is well.

        Raises:
            ProviderError: The token's last failure, while it is too early to ask again.
        """
        if now >= self._ask_at:
            return True
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # else each raising would add to the last's
        return False

    def succeeded(self, now: float) -> None:
        """Somebody, whoever it was, had a token."""
        self._ask_at, self._pause_s, self._failure = now + FRESH_S, AGAIN_S, None
        self.is_doubted = False

    def doubted(self, now: float) -> None:
        """A caller's request failed, perhaps by its own fault."""
        self.is_doubted = True
        if self._failure is None:
            self._ask_at = now

    def failed(self, now: float, failure: ProviderError) -> None:
        """The token that was asked for did not come."""
        self._ask_at, self._failure = now + self._pause_s, failure
        self._pause_s = min(2 * self._pause_s, MOST_AGAIN_S)
