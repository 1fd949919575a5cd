"""`kaiwa bench` on the terminal: how fast, how many callers a core holds, whether it got worse.

What it can be asked for:

    kaiwa bench --callers 1,10,25                    latency at these loads
    kaiwa bench --callers 25 --ramp                  25, 50, 75, ... until a promise breaks
    kaiwa bench --compare voice/bench/baseline.json  ratios beside the committed ones; exit status 1
    kaiwa bench --callers 50 --drain                 SIGTERM while all speak; 1 if somebody is cut
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from voice.errors import KaiwaError

WIDTH = 120
"""Of a file or a pipe: the tables need it."""

if TYPE_CHECKING:  # --help is there at once.
    from voice.bench.config import BenchConfig
    from voice.bench.run import Progress as Done

console = Console(width=None if sys.stdout.isatty() else WIDTH)
complaints = Console(stderr=True)


def numbers(text: str) -> tuple[int, ...]:
    """Raises:
    KaiwaError: They are none.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise KaiwaError(f"--callers: must be numbers like 1,10,25, got {text!r}") from None


def bench(
    url: Annotated[
        str,
        typer.Option(
            help="A server of the OpenAI Realtime wire, as ws://127.0.0.1:8000/v1/realtime; "
            "several with commas; empty: one is started."
        ),
    ] = "",
    callers: Annotated[str, typer.Option(help="Concurrent callers; several make a sweep.")] = "1",
    turns: Annotated[int, typer.Option(help="Measured turns of each caller.")] = 20,
    warmup: Annotated[int, typer.Option(help="Turns of each caller thrown away first.")] = 2,
    ramp: Annotated[
        bool,
        typer.Option(
            "--ramp", help="Raise the callers until --slo breaks; --callers 25: 25, 50, 75, ..."
        ),
    ] = False,
    slo: Annotated[
        str, typer.Option(help="What a step of a ramp must keep: figures and their ceilings.")
    ] = "added_p95_ms=20,lost=0,failed=0,underruns=0",
    churn: Annotated[
        float,
        typer.Option(help="Mean turns of a call, then it hangs up and others arrive; 0: all stay."),
    ] = 0.0,
    rude_share: Annotated[
        float, typer.Option(help="With --churn: calls broken off in mid-answer, 0 to 1.")
    ] = 0.0,
    arrivals: Annotated[str, typer.Option(help="With --churn: poisson or even.")] = "poisson",
    knocking: Annotated[
        float, typer.Option(help="Calls a second, on and off, that find all lines busy.")
    ] = 0.0,
    barge_in_every: Annotated[int, typer.Option(help="Every n-th turn cuts in; 0: never.")] = 5,
    barge_in_share: Annotated[
        float | None, typer.Option(help="Instead: turns that cut in by chance, 0 to 1.")
    ] = None,
    wav: Annotated[str, typer.Option(help="What callers say; empty: speech made here.")] = "",
    transport: Annotated[
        str, typer.Option(help="How callers come in: websocket, or twilio: by telephone.")
    ] = "websocket",
    twilio_auth_token: Annotated[
        str, typer.Option(envvar="TWILIO_AUTH_TOKEN", help="With --url: the server's own.")
    ] = "",
    twilio_account_sid: Annotated[
        str, typer.Option(envvar="TWILIO_ACCOUNT_SID", help="With --url: the server's own.")
    ] = "AC00000000000000000000000000000000",
    public_url: Annotated[
        str, typer.Option(help="With --url: the server's KAIWA_PUBLIC_URL, if it has another.")
    ] = "",
    silence_ms: Annotated[
        int, typer.Option(help="Endpointing silence asked of the server; 0: its own.")
    ] = 0,
    api_key: Annotated[str, typer.Option(envvar="KAIWA_API_KEY", help="Sent as Bearer.")] = "",
    server_pid: Annotated[
        int, typer.Option(help="Process whose CPU and memory are measured; 0: none.")
    ] = 0,
    profile: Annotated[str, typer.Option(help="Of the server that is started.")] = "mock",
    config_file: Annotated[
        str, typer.Option("--config", help="Settings file of the server that is started.")
    ] = "",
    drain: Annotated[
        bool,
        typer.Option(
            "--drain", help="Stop the server while all speak; status 1 if a promise is broken."
        ),
    ] = False,
    servers: Annotated[
        int, typer.Option(help="Servers to start, each on its core; callers are shared out.")
    ] = 1,
    json: Annotated[str, typer.Option(help="Write all figures and values here.")] = "",
    html: Annotated[str, typer.Option(help="Write a report with plots here.")] = "",
    compare: Annotated[
        str, typer.Option(help="Measure a baseline's ratios again; status 1 if one got worse.")
    ] = "",
    write_baseline: Annotated[str, typer.Option(help="Write today's ratios here.")] = "",
    processes: Annotated[int, typer.Option(help="Processes that play the callers.")] = 1,
    ramp_s: Annotated[
        float | None,
        typer.Option(help="Seconds over which the callers connect; default: a turn's length."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of arrivals and of the gaps between turns.")] = 1,
) -> None:
    """Measure latency as callers feel it, and how many of them a core holds.

    Without --url a server is started on one core with the mock profile, whose delays are known, so
    that what Kaiwa adds can be told:  kaiwa bench --callers 1,10,25 --html bench-report.html

    How many calls per core:  kaiwa bench --callers 25 --ramp --turns 5

    By telephone, as Twilio calls:  kaiwa bench --transport twilio --callers 1,50

    docs/benchmark.md has the method and figures.
    """
    import msgspec

    from voice.bench.config import BenchConfig, BenchError

    try:
        given = {
            "url": url or BenchConfig().url,
            "spawn": not url,
            "profile": profile,
            "settings": config_file,
            "callers": numbers(callers),
            "turns": turns,
            "warmup_turns": warmup,
            "ramp": ramp,
            "slo": slo,
            "churn": churn,
            "rude_share": rude_share,
            "arrivals": arrivals,
            "knocking": knocking,
            "wav": wav,
            "barge_in_every": barge_in_every,
            "barge_in_share": barge_in_share,
            "silence_ms": silence_ms,
            "transport": transport,
            "twilio_auth_token": twilio_auth_token,
            "twilio_account_sid": twilio_account_sid,
            "public_url": public_url,
            "api_key": api_key,
            "server_pid": server_pid,
            "servers": servers,
            "json_path": json,
            "html_path": html,
            "processes": processes,
            "ramp_s": ramp_s,
            "seed": seed,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        config = msgspec.convert(given, BenchConfig)
        if compare:
            raise typer.Exit(_compare(config, compare))
        if drain:
            raise typer.Exit(_drain(config, json))
        if write_baseline:
            _write_baseline(config, write_baseline)
        else:
            _measure(config)
    except (BenchError, msgspec.ValidationError) as error:
        raise KaiwaError(str(error)) from None


def _measure(config: "BenchConfig") -> None:
    from voice.bench.run import run
    from voice.bench.table import render

    with _bar() as show:
        report = run(config, show)
    console.print(render(report))


def _drain(config: "BenchConfig", path: str) -> int:
    import msgspec

    from voice.bench.draining import drained
    from voice.bench.table import render_drain

    if not config.spawn or config.servers > 1 or len(config.callers) > 1:
        raise KaiwaError("--drain stops a server of its own: without --url, and with one --callers")
    with complaints.status("stopping a server while everybody speaks"):
        found = asyncio.run(drained(config, config.callers[0]))
    if path:
        Path(path).write_bytes(msgspec.json.encode(found))
    console.print(render_drain(found))
    return int(bool(found.broken))


def _compare(config: "BenchConfig", path: str) -> int:
    from voice.bench.check import check, measure_rounds
    from voice.bench.compare import read_baseline
    from voice.bench.table import render_comparison

    baseline = read_baseline(path)

    def retrying() -> None:
        complaints.print("Worse than the baseline: measuring once more.", style="yellow")

    with _bar() as show:
        measured = partial(measure_rounds, baseline, config, show)
        lines = asyncio.run(check(baseline, measured, retrying))
    console.print(render_comparison(baseline, lines))
    return int(any(line.is_worse for line in lines))


def _write_baseline(config: "BenchConfig", path: str) -> None:
    from voice.bench.check import new_baseline
    from voice.bench.compare import to_json

    if not Path(path).absolute().parent.is_dir():
        raise KaiwaError(f"--write-baseline: cannot write {path}: its folder does not exist")
    with _bar() as show:
        baseline = asyncio.run(new_baseline(config, show))
    Path(path).write_bytes(to_json(baseline))
    console.print(baseline.ratios)


@contextmanager
def _bar() -> "Iterator[Callable[[Done], None]]":
    """While it measures."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=complaints, transient=True) as bar:
        task = bar.add_task("connecting", total=None)

        def show(done: "Done") -> None:
            of = f" of {done.steps}" if done.steps else ""
            what = f"{done.callers} callers (step {done.step + 1}{of})"
            bar.update(task, description=what, completed=done.turns_over, total=done.turns_planned)

        yield show
