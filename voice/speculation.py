"""When an answer is begun before it is asked for, and when that was in vain.

    caller   ~~~~~~~~~|
    silence           |--- 200 ms ---|-- 20 --|                |
                      ^ paused       ^ final  ^ in: Begin      ^ endpoint: StartReply, adopted
                                       asked
                                     |--- 150 ms ---| Begin    where the final is late
    final                                              ^ "What are your hours?"  it goes on
                                                       ^ "what are your towers"  Cancel, Begin

It goes on as long as the words are the same but for case, punctuation and spaces. The caller who
goes on ends it at once. In a long silence, as behind "and", it begins 0.6 s before the end.
"""

import unicodedata
from collections import deque
from enum import Enum, StrEnum

from msgspec import Struct

from voice.hypothesis import StablePrefix

SPOKEN_MARKS = frozenset("%&@#*/\\")
"""Punctuation by Unicode's table, but words of their own."""
WINDOW = 50
FEW = 10


def normalised(text: str) -> str:
    """Without case, punctuation and spaces; between two digits a mark stays: 3.5 is no 35."""
    kept: list[str] = []
    parted = ""
    for char in unicodedata.normalize("NFKC", text).casefold():
        if char.isspace():
            parted = parted or " "
        elif char not in SPOKEN_MARKS and unicodedata.category(char)[0] == "P":
            parted = char if not parted.strip() else parted
        else:
            if parted and kept and char.isdecimal() and kept[-1][-1].isdecimal():
                kept.append(parted)
            kept.append(char)
            parted = ""
    return "".join(kept)


class Stage(Enum):
    SPEAKING = "speaking"
    PAUSED = "paused"
    COMMITTED = "committed"
    """Its final is waited for."""


class Hearing(Struct, frozen=True, kw_only=True):
    """What is known of the turn that is being spoken."""

    turn: int
    text: str
    stage: Stage
    is_asked: bool
    """Its final has been asked for."""
    is_final: bool
    """And is in."""
    spoken_s: float
    ends_at: float | None = None
    """Loop time at which the silence ends the turn, if nothing more is said; None: unknown."""


class Verdict(StrEnum):
    """What became of an attempt."""

    ADOPTED = "adopted"
    CHANGED = "changed"
    """Other words were understood."""
    WENT_ON = "went_on"
    """The caller had not finished."""
    REQUEST = "request"
    """The words were right; history, settings or tools are others by now."""
    FAILED = "failed"
    """A provider gave up. The answer is begun anew when it is asked for."""
    UNASKED = "unasked"
    """No answer was wanted, or the call ended."""


class Begin(Struct, frozen=True):
    turn: int
    text: str


class Cancel(Struct, frozen=True):
    why: Verdict


class Search(Struct, frozen=True):
    """Look for passages: these may be the caller's last words."""

    text: str


Order = Begin | Cancel | Search


class SpeculationRules(Struct, frozen=True, kw_only=True):
    attempts: int = 2
    """In one turn."""
    stable_ms: int = 150
    """A final that lets so long wait for itself is begun without, on a partial that stands."""
    ahead_ms: int = 600
    """Not sooner before the end of the turn: who is given long to go on, goes on."""
    longest_s: float = 10.0
    """Who has spoken longer rarely ends where they pause."""
    search: bool = True


class Speculation:
    """One call's. `due()` says when `tick` is."""

    def __init__(self, rules: SpeculationRules) -> None:
        self._rules = rules
        self._hearing: Hearing | None = None
        self._words = ""
        self._since = 0.0
        """Loop time since when the words are as they are, and their final asked for."""
        self._tried: str | None = None
        """The words of the attempt under way."""
        self._prefix = StablePrefix()
        self.turn = 0
        """The one that was heard last."""
        self.attempts = 0
        """In this turn."""
        self._failed = False

    @property
    def trying(self) -> int:
        """The turn of the attempt under way; 0: there is none."""
        return self.turn if self._tried is not None else 0

    def hear(self, hearing: Hearing | None, now: float) -> list[Order]:
        """Args:
        hearing: None: nothing that may be answered.
        """
        if hearing is None:
            self._hearing = None
            return self._cancel(Verdict.UNASKED)
        orders: list[Order] = []
        if hearing.turn != self.turn:
            orders += self._cancel(Verdict.WENT_ON)
            self.turn, self.attempts, self._failed = hearing.turn, 0, False
            self._hearing, self._words, self._prefix = None, "", StablePrefix()
        before, self._hearing = self._hearing, hearing
        if before is None or before.text != hearing.text:
            orders += self._heard(hearing, now)
        if before is None or before.is_asked != hearing.is_asked:
            self._since = now
        if hearing.stage is Stage.SPEAKING:
            orders += self._cancel(Verdict.WENT_ON)
        elif self._words != self._tried:
            orders += self._cancel(Verdict.CHANGED)
        return orders + self.tick(now)

    def outdated(self) -> list[Order]:
        """It would be asked otherwise now."""
        return self._cancel(Verdict.REQUEST)

    def _heard(self, hearing: Hearing, now: float) -> list[Order]:
        words = normalised(hearing.text)
        if words != self._words:
            self._words, self._since = words, now
        if not self._rules.search or hearing.stage is Stage.COMMITTED:
            return []
        grown = self._prefix.update(hearing.text)
        return [Search(hearing.text)] if grown else []

    def due(self) -> float | None:
        hearing, rules = self._hearing, self._rules
        if hearing is None or hearing.stage is not Stage.PAUSED or not self._words:
            return None
        if not hearing.is_asked:  # the final is due soon, and likelier to be right
            return None
        if self._tried is not None or self._failed or self.attempts >= rules.attempts:
            return None
        if hearing.spoken_s > rules.longest_s:
            return None
        due = self._since + (0.0 if hearing.is_final else rules.stable_ms / 1000)
        return due if hearing.ends_at is None else max(due, hearing.ends_at - rules.ahead_ms / 1000)

    def tick(self, now: float) -> list[Order]:
        due = self.due()
        if due is None or now < due - 1e-6:
            return []
        assert self._hearing is not None
        self._tried = self._words
        self.attempts += 1
        return [Begin(self.turn, self._hearing.text)]

    def taken(self) -> None:
        """The answer was asked for: the attempt is it now, or was in vain."""
        self._tried = self._hearing = None

    def failed(self) -> None:
        """The attempt did; in this turn no other will fare better."""
        self._tried, self._failed = None, True

    def _cancel(self, why: Verdict) -> list[Order]:
        if self._tried is None:
            return []
        self._tried = None
        return [Cancel(why)]


class HitRate:
    """Of the last attempts, in all calls: how many were what the caller then asked.

    Args:
    few: Of so few nothing is concluded; more than WINDOW: never, as in a replay, where the other
        calls are not known.
    """

    def __init__(self, few: int = FEW) -> None:
        self._few = few
        self._hits: deque[bool] = deque(maxlen=WINDOW)

    def count(self, verdict: Verdict) -> None:
        if verdict not in (Verdict.FAILED, Verdict.UNASKED):
            self._hits.append(verdict is Verdict.ADOPTED)

    @property
    def rate(self) -> float | None:
        return sum(self._hits) / len(self._hits) if self._hits else None

    def is_below(self, least: float) -> bool:
        return len(self._hits) >= self._few and sum(self._hits) < least * len(self._hits)
