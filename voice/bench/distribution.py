"""Many values to percentiles, exactly: every one is a value that was really measured.

A histogram of buckets (HdrHistogram) trades exactness for a bounded size. A run has some thousands
of turns and fewer than 10^6 frames, so the trade has nothing to give: turns are kept whole, and of
frames a tally counts how many were equally late to 10 µs, which is what such a histogram is with
one width for all its buckets. Both merge across processes without loss.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
TALLY_PER_MS = 100
"""Steps of a tally: 10 µs, a five-hundredth of what makes a generator too late."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Of `count` values. Of fewer than 1000, p999 is the largest; of fewer than 100, p99 is too."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


def rank(share: float, count: int) -> int:
    """Nearest rank, from 0: of the smallest value that at least `share` (0..1] do not exceed."""
    # 1e-9: 0.95 * 20 is a hair over 19 in binary, and must not become the 20th value.
    return max(0, math.ceil(share * count - 1e-9) - 1)


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[rank(share, len(ordered))]


def distribution(values: Iterable[float | None]) -> Distribution | None:
    """None when there is no value."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    shares = {name: round(percentile(ordered, share), 3) for name, share in PERCENTILES.items()}
    return Distribution(count=len(ordered), **shares)


class Tally(msgspec.Struct):
    """How often each value came, in steps of 10 µs."""

    steps: dict[int, int] = msgspec.field(default_factory=dict)
    """By value in hundredths of a millisecond."""

    def add_s(self, seconds: Iterable[float]) -> None:
        found = Counter(round(value * 1000 * TALLY_PER_MS) for value in seconds)
        self._merge(found)

    def merge(self, other: "Tally") -> None:
        self._merge(other.steps)

    def _merge(self, steps: dict[int, int]) -> None:
        for step, count in steps.items():
            self.steps[step] = self.steps.get(step, 0) + count

    def distribution(self) -> Distribution | None:
        """In milliseconds; None when nothing was counted."""
        total = sum(self.steps.values())
        if not total:
            return None
        ranks = {name: rank(share, total) for name, share in PERCENTILES.items()}
        found: dict[str, float] = {}
        below = 0
        for step in sorted(self.steps):
            below += self.steps[step]
            for name, place in ranks.items():
                if name not in found and place < below:
                    found[name] = step / TALLY_PER_MS
        return Distribution(count=total, **found)
