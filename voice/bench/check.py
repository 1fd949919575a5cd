"""The run for a comparison: on one server, few callers and many take turns, some times over."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from voice.bench.calibration import unit_s
from voice.bench.compare import Baseline, Line, Round, better_of, compared, ratios
from voice.bench.config import BenchConfig
from voice.bench.environment import environment_of
from voice.bench.run import OnProgress, Progress, targeted
from voice.bench.speech import made_speech
from voice.bench.step import load_average, measure_step

GAP_MS = 200.0
RAMP_S = 2.0
"""Short, as a check has a minute; for the same reason every answer is cut off."""


async def check(
    baseline: Baseline,
    measure: Callable[[], Awaitable[list[Round]]],
    on_retry: Callable[[], None],
) -> list[Line]:
    """Every ratio of the baseline beside today's. What is worse is measured once more."""
    lines = compared(baseline, ratios(await measure()))
    if any(line.is_worse for line in lines):
        on_retry()
        lines = better_of(lines, compared(baseline, ratios(await measure())))
    return lines


async def measure_rounds(
    baseline: Baseline, config: BenchConfig, on_progress: OnProgress
) -> list[Round]:
    """All on one server."""
    chosen = msgspec.structs.replace(
        config,
        turns=baseline.turns,
        warmup_turns=0,
        barge_in_every=1,
        barge_in_share=None,
        churn=0.0,
        rude_share=0.0,
        ramp=False,
        gap_ms=GAP_MS,
        ramp_s=RAMP_S,
    )
    loads = [baseline.few, baseline.many] * baseline.rounds
    rounds, most_before = [], 0
    async with targeted(chosen, made_speech()) as (target, _, _):
        steps = []
        for number, callers in enumerate(loads):

            def show(over: int, number: int = number, callers: int = callers) -> None:
                on_progress(Progress(number, len(loads), callers, over, callers * chosen.turns))

            steps.append(
                await measure_step(chosen, callers, target, most_before=most_before, on_turns=show)
            )
            most_before = max(most_before, callers)
            if number % 2:
                rounds.append(Round(few=steps[-2], many=steps[-1], unit_s=unit_s()))
    return rounds


async def new_baseline(config: BenchConfig, on_progress: OnProgress) -> Baseline:
    """Today's ratios, with the usual tolerances."""
    plan = Baseline()
    found = ratios(await measure_rounds(plan, config, on_progress))
    here = environment_of(())
    return msgspec.structs.replace(
        plan,
        ratios=found,
        measured_on=f"{datetime.now(UTC):%Y-%m-%d}, {here.processor}, {here.cores} cores, "
        f"Python {here.python}, load average {load_average():g}",
    )
