"""Providers that take everything and are never heard of: for a call whose tape says all."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from providers.base import ProviderInfo, Slot
from voice import settings
from voice.providers import Providers


class _Silent:
    """A provider of any slot that is never heard of."""

    def __init__(self, slot: Slot, name: str) -> None:
        self.info = ProviderInfo(slot=slot, provider=name)
        self.rate_hz = settings.OUTPUT_RATE_HZ

    async def start(self) -> None: ...

    async def check(self) -> None: ...

    async def aclose(self) -> None: ...

    def open(
        self, sink: Callable[..., None], *, language: str = "", hotwords: Sequence[str] = ()
    ) -> "_SilentStream":
        return _SilentStream()

    async def stream(self, *request: Any, **options: Any) -> AsyncGenerator[Any, None]:
        await asyncio.sleep(math.inf)
        yield


class _SilentStream:
    """Of VAD and STT."""

    def begin(self, utterance: int) -> None: ...

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None: ...

    def abandon(self, utterance: int | None = None) -> None: ...

    def close(self) -> None: ...


def silent(recogniser: str) -> Providers:
    """Args:
    recogniser: The name it has on the wire.
    """
    return Providers(
        vad=_Silent(Slot.VAD, "tape"),
        stt=_Silent(Slot.STT, recogniser),
        llm=_Silent(Slot.LLM, "tape"),
        tts=_Silent(Slot.TTS, "tape"),
    )
