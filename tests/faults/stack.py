"""One whole Kaiwa for a cell: mock servers, a proxy before each of the first ones, desk and watch.

slot       first one, behind a proxy                  stands in for it, unless it is to be alone
stt        sherpa-onnx's Python server                its C++ server
llm        chat completions                           chat completions elsewhere
tts        Fish Speech, 44.1 kHz                      /v1/audio/speech, 24 kHz
embedder   text-embeddings-inference                  words
reranker   text-embeddings-inference                  the order of the first search
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec
import pytest
import structlog

import voice.build
import voice.desk
from mocks.clock import Sockets, now, run_virtual
from mocks.serve_embed import EmbedServer, Spoilt
from mocks.serve_llm import LLMServer
from mocks.serve_stt import STTServer
from mocks.serve_tts import FishServer, SpeechServer, TtsFault
from mocks.socket_faults import SocketFault
from mocks.vad import LoudnessVAD
from mocks.wire_faults import WireFault
from rag.ingest import ingest
from tests.faults.matrix import FIRST, FIRST_OF_CHAINS, Cell, Part
from tests.faults.proxy import Proxy
from tests.faults.speech import EXCHANGES, KnowingLLM, ToneRecognizer
from voice.build import Built, build
from voice.config import Config
from voice.desk import Desk

T = TypeVar("T")

LIMIT_S = 600.0
"""No cell takes longer, in virtual time."""


class Line(msgspec.Struct, frozen=True):
    """One of the log, and when it was written."""

    at: float
    level: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.at:.2f} {self.level} {self.fields}"


class Log:
    """Every line that Kaiwa writes while it is open."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __call__(self, _: Any, level: str, fields: Any) -> Any:
        try:
            at = now()
        except RuntimeError:  # from a thread
            at = self.lines[-1].at if self.lines else 0.0
        self.lines.append(Line(at, level, dict(fields)))
        raise structlog.DropEvent

    def __enter__(self) -> "Log":
        # In place, so that loggers that were bound before write here, too.
        processors = structlog.get_config()["processors"]
        self._before = list(processors)
        processors[:] = [self]
        return self

    def __exit__(self, *_: object) -> None:
        structlog.get_config()["processors"][:] = self._before


class Resources(msgspec.Struct, frozen=True):
    tasks: int
    files: int

    def within(self, other: "Resources | None") -> bool:
        """Fewer are no leak: what an earlier test left may be collected meanwhile."""
        return other is not None and self.tasks <= other.tasks and self.files <= other.files


def resources() -> Resources:
    return Resources(len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))


