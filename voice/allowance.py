"""So many in a minute, whoever asks."""

from collections import deque

MINUTE_S = 60.0


class Allowance:
    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._taken: deque[float] = deque()

    def take(self, now: float) -> float:
        """Takes one if there is one.

        Returns:
            0; else the seconds until there is one again.
        """
        while self._taken and now - self._taken[0] >= MINUTE_S:
            self._taken.popleft()
        if len(self._taken) >= self.per_minute:
            return self._taken[0] + MINUTE_S - now
        self._taken.append(now)
        return 0.0
