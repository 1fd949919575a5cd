import asyncio
import contextlib
import threading
import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from mocks.clock import run_virtual
from mocks.embed import HashEmbedder
from mocks.faults import ScriptedFault
from mocks.rerank import IdentityReranker
from mocks.serve_embed import bunched
from providers.base import Embedder, Fault, Passage, ProviderError, ProviderInfo, Slot
from providers.embed_lexical import LexicalEmbedder
from rag import store
from rag.dispensable import PROBE_EVERY_S, Dispensable
from rag.ingest import ingest
from rag.retrieve import TRY_AGAIN_S, IndexRetriever

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "rag" / "samples"
UNANSWERABLE: list[str] = [
    question
    for kind in ("nonsense", "offtopic")
    for question in tomllib.loads((HERE / "unanswerable.toml").read_text())[kind]
]
QUESTIONS: dict[str, list[dict[str, Any]]] = tomllib.loads((HERE / "questions.toml").read_text())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    asyncio.run(ingest([SAMPLES], folder, LexicalEmbedder()))
    return folder


def _first(
    index: Path, questions: Sequence[str], embedder: Embedder | None = None
) -> list[Passage | None]:
    async def scenario() -> list[Passage | None]:
        retriever = IndexRetriever(index, embedder or LexicalEmbedder())
        await retriever.start()
        found = [await retriever.search(question, limit_s=5) for question in questions]
        await retriever.aclose()
        return [passages[0] if passages else None for passages in found]

    return run_virtual(scenario())


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
        assert "was made with the embedder lexical-2-1024, not lexical-2-128" in retriever.warning
        await retriever.aclose()

    asyncio.run(scenario())


class SlowEmbedder(LexicalEmbedder):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.asked = self.waiting = 0

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        self.asked += 1
        self.waiting += 1
        try:
            await self.let.wait()
        finally:
            self.waiting -= 1
        return await super().embed(texts, kind)


def test_an_embedder_that_takes_too_long_is_done_without_and_nothing_is_left_waiting(
    index: Path,
) -> None:
    async def scenario() -> None:
        embedder = SlowEmbedder()
        retriever = IndexRetriever(index, embedder)
        await retriever.start()
        loop, took_s = asyncio.get_running_loop(), []
        for count in range(1, 4):
            began = loop.time()
            found = await retriever.search("is there a ramp for wheelchairs", limit_s=0.3)
            took_s.append(loop.time() - began)
            assert found[0].source == "accessibility.html"
            assert retriever.missed == {Slot.EMBEDDER: count} and embedder.asked == 1
        assert took_s[0] >= 0.18 and max(took_s[1:]) < 0.1  # only the first finds out
        assert embedder.waiting == 0
        assert "took longer than 0.18 s: is the machine overloaded?" in retriever.warning
        embedder.let.set()
        await asyncio.sleep(PROBE_EVERY_S + 1)
        assert await retriever.search("when are you open", limit_s=5)
        assert retriever.warning == "" and retriever.fallback_count == 3
        await retriever.aclose()

    run_virtual(scenario())


def test_a_timeout_says_which_server_to_look_at_and_what_to_set() -> None:
    class Remote(SlowEmbedder):
        @property
        def info(self) -> ProviderInfo:
            return ProviderInfo(slot=Slot.EMBEDDER, provider="tei", endpoint="http://tei:8080")

    async def scenario() -> list[str]:
        told: list[str] = []
        embedder = Remote()
        aid = Dispensable(embedder, "words", asyncio.Event().wait, lambda e: told.append(str(e)))
        by = asyncio.get_running_loop().time() + 0.18
        assert await aid.ask(lambda: embedder.embed(["hours"], "query"), by) is None
        return told

    assert run_virtual(scenario()) == [
        "embedder tei: took longer than 0.18 s: is the server at http://tei:8080 overloaded? Check "
        "EMBEDDING_ENDPOINT"
    ]


class BreakingEmbedder(LexicalEmbedder):
    """Fails as nobody foresaw while `is_broken`, and in its fingerprint while `is_lost`."""

    is_broken = is_lost = False

    @property
    def fingerprint(self) -> str:
        if self.is_lost:
            raise RuntimeError("lost its name")
        return super().fingerprint

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        if self.is_broken:
            raise KeyError("embeddings")
        return await super().embed(texts, kind)