class Stack:
    """Args:
    index: Folder that `indexed` has filled.
    cell: Names what must have a proxy, and what is alone in its slot.
    change: What is done to the providers once they are built: how a test breaks one on purpose.
    """

    def __init__(
        self, index: Path, cell: Cell, change: Callable[[Built], Built] = lambda built: built
    ) -> None:
        self._index, self._change = index, change
        self._alone = cell.slots if cell.alone else frozenset()
        self.stt = STTServer(ToneRecognizer(), final_ms=20)
        self.llm = LLMServer(KnowingLLM(first_token_ms=300, token_ms=40))
        # It speaks for one caller at a time: where all are apologised to, the last waits longest.
        self.tts = FishServer(latency_ms=100 if cell.dead else 200, rtf=0.05 if cell.dead else 0.3)
        self.embedder = EmbedServer(delay_ms=10)
        self.reranker = EmbedServer(kind="reranker", delay_ms=10)
        self.other_stt = STTServer(ToneRecognizer(), dialect="c++", final_ms=20)
        self.other_llm = LLMServer(KnowingLLM(first_token_ms=300, token_ms=40))
        self.other_tts = SpeechServer(rate_hz=24_000, latency_ms=100)
        self._parts = (*FIRST, *(part for part in cell.faults if part.startswith("other_")))
        self.proxies: dict[Part, Proxy] = {}
        self.built: Built
        self.desk: Desk
        self.config: Config
        self._exit = AsyncExitStack()

    @property
    def servers(self) -> dict[str, Any]:
        others = (f"other_{slot}" for slot in FIRST_OF_CHAINS if slot not in self._alone)
        return {name: getattr(self, name) for name in (*FIRST, *others)}

    async def __aenter__(self) -> "Stack":
        for server in self.servers.values():
            await self._exit.enter_async_context(server)
        for part in self._parts:
            proxy = Proxy(int(getattr(self, part).url.rpartition(":")[2]))
            await proxy.start()
            self._exit.push_async_callback(proxy.aclose)
            self.proxies[part] = proxy
        self.config = self._settings()
        self.built = self._change(build(self.config))
        self._exit.push_async_callback(self.built.aclose)
        await self.built.start()
        providers = msgspec.structs.replace(self.built.providers, vad=LoudnessVAD())
        built = self.built
        self.desk = Desk(self.config, providers, built.by_slot, built.library)
        self.desk.watch.start()
        self._exit.push_async_callback(self.desk.watch.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    def _settings(self) -> Config:
        others: dict[str, dict[str, Any]] = {
            "stt": {"provider": "sherpa-server", "endpoint": self._url("other_stt", "ws")},
            "llm": {"provider": "openai", "endpoint": self._url("other_llm") + "/v1"},
            "tts": {
                "provider": "speech-api",
                "endpoints": [self._url("other_tts") + "/v1"],
                "model": "mock",
                "rate_hz": 24_000,
            },
        }
        tree: dict[str, Any] = {
            "vad": {"provider": "energy"},
            "stt": {"provider": "sherpa-server", "endpoint": self._url("stt", "ws")},
            "llm": {
                "provider": "openai",
                "endpoint": self._url("llm") + "/v1",
                "model": "mock",
            },
            "tts": {"provider": "fish", "endpoints": [self._url("tts")]},
            "embedder": {"provider": "tei", "endpoint": self._url("embedder")},
            "reranker": {"provider": "tei", "endpoint": self._url("reranker")},
            "rag": {"index": str(self._index)},
        }
        for slot in others:
            tree[slot]["fallbacks"] = [] if slot in self._alone else [others[slot]]
        return msgspec.convert(tree, Config, strict=False)

    def _url(self, part: Part, scheme: str = "http") -> str:
        """Of its proxy, where it has one."""
        proxy = self.proxies.get(part)
        if proxy is not None:
            return f"{scheme}://127.0.0.1:{proxy.port}"
        server = self.servers.get(part)
        return "" if server is None else f"{scheme}://" + server.url.partition("://")[2]

    def fallbacks(self) -> dict[str, int]:
        """How often each slot was served by another than its first provider."""
        providers = self.desk.health().providers
        return {slot: status.fallback_count for slot, status in providers.items()}

    def running(self) -> dict[str, int]:
        """What the servers still work on for somebody."""
        counts = {
            name: server.running for name, server in self.servers.items() if "stt" not in name
        }
        return {name: count for name, count in counts.items() if count}

    def spoil(self, slot: Part) -> None:
        """From now on every answer comes whole and is in nobody's form."""
        match slot:
            case "stt":
                self.stt.faults = (SocketFault(kind="not_utf8", request=0),)
            case "llm":
                self.llm.faults.set(WireFault(kind="bad_utf8", request=0))
            case "tts":
                self.tts.faults = (TtsFault(kind="float", request=0),)
            case "embedder":
                self.embedder.spoilt = (Spoilt(kind="nan", request=0),)
            case "reranker":
                self.reranker.faults.set(WireFault(kind="malformed", request=0))
            case _:
                raise AssertionError(f"nothing spoils {slot}")

    def unspoil(self) -> None:
        self.stt.faults = self.tts.faults = ()
        self.llm.faults.set()
        self.embedder.spoilt = ()
        self.reranker.faults.set()


def indexed(folder: Path) -> Path:
    """An index that holds every question with its answer, made by the same embedder."""
    documents = folder / "documents"
    documents.mkdir()
    for number, exchange in enumerate(EXCHANGES):
        text = f"# {exchange.question}\n\n{exchange.question}: {exchange.answer}\n"
        (documents / f"{number}.md").write_text(text, "utf-8")

    async def make() -> None:
        async with EmbedServer() as server:
            config = msgspec.convert(
                {"embedder": {"provider": "tei", "endpoint": server.url}}, Config, strict=False
            )
            embedder = voice.build.make(config, "embedder")
            await embedder.start()
            await ingest([documents], folder / "index", embedder)
            await embedder.aclose()

    asyncio.run(make())
    return folder / "index"


def run(coro: Coroutine[Any, Any, T], *, chatty: bool = False) -> T:
    """Plays a cell: in virtual time, both ends of each connection in this process.

    Args:
        chatty: See `Sockets`; true where a client fails to read what it is sent.
    """
    sockets = Sockets.OURS_CHATTY if chatty else Sockets.OURS
    return run_virtual(coro, limit_s=LIMIT_S, sockets=sockets)


def on_virtual_time(patch: pytest.MonkeyPatch) -> None:
    """Has what reads the process's clock read the loop's."""
    clock = SimpleNamespace(**{**vars(time), "monotonic": now})
    for module in (voice.build, voice.desk):
        patch.setattr(module, "time", clock)
