"""What the mock servers of HTTP have in common, seen by a client that is none of ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.http_server import HttpServer
from mocks.serve_embed import EmbedServer
from mocks.serve_llm import LLMServer
from mocks.serve_tts import FishServer, SpeechServer, TtsFault
from mocks.wire_faults import WireFault

Made = Callable[..., HttpServer[Any]]


def fish(**options: Any) -> FishServer:
    return FishServer(latency_ms=0, **options)


def speech(**options: Any) -> SpeechServer:
    return SpeechServer(latency_ms=0, rtf=0.0, **options)


def llm(dialect: Any, **more: Any) -> Made:
    return lambda **options: LLMServer(dialect=dialect, **more, **options)


def embed(dialect: Any) -> Made:
    return lambda **options: EmbedServer(dialect=dialect, model_id="m", **options)


SAID = [{"role": "user", "content": "Hi"}]
SERVERS: dict[str, tuple[Made, str, str, Any]] = {
    "vllm": (llm("vllm"), "/health", "/v1/chat/completions", {"messages": SAID, "model": "mock"}),
    "ollama": (
        llm("ollama"),
        "/api/version",
        "/v1/chat/completions",
        {"messages": SAID, "model": "mock"},
    ),
    "localai": (
        llm("vllm", liveness="/readyz"),
        "/readyz",
        "/v1/chat/completions",
        {"messages": SAID, "model": "mock"},
    ),
    "fish": (fish, "/v1/health", "/v1/tts", {"text": "Hi."}),
    "speech": (speech, "/health", "/v1/audio/speech", {"input": "Hi."}),
    "tei": (embed("tei"), "/health", "/embed", {"inputs": "hi"}),
    "vllm embeddings": (embed("vllm"), "/health", "/v1/embeddings", {"input": "hi", "model": "m"}),
}
EVERY = pytest.mark.parametrize("name", SERVERS)


class Client:
    def __init__(self, server: HttpServer[Any], name: str, session: aiohttp.ClientSession) -> None:
        self._server, self._session = server, session
        _, self._liveness, self._path, self._body = SERVERS[name]

    async def ping(self) -> int | str:
        return await self._status(lambda: self._session.get(self._server.url + self._liveness))

    async def work(self, **headers: str) -> int | str:
        url = self._server.url + self._path
        return await self._status(lambda: self._session.post(url, json=self._body, headers=headers))

    async def put(self, faults: Any) -> tuple[int, str]:
        url = self._server.url + "/mock/faults"
        async with self._session.put(url, json=faults) as response:
            return response.status, await response.text()

    async def state(self) -> Any:
        async with self._session.get(self._server.url + "/mock/state") as response:
            return await response.json()

    async def _status(self, ask: Callable[[], Any]) -> int | str:
        """Or what became of it."""
        try:
            async with asyncio.timeout(0.3), ask() as response:
                await response.read()
                status: int = response.status
                return status
        except aiohttp.ClientConnectorError:
            return "refused"
        except (aiohttp.ClientError, ConnectionError):
            return "reset"
        except TimeoutError:
            return "hangs"


def with_client(name: str, work: Callable[[Client, Any], Any], **options: Any) -> None:
    async def main() -> None:
        server = SERVERS[name][0](**options)
        async with server, aiohttp.ClientSession() as session:
            await work(Client(server, name, session), server)

    run_virtual(main(), sockets=Sockets.OURS)


def lasting(name: str, kind: str, status: int = 500) -> Any:
    if name in ("fish", "speech"):
        kinds = {"reset": "hang_up", "status": "error"}
        return TtsFault(kind=kinds.get(kind, kind), request=0, status=status)  # type: ignore[arg-type]
    return WireFault(kind=kind, request=0, status=status)  # type: ignore[arg-type]


@EVERY
def test_a_ping_is_answered_by_the_real_servers_path_and_counted_apart(name: str) -> None:
    async def work(client: Client, server: Any) -> None:
        assert await client.ping() == await client.ping() == 200
        assert await client.work() == 200
        state = await client.state()
        assert (state["pings"], state["requests"], state["running"]) == (2, 1, 0)
        assert (state["aborted"], server.finished) == (0, 1)

    with_client(name, work)


@EVERY
@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [("hang", 0, "hangs"), ("reset", 0, "reset"), ("status", 500, 500), ("status", 503, 503)],
)
def test_a_ping_meets_what_every_request_meets_and_a_repair_ends_it(
    name: str, kind: str, status: int, outcome: int | str
) -> None:
    async def work(client: Client, server: Any) -> None:
        await server.inject(lasting(name, kind, status))
        assert await client.ping() == outcome
        await server.inject()
        assert await client.ping() == 200

    with_client(name, work)


@EVERY
def test_a_server_that_refuses_answers_no_ping_until_it_is_repaired(name: str) -> None:
    async def work(client: Client, server: Any) -> None:
        assert await client.ping() == 200
        await server.inject(lasting(name, "refuse"))
        assert await client.ping() == await client.work() == "refused"
        await server.inject()
        assert await client.ping() == await client.work() == 200

    with_client(name, work)


@EVERY
def test_a_fault_of_the_next_request_is_left_for_it_however_often_it_is_pinged(name: str) -> None:
    async def work(client: Client, server: Any) -> None:
        fault = lasting(name, "status")
        await server.inject(type(fault)(kind=fault.kind, request=1))
        assert [await client.ping() for _ in range(3)] == [200] * 3
        assert [await client.work() for _ in range(2)] == [500, 200]

    with_client(name, work)


@EVERY
def test_one_that_says_it_is_unwell_works_on(name: str) -> None:
    async def work(client: Client, server: Any) -> None:
        server.is_healthy = False
        assert (await client.ping(), await client.work()) == (503, 200)

    with_client(name, work)


@EVERY
def test_a_key_is_asked_for_but_by_fish_alone_of_a_ping(name: str) -> None:
    async def work(client: Client, _: Any) -> None:
        assert await client.ping() == (401 if name == "fish" else 200)
        assert await client.work() == await client.work(Authorization="Bearer ß") == 401
        assert await client.work(Authorization="Bearer secret") == 200
        assert (await client.state())["requests"] == 1

    with_client(name, work, api_key="secret")


@EVERY
def test_faults_are_set_from_outside_and_a_wrong_one_is_refused_by_name(name: str) -> None:
    async def work(client: Client, _: Any) -> None:
        kind = "error" if name in ("fish", "speech") else "status"
        status, _words = await client.put([{"kind": kind, "status": 503, "request": 0}])
        assert (status, await client.work()) == (200, 503)
        status, words = await client.put([{"kind": "stale"}])
        assert status == 400 and "stale" in words
        assert (await client.put([]))[0] == 200
        assert await client.work() == 200

    with_client(name, work)


@EVERY
def test_it_can_be_ended_and_started_again(name: str) -> None:
    async def work(client: Client, server: Any) -> None:
        assert await client.ping() == 200
        await server.aclose()
        assert await client.ping() == "refused"
        await server.start()
        assert await client.ping() == await client.work() == 200

    with_client(name, work)


@pytest.mark.parametrize("dialect", ["openai", "openrouter", "gemini", "anthropic"])
def test_a_service_that_is_paid_for_has_no_such_path(dialect: Any) -> None:
    async def main() -> None:
        async with LLMServer(dialect=dialect) as server, aiohttp.ClientSession() as session:
            for path in ("/health", "/readyz", "/api/version"):
                async with session.get(server.url + path) as response:
                    assert response.status == 404
            assert server.pings == 0

    run_virtual(main(), sockets=Sockets.OURS)
