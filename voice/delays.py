"""How late packets are, and how long a missing one may still come."""

from collections import deque

QUANTILE = 0.97
WINDOW = 128
"""Delays that the wait is taken from: 2.5 s of packets."""
EVERY = 8
"""Packets, after which it is taken anew."""
MARGIN_S = 0.005
BASE_WINDOW_S = 5.0


class Delays:
    """How late packets are, against the quickest of late."""

    def __init__(self, *, least_s: float, most_s: float, first_s: float) -> None:
        self._least_s, self._most_s = least_s, most_s
        self._latest: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0
        self._base = self._next_base = 0.0
        self._base_since: float | None = None
        self.wait_s = first_s

    def add(self, transit: float, now: float) -> None:
        """Args:
        transit: Arrival less timestamp, in seconds, from an origin of its own.
        """
        if self._base_since is None:
            self._base = self._next_base = transit
            self._base_since = now
        elif now - self._base_since > BASE_WINDOW_S:
            self._base, self._next_base = min(self._next_base, transit), transit
            self._base_since = now
        self._next_base = min(self._next_base, transit)
        self._base = min(self._base, transit)
        self._latest.append(transit)
        self._fresh += 1
        if self._fresh >= EVERY:
            self._fresh = 0
            usual = sorted(self._latest)[int(len(self._latest) * QUANTILE)] - self._base
            self.wait_s = min(max(usual + MARGIN_S, self._least_s), self._most_s)

    def last_chance(self, at_s: float) -> float:
        """When what bears this timestamp can hardly come any more."""
        return self._base + at_s + self.wait_s

    def forget(self) -> None:
        self._latest.clear()
        self._base_since = None
