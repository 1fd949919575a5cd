"""What the model may do to the call, in whole calls in virtual time."""

from typing import Any

import msgspec
import pytest

from mocks.clock import run_virtual
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.stt import EchoSTT
from providers.base import ToolCall
from tests.driving import PLAIN, Call, converse, pass_time
from tests.recorded_calls import recorded
from tests.voice.test_replay import identical
from voice.carrier import Carrier
from voice.config import AgentConfig, Config, SpeculationConfig
from voice.config_calls import TelephonyConfig
from voice.facts import Returned, TransferEnded
from voice.house import CARRIER_LIMIT_S, ENDED, MOST_TRANSFERS, ONE_ONLY, WENT_ON

PHONE = Carrier(name="phone", transfers=True)
SALES, DESK = "+49301234567", "sip:desk@example.com"
HANG_UP = ToolCall("call_1", "hang_up", "{}")


def allowed(*tools: Any, **parts: Any) -> Config:
    return msgspec.structs.replace(
        PLAIN,
        agent=AgentConfig(tools=tools or ("hang_up", "transfer_call")),
        telephony=TelephonyConfig(transfer={"sales": SALES, "front desk": DESK}),
        **parts,
    )


def transfer(target: str = "sales", call_id: str = "call_1") -> ToolCall:
    return ToolCall(call_id, "transfer_call", msgspec.json.encode({"target": target}).decode())


def model(*replies: str | Reply, **speed: Any) -> EchoLLM:
    return EchoLLM(list(replies), **speed)


def does(*calls: ToolCall, text: str = "") -> Reply:
    return Reply(text=text, tool_calls=calls)


async def asks_once(call: Call) -> None:
    await call.say(1.0)
    await call.hush(8.0)


def phone_call(scenario: Any, llm: EchoLLM, config: Config | None = None, **parts: Any) -> Call:
    carrier = parts.pop("carrier", PHONE)
    return converse(scenario, config=config or allowed(), carrier=carrier, llm=llm, **parts)


def offered(call: Call, request: int = 0) -> list[str]:
    return [tool.name for tool in call.llm.requests[request].tools]


def told(call: Call) -> list[tuple[str, str]]:
    """(call id, result) of what the model knows of its calls."""
    shown = call.session.conversation.messages()
    return [(one.tool_call_id, one.content) for one in shown if one.role == "tool"]


# --- what is offered -----------------------------------------------------------------------------


def test_nothing_is_offered_that_the_operator_has_not_allowed() -> None:
    call = phone_call(asks_once, model("Hello."), PLAIN)
    assert offered(call) == []


def test_a_transfer_is_offered_only_where_what_carries_the_call_can_do_it() -> None:
    assert offered(phone_call(asks_once, model("A."))) == ["hang_up", "transfer_call"]
    assert offered(phone_call(asks_once, model("A."), carrier=Carrier())) == ["hang_up"]
    stays = Carrier(hangs_up=False, transfers=True)
    assert offered(phone_call(asks_once, model("A."), carrier=stays)) == ["transfer_call"]


def test_a_model_is_shown_names_and_no_numbers() -> None:
    call = phone_call(asks_once, model("A."))
    tool = call.llm.requests[0].tools[1]
    assert tool.parameters["properties"]["target"]["enum"] == ["sales", "front desk"]
    assert SALES not in str(call.llm.requests[0]) and DESK not in str(call.llm.requests[0])


def test_a_clients_function_of_the_same_name_is_the_clients() -> None:
    async def scenario(call: Call) -> None:
        call.update(tools=[{"type": "function", "name": "hang_up", "parameters": {}}])
        await asks_once(call)

    call = phone_call(scenario, model(does(HANG_UP)))
    assert offered(call) == ["hang_up", "transfer_call"]
    assert call.one("response.function_call_arguments.done").event["name"] == "hang_up"
    assert not call.client.ended


@pytest.mark.parametrize(
    "asked", [{"tool_choice": "none"}, {"tool_choice": "required"}, {"conversation": "none"}]
)
def test_where_the_client_chooses_the_functions_the_house_offers_none(asked: Any) -> None:
    async def scenario(call: Call) -> None:
        call.write("Hello.")
        call.tell("response.create", response=asked)
        await call.hush(3.0)

    assert offered(phone_call(scenario, model("A."))) == []


