"""What a server leaves out when it has more to do than time: told how late its loop comes.

    level  from `lag_ms` on, for RISE_S    is left out
    0      -                               nothing
    1      lag_ms[0]                       partials: each call shows one every 250 ms at most
    2      lag_ms[1]                       speculation: no answer is begun before it is asked for;
                                           and the turn model: words alone end a turn
    3      lag_ms[2]                       small frames: new answers leave in pieces of 80 ms
    4      lag_ms[3], at least FEW calls   further calls: refused before the upgrade

    lag    ____/~~~~~~~~~~~~~~~~~~~\\_______________________________
    level  0    |1 s| 1 |1 s| 2     |---- 5 s ----| 1 |-- 5 s --| 0

One level after the other, up quickly and down slowly, so that what the relief itself gives back
does not at once undo it.
"""

from collections.abc import Callable
from enum import IntEnum
from math import ceil, exp
from typing import Literal

from msgspec import Struct

SMOOTH_S = 1.0
"""What callers feel is the usual lateness of the last second, not one late timer."""
MOST_WEIGHT_S = 0.15
"""One pause of the loop, however long, is one event."""
RISE_S = 1.0
FALL_S = 5.0
FALL_SHARE = 0.6
"""Of the lag that led to a level: below it the level is left again."""
PARTIAL_EVERY_S = 0.25
LARGE_FRAME_MS = 80
FEW = 10
"""Calls that no core is too small for: what comes late with so few has other reasons, and to
refuse one more would give nothing back."""
RETRY_S = (2, 30)
"""At least and at most what somebody is told to wait who was refused."""


class Level(IntEnum):
    NORMAL = 0
    FEWER_PARTIALS = 1
    NO_SPECULATION = 2
    LARGE_FRAMES = 3
    REFUSE = 4


TOLD = {
    Level.FEWER_PARTIALS: "partials are fewer",
    Level.NO_SPECULATION: "no answer is begun early",
    Level.LARGE_FRAMES: "frames are larger",
    Level.REFUSE: "further calls are refused",
}


class Limits(Struct, frozen=True):
    """What the operator set."""

    lag_ms: tuple[float, float, float, float]
    """From which each level is entered."""
    sessions: int


class Refused(Struct, frozen=True):
    why: Literal["full", "late"]
    retry_s: int
    """As long as it has been so, within RETRY_S: who waits for a crowd waits longer."""


class Load:
    """One server's; `now` is one monotonic clock in seconds."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.level = Level.NORMAL
        self.lag_ms = 0.0
        """Smoothed."""
        self._felt_at: float | None = None
        self._above_since: float | None = None
        self._below_since: float | None = None
        self._since: dict[str, float] = {}
        """By what somebody was refused for: since when it has been so."""

    def receive(self, lag_s: float, sessions: int, now: float) -> Level:
        """The loop came so late to a timer that is set all the time."""
        since_s = 0.0 if self._felt_at is None else min(now - self._felt_at, MOST_WEIGHT_S)
        self._felt_at = now
        # Twice what is refused for says all there is to say.
        lag_ms = min(lag_s * 1000, 2 * self.limits.lag_ms[-1])
        self.lag_ms += (lag_ms - self.lag_ms) * (1 - exp(-since_s / SMOOTH_S))
        self._step(now, sessions)
        if sessions < self.limits.sessions:
            self._since.pop("full", None)
        return self.level

    def _step(self, now: float, sessions: int) -> None:
        highest = Level.REFUSE if sessions >= FEW else Level.LARGE_FRAMES
        if self.level > highest:
            self._enter(highest, now)
        above = self.level < highest and self.lag_ms >= self.limits.lag_ms[self.level]
        below = self.level > 0 and self.lag_ms < FALL_SHARE * self.limits.lag_ms[self.level - 1]
        self._above_since = _since(self._above_since, now) if above else None
        self._below_since = _since(self._below_since, now) if below else None
        if self._above_since is not None and now - self._above_since >= RISE_S:
            self._enter(Level(self.level + 1), now)
        elif self._below_since is not None and now - self._below_since >= FALL_S:
            self._enter(Level(self.level - 1), now)

    def _enter(self, level: Level, now: float) -> None:
        self.level = level
        self._above_since = self._below_since = None
        if level is Level.REFUSE:
            self._since["late"] = now

    def refuses(self, sessions: int, now: float) -> Refused | None:
        """Why a further call is not taken; None: it is, for who has few takes one however late."""
        if sessions >= self.limits.sessions:
            return self._refused("full", now)
        if self.level is Level.REFUSE and sessions >= FEW:
            return self._refused("late", now)
        return None

    def _refused(self, why: Literal["full", "late"], now: float) -> Refused:
        return Refused(why, retry_s(now - self._since.setdefault(why, now)))

    @property
    def warning(self) -> str:
        """Empty at level 0."""
        if self.level is Level.NORMAL:
            return ""
        left_out = ", ".join(what for level, what in TOLD.items() if level <= self.level)
        return f"level {self.level.value}: {left_out}"


def _since(before: float | None, now: float) -> float:
    return now if before is None else before


def retry_s(wait_s: float) -> int:
    """For Retry-After, which has whole seconds."""
    least, most = RETRY_S
    return min(most, max(least, ceil(wait_s)))


def frame_ms(configured_ms: int, lead_ms: int, level: int) -> int:
    """For an answer that begins now: half as many frames cost about half as much to send."""
    if level < Level.LARGE_FRAMES:
        return configured_ms
    return max(configured_ms, min(LARGE_FRAME_MS, lead_ms))


class Pace:
    """Of one call's partials, where there must be fewer; the first of a turn is always shown.

    Args:
        level: Asked whenever there is one to show.
    """

    def __init__(self, level: Callable[[], int]) -> None:
        self._level = level
        self._turn: int | None = None
        self._shown_at = 0.0

    def shows(self, turn: int, at: float) -> bool:
        """Whether the turn's partial is shown; then it counts as shown."""
        soon = turn == self._turn and at - self._shown_at < PARTIAL_EVERY_S
        if soon and self._level() >= Level.FEWER_PARTIALS:
            return False
        self._turn, self._shown_at = turn, at
        return True
