"""The oracles bite: Kaiwas that are broken on purpose do not pass."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from providers.base import (
    LLMEvent,
    LLMRequest,
    ProviderError,
    SpeechAudio,
    SpeechEvent,
    TextDelta,
)
from tests.faults.cell import seen
from tests.faults.matrix import Cell
from tests.faults.oracles import complaints, judged
from tests.faults.stack import run
from voice.build import Built
from voice.chain_llm import ChainLLM
from voice.chain_tts import ChainTTS


def complaining(index: Path, cell: Cell, change: Callable[[Built], Built]) -> set[str]:
    """Names of the oracles; without the change, none complains."""
    assert not judged(cell, index)
    return {complaint.partition(":")[0] for complaint in complaints(run(seen(cell, index, change)))}


# --- chains that are broken -----------------------------------------------------------------------


class Repeating(ChainTTS):
    """Says a clause that broke off again, from its beginning."""

    async def stream(self, text: str, **options: Any) -> AsyncGenerator[SpeechEvent, None]:
        for link in self.links:
            with contextlib.suppress(ProviderError):
                with self.asking(link):
                    stream = self._converted(link, link.provider.stream(text, **options))
                    async for event in stream:
                        yield event
                self.served_by(link)
                return


class Starting(ChainLLM):
    """Lets the next one begin anew, and says what it says."""

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        for link in self.links:
            with contextlib.suppress(ProviderError):
                with self.asking(link):
                    async with contextlib.aclosing(link.provider.stream(request)) as events:
                        async for event in events:
                            yield event
                self.served_by(link)
                return


class Silent(ChainTTS):
    """Takes a failure for the end of the clause, and tells nobody."""

    async def stream(self, text: str, **options: Any) -> AsyncGenerator[SpeechEvent, None]:
        with contextlib.suppress(ProviderError):
            async for event in self.links[0].provider.stream(text, **options):
                yield event


class Waiting(ChainTTS):
    """Has all the time in the world: words would break a wait for it, not its pauses."""

    async def stream(self, text: str, **options: Any) -> AsyncGenerator[SpeechEvent, None]:
        yield SpeechAudio(bytes(2 * 5 * self.rate_hz))
        async for event in super().stream(text, **options):
            yield event


class Leaking(ChainTTS):
    """Leaves a task behind with every clause."""

    left: list[asyncio.Task[None]]

    async def stream(self, text: str, **options: Any) -> AsyncGenerator[SpeechEvent, None]:
        self.left = [*getattr(self, "left", ()), asyncio.create_task(asyncio.sleep(500))]
        async for event in super().stream(text, **options):
            yield event


class Talking(ChainLLM):
    """Logs what was asked."""

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        structlog.get_logger().info("asked", question=request.question)
        async for event in super().stream(request):
            yield event


class Mumbling(ChainLLM):
    """Loses a word here and there."""

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        number = 0
        async for event in super().stream(request):
            number += isinstance(event, TextDelta)
            if number != 3:
                yield event


def turned_into(kind: type[Any]) -> Callable[[Built], Built]:
    """Has the slot's chain be one of this kind, with the same links."""

    def change(built: Built) -> Built:
        built.by_slot["tts" if issubclass(kind, ChainTTS) else "llm"].__class__ = kind
        return built

    return change


IN_MID_SENTENCE = Cell("tts", "reset", "sounding")
IN_MID_ANSWER = Cell("llm", "reset", "answering")
NO_VOICE = Cell("tts", "hang", "idle")


@pytest.mark.parametrize(
    ("kind", "cell", "oracle"),
    [
        (Repeating, IN_MID_SENTENCE, "repeats_nothing"),
        (Starting, IN_MID_ANSWER, "repeats_nothing"),
        (Silent, NO_VOICE, "counts"),
        (Waiting, IN_MID_SENTENCE, "is_never_silent"),
        (Leaking, IN_MID_SENTENCE, "gives_back"),
        (Talking, IN_MID_ANSWER, "logs"),
        (Mumbling, IN_MID_ANSWER, "repeats_nothing"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_chain_that_is_broken_is_caught(
    kind: type[Any], cell: Cell, oracle: str, index: Path
) -> None:
    found = complaining(index, cell, turned_into(kind))
    assert oracle in found, found
