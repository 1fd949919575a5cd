"""How long a stream's next event may take, counted only while somebody waits for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, TypeVar

from msgspec import Struct

from providers.base import Fault, ProviderError, Slot

E = TypeVar("E")

GRACE_S = 0.25
"""A provider that keeps the same limit itself comes first: it knows more of what went wrong."""


class Patience(Struct, frozen=True):
    """Limits in seconds: the settings `{slot}.first_{what}_limit_s` and `{slot}.{what}_limit_s`."""

    slot: Slot
    what: Literal["token", "audio"]
    first_s: float
    next_s: float


async def in_time(
    stream: AsyncGenerator[E, None], patience: Patience, provider: str, *, setting: str = ""
) -> AsyncGenerator[E, None]:
    """The stream's events. Closing this closes the stream.

    Args:
        setting: Where both limits are one other setting: its name, for the error.
    Raises:
        ProviderError: The next one did not come in time; and whatever the stream raises.
    """
    slot, what = patience.slot, patience.what
    limit_s, named = patience.first_s, setting or f"{slot}.first_{what}_limit_s"
    async with aclosing(stream):
        while True:
            try:
                async with asyncio.timeout(limit_s + GRACE_S):
                    event = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                message = f"no {what} within {limit_s:g} s ({named})"
                raise ProviderError(slot, provider, Fault.TIMEOUT, message) from None
            yield event
            limit_s, named = patience.next_s, setting or f"{slot}.{what}_limit_s"
