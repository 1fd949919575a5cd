"""What a search can do without: asked within its time, done without and told of when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from providers.base import Fault, Provider, ProviderError

PROBE_EVERY_S = 5.0
"""One that failed is asked again, so that the warning goes without a caller."""

T = TypeVar("T")


class Dispensable:
    """The embedder or the reranker of a search.

    Args:
        instead: What is done without it.
        probe: A small request of its own; raises ProviderError.
    """

    def __init__(
        self, provider: Provider, instead: str, probe: Callable[[], Awaitable[object]]
    ) -> None:
        self._provider, self._instead, self._probe = provider, instead, probe
        self._probe_at = 0.0
        self.trouble = ""
        """What it does wrong at present, and what is done without it."""
        self.missed = 0
        """Requests that had to be done without."""

    async def ask(self, work: Awaitable[T], by: float) -> T | ProviderError:
        """What the work gives, or how it failed: also by not having ended then (loop time)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(by):
                result = await work
        except TimeoutError:
            info = self._provider.info
            why = f"the {info.slot.value} took longer than {by - began:.2g} s"
            error = ProviderError(info.slot, info.provider, Fault.TIMEOUT, why)
        except ProviderError as raised:
            why, error = str(raised), raised
        else:
            self.trouble = ""
            return result
        self.missed += 1
        if not self.trouble:
            self._probe_at = loop.time() + PROBE_EVERY_S
        self.trouble = f"{why}; until it answers, {self._instead}"
        return error

    async def probe(self, limit_s: float) -> None:
        """Where it failed and some time has passed: it has recovered if it answers now."""
        loop = asyncio.get_running_loop()
        if not self.trouble or loop.time() < self._probe_at:
            return
        self._probe_at = loop.time() + PROBE_EVERY_S
        try:
            async with asyncio.timeout(limit_s):
                await self._probe()
        except (ProviderError, TimeoutError):
            return
        self.trouble = ""
