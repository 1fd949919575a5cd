"""A reranker that leaves the order as it is."""

from collections.abc import Iterable, Sequence

from mocks.faults import ScriptedFault
from mocks.provider import MockProvider
from providers.base import Passage, Slot


class IdentityReranker(MockProvider):
    """Args:
    delay_ms: From the request to the answer.
    """

    def __init__(
        self,
        *,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.RERANKER, "identity", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self._delay_ms = delay_ms

    async def rank(self, query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """A cut gives no passages."""
        if not await self.faults.begin().reach(0, self._delay_ms):
            return ()
        return tuple(passages)
