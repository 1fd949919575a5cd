"""One measured step: its generators, its window, and what the servers took meanwhile."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

import msgspec

from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.distribution import Tally
from voice.bench.figures import (
    TurnFigures,
    count,
    distributions,
    span_distributions,
    with_added,
)
from voice.bench.knocking import Door, knocked_at, knocks_of
from voice.bench.report import ServerUse, Step
from voice.bench.schedule import Call, arriving, staying
from voice.bench.scrape import LoopLag, lag_between, lag_buckets
from voice.bench.task import Result, Task
from voice.bench.turn import Outcome
from voice.bench.weight import Weight, weigh_all
from voice.bench.workers import all_of, expect, hired, tell

MIB = 1024 * 1024
KEPT_TEXTS = 20

OnTurns = Callable[[int], None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The servers under test."""

    urls: tuple[str, ...]
    pids: tuple[int, ...] = ()
    """Empty: they are not weighed."""
    known: KnownDelays | None = None
    idle: Weight | None = None
    """Before the first caller."""
    turn_s: float = 0.0
    """From one question to the next, as one caller alone found it; 0: not known."""


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A window from outside."""

    window_s: float
    opened: Weight | None
    closed: Weight | None
    loop_lag: LoopLag | None
    door: Door
    results: tuple[Result, ...]


async def measure_step(
    config: BenchConfig, callers: int, target: Target, *, most_before: int, on_turns: OnTurns
) -> Step:
    """One number of callers.

    Args:
        most_before: The most callers that a step before this one had.
    Raises:
        BenchError: It cannot be measured.
    """
    by_wire = config.transport == "websocket"
    if by_wire and not config.silence_ms and target.known is not None:
        # Asked for, it is exact; left to the server, it may be one that adapts to the caller.
        silence_ms = round(target.known.endpoint_ms)
        config = msgspec.structs.replace(config, silence_ms=silence_ms)
    seen = await _watch(config, callers, target, on_turns)
    turns: list[TurnFigures] = [turn for result in seen.results for turn in result.turns]
    if target.known is not None:
        turns = [with_added(turn, target.known) for turn in turns]
    turns.sort(key=lambda turn: (turn.caller, turn.number))
    closed = tuple(reason for result in seen.results for reason in result.closed)
    refused = tuple(reason for result in seen.results for reason in result.refused)
    lags = Tally()
    for result in seen.results:
        lags.merge(result.lags)
    lag = lags.distribution()
    if lag is None:
        why = [*closed, *refused, "no frame was sent"][0]
        raise BenchError(f"{callers} callers: no conversation took place: {why}")
    planned = len(turns) if config.churn else callers * config.turns
    over = sum(turn.outcome is not Outcome.LOST for turn in turns)
    if len(closed) == callers and over < planned and not config.churn:
        raise BenchError(
            f"{callers} callers: the server ended every call, after {over} of {planned} turns: "
            f"{closed[0]}. Look at its log for the reason, and measure again."
        )
    session_s = sum(result.session_s for result in seen.results)
    mean_callers = session_s / max(seen.window_s, 1e-9)
    return Step(
        callers=callers,
        window_s=round(seen.window_s, 3),
        mean_callers=round(mean_callers, 2),
        calls=sum(result.calls for result in seen.results),
        figures=distributions(turns),
        spans=span_distributions(turns),
        counts=count(
            turns,
            planned=planned,
            unasked=sum(result.unasked for result in seen.results),
            errors=sum(result.errors for result in seen.results),
            closed=len(closed),
            refused=len(refused),
        ),
        lag_ms=lag,
        server=server_use(
            target.idle, seen.opened, seen.closed, mean_callers, is_most=callers > most_before
        ),
        loop_lag=seen.loop_lag,
        knocks=knocks_of(config, seen.door, turns),
        load_average=load_average(),
        error_texts=tuple(t for result in seen.results for t in result.error_texts)[:KEPT_TEXTS],
        closed_texts=closed[:KEPT_TEXTS],
        refused_texts=refused[:KEPT_TEXTS],
        turns=tuple(turns),
    )


def load_average() -> float:
    """Of the whole machine over the last minute; 0 where there is none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


