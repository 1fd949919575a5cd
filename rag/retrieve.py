"""Finds the passages that answer a question, and keeps up with the index while it is replaced.

    embed (awaited) -> FAISS and words (own thread) -> fused score -> floor -> rerank -> passages

    every 0.5 s, in another thread: has the pointer moved? -> load -> take the place of the old

A new version is loaded beside the one in use and takes its place between two searches. Where that
fails, the old one goes on answering, `warning` says why, and loading is tried again.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from providers.base import Embedder, Passage, Reranker
from rag import store
from rag.fuse import LEXICAL, Calibration, fuse

_CANDIDATES = 64
"""Chunks each side proposes."""
_RERANKED = 16
"""Passages a reranker is shown: it reads each of them together with the question."""
LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 10.0
"""After loading failed, when the pointer did not move: what failed may pass by itself."""
_LONGEST_QUESTION = 2000
"""Letters; minutes of speech. What is over does not change what is asked."""


class IndexRetriever:
    """Implements `providers.base.Retriever` over an index directory."""

    def __init__(
        self,
        index_dir: Path | str,
        embedder: Embedder,
        *,
        calibration: Calibration = LEXICAL,
        most_passages: int = 4,
        reranker: Reranker | None = None,
    ) -> None:
        self._index_dir = Path(index_dir)
        self._embedder = embedder
        self._calibration = calibration
        self._most_passages = most_passages
        self._reranker = reranker
        self._index: store.Contents | None = None
        self._texts: dict[str, str] = {}
        self._stamp: store.Stamp | None = None
        """Of the pointer when the index in use was loaded."""
        self._tried: store.Stamp | None = None
        self._try_again_at = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._warning = ""
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
    def warning(self) -> str:
        """Why nothing, or nothing new, is found, and what to do; empty when all is well."""
        return self._warning

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
        async with asyncio.timeout(limit_s):
            index = self._index
            if index is None or not query or not index.chunks:
                return ()
            vector = await self._embedder.embed([query], "query")
            # Cancelled by the timeout, a search that has not begun is taken out of the queue.
            found = await asyncio.get_running_loop().run_in_executor(
                self._searcher, self._find, index, query, vector
            )
            if self._reranker and len(found) > 1:
                found = await self._reranker.rank(query, found[:_RERANKED])
            return found[: self._most_passages]

    # --- searching, in its thread

    def _find(
        self, index: store.Contents, query: str, vector: NDArray[np.float32]
    ) -> tuple[Passage, ...]:
        count = min(_CANDIDATES, len(index.chunks))
        by_word = index.lexical.scores(query)
        _, nearest = index.vectors.search(np.ascontiguousarray(vector, np.float32), count)
        likeliest = np.argpartition(-by_word, count - 1)[:count]
        candidates = np.unique(np.concatenate([nearest[0][nearest[0] >= 0], likeliest]))
        cosine = index.rows(candidates) @ vector[0]
        scores = fuse(by_word[candidates], cosine, self._calibration)
        order = [
            i for i in np.argsort(-scores, kind="stable") if scores[i] >= self._calibration.floor
        ]
        return tuple(_passage(index, int(candidates[i]), float(scores[i])) for i in order)

    # --- keeping up with the index

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        """One stat call; loads if the pointer moved, or if it is time to try again."""
        loop = asyncio.get_running_loop()
        stamp = await loop.run_in_executor(self._loader, store.current_stamp, self._index_dir)
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
                self._loader, store.load, self._index_dir, self._embedder.fingerprint
            )
            if index.chunks:  # the first search in a process takes 70 ms, later ones 1 ms
                nothing = np.zeros((1, self._embedder.dimensions), np.float32)
                await loop.run_in_executor(self._searcher, self._find, index, "warm up", nothing)
        except store.IndexUnusable as error:
            return str(error)
        except Exception as error:  # whatever it is, the watch goes on and the old one answers
            return (
                f"the index in {self._index_dir} could not be loaded "
                f"({type(error).__name__}: {error}); it is tried again every {TRY_AGAIN_S:g} s, "
                f"or run: {store.rebuild_command(self._index_dir)}"
            )
        self._texts = {document.source: document.text for document in index.documents}
        self._index, self._stamp = index, stamp
        return ""

    def _missing(self) -> str:
        if self._index is None:
            what = f"there is no index in {self._index_dir}"
        else:
            what = f"the index in {self._index_dir} is gone; answers still come from the one loaded"
        return str(store.IndexMissing(self._index_dir, what))


def _one_faiss_thread() -> None:
    import faiss

    # Per thread. One halves the time of a short search on few cores and keeps others undisturbed.
    faiss.omp_set_num_threads(1)


def _passage(index: store.Contents, position: int, score: float) -> Passage:
    chunk = index.chunks[position]
    return Passage(
        text=chunk.text,
        source=chunk.source,
        title=chunk.title,
        heading=chunk.heading,
        start=chunk.start,
        end=chunk.end,
        score=min(1.0, max(0.0, score)),
        chunk=chunk.id,
    )
