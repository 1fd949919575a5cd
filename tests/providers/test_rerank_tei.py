import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from mocks.clock import Sockets, run_virtual
from mocks.serve_embed import EmbedServer, Spoilt
from mocks.wire_faults import WireFault
from providers.base import Fault, Passage, ProviderError
from providers.rerank_tei import TEIReranker

PASSAGES = [
    Passage(text="Dogs are welcome.", source="a.md", score=0.9),
    Passage(text="We open at nine.", source="b.md", heading="When we are open", score=0.4),
    Passage(text="Parking is free.", source="c.md", score=0.3),
]
QUESTION = "when are you open"


def with_server(
    server: EmbedServer, work: Callable[[TEIReranker], Awaitable[Any]], **options: Any
) -> Any:
    async def main() -> Any:
        async with server:
            reranker = TEIReranker(server.url + "/rerank", **{"limit_s": 5.0, **options})
            try:
                async with asyncio.timeout(30):
                    return await work(reranker)
            finally:
                await reranker.aclose()

    return run_virtual(main(), sockets=Sockets.OURS)


def ranker(**options: Any) -> EmbedServer:
    return EmbedServer(kind="reranker", model_id="BAAI/bge-reranker-v2-m3", **options)


async def rank(reranker: TEIReranker) -> tuple[Passage, ...]:
    return await reranker.rank(QUESTION, PASSAGES)


def failure(server: EmbedServer, work: Any = rank, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, **options)
    return caught.value


def test_what_answers_comes_first_with_the_rerankers_score() -> None:
    ranked = with_server(ranker(), rank, keep=0.0)
    assert [passage.source for passage in ranked] == ["b.md", "a.md", "c.md"]
    assert ranked[0].score == 0.75 and ranked[0].text == "We open at nine."


def test_what_does_not_answer_is_left_out_down_to_nothing() -> None:
    assert [one.source for one in with_server(ranker(), rank, keep=0.5)] == ["b.md"]

    async def elsewhere(reranker: TEIReranker) -> tuple[Passage, ...]:
        return await reranker.rank("zebras", PASSAGES)

    assert with_server(ranker(), elsewhere) == ()


def test_more_passages_than_the_server_takes_go_in_parts() -> None:
    async def work(reranker: TEIReranker) -> None:
        await reranker.start()
        many = [Passage(text=f"open {n}", source=str(n)) for n in range(20)]
        assert len(await reranker.rank(QUESTION, many)) == 20
        assert await reranker.rank(QUESTION, []) == ()
        assert sorted(server.batches) == [4, 8, 8]

    server = ranker(most_texts=8)
    with_server(server, work)


def test_an_embedding_model_is_no_reranker() -> None:
    error = failure(EmbedServer(), TEIReranker.check)
    assert error.fault is Fault.REFUSED and "RERANKER_ENDPOINT" in str(error)
    assert "an embedding model and no reranker" in str(error)
    assert "not a re-ranker" in str(failure(EmbedServer()))


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("hang", Fault.TIMEOUT),
        ("reset", Fault.BROKEN),
        ("malformed", Fault.BROKEN),
        ("bad_utf8", Fault.BROKEN),
        ("status", Fault.BROKEN),
    ],
)
def test_a_fault_is_told_and_the_next_ranking_works(kind: Any, fault: Fault) -> None:
    async def work(reranker: TEIReranker) -> None:
        server.faults.set(WireFault(kind=kind))
        with pytest.raises(ProviderError) as caught:
            await rank(reranker)
        assert caught.value.fault is fault
        assert await rank(reranker)

    server = ranker()
    with_server(server, work, limit_s=0.3)


def test_what_server_it_is_may_take_longer_than_a_ranking() -> None:
    class Slow(EmbedServer):
        async def _info(self, request: web.Request) -> web.Response:
            await asyncio.sleep(1.0)
            return await super()._info(request)

    with_server(Slow(kind="reranker"), TEIReranker.check, limit_s=0.3)


def test_a_score_that_is_none_is_refused() -> None:
    assert failure(ranker(spoilt=[Spoilt(kind="nan")])).fault is Fault.BROKEN


@pytest.mark.parametrize("keep", [-0.1, 1.1])
def test_a_threshold_outside_the_scores_is_refused(keep: float) -> None:
    with pytest.raises(ValueError, match=r"keep must be 0\.\.1"):
        TEIReranker("http://tei", keep=keep)