# --- hanging up ----------------------------------------------------------------------------------


def test_the_words_are_heard_to_their_end_then_the_call_ends() -> None:
    call = phone_call(asks_once, model(does(HANG_UP, text="You are welcome. Goodbye!")))
    ((at, code, reason),) = call.client.ended
    assert (code, reason) == (1000, ENDED)
    heard_at = call.frames[0].at + call.sound_ms() / 1000
    assert at == pytest.approx(heard_at, abs=0.05)
    assert len(call.all("response.created")) == 1


def test_a_model_that_says_nothing_says_goodbye_all_the_same() -> None:
    call = phone_call(asks_once, model(does(HANG_UP)))
    said = [text for role, text in call.history() if role == "assistant"]
    assert said == ["Goodbye."]
    ((at, _, reason),) = call.client.ended
    assert reason == ENDED
    assert at >= call.frames[-1].at
    assert call.outcomes() == ["completed", "completed"]


def test_no_client_is_asked_to_answer_it() -> None:
    call = phone_call(asks_once, model(does(HANG_UP, text="Goodbye!")))
    assert not [entry for entry in call.sent if "function_call" in str(entry.event)]
    assert call.done() == [("completed", "")]


def test_who_cuts_the_answer_keeps_the_call() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.5)
        await call.say(1.0)
        await call.hush(8.0)

    words = "You are very welcome, and have a nice day. Goodbye, and thank you for calling us!"
    call = phone_call(
        scenario,
        model(does(HANG_UP, text=words), "Of course."),
        stt=EchoSTT(["Thanks.", "Wait, one more question."]),
    )
    assert call.outcomes() == ["interrupted", "completed"]
    assert not call.client.ended


def test_who_cuts_the_goodbye_keeps_the_call_and_the_model_knows() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.8)
        await call.say(1.0)
        await call.hush(8.0)

    goodbye = "Goodbye, and thank you very much for calling us today, have a very nice day."
    agent = AgentConfig(tools=("hang_up",), goodbye_phrase=goodbye)
    config = msgspec.structs.replace(PLAIN, agent=agent)
    call = phone_call(
        scenario, model(does(HANG_UP), "Of course."), config, stt=EchoSTT(["Thanks.", "No, wait."])
    )
    assert not call.client.ended
    assert call.outcomes()[-2:] == ["interrupted", "completed"]
    assert told(call) == [("call_1", WENT_ON)]
    shown = [message.role for message in call.llm.requests[-1].messages]
    assert shown[-2:] == ["assistant", "user"] and "tool" in shown


def test_who_cuts_the_goodbye_without_a_word_keeps_the_call_too() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.8)
        await call.say(1.4)
        await call.hush(8.0)

    agent = AgentConfig(tools=("hang_up",), goodbye_phrase="Goodbye, and thank you for calling us.")
    config = msgspec.structs.replace(PLAIN, agent=agent)
    call = phone_call(scenario, model(does(HANG_UP)), config, stt=EchoSTT(["Thanks.", ""]))
    assert "interrupted" in call.outcomes()
    assert not call.client.ended


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_the_client_cuts_orders_nothing(late: bool) -> None:
    """While it is made, and while its last sound is on its way to the caller."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        while not call.all("response.done" if late else "response.output_audio_transcript.delta"):
            await call.hush(0.02)
        call.tell("output_audio_buffer.clear")
        await call.hush(6.0)

    plays = Carrier(name="phone", plays=True, transfers=True)
    call = phone_call(scenario, model(does(HANG_UP, text="Goodbye!")), carrier=plays)
    assert len(call.client.cleared_at) == 1
    assert not call.client.ended


def test_words_behind_the_answers_last_one_keep_the_call() -> None:
    """They begin before it is over, and are words only when it is."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        while not call.all("response.done"):
            await call.hush(0.02)
        await call.say(1.0)
        await call.hush(8.0)

    call = phone_call(
        scenario,
        model(does(HANG_UP, text="Goodbye!"), "Of course."),
        stt=EchoSTT(["Thanks.", "Wait, one more."]),
    )
    assert not call.client.ended
    assert call.history()[-1] == ("assistant", "Of course.")


