"""Finds the passages that answer a question, and keeps up with the index while it is replaced.

    embed (awaited) -> FAISS and words (own thread) -> fused score -> floor -> rerank -> passages

    every 0.5 s, in another thread: has the pointer moved? -> load -> take the place of the old

A new version is loaded beside the one in use and takes its place between two searches. Where that
fails, the old one goes on answering, `warning` says why, and loading is tried again.

An embedder that fails, or takes too much of the time there is, is done without: the words alone
find what they find. `missed` counts that, and `warning` says so until the embedder answers
again; meanwhile no search asks it, only we do, every 5 s. A reranker that fails leaves the order as
it was. `on_failed` is told of each failure that a search met.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from providers.base import Embedder, Passage, ProviderError, Reranker, Slot
from rag import store
from rag.dispensable import Dispensable
from rag.find import find
from rag.fuse import Calibration

_RERANKED = 16
"""Passages a reranker is shown: it reads each of them together with the question."""
_EMBED_SHARE = 0.6
"""Of the time for a search, what the embedder may take; words need 2 ms of the rest."""
_RERANK_SHARE = 0.95
"""Of the time for a search, when the reranker must have answered."""
LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 10.0
"""After loading failed, when the pointer did not move: what failed may pass by itself."""
_LONGEST_QUESTION = 2000
"""Letters; minutes of speech. What is over does not change what is asked."""

log = structlog.get_logger()


class IndexRetriever:
    """Implements `providers.base.Retriever` over an index directory.

    Args:
        calibration: How the embedder's cosines are read; None: as its fingerprint tells.
    """

    def __init__(
        self,
        index_dir: Path | str,
        embedder: Embedder,
        *,
        calibration: Calibration | None = None,
        most_passages: int = 4,
        reranker: Reranker | None = None,
    ) -> None:
        self._index_dir = Path(index_dir)
        self._embedder = embedder
        self._calibration = calibration
        self.most_passages = most_passages
        """May be changed between two searches."""
        self._reranker = reranker
        self._embeds = Dispensable(
            embedder,
            "documents are searched by their words alone",
            lambda: embedder.embed(["check"], "query"),
            lambda error: self.on_failed(error),
            lambda: self.question(),
            lambda: self.on_missed(Slot.EMBEDDER),
        )
        self._reranks: Dispensable | None = None
        if reranker is not None:
            self._reranks = Dispensable(
                reranker,
                "passages stay in the order of the first search",
                lambda: reranker.rank("check", [Passage(text="check", source="check")]),
                lambda error: self.on_failed(error),
                lambda: self.question(),
                lambda: self.on_missed(Slot.RERANKER),
            )
        self.on_failed: Callable[[ProviderError], None] = lambda error: None
        """Called on the event loop for each failure of the embedder or the reranker that a search
        met; the search goes on without."""
        self.on_missed: Callable[[Slot], None] = lambda slot: None
        """The same for each question that went on without one of them."""
        self.question: Callable[[], object | None] = lambda: None
        """Called on the event loop: which question the search is for; None: one of its own."""
        self._index: store.Contents | None = None
        self._texts: dict[str, str] = {}
        self._stamp: store.Stamp | None = None
        """Of the pointer when the index in use was loaded."""
        self._tried: store.Stamp | None = None
        self._try_again_at = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._warning = ""
        self._limit_s = 1.0
        """Of the last search."""
        # One thread: FAISS gains nothing from more on short searches, and a search that ran past
        # its limit delays the next one instead of competing with it.
        self._searcher = ThreadPoolExecutor(1, "rag-search", _one_faiss_thread)
        self._loader = ThreadPoolExecutor(1, "rag-load")

    @property
    def documents(self) -> int:
        return self._index.manifest.documents if self._index else 0

    @property
    def chunks(self) -> int:
        return self._index.manifest.chunks if self._index else 0

    @property
    def version(self) -> str:
        """Of the index in use; empty without one."""
        return self._index.manifest.version if self._index else ""

    @property
    def fallback_count(self) -> int:
        """How many questions went without the embedder, or without the reranker."""
        return sum(self.missed.values())

    @property
    def missed(self) -> dict[Slot, int]:
        """How many questions went without each of them."""
        return {one.slot: one.missed for one in self._dispensables()}

    @property
    def warning(self) -> str:
        """Why nothing, or nothing new, is found, and what to do; empty when all is well."""
        troubles = (one.trouble for one in self._dispensables())
        return "; ".join(filter(None, (self._warning, self._empty(), *troubles)))

    def _dispensables(self) -> list[Dispensable]:
        return [one for one in (self._embeds, self._reranks) if one is not None]

    def source_text(self, source: str) -> str | None:
        """A document's plain text, which a passage's `start` and `end` count in, or None."""
        return self._texts.get(source)

    async def start(self) -> None:
        """Load the index, so that the first caller does not wait for it, and keep up with it.

        Raises nothing when there is none to load: `warning` says what to do.
        """
        await self._look()
        self._watch = asyncio.create_task(self._keep_up(), name="rag-watch")

    async def aclose(self) -> None:
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._searcher.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
        query = query.strip()[:_LONGEST_QUESTION]
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout_at(began + limit_s):
            index = self._index
            if index is None or not query or not index.chunks:
                return ()
            self._limit_s = limit_s
            vector = await self._vector(query, began + _EMBED_SHARE * limit_s)
            if index.manifest.embedder != self._fingerprint():
                vector = None  # the index will be refused as soon as it is looked at
            # Cancelled by the timeout, a search that has not begun is taken out of the queue.
            found = await loop.run_in_executor(
                self._searcher, find, index, query, vector, self._calibration
            )
            if self._reranker and found:
                found = await self._reranked(query, found, began + _RERANK_SHARE * limit_s)
            return found[: self.most_passages]

    async def _vector(self, query: str, by: float) -> NDArray[np.float32] | None:
        """[1, dimensions], or None where the embedder does not give one in time."""
        return await self._embeds.ask(lambda: self._embedder.embed([query], "query"), by)

    async def _reranked(
        self, query: str, found: tuple[Passage, ...], by: float
    ) -> tuple[Passage, ...]:
        assert self._reranker is not None and self._reranks is not None
        rank, shown = self._reranker.rank, found[:_RERANKED]
        ranked = await self._reranks.ask(lambda: rank(query, shown), by)
        return found if ranked is None else ranked

    # --- keeping up with the index

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
                for one in self._dispensables():
                    await one.probe(_EMBED_SHARE * self._limit_s)
            except Exception:  # whatever it was, documents ingested later must be found
                log.exception("index_watch_broke")

    def _fingerprint(self) -> str:
        """The embedder's; empty while it has not told."""
        try:
            return self._embedder.fingerprint
        except ProviderError:
            return ""

    async def _look(self) -> None:
        """One stat call; loads if the pointer moved, or if it is time to try again."""
        loop = asyncio.get_running_loop()
        stamp = await loop.run_in_executor(self._loader, store.current_stamp, self._index_dir)
        fingerprint = self._fingerprint()
        if self._index and fingerprint and self._index.manifest.embedder != fingerprint:
            # Loaded before the embedder told what it is.
            retired, self._index = [self._index], None
            self._stamp = self._tried = None
            await loop.run_in_executor(self._loader, store.let_go, retired)
        if stamp is None:
            self._tried = None
            self._warning = self._missing()
        elif stamp == self._stamp:
            self._tried = None
            self._warning = ""
        elif stamp != self._tried or loop.time() >= self._try_again_at:
            self._warning = await self._load(stamp)
            self._tried, self._try_again_at = stamp, loop.time() + TRY_AGAIN_S

    async def _load(self, stamp: store.Stamp) -> str:
        """Why that failed, and what to do."""
        loop = asyncio.get_running_loop()
        try:
            index = await loop.run_in_executor(
                self._loader, _load, self._index_dir, self._fingerprint()
            )
            if index.chunks:  # the first search in a process takes 70 ms, later ones 1 ms
                nothing = np.zeros((1, index.manifest.dimensions), np.float32)
                await loop.run_in_executor(self._searcher, find, index, "warm up", nothing)
        except store.IndexUnusable as error:
            return str(error)
        except Exception as error:  # whatever it is, the watch goes on and the old one answers
            return (
                f"the index in {self._index_dir} could not be loaded "
                f"({type(error).__name__}: {error}); it is tried again every {TRY_AGAIN_S:g} s, "
                f"or run: {store.rebuild_command(self._index_dir)}"
            )
        self._texts = {document.source: document.text for document in index.documents}
        retired = [self._index] if self._index else []
        self._index, self._stamp = index, stamp
        await loop.run_in_executor(self._loader, store.let_go, retired)
        holds = index.manifest
        log.info(
            "index_loaded",
            version=holds.version,
            documents=holds.documents,
            chunks=holds.chunks,
        )
        return ""

    def _empty(self) -> str:
        if self._index is None or self._index.chunks:
            return ""
        rebuild = store.rebuild_command(self._index_dir)
        return f"the index in {self._index_dir} holds no documents; run: {rebuild}"

    def _missing(self) -> str:
        if self._index is None:
            what = f"there is no index in {self._index_dir}"
        else:
            what = f"the index in {self._index_dir} is gone; answers still come from the one loaded"
        return str(store.IndexMissing(self._index_dir, what))


def _load(index_dir: Path, embedder: str) -> store.Contents:
    return store.on_gpu(store.load(index_dir, embedder))


def _one_faiss_thread() -> None:
    import faiss

    # Per thread. One halves the time of a short search on few cores and keeps others undisturbed.
    faiss.omp_set_num_threads(1)
