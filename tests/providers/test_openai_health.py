"""By what each kind of server of OpenAI's API is asked whether it lives, and who is not asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from mocks.clock import Sockets, run_virtual
from providers.base import Fault, LLMRequest, Message, NoNews, ProviderError, TextDelta
from providers.embed_openai import OpenAIEmbedder
from providers.llm_openai import OpenAICompatibleLLM

HELLO = LLMRequest(messages=(Message(role="user", content="When do you open?"),))
TOKEN = b'data: {"choices": [{"delta": {"content": "We "}}]}\n\n'


class OwnServer:
    """Says whose its model is; answers the paths in `statuses` so, all others with 404.

    A status of 0 never comes. A completion is a token every `token_s`, without end.
    """

    def __init__(self, owner: str | None, statuses: dict[str, int], said: str = "") -> None:
        self.owner = owner
        self.statuses = statuses
        self.said = said
        self.token_s = 0.5
        self.asked: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await self._complete(request)
        self.asked.append(request.path)
        status = self.statuses.get(request.path, 404)
        if request.path.endswith("/v1/models") and status in (200, 404):
            model = {"id": "m"} if self.owner is None else {"id": "m", "owned_by": self.owner}
            return web.json_response({"data": [model]})
        if not status:
            await asyncio.Event().wait()
        return web.Response(status=status, text=self.said)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(TOKEN)
            await asyncio.sleep(self.token_s)


@asynccontextmanager
async def serving(server: OwnServer, path: str = "/v1") -> AsyncIterator[OpenAICompatibleLLM]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
    llm = OpenAICompatibleLLM(server.url, model="m")
    try:
        await llm.start()
        server.asked.clear()
        yield llm
    finally:
        await llm.aclose()
        await runner.cleanup()


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await main()

    return run_virtual(limited(), sockets=Sockets.OURS)


async def ping(llm: Any) -> None:
    assert llm.ping is not None
    await llm.ping()


def asked(owner: str | None, *there: str, pings: int = 3, path: str = "/v1") -> list[str]:
    """The paths that the pings went to."""

    async def main() -> list[str]:
        server = OwnServer(owner, dict.fromkeys(there, 200))
        async with serving(server, path) as llm:
            for _ in range(pings):
                await ping(llm)
            return server.asked

    paths: list[str] = run(main)
    return paths


def test_each_kind_is_asked_where_it_tells() -> None:
    assert asked("vllm", "/health") == ["/health"] * 3
    assert asked("llamacpp", "/health") == ["/health"] * 3
    assert asked("library", "/api/version") == ["/api/version"] * 3


def test_no_kind_is_asked_where_asking_costs() -> None:
    for owner in ("sglang", "openai"):
        assert asked(owner, "/health", "/readyz") == ["/v1/models"] * 3


def test_an_unknown_kind_is_asked_until_a_path_is_there() -> None:
    assert asked(None, "/readyz") == ["/readyz"] * 3
    assert asked(None, "/health") == ["/readyz", "/health", "/health"]
    assert asked(None) == ["/readyz", "/health", "/v1/models"]


def test_a_path_that_a_proxy_does_not_hand_on_is_left() -> None:
    assert asked("vllm") == ["/health", "/v1/models", "/v1/models"]


def test_what_stands_below_a_path_is_asked_below_it() -> None:
    assert asked("vllm", "/gpu/health", pings=1, path="/gpu/v1") == ["/gpu/health"]


def failure(owner: str, status: int, said: str = "") -> ProviderError:
    async def main() -> ProviderError:
        server = OwnServer(owner, {"/health": status}, said)
        async with serving(server) as llm:
            with pytest.raises(ProviderError) as caught:
                await ping(llm)
            assert server.url.removesuffix("/v1") + "/health" in caught.value.message
            return caught.value

    error: ProviderError = run(main)
    return error


@pytest.mark.parametrize(
    ("status", "said", "fault", "words"),
    [
        (503, "", Fault.BROKEN, "see its log, restart it"),
        (500, "Internal Server Error", Fault.BROKEN, "Internal Server Error"),
        (503, '{"error": {"message": "Loading model"}}', Fault.OVERLOADED, "loading"),
        (502, "", Fault.UNREACHABLE, "proxy"),
    ],
)
def test_a_server_that_says_it_is_not_well_is_believed(
    status: int, said: str, fault: Fault, words: str
) -> None:
    error = failure("vllm", status, said)
    assert error.fault is fault
    assert f"HTTP {status}" in error.message and words in error.message
    assert "LLM_ENDPOINT" in error.message


@pytest.mark.parametrize("status", [401, 403, 405, 429])
def test_a_server_that_will_not_say_lives(status: int) -> None:
    async def main() -> None:
        async with serving(OwnServer("vllm", {"/health": status})) as llm:
            await ping(llm)

    run(main)


# --- busy, or hanging -----------------------------------------------------------------------------


def meets(owner: str, token_s: float) -> type[Exception] | None:
    """What becomes of a ping without an answer while a reply is being read."""

    async def main() -> type[Exception] | None:
        server = OwnServer(owner, {"/health": 0})
        server.token_s = token_s
        async with serving(server) as llm, aclosing(llm.stream(HELLO)) as events:
            assert isinstance(await anext(events), TextDelta)
            reading = asyncio.ensure_future(anext(events))
            try:
                await ping(llm)
            except (ProviderError, NoNews) as error:
                assert isinstance(error, NoNews) or error.fault is Fault.TIMEOUT
                return type(error)
            finally:
                reading.cancel()
                await asyncio.wait((reading,))
            return None

    found: type[Exception] | None = run(main)
    return found


def test_a_server_that_goes_on_talking_is_only_busy() -> None:
    async def main() -> None:
        server = OwnServer("vllm", {"/health": 0})
        async with serving(server) as llm, aclosing(llm.stream(HELLO)) as events:

            async def read() -> None:
                async for _ in events:
                    pass

            reading = asyncio.create_task(read())
            await ping(llm)
            reading.cancel()
            await asyncio.wait((reading,))

    run(main)


def test_a_server_that_fell_silent_is_dead_unless_its_work_may_keep_it_from_answering() -> None:
    found = meets("vllm", token_s=4)
    assert found is not None and issubclass(found, ProviderError)
    assert meets("llamacpp", token_s=4) is NoNews


# --- services -------------------------------------------------------------------------------------

SERVICES = (
    "https://api.openai.com/v1",
    "https://openrouter.ai/api/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai",
    "https://api.anthropic.com/v1",
)


@pytest.mark.parametrize("endpoint", SERVICES)
def test_a_service_that_is_paid_for_is_not_pinged_and_seldom_checked(endpoint: str) -> None:
    for make in (OpenAICompatibleLLM, OpenAIEmbedder):
        provider: Any = make(endpoint, model="m", api_key="k")
        assert getattr(provider, "ping", None) is None
        assert provider.check_every_s == 300


@pytest.mark.parametrize(
    ("endpoint", "api_key"),
    [
        ("http://127.0.0.1:8000", "k"),
        ("http://[::1]:8000", "k"),
        ("http://192.168.1.5:8000", "k"),
        ("http://vllm:8000", "k"),
        ("http://vllm.models.svc.cluster.local:8000", "k"),
        ("http://host.docker.internal:11434", "k"),
        ("https://llm.example.com", ""),
    ],
)
def test_a_server_of_ones_own_is_pinged(endpoint: str, api_key: str) -> None:
    for make in (OpenAICompatibleLLM, OpenAIEmbedder):
        provider: Any = make(endpoint, model="m", api_key=api_key)
        assert provider.ping is not None
        assert provider.check_every_s == 30
