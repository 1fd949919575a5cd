"""What a search can do without: asked within its time, done without and told of when it fails.

well  ask ask ask ─▶ failed ─▶ in trouble ─▶ every PROBE_EVERY_S our own small request ─▶ well
                                  └─ ask: done without, at once
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from providers.base import Fault, Provider, ProviderError, Slot

PROBE_EVERY_S = 5.0
"""One that failed is asked by us alone: to find out at a caller's cost takes most of his time."""
LAST_QUESTIONS = 500
"""Of all calls: so many are known to have been counted."""
VARIABLES = {Slot.EMBEDDER: "EMBEDDING_ENDPOINT", Slot.RERANKER: "RERANKER_ENDPOINT"}

T = TypeVar("T")

log = structlog.get_logger()


class Dispensable:
    """The embedder or the reranker of a search.

    Args:
        instead: What is done without it.
        probe: A small request of its own; raises ProviderError.
        failed: Told of every failure that a caller met; not of those who did not ask any more.
        on_missed: Told of each question that is searched for without.
    question: Tells which one is searched for; None: one of its own. Several searches may be
            made for one that is still being spoken.
    """

    def __init__(
        self,
        provider: Provider,
        instead: str,
        probe: Callable[[], Awaitable[object]],
        failed: Callable[[ProviderError], None],
        question: Callable[[], object | None] = lambda: None,
        on_missed: Callable[[], None] = lambda: None,
    ) -> None:
        self._provider, self._instead, self._probe = provider, instead, probe
        self._failed, self._question, self._on_missed = failed, question, on_missed
        self._counted: deque[object] = deque(maxlen=LAST_QUESTIONS)
        self._probe_at = 0.0
        self.trouble = ""
        """What it does wrong at present, and what is done without it."""
        self.missed = 0
        """Questions that had to be searched for without."""

    @property
    def slot(self) -> Slot:
        return self._provider.info.slot

    async def ask(self, work: Callable[[], Awaitable[T]], by: float) -> T | None:
        """What the work gives; None while it is in trouble, and where it comes to be.

        Args:
            by: Loop time when it must have ended.
        """
        if self.trouble:
            self._miss()
            return None
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(by):
                return await work()
        except TimeoutError:
            error = self._error(Fault.TIMEOUT, self._too_slow(by - began))
        except ProviderError as raised:
            error = raised
        except Exception as raised:
            log.exception("search_aid_broke", slot=self.slot.value)
            error = self._error(Fault.BROKEN, f"{raised!r}; see the log")
        self._miss()
        self._probe_at = loop.time() + PROBE_EVERY_S
        self.trouble = f"{error}; until it answers, {self._instead}"
        self._failed(error)
        return None

    def _miss(self) -> None:
        question = self._question()
        if question is None or question not in self._counted:
            self.missed += 1
            self._on_missed()
            self._counted.append(question)

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
        except Exception:  # whatever it is, it is no answer
            log.exception("search_aid_broke", slot=self.slot.value)
            return
        self.trouble = ""

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(self.slot, self._provider.info.provider, fault, message)

    def _too_slow(self, limit_s: float) -> str:
        took = f"took longer than {limit_s:.2g} s"
        endpoint = self._provider.info.endpoint
        if endpoint == "in-process":
            return f"{took}: is the machine overloaded? rag.limit_ms sets what a search may take"
        return f"{took}: is the server at {endpoint} overloaded? Check {VARIABLES[self.slot]}"
