"""Ratios of a run beside those of a committed baseline: machines differ, ratios hardly do.

    added_growth      added latency p95 with many callers / with few
    stop_growth       barge-in stop p95 with many callers / with few
    cpu_per_call      server's CPU for a second of a call / the calibration's (see there)
    memory_per_call   MiB for each caller, at least 1
    troubles          lost, failed, errors, underruns and the like

Each is the median of several rounds, in which few and many take turns. It is worse when it is above
the baseline's value times its tolerance; better is told, and no failure.
"""

from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec

from voice.bench.config import BenchError
from voice.bench.report import Step
from voice.bench.slo import COUNTS, value_of

MEANINGS = {
    "added_growth": "added p95, many callers / few",
    "stop_growth": "barge-in stop p95, many callers / few",
    "cpu_per_call": "CPU of a second of a call / bare minimum on this machine",
    "memory_per_call": "MiB for each caller, at least 1",
    "troubles": "lost, failed, underruns, errors ...",
}
TOLERANCES = {
    "added_growth": 2.0,
    "stop_growth": 2.0,
    "cpu_per_call": 1.35,
    "memory_per_call": 1.5,
    "troubles": 1.0,
}
LATE_LIMIT_MS = 15.0
"""p99 of the generator's lateness above which a round has no latencies. More than figures of their
own worth may have: it is added to few callers and to many alike."""
ADDED_FLOOR_MS = 10.0
STOP_FLOOR_MS = 40.0
MEMORY_FLOOR_MIB = 1.0
"""Below these it is chance: a latency is one frame or two, memory what the allocator had left."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured once, and how to measure it again."""

    few: int = 5
    many: int = 25
    turns: int = 1
    """Of each caller in a round; each is cut off by the next question."""
    rounds: int = 3
    measured_on: str = ""
    """Where and when; for readers."""
    ratios: dict[str, float] = {}
    tolerances: dict[str, float] = msgspec.field(default_factory=lambda: dict(TOLERANCES))
    """What a ratio may be at most, in multiples of the baseline's."""

    def limit(self, name: str) -> float:
        return self.ratios[name] * self.tolerances.get(name, 1.0)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Few callers, many callers, and what the CPU was worth between them."""

    few: Step
    many: Step
    unit_s: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One ratio, compared."""

    name: str
    baseline: float
    limit: float
    now: float | None
    """None: it could not be measured."""

    @property
    def is_worse(self) -> bool:
        return self.now is not None and self.now > self.limit + 1e-9


def read_baseline(path: str) -> Baseline:
    """Raises:
    BenchError: It is none.
    """
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Baseline)
    except (OSError, msgspec.DecodeError) as error:
        raise BenchError(f"{path} is no baseline of kaiwa bench: {error}") from None
    if not found.ratios or not set(found.ratios) <= set(MEANINGS):
        raise BenchError(f"{path}: ratios must be some of {', '.join(MEANINGS)}")
    return found


def to_json(baseline: Baseline) -> bytes:
    return msgspec.json.format(msgspec.json.encode(baseline), indent=2) + b"\n"


def ratios(rounds: Iterable[Round]) -> dict[str, float]:
    """The median of each; one that no round could measure is missing."""
    found: dict[str, list[float]] = {}
    for one in rounds:
        for name, value in _ratios_of(one).items():
            found.setdefault(name, []).append(value)
    # Memory is given back to nobody: only the first of many callers shows what they take.
    # Trouble of a single round is trouble.
    pick = {"memory_per_call": max, "troubles": max}
    return {
        name: round(pick.get(name, median)(found[name]), 3) for name in MEANINGS if name in found
    }


def _ratios_of(one: Round) -> dict[str, float]:
    found = {"troubles": troubles(one.few) + troubles(one.many)}
    if max(one.few.lag_ms.p99, one.many.lag_ms.p99) <= LATE_LIMIT_MS:
        for name, figure, floor_ms in (
            ("added_growth", "added_p95_ms", ADDED_FLOOR_MS),
            ("stop_growth", "barge_in_stop_p95_ms", STOP_FLOOR_MS),
        ):
            few, many = value_of(one.few, figure), value_of(one.many, figure)
            if few is not None and many is not None:
                found[name] = max(many, floor_ms) / max(few, floor_ms)
    cpu_ms, memory = value_of(one.many, "cpu_ms"), value_of(one.many, "memory_mib")
    if cpu_ms is not None:
        found["cpu_per_call"] = cpu_ms / 1000 / one.unit_s
    if memory is not None:
        found["memory_per_call"] = max(memory, MEMORY_FLOOR_MIB)
    return found


def troubles(step: Step) -> float:
    """Everything that should not have happened, counted."""
    fine = ("completed", "cut", "hung_up", "missed_cuts")
    return float(sum(getattr(step.counts, name) for name in COUNTS if name not in fine))


def compared(baseline: Baseline, now: dict[str, float]) -> list[Line]:
    """In the order of `MEANINGS`."""
    return [
        Line(
            name=name,
            baseline=baseline.ratios[name],
            limit=round(baseline.limit(name), 3),
            now=now.get(name),
        )
        for name in MEANINGS
        if name in baseline.ratios
    ]


def better_of(first: list[Line], second: list[Line]) -> list[Line]:
    """Each ratio from the run in which it was lower: noise only adds."""
    found = []
    for one, other in zip(first, second, strict=True):
        values = [line.now for line in (one, other) if line.now is not None]
        found.append(msgspec.structs.replace(one, now=min(values, default=None)))
    return found
