"""The measured run: for each step its generators, its window and what the server took meanwhile."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.environment import environment_of
from voice.bench.figures import (
    TurnFigures,
    count,
    distribution,
    distributions,
    span_distributions,
    with_added,
)
from voice.bench.html import to_html
from voice.bench.report import LAG_LIMIT_MS, BenchReport, Environment, ServerUse, Step, to_json
from voice.bench.server import known_delays, started, websocket_url
from voice.bench.speech import Speech, made_speech, read_speech
from voice.bench.turns import Outcome
from voice.bench.weight import Weight, weigh
from voice.bench.worker import Result, Task
from voice.bench.workers import all_of, expect, hired, tell

MIB = 1024 * 1024


class Progress(msgspec.Struct, frozen=True):
    """Something to draw a bar from."""

    step: int
    """From 0."""
    steps: int
    callers: int
    turns_over: int
    turns_planned: int


OnProgress = Callable[[Progress], None]


def run(config: BenchConfig, on_progress: OnProgress | None = None) -> BenchReport:
    """Measure, and write the files the configuration asks for.

    Raises:
        BenchError: If it cannot be measured at all. Lost turns and the like are in the report.
    """
    return asyncio.run(measure(config, on_progress))


async def measure(config: BenchConfig, on_progress: OnProgress | None = None) -> BenchReport:
    """The same inside a running event loop, which has little to do meanwhile."""
    speech = read_speech(config.wav) if config.wav else made_speech()
    _check_paths(config)
    async with contextlib.AsyncExitStack() as stack:
        url, pid, server_cores = config.url, config.server_pid, tuple[int, ...]()
        if config.spawn:
            server = await stack.enter_async_context(started(config))
            url, pid, server_cores = server.url, server.pid, server.cores
        url = websocket_url(url)
        if pid and weigh(pid) is None:
            raise BenchError(f"server_pid: there is no process {pid} in /proc")
        known, known_source = await known_delays(config, url)
        environment = environment_of(server_cores)
        if pid:
            await _prime(msgspec.structs.replace(config, url=url))
        idle = weigh(pid) if pid else None
        steps = [
            await _step(
                msgspec.structs.replace(config, url=url),
                number,
                pid,
                idle,
                known,
                on_progress or (lambda progress: None),
            )
            for number in range(len(config.callers))
        ]
    every_turn = [turn for step in steps for turn in step.turns]
    report = BenchReport(
        date=config.date,
        url=url,
        speech=speech.source,
        speech_ms=round(speech.ms, 1),
        cut_lead_ms=round(speech.cut_lead_ms, 1),
        cut_tail_ms=round(speech.cut_tail_ms, 1),
        known=known,
        known_source=known_source,
        known_total_ms=None if known is None else known.total_ms,
        config=msgspec.structs.replace(config, api_key=""),
        environment=environment,
        figures=distributions(every_turn),
        steps=tuple(steps),
        warnings=tuple(_warnings(config, steps, known, environment, speech)),
    )
    _write(report)
    return report


def _check_paths(config: BenchConfig) -> None:
    """Before the run, not after it."""
    for path in filter(None, (config.json_path, config.html_path)):
        if not Path(path).absolute().parent.is_dir():
            raise BenchError(f"cannot write {path}: its folder does not exist")


def _write(report: BenchReport) -> None:
    if report.config.json_path:
        Path(report.config.json_path).write_bytes(to_json(report))
    if report.config.html_path:
        Path(report.config.html_path).write_text(to_html(report), encoding="utf-8")


async def _prime(config: BenchConfig) -> None:
    """One call of one turn, so that what the server loads but once is no session's memory."""
    once = msgspec.structs.replace(
        config, callers=(1,), processes=1, turns=1, warmup_turns=0, barge_in_every=0, ramp_s=0.0
    )
    await _step(once, 0, 0, None, None, lambda progress: None)


# --- one step -----------------------------------------------------------------------------------


