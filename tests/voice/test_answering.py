"""What of an answer may come back, whose answer is held back, and the record of each turn."""

import pytest

from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from tests.driving import Call, converse
from voice.answering import Answering
from voice.requests import ReplyOptions
from voice.timeline import Outcome

ANSWER = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
"""65 ms a character: 5.3 s."""
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


def answering(call: Call) -> Answering:
    return call.session._floor.answering


def spoken(call: Call) -> str:
    """What the turn-taker is told that may come back now."""
    answering(call).tell_what_sounds(call.session._now())
    return call.session._turns.voice.spoken


def test_only_what_was_said_a_moment_ago_may_come_back() -> None:
    seen: list[str] = []

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.6)
        seen.append(spoken(call))
        await call.hush_until(5.6)
        seen.append(spoken(call))
        await call.hush(4.0)

    converse(scenario, llm=EchoLLM([ANSWER]))
    early, late = seen
    assert early.startswith("We are open")
    assert "nine" not in late and "Sundays" in late


def test_of_sound_that_lasts_all_that_was_said_since_it_began_may() -> None:
    """It begins at 3 s, over an answer that began at 1.66, and lasts 4 s."""
    seen: list[str] = []

    async def scenario(call: Call) -> None:
        call.update(audio={"input": {"turn_detection": {"interrupt_response": False}}})
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(4.0)
        seen.append(spoken(call))
        await call.hush(8.0)

    converse(scenario, llm=EchoLLM([LONG, "Fine."]), stt=EchoSTT(["hello", ""]))
    assert seen[0].startswith("one") and "eleven" in seen[0]


def test_an_answer_that_ends_leaves_what_may_come_back_of_all_of_it() -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"input": {"turn_detection": {"interrupt_response": False}}})
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(4.2)
        assert not call.session._turns.replying
        assert call.session._turns.voice.spoken.endswith("on holidays too.")
        await call.hush(3.0)

    # Its final alone says what it was, and comes when the answer is over: it says nothing by then.
    echo = ANSWER.lower().replace(".", "").replace(",", "")
    stt = EchoSTT(["hello", echo], word_ms=9000)
    call = converse(scenario, llm=EchoLLM([ANSWER, "Never said."]), stt=stt)
    assert call.outcomes() == ["completed"]


def test_who_is_held_back_already_is_not_held_back_again() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        for ducked in (False, True, True, False, False):
            answering(call).duck(ducked, call.session._now())
        await call.hush(8.0)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    assert [entry.event["ducked"] for entry in call.all("kaiwa.speech.ducked")] == [True, False]
    assert call.outcomes() == ["completed"]


@pytest.mark.parametrize("asked", [True, False])
def test_a_request_that_will_not_be_answered_is_closed_and_no_other_is(asked: bool) -> None:
    async def scenario(call: Call) -> None:
        if asked:
            answering(call).options = ReplyOptions(call.session._floor.settings)
        answering(call).void_request("turn_detected", Outcome.INTERRUPTED, call.session._now())
        await call.hush(0.1)

    call = converse(scenario)
    assert call.done() == ([("cancelled", "turn_detected")] if asked else [])
    assert call.outcomes() == (["interrupted"] if asked else [])
