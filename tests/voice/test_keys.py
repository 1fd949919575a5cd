"""Keys of the caller's telephone, in whole calls in virtual time."""

from typing import Any

import msgspec
import pytest

from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from tests.driving import PLAIN, Call, converse, pass_time
from tests.recorded_calls import recorded
from tests.voice.test_replay import identical
from voice.config import AgentConfig, Config
from voice.config_calls import KeypadConfig
from voice.facts import KeyPressed

RECEIVED = "input_audio_buffer.dtmf_event_received"
LONG = "We are open from nine until eight on every day but Sunday, when we are closed."


def keypad(**fields: Any) -> Config:
    return msgspec.structs.replace(PLAIN, keypad=KeypadConfig(**fields))


def asked(call: Call) -> list[str]:
    return [text for role, text in call.history() if role == "user"]


def test_every_key_is_told_to_the_client_as_it_comes() -> None:
    async def scenario(call: Call) -> None:
        call.press("1", "*")
        await pass_time(1.0)
        call.press("#")
        await pass_time(3.0)

    call = converse(scenario)
    keys = [(entry.at, entry.event) for entry in call.all(RECEIVED)]
    assert [(at, event["event"]) for at, event in keys] == [(0.0, "1"), (0.0, "*"), (1.0, "#")]
    assert keys[0][1] == {"type": RECEIVED, "event": "1", "received_at": 1_800_000_000}


def test_keys_are_a_turn_that_is_answered_like_a_spoken_one() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(1.0)
        call.press("4", "2")
        await call.hush(6.0)

    call = converse(scenario, llm=EchoLLM(["Your order is on its way."]))
    assert call.history() == [
        ("user", "Keys pressed: 4 2"),
        ("assistant", "Your order is on its way."),
    ]
    assert call.llm.requests[-1].question == "Keys pressed: 4 2"
    item = call.all("conversation.item.added")[0].event["item"]
    assert item["content"] == [{"type": "input_text", "text": "Keys pressed: 4 2"}]
    assert call.one("response.created").at == pytest.approx(3.0, abs=0.03)
    record = call.one("kaiwa.turn.timeline").event
    assert record["outcome"] == "completed" and record["item_id"] == item["id"]
    assert record["final_ms"] is None, "no silence of a spoken turn is in these figures"
    assert record["total_ms"] > 50


def test_a_caller_who_is_muted_is_answered_too() -> None:
    """Nothing comes in that would wake the session."""

    async def scenario(call: Call) -> None:
        call.press("4")
        await pass_time(6.0)

    call = converse(scenario)
    assert call.one("response.created").at == pytest.approx(2.0, abs=0.03)


def test_the_end_key_is_answered_at_once() -> None:
    async def scenario(call: Call) -> None:
        call.press("4", "2", "#")
        await call.hush(4.0)

    call = converse(scenario)
    assert call.one("response.created").at < 0.05
    assert asked(call) == ["Keys pressed: 4 2"]


def test_a_key_cuts_the_answer_and_what_was_heard_of_it_stands() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(2.0)
        call.press("1")
        cut_at = len(call.frames)
        await call.hush(1.0)
        assert len(call.frames) == cut_at, "not a frame more"
        await call.hush(4.0)

    call = converse(scenario, llm=EchoLLM([LONG, "Opening hours."]))
    assert call.outcomes() == ["interrupted", "completed"]
    assert call.done()[0] == ("cancelled", "turn_detected")
    assert len(call.client.cleared_at) == 1
    said = [text for role, text in call.history() if role == "assistant"]
    assert said[0].endswith(" —") and said[1] == "Opening hours."


def test_where_keys_may_not_cut_the_answer_they_wait_for_its_end() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        call.press("1", "#")
        await call.hush(15.0)

    call = converse(scenario, config=keypad(interrupts=False), llm=EchoLLM([LONG, "Right."]))
    assert call.outcomes() == ["completed", "completed"]
    first, second = call.all("response.created")
    assert second.at >= call.all("response.done")[0].at


def test_keys_while_the_caller_speaks_are_answered_with_the_words() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(0.5)
        await call.say(0.6)
        call.press("7", "#")
        await call.say(0.6)
        await call.hush(4.0)

    call = converse(scenario, stt=EchoSTT(["My order."]), llm=EchoLLM(["It is on its way."]))
    assert sorted(asked(call)) == ["Keys pressed: 7", "My order."]
    assert len(call.all("response.created")) == 1
    spoken_at = call.one("input_audio_buffer.committed").at
    assert call.one("response.created").at >= spoken_at
    assert sorted(call.outcomes()) == ["completed", "no_reply"]


def test_a_cough_takes_no_answer_from_keys() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(0.5)
        await call.say(0.3)
        call.press("7", "#")
        await call.hush(5.0)

    call = converse(scenario, stt=EchoSTT([""]), llm=EchoLLM(["Seven."]))
    assert call.history()[-1] == ("assistant", "Seven.")


def test_in_manual_mode_the_client_asks_for_the_answer() -> None:
    async def scenario(call: Call) -> None:
        call.press("7", "#")
        await pass_time(3.0)
        assert not call.all("response.created")
        call.tell("response.create")
        await pass_time(3.0)

    call = converse(scenario, detection={"off": True}, llm=EchoLLM(["Seven."]))
    assert call.history() == [("user", "Keys pressed: 7"), ("assistant", "Seven.")]


def test_keys_are_life_a_caller_who_types_is_not_asked_whether_they_are_there() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(3.0)
        for _ in range(8):
            call.press("1")
            await call.hush(1.5)
        await call.hush(3.0)

    agent = AgentConfig(idle_after_s=4.0, idle_prompts=1)
    config = msgspec.structs.replace(PLAIN, agent=agent)
    call = converse(scenario, config=config, llm=EchoLLM(["A.", "B."]))
    said = [text for role, text in call.history() if role == "assistant"]
    assert said == ["A.", "B."]
    assert asked(call)[-1] == "Keys pressed: 1 1 1 1 1 1 1 1"


@pytest.mark.parametrize("key", ["", "12", "x", "１"])
def test_what_is_no_key_is_passed_over(key: str) -> None:
    async def scenario(call: Call) -> None:
        call.session.post(KeyPressed(key))
        await pass_time(4.0)

    call = converse(scenario)
    assert not call.all(RECEIVED) and not call.history()


def test_a_key_without_a_time_has_the_wall_clocks() -> None:
    async def scenario(call: Call) -> None:
        call.session.post(KeyPressed("1"))
        await pass_time(1.0)

    assert converse(scenario).one(RECEIVED).event["received_at"] > 1_790_000_000


def test_a_call_with_keys_replays_identically() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.5)
        call.session.post(KeyPressed("4"))
        await call.say(0.5)
        await call.hush(4.0)

    assert identical(recorded(scenario, llm=EchoLLM([LONG, "B.", "C."]))[1].recording)
