"""Ceilings that a step must keep, written as `added_p95_ms=20,lost=0,underruns=0`.

FIGURE_PERCENTILE_ms     any figure of a turn: added_p95_ms, barge_in_stop_p99_ms, connect_max_ms
a count                  lost, failed, underruns, errors, closed, refused, late_audio, ...
cpu_ms                   of the server, for each session-second
memory_mib               of the server, for each session
loop_lag_p99_ms          as the server's own probe saw it
"""

import msgspec

from voice.bench.config import BenchError
from voice.bench.distribution import PERCENTILES
from voice.bench.figures import MEANINGS, Counts
from voice.bench.report import Step

COUNTS = tuple(name for name in Counts.__struct_fields__ if name != "planned")
COSTS = ("cpu_ms", "memory_mib", "loop_lag_p50_ms", "loop_lag_p99_ms", "loop_lag_p999_ms")


class Ceiling(msgspec.Struct, frozen=True):
    """One promise."""

    name: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}={self.limit:g}"


def names() -> list[str]:
    """Everything that can be promised."""
    figures = [
        f"{figure.removesuffix('_ms')}_{share}_ms" for figure in MEANINGS for share in PERCENTILES
    ]
    return [*figures, *COUNTS, *COSTS]


def parse(text: str) -> tuple[Ceiling, ...]:
    """Raises:
    BenchError: There is no such figure, or its limit is no number.
    """
    known = set(names())
    ceilings = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, limit = (piece.strip() for piece in part.partition("="))
        if name not in known:
            raise BenchError(
                f"slo: there is no figure {name!r}; say for instance added_p95_ms=20, lost=0, "
                "underruns=0, barge_in_stop_p95_ms=120, cpu_ms=8, loop_lag_p99_ms=10"
            )
        try:
            ceilings.append(Ceiling(name, float(limit)))
        except ValueError:
            raise BenchError(f"slo: {name} must be a number, got {limit!r}") from None
    if not ceilings:
        raise BenchError("slo: name at least one ceiling, such as added_p95_ms=20")
    return tuple(ceilings)


def value_of(step: Step, name: str) -> float | None:
    """What a step has of it; None: it was not measured."""
    if name in COUNTS:
        return float(getattr(step.counts, name))
    if name == "cpu_ms":
        return None if step.server is None else step.server.cpu_per_session_s * 1000
    if name == "memory_mib":
        return None if step.server is None else step.server.memory_per_session_mb
    if name in COSTS:
        lag: float | None = getattr(step.loop_lag, name.removeprefix("loop_lag_"), None)
        return lag
    figure, share = name.removesuffix("_ms").rsplit("_", 1)
    values = step.figures.get(f"{figure}_ms")
    return None if values is None else float(getattr(values, share))


def broken(step: Step, ceilings: tuple[Ceiling, ...]) -> tuple[str, ...]:
    """What a step does not keep, in words. What was not measured is not kept."""
    found = []
    for ceiling in ceilings:
        value = value_of(step, ceiling.name)
        if value is None:
            found.append(f"{ceiling.name} was not measured")
        elif value > ceiling.limit:
            found.append(f"{ceiling.name} {value:.5g} > {ceiling.limit:g}")
    return tuple(found)
