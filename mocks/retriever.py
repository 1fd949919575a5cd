"""A library that finds what the script says, when the script says."""

import asyncio
from collections.abc import Iterable, Sequence

from mocks.faults import ScriptedFault
from mocks.provider import MockProvider
from providers.base import Passage, Slot


class ScriptedRetriever(MockProvider):
    """Finds `passages` for every question, after `delay_ms`.

    A fault's request is a search; it has one item, 0. It counts as the embedder's, which is the
    part of a retriever that can fail.
    """

    def __init__(
        self,
        passages: Sequence[Passage] = (),
        *,
        delay_ms: float = 5.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.EMBEDDER, "scripted", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self.passages = tuple(passages)
        self.delay_ms = delay_ms
        self.questions: list[str] = []
        self.running = 0

    async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
        """A cut search finds nothing.

        Raises:
            TimeoutError: When the limit passed.
        """
        self.questions.append(query)
        self.running += 1
        try:
            async with asyncio.timeout(limit_s):
                found = await self.faults.begin().reach(0, self.delay_ms)
            return self.passages if found else ()
        finally:
            self.running -= 1
