"""Keys of the telephone: collected until an end key or a pause, then they are a turn.

keys   4   2           |                    4   2   #
       |<----- pause_s |  "4 2"             "4 2" -^ at once
"""

from math import inf

from msgspec import Struct

KEYS = "0123456789*#ABCD"
"""What a telephone can send: ITU-T Q.23, the last four on no ordinary one. In the order of RFC
4733's event codes."""
MOST_KEYS = 64
"""Of one turn: no number that anybody types is longer."""


class KeypadRules(Struct, frozen=True, kw_only=True):
    pause_s: float = 2.0
    """Behind the last key; 0: each key is a turn of its own."""
    end: str = "#"
    """Ends a turn at once, and is no part of it; alone it is one. "": only the pause does."""


class Keypad:
    """One call's. `deadline` says when `tick` is due."""

    def __init__(self, rules: KeypadRules) -> None:
        self.rules = rules
        self._keys = ""
        self._ends_at = inf

    @property
    def waits(self) -> bool:
        """Whether further keys may belong to those that came."""
        return bool(self._keys)

    def press(self, key: str, now: float) -> str:
        """Returns:
        All keys of the turn that this one ends; "" while it goes on.
        """
        ends = key == self.rules.end
        self._keys += "" if ends and self._keys else key
        if ends or not self.rules.pause_s or len(self._keys) >= MOST_KEYS:
            return self._taken()
        self._ends_at = now + self.rules.pause_s
        return ""

    def deadline(self) -> float | None:
        return None if self._ends_at == inf else self._ends_at

    def tick(self, now: float) -> str:
        """What the pause has ended."""
        return self._taken() if now >= self._ends_at - 1e-6 else ""

    def _taken(self) -> str:
        keys, self._keys, self._ends_at = self._keys, "", inf
        return keys


def words_of(keys: str) -> str:
    """The keys as a model reads them: one by one, for "123" may be a hundred and twenty-three."""
    return f"Keys pressed: {' '.join(keys)}"