def test_what_nobody_foresaw_of_an_embedder_ends_neither_a_search_nor_the_watch(
    served: tuple[Path, Path],
) -> None:
    async def scenario() -> None:
        await _write(served, "zero")
        embedder = BreakingEmbedder()
        async with _retriever(served[1], embedder) as retriever:
            embedder.is_broken = True
            assert await _answer(retriever) == "zero."
            assert "KeyError('embeddings')" in retriever.warning
            await asyncio.sleep(2 * PROBE_EVERY_S)  # probes break, too
            assert "KeyError" in retriever.warning
            embedder.is_lost = True
            await asyncio.sleep(2.0)
            embedder.is_broken = embedder.is_lost = False
            await _write(served, "one")
            await asyncio.sleep(PROBE_EVERY_S + 1)
            assert await _answer(retriever) == "one." and retriever.warning == ""

    run_virtual(scenario())


def _down(**more: Any) -> ScriptedFault:
    return ScriptedFault(kind="fail", fault=Fault.UNREACHABLE, message="is it running?", **more)


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hashed")
    asyncio.run(ingest([SAMPLES], folder, HashEmbedder()))
    return folder


def test_while_the_embedder_is_away_words_answer_and_the_warning_lasts_as_long(
    hashed: Path,
) -> None:
    async def scenario() -> None:
        embedder = HashEmbedder(faults=[_down(request=0)])
        async with _retriever(hashed, embedder) as retriever:
            found = await retriever.search("how much does a library card cost", limit_s=0.3)
            assert found[0].source == "membership.md" and 0.35 <= found[0].score <= 1
            assert await retriever.search("when do meerkats stand guard", limit_s=0.3) == ()
            assert retriever.fallback_count == 2
            assert "embedder hash: is it running?; until it answers, doc" in retriever.warning
            await asyncio.sleep(60)
            assert retriever.warning and retriever.fallback_count == 2
            embedder.faults.set()
            await asyncio.sleep(PROBE_EVERY_S + 1)
            assert retriever.warning == ""  # though nobody asked meanwhile

    run_virtual(scenario())


def test_nine_of_ten_questions_find_their_source_by_words_alone(hashed: Path) -> None:
    embedder = HashEmbedder(faults=[_down(request=0)])
    for kind, least in (("canonical", 9), ("paraphrase", 9)):
        cases = QUESTIONS[kind]
        found = _first(hashed, [case["question"] for case in cases], embedder)
        hits = [p and p.source == c["source"] for p, c in zip(found, cases, strict=True)]
        assert sum(map(bool, hits)) >= least
    elsewhere = _first(hashed, [case["question"] for case in QUESTIONS["elsewhere"]], embedder)
    assert sum(passage is None for passage in elsewhere) >= 9


def test_a_reranker_that_fails_leaves_the_order_as_it_was(index: Path) -> None:
    async def scenario() -> None:
        reranker = IdentityReranker(faults=[_down(request=1)])
        retriever = IndexRetriever(index, LexicalEmbedder(), reranker=reranker)
        await retriever.start()
        first = await retriever.search("when are you open", limit_s=5)
        assert first and retriever.missed == {Slot.EMBEDDER: 0, Slot.RERANKER: 1}
        assert "passages stay in the order of the first search" in retriever.warning
        await asyncio.sleep(PROBE_EVERY_S + 1)
        assert await retriever.search("when are you open", limit_s=5) == first
        assert retriever.warning == "" and retriever.fallback_count == 1
        await retriever.aclose()

    run_virtual(scenario())


def test_each_failure_that_a_search_met_is_told_once_and_those_of_probes_are_not(
    hashed: Path,
) -> None:
    async def scenario() -> None:
        embedder, reranker = HashEmbedder(), IdentityReranker()
        retriever = IndexRetriever(hashed, embedder, reranker=reranker)
        told: list[tuple[Slot, str, Fault]] = []
        retriever.on_failed = lambda e: told.append((e.slot, e.provider, e.fault))
        await retriever.start()

        async def found() -> bool:
            return bool(await retriever.search("how much does a library card cost", limit_s=0.3))

        assert await found() and told == []
        embedder.faults.set(_down(request=0))
        assert await found()
        assert told == [(Slot.EMBEDDER, "hash", Fault.UNREACHABLE)]
        await asyncio.sleep(60)  # probes go on failing
        assert len(told) == 1
        embedder.faults.set()
        await asyncio.sleep(PROBE_EVERY_S + 1)
        embedder.faults.set(ScriptedFault(kind="stall", request=0))
        reranker.faults.set(_down(request=0))
        assert await found()
        assert told[1:] == [
            (Slot.EMBEDDER, "hash", Fault.TIMEOUT),
            (Slot.RERANKER, "identity", Fault.UNREACHABLE),
        ]
        assert retriever.fallback_count == len(told) == 3
        assert await found()
        assert retriever.fallback_count == 5 and len(told) == 3  # nobody was asked
        giving_up = asyncio.create_task(found())
        await asyncio.sleep(0.01)
        giving_up.cancel()  # whoever gave up has met no failure
        await asyncio.gather(giving_up, return_exceptions=True)
        assert len(told) == 3
        await retriever.aclose()

    run_virtual(scenario())


