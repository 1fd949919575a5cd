"""The oracles bite where nobody stands in, where much fails at once, and where nobody calls."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import voice.answering
import voice.http
import voice.reply
import voice.speaker
import voice.thinker
from providers.base import ProviderError, SpeechEvent
from tests.faults import deaths
from tests.faults.cell import seen
from tests.faults.matrix import AT_ONCE, Cell
from tests.faults.oracles import complaints, judged
from tests.faults.stack import run
from voice.chain import Chain, Link
from voice.chain_tts import ChainTTS
from voice.conversation import Conversation
from voice.health import Watch

Break = Callable[[pytest.MonkeyPatch], None]


def names(found: Iterable[str]) -> set[str]:
    return {complaint.partition(":")[0] for complaint in found}


# --- Kaiwas that are broken -----------------------------------------------------------------------


def says_anything_for_an_apology(patch: pytest.MonkeyPatch) -> None:
    for module in (voice.reply, voice.speaker, voice.thinker):
        patch.setattr(module, "apology", lambda language: "Well.")


def asks_nobody_to_say_it_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(voice.answering, "misheard", lambda language: "Well.")


def never_breaks_a_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(voice.speaker, "hold", lambda language, number: "")


def waits_for_a_voice_that_is_gone(patch: pytest.MonkeyPatch) -> None:
    async def stream(self: ChainTTS, text: str, **how: Any) -> AsyncGenerator[SpeechEvent, None]:
        with contextlib.suppress(ProviderError):
            async for event in right(self, text, **how):
                yield event
            return
        await asyncio.sleep(10.0)
        raise self.nobody()

    right = ChainTTS.stream
    patch.setattr(ChainTTS, "stream", stream)
    patch.setattr("voice.recitals.Recitals.spare", lambda self, text: None)


def never_asks_again(patch: pytest.MonkeyPatch) -> None:
    blamed: set[Link[Any]] = set()

    def order(self: Chain[Any]) -> list[Link[Any]]:
        blamed.update(link for link in self.links if link.problem)
        return [link for link in right(self) if link not in blamed]

    right = Chain.order
    patch.setattr(Chain, "order", order)


def boasts_of_fallbacks(patch: pytest.MonkeyPatch) -> None:
    def served_by(self: Chain[Any], link: Link[Any]) -> None:
        self.fallback_count += 1

    patch.setattr(Chain, "served_by", served_by)


def fails_in_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ProviderError, "__str__", lambda self: "Oops.")
    patch.setattr("voice.health.log.warning", lambda *what, **fields: None)


def makes_up_questions(patch: pytest.MonkeyPatch) -> None:
    def transcribed(self: Conversation, item_id: str, text: str) -> None:
        right(self, item_id, text or "something")

    right = Conversation.transcribed
    patch.setattr(Conversation, "transcribed", transcribed)


def tells_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "warnings", lambda self: [])


def tells_the_last_thing_only(patch: pytest.MonkeyPatch) -> None:
    right = Watch.warnings
    patch.setattr(Watch, "warnings", lambda self: right(self)[-1:])


def never_forgets(patch: pytest.MonkeyPatch) -> None:
    told: set[str] = set()

    def warnings(self: Watch) -> list[str]:
        told.update(right(self))
        return sorted(told)

    right = Watch.warnings
    patch.setattr(Watch, "warnings", warnings)


NO_MODEL = Cell("llm", "refuse", "idle", alone=True)
SLOW_MODEL = Cell("llm", "hang", "speaking", alone=True)
NO_RECOGNISER = Cell("stt", "refuse", "idle", alone=True)
MUTE = Cell("tts", "refuse", "idle", alone=True)
LIMPING = AT_ONCE[0]


@pytest.mark.parametrize(
    ("broken", "cell", "oracle"),
    [
        (says_anything_for_an_apology, NO_MODEL, "answers"),
        (asks_nobody_to_say_it_again, NO_RECOGNISER, "answers"),
        (never_breaks_a_silence, SLOW_MODEL, "is_never_silent"),
        (waits_for_a_voice_that_is_gone, MUTE, "is_never_silent"),
        (never_asks_again, NO_MODEL, "answers"),
        (boasts_of_fallbacks, MUTE, "counts"),
        (fails_in_silence, NO_MODEL, "logs"),
        (makes_up_questions, NO_RECOGNISER, "remembers"),
        (tells_nothing, NO_MODEL, "tells"),
        (never_forgets, MUTE, "tells"),
        (tells_the_last_thing_only, LIMPING, "tells"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_kaiwa_that_is_broken_where_nobody_stands_in_is_caught(
    broken: Break, cell: Cell, oracle: str, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not judged(cell, index)
    broken(monkeypatch)
    assert oracle in names(complaints(run(seen(cell, index))))


# --- watches that are broken ----------------------------------------------------------------------


def has_no_pings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("voice.health.PING_EVERY_S", 30.0)


def takes_its_time_over_a_ping(patch: pytest.MonkeyPatch) -> None:
    async def ask(self: Watch, watched: Any, request: Any, *limit: Any) -> None:
        await asyncio.sleep(2.0 if request.__name__ == "ping" else 0.0)
        await right(self, watched, request, *limit)

    right = Watch._ask
    patch.setattr(Watch, "_ask", ask)


def blames_somebody_else(patch: pytest.MonkeyPatch) -> None:
    right = Watch.warnings
    patch.setattr(Watch, "warnings", lambda self: right(self) + ["vad: dead"] * bool(right(self)))


def tells_probes_that_all_is_well(patch: pytest.MonkeyPatch) -> None:
    def body(request: Any) -> dict[str, Any]:
        told = right(request)
        for status in told["providers"].values():
            status["healthy"], status["fallbacks"] = True, ()
        return told

    right = voice.http._health_body
    patch.setattr(voice.http, "_health_body", body)


def takes_a_ping_for_a_call(patch: pytest.MonkeyPatch) -> None:
    async def ask(self: Watch, watched: Any, request: Any, *limit: Any) -> None:
        self._providers["llm"].fallback_count += 1  # type: ignore[attr-defined]
        await right(self, watched, request, *limit)

    right = Watch._ask
    patch.setattr(Watch, "_ask", ask)


DEAD_MODEL = Cell("llm", "refuse", "idle")
HANGING_MODEL = Cell("llm", "hang", "idle")
DEAD_FALLBACK = Cell("other_stt", "refuse", "idle")


@pytest.mark.parametrize(
    ("broken", "cell", "oracle"),
    [
        (has_no_pings, DEAD_MODEL, "names"),
        (has_no_pings, DEAD_FALLBACK, "names"),
        (takes_its_time_over_a_ping, HANGING_MODEL, "names"),
        (blames_somebody_else, DEAD_MODEL, "names"),
        (tells_probes_that_all_is_well, DEAD_FALLBACK, "probes"),
        (never_forgets, DEAD_MODEL, "is_well_again"),
        (takes_a_ping_for_a_call, DEAD_MODEL, "counts"),
        (fails_in_silence, DEAD_MODEL, "logs"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_watch_that_is_broken_is_caught(
    broken: Break, cell: Cell, oracle: str, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix plays the same deaths with an unbroken one."""
    broken(monkeypatch)
    assert oracle in names(deaths.complaints(*run(deaths.seen(cell, index))))
