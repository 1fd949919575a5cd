"""Whether the machine, or this process, stood still: then nobody else can be blamed for silence.

due ─ 0.25 s ─ due ─ 0.25 s ─ due ────── nothing ran ──────▶ late
                                                              └─ 1 s: what piled up is done
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from math import inf

TICK_S = 0.25
LATE_S = 0.5
"""A loop that is only busy comes sooner."""
SETTLE_S = 1.0
"""So long afterwards others may not run again yet, and what they have sent is still unread."""


class Stillness:
    """How late the loop comes to a timer of its own, while `watching`."""

    def __init__(self) -> None:
        self._due = inf
        self._ended_at = -inf

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch(), name="stillness")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._look(loop.time())

    def _look(self, now: float) -> None:
        if now - self._due > LATE_S:
            self._ended_at = now

    def spoils(self, since: float, now: float) -> bool:
        """Whether what went wrong from `since` to `now` may be due to it."""
        self._look(now)  # of timers that came due meanwhile, ours may not be the first to run
        return self._ended_at + SETTLE_S > since