def test_several_searches_for_one_question_are_one_that_went_without(hashed: Path) -> None:
    async def scenario() -> None:
        embedder, reranker = HashEmbedder(), IdentityReranker(faults=[_down(request=0)])
        embedder.faults.set(_down(request=0))
        retriever = IndexRetriever(hashed, embedder, reranker=reranker)
        await retriever.start()
        missed: list[Slot] = []
        questions: list[str | None] = ["one", "one", "other", "one", "other", None, None]
        retriever.question = lambda: questions[0]
        retriever.on_missed = missed.append
        while questions:
            await retriever.search("how much does a library card cost", limit_s=0.3)
            del questions[0]
        assert retriever.missed == {Slot.EMBEDDER: 4, Slot.RERANKER: 4}
        assert sorted(missed) == 4 * [Slot.EMBEDDER] + 4 * [Slot.RERANKER]
        await retriever.aclose()

    run_virtual(scenario())


def test_a_reranker_may_find_that_nothing_answers(index: Path) -> None:
    async def scenario() -> None:
        nothing = IdentityReranker(faults=[ScriptedFault(kind="cut", request=0)])
        retriever = IndexRetriever(index, LexicalEmbedder(), reranker=nothing)
        await retriever.start()
        assert await retriever.search("when are you open", limit_s=5) == ()
        assert retriever.warning == "" and retriever.fallback_count == 0
        await retriever.aclose()

    asyncio.run(scenario())


class BunchedEmbedder(LexicalEmbedder):
    """With cosines as a model of the e5 family has them: from `common` up to 1.

    It tells its fingerprint, as a server does, only when it has answered; `is_there` says whether.
    """

    def __init__(self, common: float, *, name: str = "multilingual-e5-base") -> None:
        super().__init__()
        self.common = common
        self.name = name
        self.is_there = True

    @property
    def dimensions(self) -> int:
        return super().dimensions + 1

    @property
    def fingerprint(self) -> str:
        self._expect_to_be_there()
        return f"intfloat/{self.name}-{self.dimensions}"

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        self._expect_to_be_there()
        return bunched(await super().embed(texts, kind), self.common)

    def _expect_to_be_there(self) -> None:
        if not self.is_there:
            raise ProviderError(Slot.EMBEDDER, "tei", Fault.UNREACHABLE, "is it running?")


@pytest.mark.parametrize("common", [0.65, 0.7, 0.8])
def test_cosines_that_bunch_near_1_still_tell_answers_from_ignorance(
    common: float, tmp_path: Path
) -> None:
    embedder = BunchedEmbedder(common)
    asyncio.run(ingest([SAMPLES], tmp_path, embedder))
    rows = store.load(tmp_path).rows(range(20))
    assert common - 0.05 < (rows @ rows.T).min() and (rows @ rows.T).max() < 1.001
    for kind in ("canonical", "paraphrase"):
        cases = QUESTIONS[kind]
        found = _first(tmp_path, [case["question"] for case in cases], embedder)
        hits = [
            p is not None and p.source == c["source"] for p, c in zip(found, cases, strict=True)
        ]
        assert sum(hits) >= 9
    for questions in ([case["question"] for case in QUESTIONS["elsewhere"]], UNANSWERABLE):
        found = _first(tmp_path, questions, embedder)
        # Lexical vectors under a model's constants; a model itself is tried in tests/semantic.
        assert sum(passage is None for passage in found) >= 0.85 * len(questions)


