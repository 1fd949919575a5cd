import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from mocks.clock import Sockets, now, run_virtual
from mocks.serve_embed import EmbedServer, Spoilt
from mocks.wire_faults import WireFault
from providers.base import Fault, ProviderError
from providers.embed_tei import TEIEmbedder

KEY = "tei-very-secret"
MANY = [f"passage number {n}" for n in range(100)]


def with_server(
    server: EmbedServer, work: Callable[[TEIEmbedder], Awaitable[Any]], **options: Any
) -> Any:
    """What `work` makes of a client of `server`."""

    async def main() -> Any:
        async with server:
            embedder = TEIEmbedder(server.url, **options)
            try:
                async with asyncio.timeout(30):
                    return await work(embedder)
            finally:
                await embedder.aclose()

    return run_virtual(main(), sockets=Sockets.OURS)


async def ask(embedder: TEIEmbedder) -> Any:
    return await embedder.embed(["when are you open"], "query")


def failure(server: EmbedServer, work: Any = ask, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, **options)
    return caught.value


async def until(condition: Callable[[], bool], limit_s: float = 2.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server's counters have no event
            await asyncio.sleep(0.005)


# --- what is asked, and what comes back -----------------------------------------------------------


def test_questions_and_passages_go_out_with_the_models_prefixes() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.texts.clear()
        await embedder.embed(["Are you open?"], "query")
        await embedder.embed(["We are open.", "We are not."], "passage")
        assert server.texts == [
            "query: Are you open?",
            "passage: We are open.",
            "passage: We are not.",
        ]

    server = EmbedServer()
    with_server(server, work)


def test_the_model_is_what_the_server_says_and_the_fingerprint_names_it() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        with pytest.raises(ProviderError, match="has not answered yet"):
            _ = embedder.fingerprint
        await embedder.start()
        assert embedder.info.model == "cl-nagoya/ruri-v3-310m"
        assert embedder.dimensions == 65
        assert embedder.fingerprint.startswith("cl-nagoya/ruri-v3-310m-65-")

    with_server(EmbedServer(model_id="cl-nagoya/ruri-v3-310m", dimensions=64), work)


def test_rows_have_length_one_and_texts_without_a_letter_have_none() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        rows = await embedder.embed(["one", "  ", "two", ""], "passage")
        assert rows.shape == (4, 257) and rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), [1, 0, 1, 0], atol=1e-6)
        assert (await embedder.embed([], "passage")).shape == (0, 257)

    with_server(EmbedServer(common=0.7), work)


def test_batches_keep_the_servers_limit_the_order_and_three_in_flight() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        rows = await embedder.embed(MANY, "passage")
        alone = await embedder.embed(MANY[77:78], "passage")
        assert np.allclose(rows[77], alone[0])
        assert max(server.batches) == 16 and sum(server.batches) == 102
        assert server.most_running == 3

    server = EmbedServer(most_texts=16, delay_ms=5)
    with_server(server, work)


def test_a_limit_that_info_does_not_tell_is_found_by_halving() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server._most_texts = 5
        assert (await embedder.embed(MANY[:32], "passage")).shape == (32, 257)
        assert max(server.batches) <= 5

    server = EmbedServer()
    with_server(server, work)


def test_a_body_that_is_too_large_is_halved_too() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        texts = ["word " * 300 + str(n) for n in range(32)]
        assert (await embedder.embed(texts, "passage")).shape == (32, 257)

    with_server(EmbedServer(most_bytes=20_000), work)


def test_texts_that_are_too_long_are_cut_even_where_the_server_would_refuse_them() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        rows = await embedder.embed(["word " * 2000], "passage")
        assert rows.any()

    with_server(EmbedServer(auto_truncate=False), work)


def test_a_question_does_not_wait_behind_an_ingest() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        ingest = asyncio.create_task(embedder.embed(MANY * 3, "passage"))
        await until(lambda: server.running == 3)
        began = now()
        await ask(embedder)
        assert now() - began < 0.25 and not ingest.done()
        await ingest

    with_server(server := EmbedServer(delay_ms=100), work)


# --- the wrong server -----------------------------------------------------------------------------


def test_another_model_than_was_asked_for_is_refused_with_both_ways_out() -> None:
    error = failure(EmbedServer(model_id="BAAI/bge-m3"), model="intfloat/multilingual-e5-base")
    assert error.fault is Fault.REFUSED
    assert "start it with that model, or set EMBEDDING_MODEL=BAAI/bge-m3" in str(error)


def test_the_same_model_from_a_folder_is_the_same() -> None:
    server = EmbedServer(model_id="/data/multilingual-e5-base")
    rows = with_server(server, ask, model="intfloat/multilingual-e5-base")
    assert rows.shape == (1, 257) and server.texts[-1].startswith("query: ")


def test_a_reranker_is_told_from_an_embedder() -> None:
    error = failure(EmbedServer(kind="reranker", model_id="BAAI/bge-reranker-v2-m3"))
    assert error.fault is Fault.REFUSED and "RERANKER_ENDPOINT" in str(error)


def test_a_server_of_another_kind_is_told_with_the_provider_to_choose() -> None:
    error = failure(EmbedServer(dialect="vllm"))
    assert error.fault is Fault.REFUSED and "provider openai" in str(error)


