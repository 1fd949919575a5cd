"""Passages looked for ahead of the question: one search at a time, and none twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mocks.clock import run_virtual
from mocks.faults import ScriptedFault
from mocks.retriever import ScriptedRetriever
from providers.base import Passage, ProviderError
from voice.prefetch import Prefetch

HOURS = Passage(text="Nine to eight.", source="hours.md", score=0.7)


class Asked(ScriptedRetriever):
    """Keeps what it was asked, and when."""

    def __init__(self, **more: object) -> None:
        super().__init__([HOURS], **more)  # type: ignore[arg-type]
        self.asked: list[tuple[float, str]] = []

    async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
        self.asked.append((round(asyncio.get_running_loop().time(), 3), query))
        return await super().search(query, limit_s=limit_s)


def play(
    scenario: Callable[[Prefetch, Asked], Awaitable[None]], asked: Asked | None = None
) -> Asked:
    asked = asked or Asked(delay_ms=100)

    async def run() -> None:
        ahead = Prefetch(asked, limit_s=0.3)
        await scenario(ahead, asked)
        ahead.forget()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asked.running == 0

    run_virtual(run())
    return asked


def test_what_was_found_for_the_same_words_is_there_at_once() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        ahead.look("what are your hours")
        await asyncio.sleep(0.1)
        before = asyncio.get_running_loop().time()
        assert await ahead.search("What are your hours?", limit_s=0.3) == (HOURS,)
        assert asyncio.get_running_loop().time() == before

    assert len(play(scenario).asked) == 1


def test_a_search_under_way_is_waited_for_not_repeated() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        ahead.look("hours")
        await asyncio.sleep(0.06)
        assert await ahead.search("Hours", limit_s=0.3) == (HOURS,)
        assert asyncio.get_running_loop().time() == pytest.approx(0.1)

    assert len(play(scenario).asked) == 1


def test_the_newest_text_is_next_and_those_between_are_left_out() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        for text in ("a", "a b", "a b c"):
            ahead.look(text)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)

    assert play(scenario).asked == [(0.0, "a"), (0.1, "a b c")]


def test_other_words_are_searched_at_once_and_the_old_search_is_dropped() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        ahead.look("towers")
        await asyncio.sleep(0.05)
        await ahead.search("hours", limit_s=0.3)
        assert asyncio.get_running_loop().time() == pytest.approx(0.15)

    assert play(scenario).asked == [(0.0, "towers"), (0.05, "hours")]


def test_who_stops_waiting_leaves_no_search_behind() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        waiting = asyncio.create_task(ahead.search("hours", limit_s=0.3))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0)
        assert asked.running == 0

    play(scenario)


def test_a_search_ahead_that_failed_is_made_again_for_the_question() -> None:
    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        ahead.look("hours")
        await asyncio.sleep(0.2)
        assert await ahead.search("hours", limit_s=0.3) == (HOURS,)

    broken = Asked(delay_ms=100, faults=[ScriptedFault(kind="fail")])
    assert len(play(scenario, broken).asked) == 2


def test_a_search_ahead_that_takes_too_long_leaves_the_question_the_rest_of_its_time() -> None:
    """
    ahead      |------ 0.3 s ------x
    question         0.2 |---------|---- 0.2 ----x
    """

    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        ahead.look("hours")
        await asyncio.sleep(0.2)
        with pytest.raises(TimeoutError):
            await ahead.search("hours", limit_s=0.3)
        assert asyncio.get_running_loop().time() == pytest.approx(0.5)

    assert play(scenario, Asked(delay_ms=1000)).asked == [(0.0, "hours"), (0.3, "hours")]


def test_what_was_found_for_a_question_is_looked_for_again_when_it_is_asked_again() -> None:
    """The documents may be others by then."""

    async def scenario(ahead: Prefetch, asked: Asked) -> None:
        assert await ahead.search("hours", limit_s=0.3) == (HOURS,)
        asked.passages = ()
        assert await ahead.search("hours", limit_s=0.3) == ()

    assert len(play(scenario).asked) == 2


def test_failures_of_the_questions_own_search_are_told() -> None:
    async def fails(ahead: Prefetch, asked: Asked) -> None:
        with pytest.raises(ProviderError):
            await ahead.search("hours", limit_s=0.3)

    play(fails, Asked(delay_ms=100, faults=[ScriptedFault(kind="fail")]))

    async def late(ahead: Prefetch, asked: Asked) -> None:
        with pytest.raises(TimeoutError):
            await ahead.search("hours", limit_s=0.3)

    play(late, Asked(delay_ms=1000))
