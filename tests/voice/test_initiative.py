"""What the agent says unasked, in whole calls in virtual time."""

from typing import Any

import msgspec
import pytest

from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from tests.driving import PLAIN, Call, converse, pass_time
from voice.config import AgentConfig, Config
from voice.initiative import GRACE_S, Initiative, InitiativeRules

GREETING = "Hello, this is Kaiwa."


def agent(**fields: Any) -> Config:
    return msgspec.structs.replace(PLAIN, agent=AgentConfig(**fields))


def said(call: Call) -> list[str]:
    return [text for role, text in call.history() if role == "assistant"]


# --- greeting ------------------------------------------------------------------------------------


def test_a_greeting_is_said_once_the_client_has_told_its_settings() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(4.0)
        await call.say(1.0)
        await call.hush(4.0)

    call = converse(scenario, config=agent(greeting=GREETING), llm=EchoLLM(["We are open."]))
    assert call.frames[0].at < 0.1
    assert said(call) == [GREETING, "We are open."]
    assert call.outcomes() == ["completed", "completed"]
    assert call.done() == [("completed", "")] * 2


def test_a_client_that_tells_nothing_is_greeted_after_a_second() -> None:
    async def scenario(call: Call) -> None:
        await pass_time(3.0)

    call = converse(scenario, config=agent(greeting=GREETING))
    assert call.all("response.created")[0].at <= 1.0


def test_a_greeting_can_be_cut_and_is_not_taken_up_again() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(0.5)
        await call.say(0.8)
        await call.hush(4.0)

    call = converse(scenario, config=agent(greeting=GREETING), llm=EchoLLM(["We are open."]))
    assert call.outcomes() == ["interrupted", "completed"]
    assert said(call)[0].endswith(" —") and said(call)[1] == "We are open."


def test_who_speaks_at_once_is_not_greeted_over() -> None:
    greeting = Initiative(InitiativeRules(greeting=GREETING))
    greeting.open(0.0)
    greeting.client_is_ready(0.0)
    assert greeting.tick(0.0, quiet=False) is None
    assert greeting.tick(5.0, quiet=True) is None


# --- silence -------------------------------------------------------------------------------------


def test_a_silent_caller_is_spoken_to_twice_and_then_let_be() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(40.0)

    config = agent(idle_after_s=5.0)
    call = converse(scenario, config=config, llm=EchoLLM(["We are open."]))
    assert said(call) == ["We are open.", "Are you still there?", "Are you still there?"]
    answer_ends = call.all("kaiwa.turn.timeline")[0].at
    assert call.all("response.created")[1].at == pytest.approx(answer_ends + 5.0, abs=0.03)


def test_a_word_of_the_callers_begins_the_count_anew() -> None:
    async def scenario(call: Call) -> None:
        for _ in range(3):
            await call.say(1.0)
            await call.hush(9.0)

    call = converse(scenario, config=agent(idle_after_s=4.0, idle_prompts=1), llm=EchoLLM(["A."]))
    assert said(call).count("Are you still there?") == 3


def test_the_clients_idle_timeout_stands_above_the_operators() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(12.0)

    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    config = agent(idle_after_s=1.0, idle_prompts=1, idle_phrase="Hello?")
    call = converse(scenario, config=config, detection=detection, llm=EchoLLM(["A."]))
    assert said(call) == ["A.", "Hello?"]
    gap = call.all("response.created")[1].at - call.all("kaiwa.turn.timeline")[0].at
    assert gap == pytest.approx(6.0, abs=0.03)


def test_nobody_is_spoken_to_who_has_to_press_a_button_or_before_the_first_word() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(20.0)

    config = agent(idle_after_s=3.0)
    assert said(converse(scenario, config=config)) == []
    greeted = agent(idle_after_s=3.0, greeting=GREETING)
    assert said(converse(scenario, config=greeted, detection={"off": True})) == [GREETING]


# --- the end of the call -------------------------------------------------------------------------


def test_a_call_that_has_lasted_too_long_is_announced_to_end_and_ends() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(30.0)

    call = converse(scenario, config=agent(max_call_s=10.0), llm=EchoLLM(["We are open."]))
    assert said(call)[-1] == "I'm sorry, I have to end this call now. Goodbye."
    assert call.all("response.created")[1].at == pytest.approx(10.0, abs=0.03)
    ((at, code, reason),) = call.client.ended
    heard_s = call.sound_ms(2) / 1000
    assert (code, reason) == (1000, "the call has lasted as long as it may")
    assert at == pytest.approx(10.0 + heard_s, abs=0.2), "when it was heard"