def test_an_index_of_one_document_does_not_answer_everything(tmp_path: Path) -> None:
    embedder = BunchedEmbedder(0.72)
    (tmp_path / "hours.md").write_text("# Hours\n\nThe library is open from nine until six.")
    asyncio.run(ingest([tmp_path / "hours.md"], tmp_path / "index", embedder))
    asked = ["when is the library open", *UNANSWERABLE]
    first, *others = _first(tmp_path / "index", asked, embedder)
    assert first is not None
    assert sum(passage is None for passage in others) >= 0.9 * len(others)


def test_an_embedder_that_comes_late_is_waited_for_with_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        embedder = BunchedEmbedder(0.7)
        await ingest([SAMPLES], tmp_path, embedder)
        embedder.is_there = False
        async with _retriever(tmp_path, embedder) as retriever:
            assert retriever.warning == "" and retriever.documents == 12
            found = await retriever.search("is there a ramp for wheelchairs", limit_s=0.3)
            assert found[0].source == "accessibility.html" and "is it running" in retriever.warning
            embedder.is_there = True
            await asyncio.sleep(PROBE_EVERY_S + 1)
            again = await retriever.search("is there a ramp for wheelchairs", limit_s=0.3)
            assert again[0].source == "accessibility.html" and again[0].score != found[0].score
            assert (retriever.warning, retriever.fallback_count) == ("", 1)

    run_virtual(scenario())


def test_an_embedder_that_turns_out_to_be_another_one_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        await ingest([SAMPLES], tmp_path, BunchedEmbedder(0.7))
        embedder = BunchedEmbedder(0.7, name="multilingual-e5-large")
        embedder.is_there = False
        async with _retriever(tmp_path, embedder) as retriever:
            assert await retriever.search("is there a ramp for wheelchairs", limit_s=0.3)
            freed_in: list[str] = []
            assert retriever._index is not None
            retriever._index = msgspec.structs.replace(
                retriever._index, copy_on_gpu=Freed(freed_in)
            )
            embedder.is_there = True
            await asyncio.sleep(1)
            assert [name.split("_")[0] for name in freed_in] == ["rag-load"]  # the loop is free
            assert await retriever.search("is there a ramp for wheelchairs", limit_s=0.3) == ()
            assert "e5-base-1025, not intfloat/multilingual-e5-large-1025" in retriever.warning
            assert f"ingest {SAMPLES} --index {tmp_path} --fresh" in retriever.warning

    run_virtual(scenario())


class Freed:
    """Notes the thread that the index it is in was freed by."""

    def __init__(self, freed_in: list[str]) -> None:
        self._freed_in = freed_in

    def __del__(self) -> None:
        self._freed_in.append(threading.current_thread().name)


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
        assert await retriever.search("when are you open", limit_s=60)
        assert retriever._searcher._work_queue.qsize() == 0
        await retriever.aclose()

    asyncio.run(scenario())


@pytest.fixture
def served(tmp_path: Path) -> tuple[Path, Path]:
    """A document, and the index it goes into."""
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs" / "a.txt", tmp_path / "index"


async def _write(served: tuple[Path, Path], word: str) -> None:
    path, index = served
    path.write_text(f"The number of the day is {word}.")
    await ingest([path], index, LexicalEmbedder())


@contextlib.asynccontextmanager
async def _retriever(
    index: Path, embedder: Embedder | None = None
) -> AsyncIterator[IndexRetriever]:
    retriever = IndexRetriever(index, embedder or LexicalEmbedder())
    try:
        await retriever.start()
        yield retriever
    finally:
        await retriever.aclose()


async def _answer(retriever: IndexRetriever) -> str:
    found = await retriever.search("what is the number of the day", limit_s=5)
    return found[0].text.removeprefix("The number of the day is ") if found else ""


def test_a_new_version_answers_within_a_second_though_nobody_asks(
    served: tuple[Path, Path],
) -> None:
    async def scenario() -> None:
        await _write(served, "zero")
        async with _retriever(served[1]) as retriever:
            for word in ("one", "two", "three"):
                await _write(served, word)
                await asyncio.sleep(1)
                assert await _answer(retriever) == f"{word}."
            assert retriever.warning == ""

    run_virtual(scenario())


