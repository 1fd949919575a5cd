"""Audio that came faster than it was spoken, and how long a recogniser is busy with it.

audio     ||||||||                     16 s at once
heard     =========================    at PACE, 8 s
"""

PACE = 2.0
"""Times as fast as speech, at which a recogniser is trusted to work."""
FRAME_S = 0.1
"""What comes in frames up to this length was heard while it was spoken."""
MAX_S = 120.0
"""Whoever sends more than four minutes at once is not waited for longer than this."""


class Backlog:
    """One caller's."""

    def __init__(self) -> None:
        self._through_at = 0.0

    def arrive(self, seconds: float, now: float) -> None:
        start = max(self._through_at, now - min(seconds, FRAME_S))
        self._through_at = start + seconds / PACE

    def left_s(self, now: float) -> float:
        return min(MAX_S, max(0.0, self._through_at - now))
