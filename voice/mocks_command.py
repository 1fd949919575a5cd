"""`kaiwa mocks`: servers that speak the real wires and need no model, for a look and for tests."""

import asyncio
import shlex
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from voice.errors import KaiwaError

ALL = "all"
CHOICES = {
    "llm_dialect": "vllm, openai, ollama, openrouter, gemini, anthropic, strict",
    "stt_dialect": "python, c++",
    "embedding_dialect": "tei, vllm",
}

complaints = Console(stderr=True)


def mocks(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="all (default), llm, stt, tts, speech, embedding, reranker."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="0.0.0.0: for other machines, too; nobody is asked for a key.")
    ] = "127.0.0.1",
    llm_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of every port: 0 is any free one.")
    ] = 9000,
    stt_port: Annotated[int, typer.Option(min=0, max=65535)] = 6006,
    tts_port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    speech_port: Annotated[int, typer.Option(min=0, max=65535)] = 8091,
    embedding_port: Annotated[int, typer.Option(min=0, max=65535)] = 8081,
    reranker_port: Annotated[int, typer.Option(min=0, max=65535)] = 8082,
    jitter_ms: Annotated[float, typer.Option(help="Every delay grows by 0..jitter_ms.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the jitter.")] = 0,
    model: Annotated[str, typer.Option(help="Name that llm and speech answer to.")] = "mock",
    llm_dialect: Annotated[str, typer.Option(help=f"{CHOICES['llm_dialect']}.")] = "vllm",
    llm_api_key: Annotated[str, typer.Option(help="Asked for; empty: none.")] = "",
    llm_first_token_ms: Annotated[float, typer.Option(min=0)] = 50.0,
    llm_token_ms: Annotated[float, typer.Option(min=0)] = 10.0,
    stt_dialect: Annotated[str, typer.Option(help="python or c++: whose server it is.")] = "python",
    stt_text: Annotated[str, typer.Option(help="What is heard, whatever is said.")] = "",
    stt_model_dir: Annotated[
        str, typer.Option(help="A streaming sherpa-onnx model that really listens.")
    ] = "",
    stt_final_ms: Annotated[float, typer.Option(min=0)] = 20.0,
    tts_latency_ms: Annotated[float, typer.Option(min=0, help="To the first byte.")] = 50.0,
    tts_rtf: Annotated[
        float, typer.Option(min=0, help="Seconds of work for a second of audio.")
    ] = 0.05,
    speech_rate_hz: Annotated[int, typer.Option(min=8000, max=96_000)] = 44_100,
    embedding_dialect: Annotated[str, typer.Option(help="tei or vllm.")] = "tei",
    embedding_model: Annotated[
        str, typer.Option(help="Name that embedding answers to; empty: multilingual-e5-base.")
    ] = "",
    embedding_delay_ms: Annotated[float, typer.Option(min=0)] = 5.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help='Repeatable: --fault \'tts={"kind": "stall", "request": 0}\'.'),
    ] = None,
) -> None:
    """Start mock servers of vLLM, sherpa-onnx, Fish Speech, /v1/audio/speech and TEI.

    Prints the variables that point a Kaiwa at them, as lines of an `.env`, and serves until Ctrl-C.
    In another terminal, with those lines in `.env`:

        kaiwa serve --profile production
    """
    given: dict[str, Any] = dict(
        host=host,
        ports={
            "llm": llm_port,
            "stt": stt_port,
            "tts": tts_port,
            "speech": speech_port,
            "embedding": embedding_port,
            "reranker": reranker_port,
        },
        jitter_ms=jitter_ms,
        seed=seed,
        model=model,
        llm_dialect=llm_dialect,
        llm_api_key=llm_api_key,
        llm_first_token_ms=llm_first_token_ms,
        llm_token_ms=llm_token_ms,
        stt_dialect=stt_dialect,
        stt_model_dir=stt_model_dir,
        stt_final_ms=stt_final_ms,
        tts_latency_ms=tts_latency_ms,
        tts_rtf=tts_rtf,
        speech_rate_hz=speech_rate_hz,
        embedding_dialect=embedding_dialect,
        embedding_delay_ms=embedding_delay_ms,
        faults=tuple(fault or ()),
    )
    given |= {
        name: value
        for name, value in (("stt_text", stt_text), ("embedding_model", embedding_model))
        if value
    }
    run(kinds or [ALL], given)


def run(names: list[str], given: dict[str, Any]) -> None:
    """Raises:
    KaiwaError: A name or an option that cannot be, a port that is taken.
    """
    from mocks.serve import KINDS, MocksError, Options, Serving, environment, speech_environment
    from mocks.serve import until_stopped as serve

    for name in names:
        if name not in (ALL, *KINDS):
            raise KaiwaError(f"mocks: there is no {name!r}; known are all, {', '.join(KINDS)}.")
    kinds = [kind for kind in KINDS if ALL in names or kind in names]
    try:
        options = msgspec.convert(given, Options)
    except msgspec.ValidationError as error:
        raise KaiwaError(f"mocks: {_explained(str(error), given)}") from None

    def tell(running: list[Serving]) -> None:
        """Variables on stdout, to be kept in a file; all else on stderr."""
        for variable, value in environment(running, options).items():
            print(f"{variable}={shlex.quote(value)}")
        by_kind = {one.kind: one for one in running}
        if "tts" in by_kind and "speech" in by_kind:
            other = speech_environment(by_kind["speech"].address, options)
            print(f"# or: {' '.join(f'{name}={value}' for name, value in other.items())}")
        print("# ready", flush=True)
        for one in running:
            shown = f"[green]●[/] {one.kind:9} {escape(one.address)}"
            complaints.print(shown, highlight=False, soft_wrap=True)
        if "embedding" in by_kind:
            told = "An index made with another embedder is refused: kaiwa ingest makes it anew."
            complaints.print(told, highlight=False)
        alone = "kaiwa mocks stt starts one of them alone, and Ctrl-C there ends it."
        complaints.print(f"Ctrl-C ends them; {alone}", highlight=False)

    try:
        asyncio.run(serve(kinds, options, tell))
    except MocksError as error:
        raise KaiwaError(f"mocks: {error}") from None


def _explained(error: str, given: dict[str, Any]) -> str:
    what, _, path = error.partition(" - at `$.")
    field = path.rstrip("`")
    known = CHOICES.get(field)
    wanted = f"must be one of {known}" if known else what
    return f"--{field.replace('_', '-')}: {wanted}; got {given.get(field)!r}"