def test_a_key_keeps_the_call() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        while not call.all("response.done"):
            await call.hush(0.02)
        call.press("1")
        await call.hush(6.0)

    call = phone_call(scenario, model(does(HANG_UP, text="Goodbye, then!"), "One it is."))
    assert not call.client.ended
    assert call.history()[-1] == ("assistant", "One it is.")


def test_an_answer_that_was_begun_early_and_thrown_away_ends_nothing() -> None:
    """The caller pauses, the answer is begun, the caller goes on: something else was meant."""

    async def scenario(call: Call) -> None:
        await call.say(0.8)
        await call.hush(0.4)
        await call.say(0.8)
        await call.hush(8.0)

    speculates = allowed(speculation=SpeculationConfig(stable_ms=50))
    call = phone_call(
        scenario,
        model(does(HANG_UP, text="Bye."), "Nine.", first_token_ms=10),
        speculates,
        stt=EchoSTT(["Goodbye or not.", "Goodbye or not, when do you open?"]),
    )
    assert len(call.llm.requests) == 2, "it was begun early"
    assert not call.client.ended and told(call) == []
    assert call.history()[-1] == ("assistant", "Nine.")


def test_a_failed_answer_orders_nothing() -> None:
    broken = ScriptedFault(kind="fail", item=-1)
    call = phone_call(
        asks_once, EchoLLM([does(HANG_UP, text="Goodbye to you all.")], faults=[broken])
    )
    assert call.outcomes() == ["failed"]
    assert not call.client.ended


def test_a_written_answer_ends_the_call_too() -> None:
    async def scenario(call: Call) -> None:
        call.update(output_modalities=["text"])
        call.write("Bye.")
        call.tell("response.create")
        await call.hush(3.0)

    call = phone_call(scenario, model(does(HANG_UP, text="Goodbye!")), carrier=Carrier())
    assert [reason for _, _, reason in call.client.ended] == [ENDED]


# --- transfer ------------------------------------------------------------------------------------


def test_a_caller_is_transferred_once_they_heard_so() -> None:
    async def scenario(call: Call) -> None:
        await asks_once(call)
        call.session.post(TransferEnded())
        await call.hush(0.5)

    call = phone_call(scenario, model(does(transfer(), text="I'll put you through.")))
    ((at, target),) = call.transfers
    assert (target.name, target.address) == ("sales", SALES)
    assert at == pytest.approx(call.frames[0].at + call.sound_ms() / 1000, abs=0.05)
    assert [reason for _, _, reason in call.client.ended] == ["the call was transferred to sales"]


def test_where_the_model_says_nothing_the_notice_is_ours() -> None:
    call = phone_call(asks_once, model(does(transfer("front desk"))))
    said = [text for role, text in call.history() if role == "assistant"]
    assert said == ["One moment, I'm connecting you."]
    ((at, target),) = call.transfers
    assert target.address == DESK and at >= call.frames[-1].at


def test_a_transfer_that_fails_is_told_to_the_model_and_the_call_goes_on() -> None:
    async def scenario(call: Call) -> None:
        await asks_once(call)
        call.session.post(TransferEnded("the line is busy"))
        await call.hush(4.0)
        await call.say(1.0)
        await call.hush(4.0)

    call = phone_call(
        scenario,
        model(does(transfer(), text="I'll put you through."), "They are busy.", "Ten."),
        stt=EchoSTT(["Sales please.", "When do you close?"]),
    )
    assert len(call.transfers) == 1
    assert told(call) == [("call_1", "Failed: the line is busy")]
    said = [text for role, text in call.history() if role == "assistant" and text]
    assert said == ["I'll put you through.", "They are busy.", "Ten."]
    assert not call.client.ended
    assert call.llm.requests[1].messages[-1].role == "tool", "it answers that, and no old question"


@pytest.mark.parametrize("arguments", ['{"target": "+491701234567"}', "{", '{"target": 5}', ""])
def test_nobody_is_called_whom_the_operator_has_not_named(arguments: str) -> None:
    invented = ToolCall("call_1", "transfer_call", arguments)
    call = phone_call(asks_once, model(does(invented), "I cannot do that."))
    assert call.transfers == []
    ((_, result),) = told(call)
    assert "sales, front desk" in result
    assert call.history()[-1] == ("assistant", "I cannot do that.")


