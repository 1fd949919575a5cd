"""When to look for what closed calls left in circles: their parts hold one another.

A full collection stops the loop for longer, the more calls are open (measured: 8 ms of CPU at 50,
19 ms on a busy core at 100), and the interpreter begins one whenever it likes. So it is left to
this, and what closed calls hold meanwhile is small: measured, 13 KB each.
"""

SOME, MANY = 10, 100
"""Closed calls: worth it while nobody is on the line; not left lying any longer."""
EVERY_S = 600.0
"""For what is no call's."""


class Garbage:
    """`now` is one monotonic clock in seconds."""

    def __init__(self, now: float) -> None:
        self._closed = 0
        self._at = now

    def due(self, closed: int, opened: int, now: float) -> bool:
        """Whether it is collected now, after which it counts as done.

        Args:
            closed: Calls that are over, since the server began.
            opened: Calls that are open.
        """
        left = closed - self._closed
        worth_it = left >= (MANY if opened else SOME)
        if not worth_it and now - self._at < EVERY_S:
            return False
        self._closed, self._at = closed, now
        return True
