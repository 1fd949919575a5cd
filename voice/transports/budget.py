"""How much a client may send: far more than speech needs, and not everything at once."""

from collections.abc import Callable

READ_BYTES_S = 2 * 1024 * 1024
READ_BURST_BYTES = 16 * 1024 * 1024
"""A minute of speech may come at once, as a file; then thirty times real time."""
AMPLE_BYTES = READ_BURST_BYTES // 2


class Budget:
    """`now` is one monotonic clock in seconds."""

    def __init__(self, now: float) -> None:
        self.bytes = float(READ_BURST_BYTES)
        """As last counted; below 0 after one frame too many."""
        self._counted_at = now

    def at(self, now: float) -> float:
        """With what was earned since."""
        earned = (now - self._counted_at) * READ_BYTES_S
        self.bytes = min(READ_BURST_BYTES, self.bytes + earned)
        self._counted_at = now
        return self.bytes

    def spend(self, count: int, now: float) -> float:
        """Returns:
        For how long to read nothing.
        """
        self.bytes = self.at(now) - count
        return max(0.0, -self.bytes / READ_BYTES_S)

    def affords(self, count: int, now: Callable[[], float]) -> bool:
        """Spends it, if there is so much; looks at the clock only when there may not be enough."""
        if self.bytes < AMPLE_BYTES:
            self.at(now())
        if self.bytes < count:
            return False
        self.bytes -= count
        return True
