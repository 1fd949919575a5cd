"""How long the finals of committed utterances are waited for.

    audio     ||||||||                       16 s at once
    commit            |
    final     limit   |.......backlog.......|.....limit.....|

A recogniser that has a backlog to hear first is given the time for it, and so are those behind it.
"""

from voice.backlog import Backlog


class Finals:
    """One caller's.

    Args:
        limit_s: For a final whose audio was heard as it was spoken.
        backlog: Told of all that the recogniser is given.
    """

    def __init__(self, limit_s: float, backlog: Backlog) -> None:
        self._limit_s = self._waits_s = limit_s
        self._backlog = backlog
        self._awaited = 0

    def expect(self, now: float) -> float:
        """One more is waited for. The limit for all of them, which it makes no shorter."""
        limit_s = self._limit_s + self._backlog.left_s(now)
        self._waits_s = max(limit_s, self._waits_s) if self._awaited else limit_s
        self._awaited += 1
        return self._waits_s

    def settled(self) -> None:
        """One came, or is waited for no longer."""
        self._awaited -= 1
