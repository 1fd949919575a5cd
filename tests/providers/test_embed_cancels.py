"""Embeddings and ranks cancelled at random moments leave no connection, task or file."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from mocks.clock import Sockets, run_virtual
from mocks.serve_embed import EmbedServer
from providers.base import Passage
from providers.embed_openai import OpenAIEmbedder
from providers.embed_tei import TEIEmbedder
from providers.rerank_tei import TEIReranker
from tests.cancels import cancels
from tests.providers.voices import open_files, until

MANY = [f"passage number {number}" for number in range(100)]
PASSAGES = [Passage(text=text, source="a.md") for text in MANY[:40]]
AT_ONCE = 4
LIMIT_S = 300.0
SLOW: dict[str, Any] = {"delay_ms": 5, "jitter_ms": 5}

Ask = Callable[[Any, int], Awaitable[Any]]


async def embed(embedder: TEIEmbedder | OpenAIEmbedder, texts: int) -> Any:
    return await embedder.embed(MANY[:texts], "query" if texts == 1 else "passage")


async def rank(reranker: TEIReranker, texts: int) -> Any:
    return await reranker.rank("which number", PASSAGES[:texts])


def tei() -> tuple[EmbedServer, Callable[[str], Any], Ask]:
    return EmbedServer(**SLOW), lambda url: TEIEmbedder(url, limit_s=LIMIT_S), embed


def openai() -> tuple[EmbedServer, Callable[[str], Any], Ask]:
    server = EmbedServer(dialect="vllm", **SLOW)
    return server, lambda url: OpenAIEmbedder(url, model=server.model_id, limit_s=LIMIT_S), embed


def reranker() -> tuple[EmbedServer, Callable[[str], Any], Ask]:
    server = EmbedServer(kind="reranker", model_id="BAAI/bge-reranker-v2-m3", **SLOW)
    return server, lambda url: TEIReranker(url, limit_s=LIMIT_S), rank


@pytest.mark.cancels
@pytest.mark.parametrize("of", [tei, openai, reranker])
def test_a_server_is_left_with_nothing_of_ours(of: Callable[[], Any]) -> None:
    server, make, ask = of()
    chance = random.Random(7)

    async def cancelled(client: Any) -> None:
        asking = asyncio.create_task(ask(client, chance.choice((1, 1, 40))))
        await asyncio.sleep(chance.uniform(0, 0.02))
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    async def main() -> None:
        async with server, asyncio.timeout(LIMIT_S):
            client = make(server.url)
            await ask(client, 1)
            files, tasks = open_files(), len(asyncio.all_tasks())
            count = cancels(200)
            for _ in range(count // AT_ONCE):
                await asyncio.gather(*(cancelled(client) for _ in range(AT_ONCE)))
            await until(lambda: server.running == 0)
            # A kept connection for each at a time, of four batches at the most, and its other end.
            await until(lambda: open_files() <= files + 4 * AT_ONCE)
            await until(lambda: len(asyncio.all_tasks()) <= tasks + 2 * AT_ONCE)
            assert server.connections <= 2 * AT_ONCE and server.aborted > count // 10
            assert len(await ask(client, 40))
            await client.aclose()
            await until(lambda: server.connections == 0)
            await until(lambda: open_files() <= files)

    run_virtual(main(), sockets=Sockets.OURS)
