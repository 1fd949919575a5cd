"""The mocks behind real sockets, each on the port that its real server has in our examples.

    llm        9000  chat completions, as vLLM or another has them
    stt        6006  sherpa-onnx's WebSocket servers, the Python or the C++ one
    tts        8080  Fish Speech's /v1/tts
    speech     8091  /v1/audio/speech
    embedding  8081  text-embeddings-inference, or vLLM's /v1/embeddings
    reranker   8082  text-embeddings-inference's /rerank

State of each: GET /mock/state; those of HTTP take other faults by PUT /mock/faults. Each says by
its real server's own path that it lives, which is a ping, not a request. `kaiwa mocks` starts them.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_type_hints

import msgspec

from mocks.llm import EchoLLM
from mocks.llm_dialects import Name as LlmDialect
from mocks.recognizer import ScriptedRecognizer, load_recognizer
from mocks.serve_embed import EmbedServer
from mocks.serve_llm import LLMServer
from mocks.serve_stt import STTServer
from mocks.serve_tts import FishServer, SpeechServer, TtsFault
from mocks.socket_faults import SocketFault
from mocks.stt import DEFAULT_TEXT
from mocks.wire_faults import WireFault

Kind = Literal["llm", "stt", "tts", "speech", "embedding", "reranker"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PORTS: Mapping[Kind, int] = {
    "llm": 9000,
    "stt": 6006,
    "tts": 8080,
    "speech": 8091,
    "embedding": 8081,
    "reranker": 8082,
}
ANYWHERE = ("0.0.0.0", "::", "")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the servers behave; a port of 0 is any free one."""

    host: str = "127.0.0.1"
    ports: dict[str, int] = {}
    """By kind; those not named stand in PORTS."""
    jitter_ms: float = 0.0
    """Every delay grows by 0..jitter_ms."""
    seed: int = 0
    model: str = "mock"
    """What llm and speech answer to."""
    llm_dialect: LlmDialect = "vllm"
    llm_api_key: str = ""
    llm_first_token_ms: float = 50.0
    llm_token_ms: float = 10.0
    stt_dialect: Literal["python", "c++"] = "python"
    stt_text: str = DEFAULT_TEXT
    stt_model_dir: str = ""
    """A streaming model of sherpa-onnx that really listens; empty: `stt_text` is heard."""
    stt_final_ms: float = 20.0
    tts_latency_ms: float = 50.0
    tts_rtf: float = 0.05
    """Seconds of work for a second of audio."""
    speech_rate_hz: int = 44_100
    embedding_dialect: Literal["tei", "vllm"] = "tei"
    embedding_model: str = "intfloat/multilingual-e5-base"
    embedding_delay_ms: float = 5.0
    faults: tuple[str, ...] = ()
    """Each `KIND=JSON`: tts={"kind": "stall", "request": 0}; see the module of the kind."""


class Server(Protocol):
    async def start(self, host: str = ..., port: int = ...) -> None: ...

    async def aclose(self) -> None: ...


class Serving(msgspec.Struct, frozen=True):
    """One that runs."""

    kind: Kind
    port: int
    address: str
    """What its endpoint variable is set to by who calls from this machine."""
    server: Any


class MocksError(Exception):
    """They cannot be served so; the text says what to do."""


@asynccontextmanager
async def serving(kinds: Sequence[Kind], options: Options) -> AsyncIterator[list[Serving]]:
    """Starts a server for each kind; all end with the block.

    Raises:
        MocksError: A port is taken, an option is wrong.
    """
    faults = _faults(options.faults, kinds)
    async with AsyncExitStack() as stack:
        running = []
        for kind in kinds:
            server = _make(kind, options, faults.get(kind, ()))
            port = options.ports.get(kind, PORTS[kind])
            # Pushed first: what started half must be given back, too.
            stack.push_async_callback(server.aclose)
            try:
                await server.start(options.host, port)
            except OSError as error:
                raise MocksError(
                    f"{kind}: cannot listen on {options.host}:{port}: {error.strerror}; end what "
                    f"listens there, or choose another with --{kind}-port (0: any free one)"
                ) from None
            running.append(_serving(kind, server, options))
        yield running


def environment(running: Iterable[Serving], options: Options) -> dict[str, str]:
    """The variables that point a Kaiwa of this machine at these servers.

    Of the two that speak, tts goes before speech, as there is one TTS_ENDPOINT.
    """
    found: dict[str, str] = {}
    by_kind = {one.kind: one.address for one in running}
    if "llm" in by_kind:
        found |= {"LLM_ENDPOINT": by_kind["llm"], "LLM_MODEL": options.model}
        if options.llm_api_key:
            found["LLM_API_KEY"] = options.llm_api_key
    if "stt" in by_kind:
        found["STT_ENDPOINT"] = by_kind["stt"]
    if "tts" in by_kind:
        found["TTS_ENDPOINT"] = by_kind["tts"]
    elif "speech" in by_kind:
        found |= speech_environment(by_kind["speech"], options)
    if "embedding" in by_kind:
        found["EMBEDDING_ENDPOINT"] = by_kind["embedding"]
        if options.embedding_dialect == "vllm":
            found |= {"EMBEDDING_PROVIDER": "openai", "EMBEDDING_MODEL": options.embedding_model}
    if "reranker" in by_kind:
        found["RERANKER_ENDPOINT"] = by_kind["reranker"]
    return found


