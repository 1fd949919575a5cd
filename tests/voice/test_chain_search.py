"""Which server embeds and ranks when the preferred one does not."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mocks.clock import now, run_virtual
from mocks.embed import HashEmbedder
from mocks.faults import ScriptedFault
from mocks.provider import MockProvider
from mocks.serve_embed import EmbedServer
from providers.base import Fault, Passage, Provider, ProviderError, Slot
from voice.build import build
from voice.chain import of_call
from voice.chain_search import ChainEmbedder, ChainReranker
from voice.config import Config, EmbedderConfig, RagConfig, RerankerConfig
from voice.health import Watch
from voice.makers import problems

DOWN = ScriptedFault(kind="fail", request=0, fault=Fault.UNREACHABLE, message="refused")
SILENCE = ScriptedFault(kind="stall", request=0)
ATTEMPT_S = 0.1


def embedders(*them: HashEmbedder) -> ChainEmbedder:
    return ChainEmbedder(them, now=now, attempt_s=ATTEMPT_S)


@pytest.mark.parametrize(("fault", "within_s"), [(DOWN, 0.01), (SILENCE, ATTEMPT_S + 0.01)])
def test_another_server_of_the_same_model_embeds_what_the_first_does_not(
    fault: ScriptedFault, within_s: float
) -> None:
    async def scenario() -> None:
        first, second = HashEmbedder(), HashEmbedder()
        chain = embedders(first, second)
        first.faults.set(fault)
        began = now()
        rows = await chain.embed(["opening hours"], "query")
        assert now() - began <= within_s
        assert np.array_equal(rows, await second.embed(["opening hours"], "query"))
        assert chain.fallback_count == 1 and chain.links[0].problem
        began = now()
        await chain.embed(["opening hours"], "query")
        assert now() - began < 0.01, "the one in doubt was asked first again"

    run_virtual(scenario())


def test_what_is_searched_for_ahead_of_a_question_counts_once() -> None:
    async def scenario() -> None:
        first, second = HashEmbedder(), HashEmbedder()
        chain = embedders(first, second)
        first.faults.set(DOWN)
        for turn in (1, 1, 1, 2):
            with of_call({"session": "sess_1", "turn": turn}):
                await chain.embed(["opening hours"], "query")
        assert chain.fallback_count == 2

    run_virtual(scenario())


def test_passages_are_given_their_time_and_questions_the_last_ones() -> None:
    async def scenario() -> None:
        slow = HashEmbedder(delay_ms=500)
        chain = embedders(slow, HashEmbedder(delay_ms=500))
        await chain.embed(["a passage"], "passage")
        assert chain.fallback_count == 0
        await chain.embed(["a question"], "query")
        assert chain.fallback_count == 1, "the first took too long, and nobody is behind the second"

    run_virtual(scenario())


def test_one_of_another_model_never_stands_in_and_is_told_of() -> None:
    async def scenario() -> None:
        first, other = HashEmbedder(), HashEmbedder(dimensions=64)
        chain = embedders(first, other)
        watch = Watch({"embedder": chain})
        await chain.start()
        watch.start()
        await asyncio.sleep(1)
        (told,) = [one for one in watch.warnings() if "is a mock" not in one]
        assert "vectors of mock-hash-1-64" in told and "embedder.fallbacks" in told
        first.faults.set(DOWN)
        with pytest.raises(ProviderError, match="mock-hash-1-64"):
            await chain.embed(["opening hours"], "query")
        assert chain.fallback_count == 0 and chain.fingerprint == first.fingerprint
        await watch.aclose()

    run_virtual(scenario())


def test_a_question_given_up_from_outside_is_nobodys_failure() -> None:
    async def scenario() -> None:
        slow = HashEmbedder(delay_ms=90)
        chain = embedders(slow, HashEmbedder())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await chain.embed(["opening hours"], "query")
        assert not chain.links[0].problem and chain.fallback_count == 0

    run_virtual(scenario())


class Backwards(MockProvider):
    """Ranks the last first."""

    def __init__(self) -> None:
        super().__init__(Slot.RERANKER, "backwards", jitter_ms=0, faults=(), seed=0)

    async def rank(self, query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        await self.faults.begin().reach(0, 0)
        return tuple(reversed(passages))


def test_another_reranker_ranks_what_the_first_does_not() -> None:
    async def scenario() -> None:
        first = Backwards()
        chain = ChainReranker((first, Backwards()), now=now, attempt_s=ATTEMPT_S)
        passages = [Passage(text=text, source="s") for text in "ab"]
        first.faults.set(SILENCE)
        began = now()
        assert [one.text for one in await chain.rank("q", passages)] == ["b", "a"]
        assert now() - began <= ATTEMPT_S + 0.01 and chain.fallback_count == 1

    run_virtual(scenario())


# --- over real sockets ----------------------------------------------------------------------------


def test_two_servers_of_one_model_are_one_embedder_though_the_first_dies(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = EmbedServer(), EmbedServer()
        async with second:
            async with first:
                entry = {"endpoint": second.url}
                section = EmbedderConfig("tei", (entry,), endpoint=first.url)
                config = Config(embedder=section, rag=RagConfig(index=str(tmp_path)))
                assert not list(problems(config))
                embedder: Provider = build(config).by_slot["embedder"]
                assert isinstance(embedder, ChainEmbedder)
                await embedder.start()
                before = await embedder.embed(["when are you open?"], "query")
            after = await embedder.embed(["when are you open?"], "query")
            assert np.array_equal(before, after) and embedder.fallback_count == 1
            await embedder.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (
            Config(embedder=EmbedderConfig("tei", ("lexical",), endpoint="http://gpu:80")),
            "embedder.fallbacks[0]",
        ),
        (
            Config(reranker=RerankerConfig("tei", ("none",), endpoint="http://gpu:80")),
            "reranker.fallbacks[0]",
        ),
        (
            Config(reranker=RerankerConfig("none", ({"provider": "tei", "endpoint": "http://g"},))),
            "reranker.fallbacks[0]",
        ),
        (
            Config(embedder=EmbedderConfig("tei", ({"endpoint": "gpu"},), endpoint="http://gpu")),
            "embedder.fallbacks[0].endpoint",
        ),
    ],
)
def test_what_could_never_stand_in_is_refused(config: Config, path: str) -> None:
    assert [found for found, _ in problems(config)] == [path]