async def _step(
    config: BenchConfig,
    number: int,
    pid: int,
    idle: Weight | None,
    known: KnownDelays | None,
    on_progress: OnProgress,
) -> Step:
    callers = config.callers[number]
    shares = [tuple(range(n, callers, config.processes)) for n in range(config.processes)]
    shares = [share for share in shares if share]
    over = [0] * len(shares)

    def show(worker: int, turns: int) -> None:
        over[worker] = turns
        planned = callers * config.turns
        on_progress(Progress(number, len(config.callers), callers, sum(over), planned))

    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(hired(Task(config, share, callers))) for share in shares
        ]
        await all_of([expect(worker, "connected") for worker in workers])
        for worker in workers:
            await tell(worker, "open")
        opened = weigh(pid) if pid else None
        opened_at = asyncio.get_running_loop().time()
        show(0, 0)
        await all_of(
            [
                expect(worker, "finished", lambda turns, n=n: show(n, turns))  # type: ignore[misc]
                for n, worker in enumerate(workers)
            ]
        )
        window_s = asyncio.get_running_loop().time() - opened_at
        closed = weigh(pid) if pid else None
        for worker in workers:
            await tell(worker, "close")
        messages = await all_of([expect(worker, "result") for worker in workers])
    results = [message.result for message in messages if message.result is not None]
    use = _server_use(idle, opened, closed, callers, max((0, *config.callers[:number])))
    return _step_of(config, callers, results, known, window_s, use)


def _step_of(
    config: BenchConfig,
    callers: int,
    results: Sequence[Result],
    known: KnownDelays | None,
    window_s: float,
    use: ServerUse | None,
) -> Step:
    turns: list[TurnFigures] = [turn for result in results for turn in result.turns]
    if known is not None:
        turns = [with_added(turn, known) for turn in turns]
    turns.sort(key=lambda turn: (turn.caller, turn.number))
    closed = tuple(reason for result in results for reason in result.closed)
    lag = distribution(lag for result in results for lag in result.lags_ms)
    if lag is None:
        why = closed[0] if closed else "no frame was sent"
        raise BenchError(f"{callers} callers: no conversation took place: {why}")
    over = sum(turn.outcome is not Outcome.LOST for turn in turns)
    planned = callers * config.turns
    if len(closed) == callers and over < planned:
        raise BenchError(
            f"{callers} callers: the server ended every call, after {over} of {planned} turns: "
            f"{closed[0]}. Look at its log for the reason, and measure again."
        )
    return Step(
        callers=callers,
        window_s=round(window_s, 3),
        figures=distributions(turns),
        spans=span_distributions(turns),
        counts=count(
            turns,
            planned=planned,
            unasked=sum(result.unasked for result in results),
            errors=sum(result.errors for result in results),
            closed=len(closed),
        ),
        lag_ms=lag,
        server=use,
        error_texts=tuple(text for result in results for text in result.error_texts)[:20],
        closed_texts=closed[:20],
        turns=tuple(turns),
    )


def _server_use(
    idle: Weight | None,
    opened: Weight | None,
    closed: Weight | None,
    callers: int,
    callers_before: int,
) -> ServerUse | None:
    """Args:
    callers_before: The most that a step before this one had.
    """
    if idle is None or opened is None or closed is None:
        return None
    taken_mb = (closed.memory - idle.memory) / MIB
    cores = (closed.cpu - opened.cpu) / max(closed.at - opened.at, 1e-9)
    return ServerUse(
        cpu_per_session_s=round(cores / callers, 5),
        cpu_cores=round(cores, 4),
        memory_before_mb=round(idle.memory / MIB, 2),
        memory_mb=round(closed.memory / MIB, 2),
        memory_per_session_mb=(
            round(taken_mb / callers, 3) if taken_mb > 0 and callers > callers_before else None
        ),
        processes=closed.processes,
    )


def _warnings(
    config: BenchConfig,
    steps: Sequence[Step],
    known: KnownDelays | None,
    environment: Environment,
    speech: Speech,
) -> list[str]:
    found = [
        f"{step.name}: the generator was late itself (p99 {step.lag_ms.p99:.1f} ms, "
        f"limit {LAG_LIMIT_MS:g}): these figures are not to be trusted. Give it free cores, or "
        "spread it over more processes."
        for step in steps
        if not step.is_trusted
    ]
    if known is None:
        found.append("The providers' delays are unknown: no added latency is given.")
    if config.spawn and not environment.server_cores:
        found.append("One core for everything: server and generator disturbed each other.")
    if speech.cut_lead_ms + speech.cut_tail_ms > 0:
        found.append(
            f"Silence of {speech.cut_lead_ms:.0f} ms before and {speech.cut_tail_ms:.0f} ms after "
            "the speech was cut off the recording."
        )
    for step in steps:
        if step.counts.missed_cuts:
            found.append(
                f"{step.name}: {step.counts.missed_cuts} answers were over before the "
                "caller could cut in; lower barge_in_after_ms."
            )
    return found