def test_a_model_changed_behind_our_back_is_noticed_by_the_check_and_by_its_size() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.model_id = "intfloat/multilingual-e5-large"
        with pytest.raises(ProviderError, match="e5-large, not intfloat/multilingual-e5-base"):
            await embedder.check()
        server.model_id, server.model_sha = "intfloat/multilingual-e5-base", "fca14538"
        with pytest.raises(ProviderError, match="restart Kaiwa and ingest"):
            await embedder.check()
        server.model_sha = None
        await embedder.check()
        server._embedder._dimensions = 64
        with pytest.raises(ProviderError, match="65 numbers a text where it gave 257") as caught:
            await ask(embedder)
        assert caught.value.fault is Fault.BROKEN

    server = EmbedServer()
    with_server(server, work)


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("tei:80", "EMBEDDING_ENDPOINT must be like http://127.0.0.1:8000"),
        ("http://u:secret@tei", "set EMBEDDING_API_KEY"),
    ],
)
def test_an_address_that_cannot_be_is_refused(endpoint: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TEIEmbedder(endpoint)


@pytest.mark.parametrize("path", ["", "/", "/embed", "/v1/embeddings", "/v1"])
def test_the_endpoint_may_end_anywhere_on_the_way(path: str) -> None:
    async def main() -> None:
        async with EmbedServer() as server:
            embedder = TEIEmbedder(server.url + path)
            await ask(embedder)
            assert embedder.info.endpoint == server.url
            await embedder.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(("key", "remedy"), [("", "set EMB"), ("wrong", "check EMB")])
def test_a_missing_or_wrong_key_says_which_variable_to_set(key: str, remedy: str) -> None:
    error = failure(EmbedServer(api_key=KEY), api_key=key)
    assert error.fault is Fault.REFUSED and f"{remedy}EDDING_API_KEY" in str(error)


def test_the_right_key_opens() -> None:
    assert with_server(EmbedServer(api_key=KEY), ask, api_key=KEY).any()


# --- failures -------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named_with_the_remedy() -> None:
    async def main() -> None:
        embedder = TEIEmbedder("http://127.0.0.1:9")
        try:
            await embedder.start()
        finally:
            await embedder.aclose()

    with pytest.raises(
        ProviderError, match=r"is the server at http://127.*EMBEDDING_ENDP"
    ) as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE


@pytest.mark.parametrize("status", [429, 503])
def test_a_question_is_asked_once_and_a_passage_again(status: int) -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.faults.set(WireFault(kind="status", status=status, times=2))
        before = server.requests
        with pytest.raises(ProviderError) as caught:
            await ask(embedder)
        assert caught.value.fault is Fault.OVERLOADED and server.requests == before + 1
        assert (await embedder.embed(["one", "two"], "passage")).any(axis=1).all()
        assert server.requests == before + 3

    server = EmbedServer()
    with_server(server, work)


def test_retry_after_is_honoured_for_passages() -> None:
    async def work(embedder: TEIEmbedder) -> float:
        await embedder.start()
        server.faults.set(WireFault(kind="status", status=429, retry_after="0.5"))
        began = now()
        await embedder.embed(["one"], "passage")
        return now() - began

    server = EmbedServer()
    assert 0.5 <= with_server(server, work) < 2


def test_a_refusal_ends_an_ingest_at_once_with_the_servers_words() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.kind = "reranker"  # TEI's 424: not an embedding model
        with pytest.raises(ProviderError, match="not an embedding model") as caught:
            await embedder.embed(MANY, "passage")
        assert caught.value.fault is Fault.REFUSED

    server = EmbedServer()
    with_server(server, work)


def test_an_inference_that_fails_is_the_servers_fault() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.faults.set(WireFault(kind="status", status=424, request=0))
        await ask(embedder)

    server = EmbedServer()
    assert failure(server, work).fault is Fault.BROKEN


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("hang", Fault.TIMEOUT),
        ("slow", Fault.TIMEOUT),
        ("stall", Fault.TIMEOUT),
        ("drip", Fault.TIMEOUT),
        ("reset", Fault.BROKEN),
        ("truncate", Fault.BROKEN),
        ("malformed", Fault.BROKEN),
        ("bad_utf8", Fault.BROKEN),
        ("status", Fault.BROKEN),
    ],
)
def test_every_fault_of_the_wire_is_told_apart_and_leaves_nothing_open(
    kind: Any, fault: Fault
) -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        server.faults.set(WireFault(kind=kind, item=1 if kind in ("stall", "reset") else 0))
        with pytest.raises(ProviderError) as caught:
            await ask(embedder)
        assert caught.value.fault is fault, caught.value
        await until(lambda: server.running == 0)
        assert (await ask(embedder)).any()
        assert server.connections <= 1

    server = EmbedServer()
    with_server(server, work, limit_s=0.3)


@pytest.mark.parametrize("kind", ["nan", "zero", "shape"])
def test_numbers_that_are_none_are_refused(kind: Any) -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        await embedder.embed(["one", "two"], "passage")

    assert failure(EmbedServer(spoilt=[Spoilt(kind=kind, request=2)]), work).fault is Fault.BROKEN


def test_a_kept_connection_that_died_meanwhile_is_not_noticed() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        for _ in range(5):
            assert (await ask(embedder)).any()
            server.drop_connections()

    server = EmbedServer()
    with_server(server, work)


def test_a_server_that_comes_back_is_found_again() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await embedder.start()
        port = int(server.url.rpartition(":")[2])
        await server.refuse()
        with pytest.raises(ProviderError) as caught:
            await ask(embedder)
        assert caught.value.fault is Fault.UNREACHABLE
        ingest = asyncio.create_task(embedder.embed(MANY, "passage"))
        await asyncio.sleep(0.1)
        await server.start(port=port)
        assert (await ingest).shape == (100, 257)

    server = EmbedServer()
    with_server(server, work)


def test_aclose_leaves_no_connection_and_may_be_called_twice() -> None:
    async def work(embedder: TEIEmbedder) -> None:
        await ask(embedder)
        await embedder.aclose()
        await embedder.aclose()
        await until(lambda: server.connections == 0)

    server = EmbedServer()
    with_server(server, work)