def test_a_model_that_asks_again_and_again_is_not_offered_it_any_more() -> None:
    invented = does(ToolCall("", "transfer_call", "{}"))
    call = phone_call(asks_once, model(*[invented] * MOST_TRANSFERS, "I give up."))
    assert len(call.llm.requests) == MOST_TRANSFERS + 1
    assert offered(call, -1) == ["hang_up"]
    assert call.history()[-1] == ("assistant", "I give up.")


def test_of_several_calls_in_one_answer_the_first_counts() -> None:
    second = ToolCall("call_2", "hang_up", "{}")
    third = transfer("front desk", "call_3")
    call = phone_call(asks_once, model(does(transfer(), second, third, text="One moment.")))
    assert [target.name for _, target in call.transfers] == ["sales"]
    assert told(call) == [("call_2", ONE_ONLY), ("call_3", ONE_ONLY)]
    assert not call.client.ended


def test_a_carrier_that_never_says_what_became_of_it_has_failed() -> None:
    async def scenario(call: Call) -> None:
        await asks_once(call)
        await pass_time(CARRIER_LIMIT_S)
        call.session.post(TransferEnded())
        await call.hush(1.0)

    call = phone_call(scenario, model(does(transfer(), text="One moment."), "Nobody is there."))
    assert call.history()[-1] == ("assistant", "Nobody is there.")
    assert not call.client.ended, "what comes too late changes nothing"


def test_a_late_or_second_answer_of_the_carriers_changes_nothing() -> None:
    async def scenario(call: Call) -> None:
        call.session.post(TransferEnded("nobody asked"))
        await asks_once(call)
        call.session.post(TransferEnded("busy"))
        call.session.post(TransferEnded())
        await call.hush(3.0)

    call = phone_call(scenario, model(does(transfer(), text="One moment."), "They are busy."))
    assert not call.client.ended and len(told(call)) == 1


def test_who_comes_back_from_somebody_who_did_not_answer_is_told_so() -> None:
    async def run() -> Call:
        config = msgspec.structs.replace(allowed(), agent=AgentConfig(greeting="Hello!"))
        call = Call(config=config, carrier=PHONE, llm=model("They are busy.", "Nine."))
        call.session.open()
        call.session.post(Returned("busy"))
        call.listen_at_16_khz()
        await call.hush(3.0)
        await asks_once(call)
        await call.session.close()
        return call

    call = run_virtual(run())
    said = [text for role, text in call.history() if role == "assistant"]
    assert said == ["They are busy.", "Nine."], "and is not greeted"
    assert [message.role for message in call.llm.requests[0].messages][-1] == "system"
    assert "(busy)" in call.llm.requests[0].messages[-1].content


# --- beside the client's functions ---------------------------------------------------------------


def test_a_clients_functions_work_as_before_beside_them() -> None:
    async def scenario(call: Call) -> None:
        call.update(tools=[{"type": "function", "name": "weather", "parameters": {}}])
        await call.say(1.0)
        await call.hush(2.0)
        made = call.one("response.function_call_arguments.done").event
        item = {"type": "function_call_output", "call_id": made["call_id"], "output": "sunny"}
        call.tell("conversation.item.create", item=item)
        call.tell("response.create")
        await call.hush(4.0)

    weather = ToolCall("call_w", "weather", "{}")
    call = phone_call(scenario, model(does(weather), "It is sunny."))
    assert call.history()[-1] == ("assistant", "It is sunny.")
    assert offered(call) == ["weather", "hang_up", "transfer_call"]


def test_calls_that_end_and_transfer_replay_identically() -> None:
    async def scenario(call: Call) -> None:
        await asks_once(call)
        call.session.post(TransferEnded("busy"))
        await call.hush(6.0)

    llm = model(does(transfer(), text="One moment."), does(HANG_UP, text="They are busy. Bye!"))
    call, reel = recorded(scenario, config=allowed(), carrier=PHONE, llm=llm)
    assert [reason for _, _, reason in call.client.ended] == [ENDED]
    assert identical(reel.recording)
