"""The `kaiwa` command."""

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from providers.base import ProviderError
from voice.bench_command import bench, numbers
from voice.config import Config, Problem, load
from voice.env_file import variables
from voice.errors import ConfigError, KaiwaError
from voice.mocks_command import mocks
from voice.models_command import app as models_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Kaiwa (会話): a self-hosted real-time voice agent.

**First steps**

    kaiwa ingest docs/                make your documents known
    kaiwa serve                       open http://127.0.0.1:8000 and speak
    kaiwa ask "When are you open?"    one turn here, with its timeline

Settings come from the profile, then a `--config` file, then the environment or `.env`
(`.env.default` lists the variables), then the command line. `kaiwa config check` shows what that
amounts to.""",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at the configuration.")
app.add_typer(config_app, name="config")
app.add_typer(models_app, name="models")

console = Console()
complaints = Console(stderr=True)

Profile = Annotated[
    str | None,
    typer.Option(
        help="embedded (default: no key, no GPU), production (servers, each where its variable "
        "says), mock (echoes with known delays); without it KAIWA_PROFILE holds."
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file; the profiles in voice/profiles show how."),
]


def _config(
    profile: str | None, file: Path | None, overrides: dict[tuple[str, str], Any] | None = None
) -> Config:
    environment = {**variables(Path(".env")), **os.environ}
    from voice import makers, templates  # here, so that --help is there at once

    def judge(found: Config) -> list[Problem]:
        return [*makers.problems(found), *templates.problems(found)]

    return load(
        profile=profile,
        file=file,
        environment=environment,
        overrides=overrides,
        judge=judge,
    )


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

    def read() -> Config:
        return _config(profile, config, {("server", "host"): host, ("server", "port"): port})

    chosen = read()
    from voice.server import run

    raise typer.Exit(run(chosen, reread=read))


@app.command()
def ingest(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files and folders: md, txt, html, pdf, docx.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="The same as PATHS, for scripts; repeatable.")
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="Folder of the index; default: RAG_INDEX_PATH, data/index.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start with an empty index: only these PATHS are in it.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take these PATHS, or names from --list, out of it.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list", help="Show which documents are in the index.")
    ] = False,
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """Make documents known. Run it again after changes: only what changed is read.

    Documents of other folders stay in the index; files that are gone leave it. A running server
    answers from the new index as soon as it has loaded it, without a restart.
    """
    paths = [*(paths or []), *(source or [])]
    if sum((fresh, remove, list_all)) > 1:
        raise typer.BadParameter("--fresh, --remove and --list exclude each other")
    if not list_all and not paths:
        raise typer.BadParameter("name files or folders", param_hint="PATHS")
    if list_all and paths:
        raise typer.BadParameter("--list takes no paths: it shows all that is in the index")
    chosen = _config(profile, config)
    from voice import ingest_command as command

    folder = command.index_folder(chosen.rag.index if index is None else index)
    given = command.given_paths(paths)
    if list_all:
        command.show_list(folder, console)
        return
    if remove:
        command.run_remove(given, folder, console)
        return
    raise typer.Exit(command.run_ingest(chosen, given, folder, console, fresh=fresh))


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
    if Path(question).suffix.lower() in (".mp3", ".m4a", ".ogg", ".opus", ".flac", ".webm"):
        raise KaiwaError(
            f"ask: {question}: of sound files, only WAV is read; make one with: "
            f"ffmpeg -i {shlex.quote(question)} -ar 16000 -ac 1 -c:a pcm_s16le question.wav"
        )
    chosen = _config(profile, config)
    from voice.ask_command import run_ask

    raise typer.Exit(asyncio.run(run_ask(chosen, question, speak_to, console)))


@app.command()
def call(
    to: Annotated[str, typer.Argument(help="The number, with its country: +49301234567.")],
    url: Annotated[str, typer.Option(help="Of the running server.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str, typer.Option(envvar="KAIWA_API_KEY", help="Sent as Bearer.")] = "",
    machine_detection: Annotated[
        str, typer.Option(help="Twilio's: Enable or DetectMessageEnd; empty: none.")
    ] = "",
) -> None:
    """Have a running server call a number, by Twilio; who answers talks to the agent."""
    from voice.call_command import run_call

    made = asyncio.run(run_call(url, api_key, to, machine_detection))
    console.print(f"{made['call']}  {made['status']}")


app.command()(bench)


@app.command("bench-stt")
def bench_stt(
    callers: Annotated[str, typer.Option(help="Callers at a time; several make a sweep.")] = (
        "1,10,25,50"
    ),
    seconds: Annotated[float, typer.Option(help="For each count.")] = 10.0,
    wav: Annotated[str, typer.Option(help="What callers say; empty: speech made here.")] = "",
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """Measure how many callers the configured recogniser follows in real time, without a server.

    A count is held while no utterance is lost and 95 % of finals come within 150 ms. The event
    loop's lag is this machine's, too: compare it with that of one caller.
    """
    chosen = _config(profile, config)
    from voice.bench.config import BenchError
    from voice.bench_stt_command import run_bench_stt

    try:
        run_bench_stt(chosen, list(numbers(callers)), seconds, wav, console)
    except BenchError as error:
        raise KaiwaError(str(error)) from None


app.command()(mocks)


@app.command()
def replay(
    calls: Annotated[
        list[str],
        typer.Argument(help="Recordings: files, or sessions whose files lie in record.folder."),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="What if: a setting as turn.silence_ms=300; repeatable."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Every fact and every frame, and our own log.")
    ] = False,
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """Replay recorded calls through the core, and compare what goes out with what went out.

    A call is recorded where record.folder (KAIWA_RECORD_FOLDER) is set. Exit status 1 if something
    differs, 2 if a recording cannot be replayed.
    """
    from voice.replay_command import run_replay

    def folder() -> str:
        return _config(profile, config).record.folder

    raise typer.Exit(run_replay(calls, changes or [], folder, console, verbose=verbose))


@app.command()
def doctor(profile: Profile = None, config: ConfigFile = None) -> None:
    """Look whether everything works that the profile needs, and say what to do.

    Asks each provider one small request. Exit status 1 if something needed does not work.
    """
    chosen = _config(profile, config)
    from voice.doctor_command import run_doctor

    raise typer.Exit(run_doctor(chosen, console))


@config_app.command("check")
def config_check(profile: Profile = None, config: ConfigFile = None) -> None:
    """Say what would run, or what is wrong with the settings. Loads nothing."""
    chosen = _config(profile, config)
    from voice.build import warnings
    from voice.config_command import show

    show(chosen, warnings(chosen), console)


@config_app.command("get")
def config_get(
    setting: Annotated[str, typer.Argument(help='Its path: "rag.index".')],
    profile: Profile = None,
    config: ConfigFile = None,
) -> None:
    """Print one setting's value, for scripts. Secrets are not told."""
    chosen = _config(profile, config)
    from voice.config_command import value_of

    typer.echo(value_of(chosen, setting))


def main() -> None:
    """Entry point; every error a user can meet is a line that says what to do."""
    try:
        app()
    except (KaiwaError, ProviderError) as error:
        for line in filter(str.strip, str(error).splitlines()):
            _complain("[bold red]kaiwa:[/]", line.rstrip())
        for hint in error.hints if isinstance(error, ConfigError) else ():
            _complain("[yellow]warning:[/]", hint)
        sys.exit(2)


def _complain(mark: str, text: str) -> None:
    complaints.print(f"{mark} {escape(text)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