async def _watch(config: BenchConfig, callers: int, target: Target, on_turns: OnTurns) -> _Seen:
    loop = asyncio.get_running_loop()
    over: dict[int, int] = {}

    def show(worker: int, turns: int) -> None:
        over[worker] = turns
        on_turns(sum(over.values()))

    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(hired(task)) for task in _tasks(config, callers, target)
        ]
        await all_of([expect(worker, "connected") for worker in workers])
        if config.churn:
            await asyncio.sleep(config.warmup_turns * target.turn_s)
        opened = weigh_all(target.pids)
        for worker in workers:
            await tell(worker, "open")
        opened_at = loop.time()
        lag_before = await lag_buckets(target.urls, config.api_key)
        show(0, 0)
        async with knocked_at(config, target.urls, target.pids) as door:
            await all_of(
                [
                    expect(worker, "finished", lambda turns, n=n: show(n, turns))  # type: ignore[misc]
                    for n, worker in enumerate(workers)
                ]
            )
        window_s = loop.time() - opened_at
        closed = weigh_all(target.pids)
        for worker in workers:
            await tell(worker, "close")
        messages = await all_of([expect(worker, "result") for worker in workers])
        lag_after = await lag_buckets(target.urls, config.api_key)
    return _Seen(
        window_s=window_s,
        opened=opened,
        closed=closed,
        loop_lag=lag_between(lag_before, lag_after),
        door=door,
        results=tuple(message.result for message in messages if message.result is not None),
    )


def _tasks(config: BenchConfig, callers: int, target: Target) -> list[Task]:
    calls: Sequence[Call]
    window_s = 0.0
    if config.churn:
        window_s = config.turns * target.turn_s
        warmup_s = config.warmup_turns * target.turn_s
        # The load stays until the last measured turn is over, lost ones included.
        until_s = (
            (config.ramp_s or 0.0) + warmup_s + window_s + 2 * target.turn_s + config.timeout_s
        )
        calls = arriving(config, callers, turn_s=target.turn_s, until_s=until_s)
    else:
        calls = staying(config, callers)
    shares = [tuple(calls[n :: config.processes]) for n in range(config.processes)]
    return [
        Task(
            config=config,
            calls=share,
            of=callers,
            urls=target.urls,
            worker=worker,
            window_s=window_s,
            may_be_refused=config.ramp or config.churn > 0,
        )
        for worker, share in enumerate(share for share in shares if share)
    ]


def server_use(
    idle: Weight | None,
    opened: Weight | None,
    closed: Weight | None,
    callers: float,
    *,
    is_most: bool,
) -> ServerUse | None:
    """Args:
    callers: That were there, on average.
    is_most: No step before this one had as many; else theirs hide what these take.
    """
    if idle is None or opened is None or closed is None or callers <= 0:
        return None
    taken_mb = (closed.memory - idle.memory) / MIB
    seconds = max(closed.at - opened.at, 1e-9)
    cores = (closed.cpu - opened.cpu) / seconds
    pairs = list(zip(opened.cores, closed.cores, strict=True))
    return ServerUse(
        cpu_per_session_s=round(cores / callers, 5),
        cpu_cores=round(cores, 4),
        busy=tuple(round((after.busy - before.busy) / seconds, 3) for before, after in pairs),
        waited=tuple(round((after.waited - before.waited) / seconds, 3) for before, after in pairs),
        memory_before_mb=round(idle.memory / MIB, 2),
        memory_mb=round(closed.memory / MIB, 2),
        memory_per_session_mb=(round(taken_mb / callers, 3) if taken_mb > 0 and is_most else None),
        processes=closed.processes,
    )
