"""Tries again what failed before anybody heard of it: longer pauses each time, one budget.

    |--attempt--x   |--attempt--x         |--attempt-----…
    |           0.05..0.1 s     0.1..0.2 s               |
    |─────────────────────── limit_s ────────────────────|  TimeoutError

A pause that would end behind the budget is not begun: the failure is worth more to a fallback now.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from providers._http import HttpFailure
from providers.base import Fault

T = TypeVar("T")

RETRIED = (Fault.UNREACHABLE, Fault.OVERLOADED)


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how long between."""

    retries: int = 2
    """Attempts after the first."""
    first_pause_s: float = 0.1
    """Doubles with every attempt; half of it is jitter, lest many callers come at once."""
    longest_pause_s: float = 2.0
    """A caller hears silence meanwhile; a server that asks for more has refused."""

    def pause_s(
        self, attempt: int, failure: HttpFailure, left_s: float, chance: float
    ) -> float | None:
        """Seconds before the next attempt; None if there is none.

        Args:
            attempt: Of those that failed, counted from 0.
            left_s: Of the budget.
            chance: 0..1, for the jitter.
        """
        if attempt >= self.retries or not (failure.fault in RETRIED or failure.is_cut):
            return None
        asked_s = failure.retry_after_s or 0.0
        if asked_s > self.longest_pause_s:
            return None
        pause_s = asked_s + self.first_pause_s * 2**attempt * (0.5 + 0.5 * chance)
        return pause_s if pause_s < left_s else None


async def retried(
    attempt: Callable[[], Awaitable[T]],
    *,
    retry: Retry,
    limit_s: float,
    chance: Callable[[], float],
) -> T:
    """The first success.

    Args:
        limit_s: For all attempts and pauses together.
        chance: Gives 0..1; `random.random`, but in tests.
    Raises:
        HttpFailure: The last one, when no further attempt is worth it.
        TimeoutError: If the budget ran out in the middle of an attempt.
    """
    loop = asyncio.get_running_loop()
    by = loop.time() + limit_s
    failed = 0
    while True:
        try:
            async with asyncio.timeout_at(by):
                return await attempt()
        except HttpFailure as failure:
            pause_s = retry.pause_s(failed, failure, by - loop.time(), chance())
            if pause_s is None:
                raise
        failed += 1
        await asyncio.sleep(pause_s)
