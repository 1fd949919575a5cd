"""What a search asks, with servers of the same model that stand in: embedders and rerankers.

    a caller's question   ──attempt_limit_s, or a failure──▶ the next one; nobody left: the search
                          goes on without (rag/dispensable.py)
    an ingest's passages  as long as each one's own patience lasts

Vectors of another model would find nothing in the index, so a stand-in with another fingerprint is
treated as one that fails.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from providers.base import Embedder, Fault, Passage, Provider, ProviderError, Reranker
from voice.chain import CALL, Chain, Link

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

LAST_QUESTIONS = 500
"""Of all calls: so many are known to have been counted."""


class _SearchChain(Chain[P]):
    """Args:
    attempt_s: How long one that others can take over from may keep a caller waiting.
    """

    def __init__(
        self, providers: Sequence[P], *, now: Callable[[], float], attempt_s: float
    ) -> None:
        super().__init__(providers, now=now)
        self._attempt_s = attempt_s
        self._counted: deque[object] = deque(maxlen=LAST_QUESTIONS)

    def served_by(self, link: Link[P]) -> None:
        """Counted once for a question: several searches are made while it is being spoken."""
        call = CALL.get({})
        question = (call.get("session"), call.get("turn"))
        if None in question or question not in self._counted:
            super().served_by(link)
            if link is not self.links[0]:
                self._counted.append(question)

    async def _first_of(self, request: Callable[[P], Awaitable[T]], *, waits: bool = False) -> T:
        """Args:
            waits: Nobody does: each one has all the time it takes.
        Raises:
            ProviderError: The last one's, if none can.
        """
        tried: list[Link[P]] = []
        failure: ProviderError | None = None
        while (link := self.next_after(tried)) is not None:
            limit_s = None if waits or self.is_last(link, tried) else self._attempt_s
            tried.append(link)
            try:
                with self.asking(link):
                    found = await self._attempt(link, request, limit_s)
                    link.fits()
                self.served_by(link)
                return found
            except ProviderError as error:
                failure = error
        raise failure or self.nobody()

    async def _attempt(
        self, link: Link[P], request: Callable[[P], Awaitable[T]], limit_s: float | None
    ) -> T:
        info = link.info
        try:
            async with asyncio.timeout(limit_s):
                return await request(link.provider)
        except TimeoutError:
            if limit_s is None:
                raise
            message = f"no answer within {limit_s:g} s ({info.slot}.attempt_limit_s)"
            raise ProviderError(info.slot, info.provider, Fault.TIMEOUT, message) from None


class ChainEmbedder(_SearchChain[Embedder]):
    """Implements `providers.base.Embedder`."""

    def __init__(
        self, providers: Sequence[Embedder], *, now: Callable[[], float], attempt_s: float
    ) -> None:
        super().__init__(providers, now=now, attempt_s=attempt_s)
        for link in self.links:
            link.fits = partial(self._expect_the_same, link)

    @property
    def fingerprint(self) -> str:
        """Of the first one that has told."""
        return self._told_by().fingerprint

    @property
    def dimensions(self) -> int:
        return self._told_by().dimensions

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        return await self._first_of(
            lambda embedder: embedder.embed(texts, kind), waits=kind == "passage"
        )

    def _told_by(self) -> Embedder:
        failure: ProviderError | None = None
        for link in self.links:
            try:
                _ = link.provider.fingerprint
                return link.provider
            except ProviderError as error:
                failure = failure or error
        raise failure or self.nobody()

    def _expect_the_same(self, link: Link[Embedder]) -> None:
        own, wanted = link.provider.fingerprint, self.fingerprint
        if own != wanted:
            raise ProviderError(
                link.info.slot,
                link.info.provider,
                Fault.REFUSED,
                f"{link.info.endpoint} gives vectors of {own}, and the one it stands in for those "
                f"of {wanted}: give both the same model, or take it out of embedder.fallbacks",
            )


class ChainReranker(_SearchChain[Reranker]):
    """Implements `providers.base.Reranker`; the scores are those of whoever ranked."""

    async def rank(self, query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        return await self._first_of(lambda reranker: reranker.rank(query, passages))
