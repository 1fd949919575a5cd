import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from mocks.clock import Sockets, run_virtual
from mocks.serve_embed import EmbedServer, Spoilt
from mocks.wire_faults import WireFault
from providers.base import Fault, ProviderError
from providers.embed_openai import OpenAIEmbedder

KEY = "sk-very-secret"
RURI = "cl-nagoya/ruri-v3-310m"
MANY = [f"passage number {n}" for n in range(70)]


def with_server(
    server: EmbedServer, work: Callable[[OpenAIEmbedder], Awaitable[Any]], **options: Any
) -> Any:
    async def main() -> Any:
        async with server:
            embedder = OpenAIEmbedder(server.url, **{"model": server.model_id, **options})
            try:
                async with asyncio.timeout(30):
                    return await work(embedder)
            finally:
                await embedder.aclose()

    return run_virtual(main(), sockets=Sockets.OURS)


def vllm(**options: Any) -> EmbedServer:
    return EmbedServer(**{"dialect": "vllm", "model_id": RURI, **options})


async def ask(embedder: OpenAIEmbedder) -> Any:
    return await embedder.embed(["営業時間は"], "query")


def failure(server: EmbedServer, work: Any = ask, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, **options)
    return caught.value


def test_japanese_models_get_their_prefixes() -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        await embedder.start()
        server.texts.clear()
        await embedder.embed(["営業時間は"], "query")
        await embedder.embed(["九時からです。"], "passage")
        assert server.texts == ["検索クエリ: 営業時間は", "検索文書: 九時からです。"]

    server = vllm()
    with_server(server, work)


def test_given_prefixes_take_the_place_of_the_known_ones_and_change_the_fingerprint() -> None:
    async def work(embedder: OpenAIEmbedder) -> str:
        await embedder.embed(["one"], "passage")
        return embedder.fingerprint

    server = vllm()
    given = with_server(server, work, query_prefix="", passage_prefix="text: ")
    assert server.texts[-1] == "text: one"
    assert given != with_server(vllm(), work)


def test_vllm_and_tei_give_the_same_rows_in_order() -> None:
    async def work(embedder: OpenAIEmbedder) -> Any:
        return await embedder.embed(MANY, "passage")

    rows = with_server(vllm(common=0.7), work)
    assert rows.shape == (70, 257)
    assert np.allclose(rows, with_server(EmbedServer(model_id=RURI, common=0.7), work), atol=1e-6)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)


def test_fewer_dimensions_are_asked_for_where_they_are_wanted() -> None:
    async def work(embedder: OpenAIEmbedder) -> int:
        return int((await ask(embedder)).shape[1])

    assert with_server(vllm(), work, dimensions=128) == 129


def test_texts_that_are_too_long_are_cut_until_the_server_takes_them() -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        texts = ["short", "word " * 2000]
        assert (await embedder.embed(texts, "passage")).any(axis=1).all()
        assert server.texts[-2].endswith("short") and len(server.texts[-1]) < 3000

    server = vllm()
    with_server(server, work)


def test_texts_that_tell_of_tokens_and_maximums_are_not_taken_for_the_servers_words() -> None:
    text = "A maximum of 512 tokens is too long for the context length of this desk."
    asked = 0

    async def refuse(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        said = (await request.json())["input"]
        return web.json_response({"error": {"message": f"cannot embed {said[0]}"}}, status=400)

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/embeddings", refuse)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        embedder = OpenAIEmbedder("http://{}:{}".format(*runner.addresses[0][:2]), model=RURI)
        with pytest.raises(ProviderError, match="cannot embed …"):
            await embedder.embed([text], "query")
        await embedder.aclose()
        await runner.cleanup()

    asyncio.run(main())
    assert asked == 1


def test_a_refusal_of_another_kind_is_not_answered_with_shorter_texts() -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        await embedder.start()
        server.faults.set(WireFault(kind="status", status=400, request=0))
        await embedder.embed(["one"], "passage")

    server = vllm()
    error = failure(server, work)
    assert error.fault is Fault.REFUSED and "scripted fault" in str(error)
    assert server.requests == 2


def test_an_unknown_model_names_those_there_are() -> None:
    error = failure(vllm(), model="ruri")
    assert error.fault is Fault.REFUSED and f"set EMBEDDING_MODEL to one of: {RURI}" in str(error)


def test_without_a_model_nothing_begins() -> None:
    with pytest.raises(ValueError, match="EMBEDDING_MODEL"):
        OpenAIEmbedder("http://gpu", model="")


@pytest.mark.parametrize(("key", "remedy"), [("", "set EMB"), ("wrong", "check EMB")])
def test_a_missing_or_wrong_key_says_which_variable_to_set(key: str, remedy: str) -> None:
    error = failure(vllm(api_key=KEY), api_key=key)
    assert error.fault is Fault.REFUSED and f"{remedy}EDDING_API_KEY" in str(error)


def test_passages_are_tried_again_and_a_question_is_not() -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        await embedder.start()
        server.faults.set(WireFault(kind="status", status=503, times=2))
        with pytest.raises(ProviderError) as caught:
            await ask(embedder)
        assert caught.value.fault is Fault.OVERLOADED
        assert (await embedder.embed(["one"], "passage")).any()

    server = vllm()
    with_server(server, work)


@pytest.mark.parametrize("kind", ["nan", "zero", "shape"])
def test_numbers_that_are_none_are_refused(kind: Any) -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        await embedder.start()
        await embedder.embed(["one", "two"], "passage")

    assert failure(vllm(spoilt=[Spoilt(kind=kind, request=2)]), work).fault is Fault.BROKEN


def test_a_check_costs_nothing_while_callers_are_answered_and_one_word_in_doubt() -> None:
    async def work(embedder: OpenAIEmbedder) -> None:
        await embedder.start()
        await embedder.check()
        assert server.requests == 1
        server.faults.set(WireFault(kind="status", status=500, times=2))
        for attempt in (ask, OpenAIEmbedder.check):
            with pytest.raises(ProviderError):
                await attempt(embedder)
        assert server.requests == 3
        with pytest.raises(ProviderError, match="scripted fault"):  # too early to ask again
            await embedder.check()
        assert server.requests == 3
        await ask(embedder)
        await embedder.check()
        assert server.requests == 4

    server = vllm()
    with_server(server, work)
