"""How long a stream's next event may take, counted only while somebody waits for it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal, TypeVar

from msgspec import Struct

from providers.base import Fault, Provider, ProviderError, Slot

E = TypeVar("E")

GRACE_S = 0.25
"""A provider that keeps the same limit itself comes first: it knows more of what went wrong."""


class Patience(Struct, frozen=True):
    """Limits in seconds: the settings `{slot}.first_{what}_limit_s` and `{slot}.{what}_limit_s`."""

    slot: Slot
    what: Literal["token", "audio"]
    first_s: float
    next_s: float

    def limit(self, *, begun: bool) -> "Limit":
        if begun:
            return self.next_s, f"{self.slot}.{self.what}_limit_s"
        return self.first_s, f"{self.slot}.first_{self.what}_limit_s"


Limit = tuple[float, str]
"""Seconds, and the setting they come from."""


async def within(
    stream: AsyncGenerator[E, None],
    limit: Callable[[], Limit],
    slot: Slot,
    what: str,
    provider: str,
) -> AsyncGenerator[E, None]:
    """The stream's events. Closing this closes the stream.

    Args:
        limit: Asked before each event.
    Raises:
        ProviderError: The next one did not come in time; and whatever the stream raises.
    """
    async with aclosing(stream):
        while True:
            limit_s, setting = limit()
            try:
                async with asyncio.timeout(limit_s + GRACE_S):
                    event = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                message = f"no {what} within {limit_s:g} s ({setting})"
                raise ProviderError(slot, provider, Fault.TIMEOUT, message) from None
            yield event


async def in_time(
    stream: AsyncGenerator[E, None], patience: Patience, provider: str
) -> AsyncGenerator[E, None]:
    """`within` the first limit, and from event to event within the next one."""
    begun = False
    events = within(
        stream, lambda: patience.limit(begun=begun), patience.slot, patience.what, provider
    )
    async with aclosing(events):
        async for event in events:
            begun = True
            yield event


def timed(
    provider: Provider, stream: AsyncGenerator[E, None], patience: Patience
) -> AsyncGenerator[E, None]:
    """`in_time`, except that a chain keeps the time of each of its links."""
    if getattr(provider, "keeps_time", False):
        return stream
    return in_time(stream, patience, provider.info.provider)
