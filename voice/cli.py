"""The `kaiwa` command."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import dotenv_values
from rich.console import Console
from rich.markup import escape

from providers.base import ProviderError
from voice.config import Config, load
from voice.errors import KaiwaError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Kaiwa (会話): a self-hosted real-time voice agent.

**First steps**

    kaiwa ingest docs/            make your documents known
    kaiwa serve                   open http://127.0.0.1:8000 and speak
    kaiwa ask "When are you open?"   one turn here, with its timeline

Settings come from the profile, then a `--config` file, then the environment or `.env`
(`.env.default` lists the variables), then the command line. `kaiwa config check` shows what that
amounts to.""",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")
app.add_typer(config_app, name="config")

console = Console()
complaints = Console(stderr=True)

Profile = Annotated[
    str | None,
    typer.Option(help="embedded (default: no key, no GPU), mock (echoes with known delays)."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; the profiles in voice/profiles show how."),
]


def _config(
    profile: str | None, file: Path | None, overrides: dict[tuple[str, str], Any] | None = None
) -> Config:
    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    environment = {**written, **os.environ}
    return load(profile=profile, file=file, environment=environment, overrides=overrides)


@app.command()
def serve(
    profile: Profile = None,
    config: ConfigFile = None,
    host: Annotated[
        str | None, typer.Option(help="Any other than 127.0.0.1 needs KAIWA_API_KEYS.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0: any free one; the log says which.")] = None,
) -> None:
    """Answer callers: the page on /, clients on /v1/realtime.

    Ctrl-C or SIGTERM lets answers end first; a second one stops at once.
    """
    chosen = _config(profile, config, {("server", "host"): host, ("server", "port"): port})
    from voice.server import run

    raise typer.Exit(run(chosen))


@app.command()
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(help="Files and folders: md, txt, html, pdf, docx.")
    ],
    index: Annotated[
        Path | None, typer.Option(help="Folder of the index; default: RAG_INDEX_PATH, data/index.")
    ] = None,
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """Make documents known. Run it again after changes: only what changed is read.

    A running server takes the new index over within a second.
    """
    chosen = _config(profile, config)
    from voice.ingest_command import run_ingest

    raise typer.Exit(run_ingest(chosen, paths, index or Path(chosen.rag.index), console))


@app.command()
def ask(
    question: Annotated[
        str, typer.Argument(help='Words in quotes, or a WAV file: "question.wav".')
    ],
    speak_to: Annotated[
        Path | None, typer.Option("--speak-to", help="Write what was answered as a WAV file.")
    ] = None,
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """One turn on the terminal: the answer, its sources, and where the time went."""
    chosen = _config(profile, config)
    from voice.ask_command import run_ask

    raise typer.Exit(asyncio.run(run_ask(chosen, question, speak_to, console)))


@app.command()
def bench(
    url: Annotated[
        str, typer.Option(help="Any server that speaks the OpenAI Realtime wire; empty: start one.")
    ] = "",
    callers: Annotated[str, typer.Option(help="Concurrent callers; several make a sweep.")] = "1",
    turns: Annotated[int, typer.Option(help="Measured turns of each caller.")] = 20,
    warmup: Annotated[int, typer.Option(help="Turns of each caller thrown away first.")] = 2,
    wav: Annotated[str, typer.Option(help="What callers say; empty: speech made here.")] = "",
    barge_in_every: Annotated[int, typer.Option(help="Every n-th turn cuts in; 0: never.")] = 5,
    silence_ms: Annotated[
        int, typer.Option(help="Endpointing silence asked of the server; 0: its own.")
    ] = 0,
    api_key: Annotated[str, typer.Option(envvar="KAIWA_API_KEY", help="Sent as Bearer.")] = "",
    server_pid: Annotated[
        int, typer.Option(help="Process whose CPU and memory are measured; 0: none.")
    ] = 0,
    profile: Annotated[str, typer.Option(help="Of the server that is started.")] = "mock",
    json: Annotated[str, typer.Option(help="Write all figures and values here.")] = "",
    html: Annotated[str, typer.Option(help="Write a report with plots here.")] = "",
    processes: Annotated[int, typer.Option(help="Processes that play the callers.")] = 1,
    ramp_s: Annotated[float, typer.Option(help="Seconds over which the callers connect.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the gaps between turns.")] = 1,
) -> None:
    """Measure latency as callers feel it: partial, final, tts_start, barge-in stop.

    Without --url a server is started on one core with the mock profile, whose delays are known, so
    that what Kaiwa adds can be told:  kaiwa bench --callers 1,10,25 --html bench-report.html
    """
    from voice.bench.config import BenchConfig, BenchError
    from voice.bench.table import render
    from voice.bench_command import run_bench

    try:
        chosen = BenchConfig(
            url=url or BenchConfig().url,
            spawn=not url,
            profile=profile,
            callers=_numbers(callers),
            turns=turns,
            warmup_turns=warmup,
            wav=wav,
            barge_in_every=barge_in_every,
            silence_ms=silence_ms,
            api_key=api_key,
            server_pid=server_pid,
            json_path=json,
            html_path=html,
            processes=processes,
            ramp_s=ramp_s,
            seed=seed,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        console.print(render(run_bench(chosen, complaints)))
    except BenchError as error:
        raise KaiwaError(str(error)) from None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise KaiwaError(f"--callers: must be numbers like 1,10,25, got {text!r}") from None


@config_app.command("check")
def config_check(profile: Profile = None, config: ConfigFile = None) -> None:
    """Say what would run, or what is wrong with the settings. Loads nothing."""
    chosen = _config(profile, config)
    from voice.config_command import show

    show(chosen, console)


def main() -> None:
    """Entry point; every error a user can meet is one line that says what to do."""
    try:
        app()
    except (KaiwaError, ProviderError) as error:
        text = escape(" ".join(str(error).split()))
        complaints.print(f"[bold red]kaiwa:[/] {text}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