def test_who_asks_for_it_is_told_why_the_call_ends_and_nothing_after_that() -> None:
    """A connection that has no close code tells nothing by itself."""

    async def scenario(call: Call) -> None:
        call.update(include=["kaiwa.call.ended"])
        await pass_time(30.0)

    call = converse(scenario, config=agent(max_call_s=10.0))
    ((_, code, reason),) = call.client.ended
    ended = call.one("kaiwa.call.ended")
    assert (ended.event["code"], ended.event["reason"]) == (code, reason)
    assert call.sent[-1] is ended
    assert not converse(lambda call: pass_time(30.0), config=agent(max_call_s=10.0)).all(ended.type)


def test_a_call_without_a_sound_from_its_caller_ends_when_the_announcement_was_heard() -> None:
    """A muted microphone: nothing comes in that would wake the session."""

    async def scenario(call: Call) -> None:
        await pass_time(30.0)

    call = converse(scenario, config=agent(max_call_s=10.0))
    ((at, code, _),) = call.client.ended
    assert code == 1000 and at == pytest.approx(10.0 + call.sound_ms() / 1000, abs=0.2)


def test_the_end_waits_for_a_pause_but_not_for_ever() -> None:
    async def scenario(call: Call) -> None:
        await call.say(14.0)
        await call.hush(1.0)
        await call.say(60.0)

    call = converse(scenario, config=agent(max_call_s=10.0))
    ((at, code, _),) = call.client.ended
    assert code == 1000 and at == pytest.approx(10.0 + GRACE_S, abs=0.05)


def test_who_still_speaks_when_the_call_is_over_is_not_answered_any_more() -> None:
    async def scenario(call: Call) -> None:
        await call.say(10.0 + GRACE_S + 1.0)
        await call.hush(4.0)

    words = EchoSTT([" ".join(f"w{number}" for number in range(75))])
    call = converse(scenario, config=agent(max_call_s=10.0), stt=words)
    assert len(call.client.ended) == 1
    assert call.all("response.created") == [] and not call.llm.requests


def test_who_says_goodbye_is_answered_with_one_and_the_call_ends() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(4.0)
        await call.say(0.6)
        await call.hush(4.0)

    stt = EchoSTT(["what are your hours", "Goodbye!"])
    config = agent(hang_up_phrases=("goodbye", "bye bye"), goodbye_phrase="Bye, take care.")
    call = converse(scenario, stt=stt, config=config, llm=EchoLLM(["From nine."]))
    assert said(call) == ["From nine.", "Bye, take care."]
    assert call.outcomes() == ["completed", "completed"]
    assert [(code, why) for _, code, why in call.client.ended] == [
        (1000, "the caller said goodbye")
    ]


def test_a_goodbye_inside_a_sentence_ends_nothing() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(6.0)

    stt = EchoSTT(["how do i say goodbye in japanese"])
    call = converse(scenario, stt=stt, config=agent(hang_up_phrases=("goodbye",)))
    assert call.client.ended == []


def test_who_cuts_the_goodbye_off_may_go_on() -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.6)
        await call.hush(1.0)
        await call.say(1.2)
        await call.hush(6.0)

    stt = EchoSTT(["goodbye", "wait one more thing"])
    config = agent(hang_up_phrases=("goodbye",), goodbye_phrase="Goodbye, and thank you so much.")
    call = converse(scenario, stt=stt, config=config, llm=EchoLLM(["Yes?"]))
    assert call.outcomes() == ["interrupted", "completed"]
    assert said(call)[-1] == "Yes?" and call.client.ended == []


def test_where_answers_come_on_request_a_goodbye_is_answered_all_the_same() -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.6)
        await call.hush(6.0)

    detection = {"type": "server_vad", "create_response": False}
    config = agent(hang_up_phrases=("goodbye",))
    call = converse(scenario, stt=EchoSTT(["goodbye"]), config=config, detection=detection)
    assert said(call) == ["Goodbye."]
    assert [code for _, code, _ in call.client.ended] == [1000]


def test_who_cuts_the_announcement_off_gets_an_answer_and_the_call_ends_all_the_same() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(11.0)
        await call.say(1.2)
        await call.hush(10.0)

    config = agent(max_call_s=10.0)
    stt = EchoSTT(["wait one more thing"])
    call = converse(scenario, stt=stt, config=config, llm=EchoLLM(["Yes?"]))
    assert call.outcomes() == ["interrupted", "completed"]
    assert said(call)[-1] == "Yes?", "it is announced once"
    assert [code for _, code, _ in call.client.ended] == [1000]
