"""The measured run: the servers, one step after another, and the report of them all."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec

from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.environment import environment_of
from voice.bench.figures import distributions
from voice.bench.html import to_html
from voice.bench.ramp import climb, loads
from voice.bench.report import LAG_LIMIT_MS, BenchReport, Environment, Ramp, Step, to_json
from voice.bench.server import known_delays, started, websocket_urls
from voice.bench.slo import Ceiling, parse
from voice.bench.speech import Speech, speech_of
from voice.bench.step import Target, measure_step
from voice.bench.weight import weigh, weigh_all


class Progress(msgspec.Struct, frozen=True):
    """Something to draw a bar from."""

    step: int
    """From 0."""
    steps: int
    """0: nobody knows yet."""
    callers: int
    turns_over: int
    turns_planned: int


OnProgress = Callable[[Progress], None]
HIDDEN = "hidden"


def run(config: BenchConfig, on_progress: OnProgress | None = None) -> BenchReport:
    """Measure, and write the files the configuration asks for.

    Raises:
        BenchError: If it cannot be measured at all. Lost turns and the like are in the report.
    """
    return asyncio.run(measure(config, on_progress))


async def measure(config: BenchConfig, on_progress: OnProgress | None = None) -> BenchReport:
    """The same inside a running event loop, which has little to do meanwhile."""
    if config.spawn and config.transport == "twilio":
        config = msgspec.structs.replace(config, twilio_auth_token=secrets.token_hex(16))
    speech = speech_of(config)
    ceilings = parse(config.slo) if config.ramp else ()
    _check_paths(config)
    async with targeted(config, speech) as (target, known_source, server_cores):
        environment = environment_of(server_cores)
        steps, ramp = await _steps(config, target, ceilings, on_progress or (lambda _: None))
    every_turn = [turn for step in steps for turn in step.turns]
    report = BenchReport(
        date=config.date,
        url=",".join(target.urls),
        speech=speech.source,
        speech_ms=round(speech.ms, 1),
        cut_lead_ms=round(speech.cut_lead_ms, 1),
        cut_tail_ms=round(speech.cut_tail_ms, 1),
        known=target.known,
        known_source=known_source,
        known_total_ms=None if target.known is None else target.known.total_ms,
        config=msgspec.structs.replace(config, api_key="", twilio_auth_token=HIDDEN),
        environment=environment,
        figures=distributions(every_turn),
        steps=tuple(steps),
        ramp=ramp,
        warnings=tuple(_warnings(config, steps, target.known, environment, speech)),
    )
    _write(report)
    return report


@contextlib.asynccontextmanager
async def targeted(
    config: BenchConfig, speech: Speech
) -> AsyncGenerator[tuple[Target, str, tuple[int, ...]], None]:
    """The servers, primed and weighed; how their delays are known; the cores they have."""
    async with contextlib.AsyncExitStack() as stack:
        pids: tuple[int, ...] = (config.server_pid,) if config.server_pid else ()
        server_cores: tuple[int, ...] = ()
        if config.spawn:
            servers = await stack.enter_async_context(started(config))
            urls = tuple(server.url for server in servers)
            pids = tuple(server.pid for server in servers)
            server_cores = tuple(sorted({core for server in servers for core in server.cores}))
        else:
            urls = websocket_urls(config)
        for pid in pids:
            if weigh(pid) is None:
                raise BenchError(f"server_pid: there is no process {pid} in /proc")
        known, known_source = await known_delays(config, urls[0])
        target = Target(urls=urls, known=known)
        wants_turn = config.churn > 0 or (config.ramp_s is None and max(config.callers) > 1)
        turn_s = await _prime(config, target, speech) if pids or wants_turn else 0.0
        target = msgspec.structs.replace(
            target, pids=pids, turn_s=turn_s, idle=weigh_all(pids) if pids else None
        )
        yield target, known_source, server_cores


async def _steps(
    config: BenchConfig, target: Target, ceilings: tuple[Ceiling, ...], on_progress: OnProgress
) -> tuple[list[Step], Ramp | None]:
    if config.ramp_s is None:
        config = msgspec.structs.replace(config, ramp_s=target.turn_s)
    most_before = done = 0
    planned = len(config.callers) if not config.ramp or len(config.callers) > 1 else 0

    async def one(callers: int) -> Step:
        nonlocal most_before, done

        def show(over: int) -> None:
            on_progress(Progress(done, planned, callers, over, callers * config.turns))

        step = await measure_step(config, callers, target, most_before=most_before, on_turns=show)
        most_before, done = max(most_before, callers), done + 1
        return step

    if not config.ramp:
        return [await one(callers) for callers in config.callers], None
    return await climb(loads(config.callers), ceilings, one)


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


async def _prime(config: BenchConfig, target: Target, speech: Speech) -> float:
    """One call of one turn for each server, so that what it loads but once is no session's memory.

    Returns:
        Seconds from one question to the next, on average over turns that are cut off and not.
    """
    once = msgspec.structs.replace(
        config,
        processes=1,
        turns=1,
        warmup_turns=0,
        barge_in_every=0,
        barge_in_share=None,
        churn=0.0,
        rude_share=0.0,
        ramp=False,
        ramp_s=0.0,
        knocking=0.0,
    )
    step = await measure_step(
        once, len(target.urls), target, most_before=0, on_turns=lambda turns: None
    )
    answered = [turn for turn in step.turns if turn.tts_start_ms is not None]
    if not answered:
        if not config.churn:
            return 0.0
        raise BenchError("the first call got no answer: without its length no load can be planned")
    start_ms = max(turn.tts_start_ms or 0.0 for turn in answered) + config.start_buffer_ms
    whole_ms = start_ms + max(turn.audio_ms for turn in answered) + config.gap_ms
    share = config.barge_in_share
    if share is None:
        share = 1 / config.barge_in_every if config.barge_in_every else 0.0
    cut_ms = start_ms + config.barge_in_after_ms
    return (speech.ms + share * cut_ms + (1 - share) * whole_ms) / 1000


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
        found.append("Too few cores: servers and generator disturbed each other.")
    if set(environment.server_cores) & set(environment.generator_cores):
        found.append("The generator shared the servers' cores: it took from what they could do.")
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