def test_a_new_version_takes_over_without_a_failed_search(served: tuple[Path, Path]) -> None:
    async def scenario() -> set[str]:
        await _write(served, "zero")
        async with _retriever(served[1]) as retriever:
            seen = {await _answer(retriever)}
            await _write(served, "one")
            for _ in range(100):
                seen.add(await _answer(retriever))
                await asyncio.sleep(0.01)
            return seen

    assert run_virtual(scenario()) == {"zero.", "one."}


def test_the_pointer_is_looked_at_twice_a_second(index: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _retriever(tmp_path / "link") as retriever:
            (tmp_path / "link").symlink_to(index)
            await asyncio.sleep(0.4)
            assert await retriever.search("when are you open", limit_s=5) == ()
            await asyncio.sleep(0.2)
            assert await retriever.search("when are you open", limit_s=5)
            assert retriever.warning == ""

    run_virtual(scenario())


def test_a_damaged_new_version_leaves_the_old_one_answering(served: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        await _write(served, "zero")
        async with _retriever(served[1]) as retriever:
            (served[1] / "current").write_text("garbage")
            await asyncio.sleep(1)
            assert "run: kaiwa ingest PATH" in retriever.warning
            assert await _answer(retriever) == "zero."

    run_virtual(scenario())


async def _two_indexes(served: tuple[Path, Path]) -> tuple[Path, Path, Path]:
    """A link to the first of two indexes, and both."""
    path, link = served
    for word in ("zero", "one"):
        await _write((path, link.with_name(word)), word)
    link.symlink_to(link.with_name("zero"))
    return link, link.with_name("zero"), link.with_name("one")


def _turn(link: Path, target: Path) -> None:
    link.with_name("fresh").symlink_to(target)
    link.with_name("fresh").replace(link)


def test_loading_that_failed_for_a_while_is_tried_again(served: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        link, _, one = await _two_indexes(served)
        async with _retriever(link) as retriever:
            part = one / store.load(one).manifest.version / "chunks.msgpack"
            aside = part.rename(one / "aside")
            _turn(link, one)
            await asyncio.sleep(3 * TRY_AGAIN_S)
            assert "chunks.msgpack cannot be read" in retriever.warning
            assert await _answer(retriever) == "zero."
            aside.rename(part)
            await asyncio.sleep(TRY_AGAIN_S + 1)
            assert retriever.warning == "" and await _answer(retriever) == "one."

    run_virtual(scenario())


def test_a_failure_nobody_foresaw_ends_neither_the_answers_nor_the_watch(
    served: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def short_of_memory(*_: Any, **__: Any) -> Any:
        tries.append(1)
        raise MemoryError

    async def scenario() -> None:
        link, _, one = await _two_indexes(served)
        async with _retriever(link) as retriever:
            with monkeypatch.context() as patch:
                patch.setattr(np, "frombuffer", short_of_memory)
                _turn(link, one)
                await asyncio.sleep(2.5 * TRY_AGAIN_S)
            assert len(tries) == 3  # a pause between them, not twice a second
            assert "MemoryError" in retriever.warning and "tried again" in retriever.warning
            assert await _answer(retriever) == "zero."
            await asyncio.sleep(TRY_AGAIN_S)
            assert retriever.warning == "" and await _answer(retriever) == "one."

    run_virtual(scenario())


def test_the_version_in_use_put_back_takes_the_warning_away(served: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        link, zero, one = await _two_indexes(served)
        async with _retriever(link) as retriever:
            (one / "current").write_text("garbage")
            _turn(link, one)
            await asyncio.sleep(1)
            assert retriever.warning
            _turn(link, zero)
            await asyncio.sleep(1)
            assert retriever.warning == ""

    run_virtual(scenario())


def test_an_index_that_vanishes_is_told_and_answers_go_on(served: tuple[Path, Path]) -> None:
    async def scenario() -> None:
        await _write(served, "zero")
        async with _retriever(served[1]) as retriever:
            served[1].rename(served[1].with_name("aside"))
            await asyncio.sleep(1)
            assert "is gone; answers still come" in retriever.warning
            assert f"run: kaiwa ingest PATH --index {served[1]}" in retriever.warning
            assert await _answer(retriever) == "zero."
            served[1].with_name("aside").rename(served[1])
            await asyncio.sleep(1)
            assert retriever.warning == ""

    run_virtual(scenario())


def test_nothing_is_left_running_after_close(index: Path) -> None:
    async def scenario() -> None:
        async with _retriever(index):
            assert len(asyncio.all_tasks()) == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())
