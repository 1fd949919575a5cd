"""What `voice.health` expects of every provider that has a `ping`, dead servers and busy ones."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from mocks.clock import Sockets, run_virtual
from mocks.llm import EchoLLM
from mocks.serve_embed import EmbedServer
from mocks.serve_llm import LLMServer
from mocks.serve_stt import STTServer
from providers.base import (
    Fault,
    LLMRequest,
    Message,
    NoNews,
    Passage,
    ProviderError,
    SttFailure,
)
from providers.embed_openai import OpenAIEmbedder
from providers.embed_tei import TEIEmbedder
from providers.llm_openai import OpenAICompatibleLLM
from providers.rerank_tei import TEIReranker
from providers.stt_sherpa_server import SherpaServerSTT

MODEL = "cl-nagoya/ruri-v3-310m"
TAKES_S = 1.0
"""With the second to the next ping, less than the 2 s in which a hang is to be told."""
PINGS = int(os.environ.get("PINGS", "200"))
HELLO = LLMRequest(messages=(Message(role="user", content="When do you open?"),))


class Case(NamedTuple):
    """One provider, the server it is for, and a request of its own that takes a while there."""

    variable: str
    make: Callable[[str], Any]
    server: Callable[[], Any]
    request: Callable[[Any], Coroutine[Any, Any, None]]


async def answer(llm: OpenAICompatibleLLM) -> None:
    async with aclosing(llm.stream(HELLO)) as events:
        async for _ in events:
            pass


async def hear(stt: SherpaServerSTT) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(result: Any) -> None:
        if isinstance(result, SttFailure):
            done.set_exception(result.error)
        elif result.is_final:
            done.set_result(None)

    stream = stt.open(receive)
    stream.begin(1)
    stream.feed(bytes(32_000))
    stream.end()
    await done
    stream.close()


async def embed(embedder: Any) -> None:
    await embedder.embed(["opening hours"], "query")


async def rank(reranker: TEIReranker) -> None:
    await reranker.rank("opening hours", [Passage(text="We open at 9.", source="a.md")])


CASES = {
    "llm": Case(
        "LLM_ENDPOINT",
        lambda url: OpenAICompatibleLLM(url, model="mock"),
        lambda: LLMServer(EchoLLM(first_token_ms=400, token_ms=100)),
        answer,
    ),
    "stt python": Case(
        "STT_ENDPOINT",
        lambda url: SherpaServerSTT(url.replace("http", "ws")),
        lambda: STTServer(dialect="python", final_ms=400),
        hear,
    ),
    "stt c++": Case(
        "STT_ENDPOINT",
        lambda url: SherpaServerSTT(url.replace("http", "ws")),
        lambda: STTServer(dialect="c++", final_ms=400),
        hear,
    ),
    "embedder tei": Case(
        "EMBEDDING_ENDPOINT",
        TEIEmbedder,
        lambda: EmbedServer(delay_ms=400),
        embed,
    ),
    "embedder openai": Case(
        "EMBEDDING_ENDPOINT",
        lambda url: OpenAIEmbedder(url, model=MODEL),
        lambda: EmbedServer(dialect="vllm", model_id=MODEL, delay_ms=400),
        embed,
    ),
    "reranker": Case(
        "RERANKER_ENDPOINT",
        lambda url: TEIReranker(url, limit_s=5),
        lambda: EmbedServer(kind="reranker", delay_ms=400),
        rank,
    ),
}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@asynccontextmanager
async def talking(case: Case) -> AsyncIterator[tuple[Any, Any]]:
    """The started provider and its server."""
    async with AsyncExitStack() as stack:
        server = case.server()
        stack.push_async_callback(server.aclose)
        await server.start()
        provider = case.make(server.url)
        stack.push_async_callback(provider.aclose)
        await provider.start()
        yield provider, server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the kernel's and the server's counts
            await asyncio.sleep(0.005)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await main()

    run_virtual(limited(), sockets=Sockets.OURS)


# --- alive ----------------------------------------------------------------------------------------


@each
def test_a_living_server_is_left_in_peace(case: Case) -> None:
    async def main() -> None:
        async with talking(case) as (provider, server):
            before = work_of(server)
            for _ in range(5):
                await provider.ping()
            assert work_of(server) == before

    run(main)


def work_of(server: Any) -> int:
    """What a model had to do for us so far."""
    return int(server.utterances if isinstance(server, STTServer) else server.requests)


@each
def test_many_pings_leave_no_connection_task_or_file(case: Case) -> None:
    async def main() -> None:
        async with talking(case) as (provider, server):
            await provider.ping()
            files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
            for _ in range(PINGS):
                await provider.ping()
            await until(lambda: len(os.listdir("/proc/self/fd")) <= files)
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            assert server.connections <= 2
            await provider.aclose()
            await until(lambda: server.connections == 0)

    run(main)


@each
def test_a_server_that_works_for_us_is_not_called_dead(case: Case) -> None:
    async def main() -> None:
        async with talking(case) as (provider, _), asyncio.TaskGroup() as group:
            requests = [group.create_task(case.request(provider)) for _ in range(32)]
            for _ in range(5):
                await asyncio.sleep(0.05)
                await provider.ping()
            assert not any(request.done() for request in requests)

    run(main)


# --- dead -----------------------------------------------------------------------------------------


async def never_answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        writer.close()


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    own_socket = writer.get_extra_info("socket")
    own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def begins_and_stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await never_answers(reader, writer)


@asynccontextmanager
async def listening(answer: Any) -> AsyncIterator[str]:
    """The address of a server that does this with every connection."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(answer(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pinged(provider: Any) -> tuple[ProviderError, float]:
    """What a ping raises, and the seconds it takes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(ProviderError) as caught:
        await provider.ping()
    return caught.value, loop.time() - began


@pytest.mark.parametrize("name", ["embedder tei", "reranker"])
def test_a_health_that_waits_behind_our_own_work_is_neither_death_nor_life(name: str) -> None:
    async def main() -> None:
        async with listening(never_answers) as url:
            provider = CASES[name].make(url)
            working = asyncio.create_task(provider.start())
            await asyncio.sleep(0.01)
            with pytest.raises(NoNews):
                await provider.ping()
            working.cancel()
            await asyncio.wait((working,))
            await provider.aclose()

    run(main)


@each
@pytest.mark.parametrize(
    ("server", "faults"),
    [
        (never_answers, [Fault.TIMEOUT]),
        (resets, [Fault.UNREACHABLE]),
        (begins_and_stalls, [Fault.TIMEOUT, Fault.BROKEN, Fault.REFUSED]),
    ],
)
def test_a_server_that_is_none_any_more_is_told_in_time_with_what_to_do(
    case: Case, server: Any, faults: list[Fault]
) -> None:
    async def main() -> None:
        async with listening(server) as url:
            provider = case.make(url)
            error, took_s = await pinged(provider)
            await provider.aclose()
        assert error.fault in faults and took_s < TAKES_S
        assert url.partition("//")[2] in error.message and case.variable in error.message

    run(main)


@each
def test_a_server_that_dies_is_told_by_the_next_ping_and_so_is_its_return(case: Case) -> None:
    async def main() -> None:
        async with talking(case) as (provider, server):
            await provider.ping()
            port = int(server.url.rpartition(":")[2])
            await server.aclose()
            error, took_s = await pinged(provider)
            assert error.fault is Fault.UNREACHABLE and took_s < 0.5
            assert str(port) in error.message and case.variable in error.message
            again = case.server()
            await again.start(port=port)
            try:
                await provider.ping()
            finally:
                await again.aclose()

    run(main)


@each
def test_a_kept_connection_that_was_dropped_is_no_death(case: Case) -> None:
    async def main() -> None:
        async with talking(case) as (provider, server):
            for _ in range(5):
                await provider.ping()
                server.drop_connections()
                await asyncio.sleep(0.01)

    run(main)


@each
def test_a_ping_that_nobody_waits_for_any_more_leaves_nothing(case: Case) -> None:
    async def main() -> None:
        async with listening(never_answers) as url:
            provider = case.make(url)
            files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
            for _ in range(20):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await provider.ping()
            await provider.aclose()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files)

    run(main)
