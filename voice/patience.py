"""How long a stream's next event may take, counted only while somebody waits for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from msgspec import Struct

from providers.base import Fault, ProviderError, Slot

E = TypeVar("E")

GRACE_S = 0.25
"""A provider that keeps the same limit itself comes first: it knows more of what went wrong."""


class Patience(Struct, frozen=True, kw_only=True):
    """Limits in seconds, and the settings they come from."""

    slot: Slot
    what: str
    """What is waited for, for the message."""
    first_s: float
    first_setting: str
    next_s: float
    next_setting: str


async def in_time(
    stream: AsyncGenerator[E, None], patience: Patience, provider: str
) -> AsyncGenerator[E, None]:
    """The stream's events. Closing this closes the stream.

    Raises:
        ProviderError: The next one did not come in time; and whatever the stream raises.
    """
    limit_s, setting = patience.first_s, patience.first_setting
    async with aclosing(stream):
        while True:
            try:
                async with asyncio.timeout(limit_s + GRACE_S):
                    event = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                message = f"no {patience.what} within {limit_s:g} s ({setting})"
                raise ProviderError(patience.slot, provider, Fault.TIMEOUT, message) from None
            yield event
            limit_s, setting = patience.next_s, patience.next_setting