def speech_environment(address: str, options: Options) -> dict[str, str]:
    """For /v1/audio/speech instead of Fish."""
    return {"TTS_PROVIDER": "speech-api", "TTS_ENDPOINT": address, "TTS_MODEL": options.model}


async def until_stopped(
    kinds: Sequence[Kind], options: Options, tell: Callable[[list[Serving]], None]
) -> None:
    """Serves until SIGINT or SIGTERM; `tell` is called once all listen.

    Raises:
        MocksError: As `serving`.
    """
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run
            loop.add_signal_handler(number, stopped.set)
    async with serving(kinds, options) as running:
        tell(running)
        await stopped.wait()


# --- one of each ------------------------------------------------------------------------------


def _make(kind: Kind, options: Options, faults: Sequence[Any]) -> Server:
    shared: dict[str, Any] = {"jitter_ms": options.jitter_ms, "seed": options.seed}
    match kind:
        case "llm":
            llm = EchoLLM(
                first_token_ms=options.llm_first_token_ms,
                token_ms=options.llm_token_ms,
                **shared,
            )
            return LLMServer(
                llm,
                model=options.model,
                dialect=options.llm_dialect,
                api_key=options.llm_api_key,
                faults=faults,
            )
        case "stt":
            return _stt(options, faults, shared)
        case "tts":
            return FishServer(
                latency_ms=options.tts_latency_ms, rtf=options.tts_rtf, faults=faults, **shared
            )
        case "speech":
            return SpeechServer(
                model=options.model,
                rate_hz=options.speech_rate_hz,
                latency_ms=options.tts_latency_ms,
                rtf=options.tts_rtf,
                faults=faults,
                **shared,
            )
        case "embedding":
            return EmbedServer(
                dialect=options.embedding_dialect,
                model_id=options.embedding_model,
                common=0.7,
                delay_ms=options.embedding_delay_ms,
                faults=faults,
                **shared,
            )
    return EmbedServer(
        model_id="BAAI/bge-reranker-v2-m3",
        kind="reranker",
        delay_ms=options.embedding_delay_ms,
        faults=faults,
        **shared,
    )


def _stt(options: Options, faults: Sequence[Any], shared: dict[str, Any]) -> STTServer:
    listens = bool(options.stt_model_dir)
    try:
        recognizer = (
            load_recognizer(Path(options.stt_model_dir))
            if listens
            else ScriptedRecognizer(text=options.stt_text)
        )
    except ValueError as error:
        raise MocksError(f"stt: --stt-model-dir: {error}") from None
    return STTServer(
        recognizer,
        dialect=options.stt_dialect,
        in_threads=listens,
        final_ms=options.stt_final_ms,
        faults=faults,
        **shared,
    )


def _serving(kind: Kind, server: Any, options: Options) -> Serving:
    port = int(server.url.rpartition(":")[2])
    host = "127.0.0.1" if options.host in ANYWHERE else options.host
    scheme = "ws" if kind == "stt" else "http"
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    if kind == "llm":
        address += server.endpoint.removeprefix(server.url)
    elif kind == "speech":
        address += "/v1"
    return Serving(kind, port, address, server)


FAULTS: Mapping[str, type[msgspec.Struct]] = {
    "llm": WireFault,
    "stt": SocketFault,
    "tts": TtsFault,
    "speech": TtsFault,
    "embedding": WireFault,
    "reranker": WireFault,
}


def _faults(given: Iterable[str], kinds: Sequence[Kind]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in given:
        kind, _, content = text.partition("=")
        if kind not in kinds:
            raise MocksError(f"--fault {text}: begin it with one of {'=, '.join(kinds)}=")
        try:
            fault = msgspec.json.decode(content, type=FAULTS[kind])
        except ValueError as error:
            what = _with_choices(str(error), FAULTS[kind])
            raise MocksError(f"--fault {text}: {what}") from None
        found.setdefault(kind, []).append(fault)
    return found


def _with_choices(error: str, fault: Any) -> str:
    """msgspec's words, with what a field may be."""
    field = error.rpartition("`$.")[2].rstrip("`")
    choices = get_args(get_type_hints(fault).get(field))
    if not error.startswith("Invalid enum value") or not choices:
        return error
    return f"{field} must be one of {', '.join(map(str, choices))}"
