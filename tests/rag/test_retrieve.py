import asyncio
import threading
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from providers.base import Passage
from providers.embed_lexical import LexicalEmbedder
from rag import store
from rag.ingest import ingest
from rag.retrieve import IndexRetriever

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "rag" / "samples"
QUESTIONS: dict[str, list[dict[str, Any]]] = tomllib.loads((HERE / "questions.toml").read_text())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    asyncio.run(ingest([SAMPLES], folder, LexicalEmbedder()))
    return folder


def _first(index: Path, questions: Sequence[str]) -> list[Passage | None]:
    async def scenario() -> list[Passage | None]:
        retriever = IndexRetriever(index, LexicalEmbedder())
        await retriever.start()
        found = [await retriever.search(question, limit_s=5) for question in questions]
        await retriever.aclose()
        return [passages[0] if passages else None for passages in found]

    return asyncio.run(scenario())


def _hits(index: Path, kind: str, pick: str, nth: int | None = None) -> int:
    cases = QUESTIONS[kind]
    found = _first(index, [c[pick] if nth is None else c[pick][nth] for c in cases])
    return sum(p is not None and p.source == c["source"] for p, c in zip(found, cases, strict=True))


@pytest.mark.parametrize("kind", ["canonical", "paraphrase"])
def test_nine_of_ten_typed_questions_find_their_source(index: Path, kind: str) -> None:
    assert len(QUESTIONS[kind]) == 10
    assert _hits(index, kind, "question") >= 9


@pytest.mark.parametrize("nth", [0, 1])
@pytest.mark.parametrize("pick", ["heard", "noisy"])
def test_nine_of_ten_misheard_questions_find_their_source(index: Path, pick: str, nth: int) -> None:
    assert _hits(index, "canonical", pick, nth) >= 9


def test_questions_about_something_else_find_nothing(index: Path) -> None:
    found = _first(index, [case["question"] for case in QUESTIONS["elsewhere"]])
    assert len(found) == 10 and sum(passage is None for passage in found) >= 8


def test_a_passage_says_where_it_stands(index: Path) -> None:
    async def scenario() -> None:
        retriever = IndexRetriever(index, LexicalEmbedder())
        await retriever.start()
        assert (retriever.documents, retriever.warning) == (12, "")
        assert retriever.version and retriever.chunks > 12
        passage = (await retriever.search("is there a ramp for wheelchairs", limit_s=5))[0]
        assert (passage.source, passage.heading) == ("accessibility.html", "Wheelchairs")
        text = retriever.source_text(passage.source)
        assert text is not None and text[passage.start : passage.end] == passage.text
        assert 0.3 <= passage.score <= 1 and passage.chunk
        assert retriever.source_text("../secret") is None
        await retriever.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "question", ["", "   ", "?!", "\0", "the " * 100_000, "\ud800", "x" * 9000]
)
def test_hostile_questions_are_answered_with_nothing(index: Path, question: str) -> None:
    assert _first(index, [question]) == [None]


def test_without_an_index_the_warning_says_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        retriever = IndexRetriever(tmp_path / "none", LexicalEmbedder())
        await retriever.start()
        assert await retriever.search("when are you open", limit_s=1) == ()
        assert f"run: kaiwa ingest PATH --index {tmp_path / 'none'}" in retriever.warning
        assert (retriever.documents, retriever.chunks, retriever.version) == (0, 0, "")
        await retriever.aclose()

    asyncio.run(scenario())


def test_another_embedders_index_is_not_searched(index: Path) -> None:
    async def scenario() -> None:
        retriever = IndexRetriever(index, LexicalEmbedder(128))
        await retriever.start()
        assert await retriever.search("when are you open", limit_s=1) == ()
        assert "was made with the embedder lexical-1-1024, not lexical-1-128" in retriever.warning
        await retriever.aclose()

    asyncio.run(scenario())


class SlowEmbedder(LexicalEmbedder):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.waiting = 0

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        self.waiting += 1
        try:
            await self.let.wait()
        finally:
            self.waiting -= 1
        return await super().embed(texts, kind)


def test_past_its_limit_a_search_gives_up_and_leaves_nothing_waiting(index: Path) -> None:
    async def scenario() -> None:
        embedder = SlowEmbedder()
        retriever = IndexRetriever(index, embedder)
        await retriever.start()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await retriever.search("when are you open", limit_s=0.01)
        assert embedder.waiting == 0
        embedder.let.set()
        assert await retriever.search("when are you open", limit_s=5)
        await retriever.aclose()

    asyncio.run(scenario())


def test_searches_that_gave_up_in_the_queue_are_never_run(index: Path) -> None:
    async def scenario() -> None:
        retriever = IndexRetriever(index, LexicalEmbedder())
        await retriever.start()
        held = threading.Event()
        blocked = retriever._searcher.submit(held.wait)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await retriever.search("when are you open", limit_s=0.005)
        held.set()
        await asyncio.wrap_future(blocked)
        assert await retriever.search("when are you open", limit_s=5)
        assert retriever._searcher._work_queue.qsize() == 0
        await retriever.aclose()

    asyncio.run(scenario())


def test_a_new_version_takes_over_without_a_failed_search(tmp_path: Path) -> None:
    docs, index = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    (docs / "a.txt").write_text("The number of the day is zero.")

    async def scenario() -> set[str]:
        await ingest([docs], index, LexicalEmbedder())
        now = 0.0
        retriever = IndexRetriever(index, LexicalEmbedder(), clock=lambda: now)
        await retriever.start()
        seen = set()
        for word in ("one", "two", "three", "four", "five"):
            (docs / "a.txt").write_text(f"The number of the day is {word}.")
            await ingest([docs], index, LexicalEmbedder())
            now += 2
            wanted = store.load(index).manifest.version
            while retriever.version != wanted:
                (passage,) = await retriever.search("what is the number of the day", limit_s=5)
                seen.add(passage.text)
            (passage,) = await retriever.search("what is the number of the day", limit_s=5)
            assert passage.text == f"The number of the day is {word}."
        assert retriever.warning == ""
        await retriever.aclose()
        return seen

    assert asyncio.run(scenario())


def test_a_damaged_new_version_leaves_the_old_one_answering(tmp_path: Path) -> None:
    docs, index = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    (docs / "a.txt").write_text("The number of the day is zero.")

    async def scenario() -> None:
        await ingest([docs], index, LexicalEmbedder())
        now = 0.0
        retriever = IndexRetriever(index, LexicalEmbedder(), clock=lambda: now)
        await retriever.start()
        (index / "current").write_text("garbage")
        now += 2
        while not retriever.warning:
            assert await retriever.search("the number of the day", limit_s=5)
        assert "run: kaiwa ingest PATH" in retriever.warning
        assert await retriever.search("the number of the day", limit_s=5)
        await retriever.aclose()

    asyncio.run(scenario())


def test_the_pointer_is_looked_at_once_a_second(index: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        now = 0.0
        retriever = IndexRetriever(tmp_path / "link", LexicalEmbedder(), clock=lambda: now)
        await retriever.start()
        (tmp_path / "link").symlink_to(index)
        now = 0.9
        assert await retriever.search("when are you open", limit_s=5) == ()
        now = 1.1
        assert await retriever.search("when are you open", limit_s=5)
        assert retriever.warning == ""
        await retriever.aclose()

    asyncio.run(scenario())
