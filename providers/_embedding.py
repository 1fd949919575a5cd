"""What embedders behind HTTP share: prefixes, batches, patience, and a close look at the numbers.

a caller's question    at once, one attempt: retrieval has a deadline and words to fall back on
an ingest's passages   batches, three in flight, tried again for a minute where the server is
                       overloaded or away; a question never waits behind them
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from providers._http import Failures, HttpFailure
from providers._json_calls import JsonCalls
from providers._prefixes import Prefixes
from providers._retry import Retry, retried
from providers.base import Fault, ProviderInfo, Slot

Rows = NDArray[np.float32]

_IN_FLIGHT = 3
"""Batches: one computed, one waiting behind it, one on its way."""
_PATIENCE_S = 60.0
"""A server that restarts loads its model in this time; longer is a matter for a person."""
_RETRY = Retry(retries=7, first_pause_s=0.25, longest_pause_s=15.0)
_CHECKED = "check"


class RemoteEmbedder(ABC):
    """The part of an embedder that does not know its server's language."""

    def __init__(
        self,
        provider: str,
        calls: JsonCalls,
        failures: Failures,
        *,
        endpoint: str,
        model: str,
        prefixes: Prefixes,
        batch: int,
    ) -> None:
        if not 1 <= batch <= 2048:
            raise ValueError(f"batch must be 1..2048 texts, got {batch}")
        self._provider = provider
        self._calls = calls
        self._failures = failures
        self._endpoint = endpoint
        self._model = model
        self._prefixes = prefixes
        self._batch = batch
        self._dimensions = 0
        self._turns = asyncio.Semaphore(_IN_FLIGHT)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(
            slot=Slot.EMBEDDER, provider=self._provider, endpoint=self._endpoint, model=self._model
        )

    @property
    def fingerprint(self) -> str:
        """Model, size, and a checksum of the prefixes.

        Raises:
            ProviderError: The server has not answered yet, so that its model is not known.
        """
        return f"{self._model}-{self.dimensions}-{self._prefixes.rules}"

    @property
    def dimensions(self) -> int:
        if not self._dimensions:
            raise self._failures.make(
                Fault.UNREACHABLE, f"{self._endpoint} has not answered yet: is it running?"
            )
        return self._dimensions

    async def start(self) -> None:
        """Learns which model there is and how many numbers it gives."""
        await self._identify()
        await self._probe()

    async def check(self) -> None:
        await self.start()

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> Rows:
        """[n, dimensions]; texts without a letter get rows of 0 and are not sent."""
        if not self._dimensions:
            await self.start()
        prefix = self._prefixes.query if kind == "query" else self._prefixes.passage
        places = [place for place, text in enumerate(texts) if text.strip()]
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        if len(places) == 1 and kind == "query":
            rows[places[0]] = await self._asked([prefix + texts[places[0]]], is_query=True)
        elif places:
            batches = [places[at : at + self._batch] for at in range(0, len(places), self._batch)]
            found = await self._side_by_side(
                [[prefix + texts[place] for place in batch] for batch in batches]
            )
            rows[places] = np.concatenate(found)
        return rows

    # --- what a server's language adds

    @abstractmethod
    async def _identify(self) -> None:
        """Raises ProviderError unless the server is there and has the right model."""

    @abstractmethod
    async def _ask(self, texts: list[str], *, is_query: bool) -> list[list[float]]:
        """As many lists of numbers as texts, in their order, unchecked."""

    # --- asking

    async def _probe(self) -> None:
        await self._asked([self._prefixes.query + _CHECKED], is_query=True)

    async def _side_by_side(self, batches: list[list[str]]) -> list[Rows]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._patiently(batch)) for batch in batches]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _patiently(self, texts: list[str]) -> Rows:
        async def attempt() -> Rows:
            async with self._turns:
                return await self._asked(texts, is_query=False)

        try:
            return await retried(attempt, retry=_RETRY, limit_s=_PATIENCE_S, chance=random.random)
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT,
                f"{self._endpoint} did not take {len(texts)} passages in {_PATIENCE_S:g} s: is it "
                "overloaded?",
            ) from None

    async def _asked(self, texts: list[str], *, is_query: bool) -> Rows:
        answer = await self._ask(texts, is_query=is_query)
        if len(texts) > 1:  # 25,000 numbers take 3 ms
            rows = await asyncio.to_thread(self._checked, answer, len(texts))
        else:
            rows = self._checked(answer, len(texts))
        self._dimensions = rows.shape[1]
        return rows

    def _checked(self, answer: list[list[float]], wanted: int) -> Rows:
        """[n, dimensions] of length 1."""
        lengths = {len(row) for row in answer}
        if len(answer) != wanted or len(lengths) != 1:
            raise self._broken(
                f"{len(answer)} rows of {sorted(lengths)} numbers for {wanted} texts"
            )
        size = lengths.pop()
        if not size or (self._dimensions and size != self._dimensions):
            raise self._broken(
                f"{size} numbers a text where it gave {self._dimensions} before: was its model "
                "changed? Restart Kaiwa and ingest the documents again"
            )
        rows = np.array(answer, np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
        if not np.isfinite(norms).all():
            raise self._broken("numbers that are none (NaN or infinite)")
        if not norms.all():
            raise self._broken("only zeros for a text")
        return np.asarray(rows / norms, np.float32)

    def _broken(self, what: str) -> HttpFailure:
        return self._failures.make(Fault.BROKEN, f"{self._endpoint} answered with {what}")
