"""Which calls come when: drawn up before the step begins, so that no server can slow them down.

    callers who stay   |||||                                        all connect, then the window
    churn              ||||| |  |    ||  |     | |   |  ...         calls go and others arrive

With churn, the load in callers is an average: calls arrive at a rate of `callers` for each mean
length of a call (Little's law), whether the server answers or not. Lengths are geometric, which
forget how long a call has lasted: so the load is steady from the first second on.
"""

import math
import random

import msgspec

from voice.bench.config import BenchConfig
from voice.bench.turn import every

PATTERN = 64
"""Drawn cuts, used round and round."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a step."""

    number: int
    at_s: float
    """When it is due, from the beginning of the step."""
    turns: int = 0
    """After which it hangs up; 0: it stays."""
    is_rude: bool = False
    cuts: tuple[bool, ...] = ()


def staying(config: BenchConfig, callers: int) -> tuple[Call, ...]:
    """Callers who come in evenly over `ramp_s` and stay."""
    rng, ramp_s = _rng(config, callers), config.ramp_s or 0.0
    return tuple(
        Call(number=number, at_s=ramp_s * number / callers, cuts=_cuts(config, rng))
        for number in range(callers)
    )


def arriving(
    config: BenchConfig, callers: int, *, turn_s: float, until_s: float
) -> tuple[Call, ...]:
    """The same callers to begin with, who hang up, and those who arrive until `until_s`.

    Args:
        turn_s: From one question to the next, on average.
    """
    rng, ramp_s = _rng(config, callers), config.ramp_s or 0.0
    due = [ramp_s * number / callers for number in range(callers)]
    mean_gap_s = config.churn * turn_s / callers
    at_s = ramp_s
    while True:
        at_s += mean_gap_s if config.arrivals == "even" else rng.expovariate(1 / mean_gap_s)
        if at_s >= until_s:
            break
        due.append(at_s)
    return tuple(
        Call(
            number=number,
            at_s=at_s,
            turns=_geometric(config.churn, rng),
            is_rude=rng.random() < config.rude_share,
            cuts=_cuts(config, rng),
        )
        for number, at_s in enumerate(due)
    )


def _rng(config: BenchConfig, callers: int) -> random.Random:
    return random.Random(config.seed * 1_000_003 + callers)


def _geometric(mean: float, rng: random.Random) -> int:
    """1, 2, 3 ... with that mean: each turn is the last one with a chance of 1 in `mean`."""
    if mean <= 1:
        return 1
    return 1 + int(math.log(1 - rng.random()) / math.log(1 - 1 / mean))


def _cuts(config: BenchConfig, rng: random.Random) -> tuple[bool, ...]:
    if config.barge_in_share is None:
        return every(config.barge_in_every)
    return tuple(rng.random() < config.barge_in_share for _ in range(PATTERN))
