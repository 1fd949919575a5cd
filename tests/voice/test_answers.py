"""Cutting in: the old answer is over at once, and history is what was heard of it.

caller   ~~~~|     |~~~~|           |~~~~~ "no wait"
agent              1.5 created   1.66 |#####x
"""

import asyncio

import msgspec
import pytest

from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import ToolCall
from tests.driving import PLAIN, Call, converse, pass_time, spoken
from voice.config import BargeInConfig, PlayoutConfig

ANSWER = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
CREATED = 1.5
SOUND = 1.65
"""When the first audio of ANSWER leaves."""
AT_ONCE = msgspec.structs.replace(PLAIN, barge_in=BargeInConfig(confirm_ms=0))
"""Any speech cuts: what follows a cut is seen best without the doubt before it."""


def cut_at(at: float, *, answers: tuple[str | Reply, ...] = (ANSWER,), **parts: object) -> Call:
    """Question, and a second one that begins at `at`; both are answered, if they can be."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(at)
        await call.say(0.6)
        await call.hush(6.0)

    llm = EchoLLM([*answers, "Second answer, all right."])
    return converse(scenario, llm=llm, **{"config": AT_ONCE, **parts})


MOMENTS = {
    "at_once": CREATED + 0.0,
    "before_the_first_token": CREATED + 0.02,
    "between_tokens": CREATED + 0.07,
    "before_the_first_audio": CREATED + 0.12,
    "in_the_first_100_ms_of_sound": SOUND + 0.05,
    "in_mid_answer": SOUND + 2.0,
    "in_the_last_100_ms_sent": SOUND + len(ANSWER) * 0.065 - 0.38,
    "after_response_done_while_it_sounds": SOUND + len(ANSWER) * 0.065 - 0.2,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_cut_answer_ends_once_and_nothing_of_it_follows(moment: str) -> None:
    at = round(MOMENTS[moment] / 0.02) * 0.02
    call = cut_at(at)
    started = call.last("input_audio_buffer.speech_started").at
    assert started == pytest.approx(at, abs=0.065)
    # After the last frame was sent a cut changes no status any more: "done" has been said.
    done_before = moment == "after_response_done_while_it_sounds"
    first = ("completed", "") if done_before else ("cancelled", "turn_detected")
    assert call.done() == [first, ("completed", "")]
    late = [frame.at for frame in call.frames if frame.frame.turn == 1 and frame.at > started]
    assert late == []
    assert call.outcomes() == ["interrupted", "completed"]
    assert call.client.cleared_at == [pytest.approx(started)]
    assert call.all("response.done")[0].at <= started


@pytest.mark.parametrize("timings", [True, False], ids=["word_timings", "without"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_history_and_cut_in_ms_are_what_was_heard(moment: str, timings: bool) -> None:
    tts = ToneTTS(word_timings=timings)
    call = cut_at(round(MOMENTS[moment] / 0.02) * 0.02, tts=tts)
    cut = call.all("kaiwa.turn.timeline")[0]
    sound = [frame for frame in call.frames if frame.frame.turn == 1]
    heard_ms = max(0.0, (cut.at - sound[0].at) * 1000) if sound else 0.0
    heard_ms = min(heard_ms, call.sound_ms(1))
    assert cut.event["cut_in_ms"] == pytest.approx(heard_ms, abs=1)
    spoken_text = ANSWER[: int(heard_ms / 65)]
    role, text = call.history()[1]
    kept = text.removesuffix(" —") if role == "assistant" else ""
    assert ANSWER.startswith(kept)
    words = abs(len(kept.split()) - len(spoken_text.split()))
    clause = max(len(text.split()) for text in ["", *tts.texts])
    assert words <= (1 if timings else clause)


def test_both_streams_are_closed_by_the_cut_not_left_to_run_on() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.6)
        assert call.llm.running == 1
        await call.say(0.1)
        assert call.llm.running == 0
        assert call.llm.aborted == 1
        await call.hush_until(4.0)
        await call.hush_until(5.0)

    converse(scenario, llm=EchoLLM([ANSWER], token_ms=100))

    async def speaking(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.2)
        assert call.tts.running == 1
        await call.say(0.1)
        assert call.tts.running == 0
        assert call.tts.aborted == 1

    converse(speaking, llm=EchoLLM([ANSWER]), tts=ToneTTS(rtf=0.9), config=AT_ONCE)


def test_a_cut_during_retrieval_leaves_no_search_behind() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.6)
        assert call.streams()["retriever"] == 1
        await call.say(0.1)
        assert "retriever" not in call.streams()
        await call.hush(1.0)

    converse(scenario, retriever=ScriptedRetriever(delay_ms=280))


def test_the_answer_can_be_cut_twice_in_a_row() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.5)
        await call.say(0.6)
        await call.hush(1.2)
        await call.say(0.6)
        await call.hush(5.0)

    call = converse(scenario, llm=EchoLLM([ANSWER, ANSWER, "Fine, that is all."]))
    assert call.done() == [("cancelled", "turn_detected")] * 2 + [("completed", "")]
    roles = [role for role, _ in call.history()]
    assert roles == ["user", "assistant"] * 3
    assert all(text.endswith(" —") for role, text in call.history()[1:4:2])
    assert call.outcomes() == ["interrupted", "interrupted", "completed"]


def test_speech_while_the_last_turns_final_is_pending_is_answered_with_it() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.7)
        await call.say(0.6)
        await call.hush(6.0)

    stt = EchoSTT(["what are your hours", "on sunday"], final_delay_ms=1500)
    call = converse(scenario, stt=stt)
    assert call.done() == [("completed", "")]
    assert call.history()[:2] == [("user", "what are your hours"), ("user", "on sunday")]
    assert call.outcomes() == ["no_reply", "completed"]
    committed = [entry.event["item_id"] for entry in call.all("input_audio_buffer.committed")]
    kind = "conversation.item.input_audio_transcription.completed"
    assert [entry.event["item_id"] for entry in call.all(kind)] == committed


def test_the_client_may_correct_afterwards_what_was_heard() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(4.0)
        await call.say(0.1)
        item_id = call.frames[0].item_id
        before = call.session.conversation.get(item_id)
        call.tell("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1000)
        after = call.session.conversation.get(item_id)
        assert before != after
        call.tell(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=99_000
        )
        await call.hush(5.0)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    first, second = call.all("conversation.item.truncated")
    assert first.event["audio_end_ms"] == 1000
    assert second.event["audio_end_ms"] == int(call.sound_ms(1)), "clamped to what was sent"
    assert call.errors() == []
    kept = call.history()[1][1].removesuffix(" —")
    assert ANSWER.startswith(kept)
    assert len(kept) == pytest.approx(call.sound_ms(1) / 65, abs=len("Sundays"))


def test_a_truncated_answer_holds_the_words_up_to_there() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(8.0)
        item_id = call.frames[0].item_id
        call.tell("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1100)
        call.tell("conversation.item.retrieve", item_id=item_id)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    item = call.one("conversation.item.retrieved").event["item"]
    assert item["content"] == [{"type": "output_audio", "transcript": "We are open from"}]
    assert call.history()[1] == ("assistant", "We are open from —")


def test_reports_decide_what_was_heard_over_the_estimate() -> None:
    """The client says 500 ms were played when the clock says 1500."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(SOUND + 0.6)
        call.report(call.frames[0].item_id, 500)
        call.report(call.frames[0].item_id, 500)
        await call.hush_until(SOUND + 1.5)
        await call.say(0.6)
        await call.hush(4.0)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    assert call.all("kaiwa.turn.timeline")[0].event["cut_in_ms"] == 500
    assert call.history()[1] == ("assistant", "We are —")


def test_a_client_that_stops_reporting_does_not_keep_the_turn_open_for_good() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(SOUND + 0.6)
        call.report(call.frames[0].item_id, 300)
        await call.hush(8.0)
        assert not call.session.busy

    call = converse(scenario)
    assert call.outcomes() == ["completed"]


def test_without_interrupt_response_the_answer_is_said_to_its_end_and_the_next_waits() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.0)
        await call.say(0.6)
        await call.hush(12.0)

    detection = {"type": "server_vad", "interrupt_response": False}
    call = converse(scenario, llm=EchoLLM([ANSWER]), detection=detection)
    assert call.done() == [("completed", ""), ("completed", "")]
    assert call.sound_ms(1) == pytest.approx(len(ANSWER) * 65, abs=1)
    first_done = call.all("kaiwa.turn.timeline")[0].at
    assert call.all("response.created")[1].at == pytest.approx(first_done)


def test_the_last_frame_leaves_within_150_ms_of_the_callers_speech() -> None:
    for at in (2.0, 2.3, 2.66, 3.14):
        call = cut_at(at)
        last = max(frame.at for frame in call.frames if frame.frame.turn == 1)
        assert last - at <= 0.15


def test_a_voice_that_stalls_for_room_is_let_go_by_a_cut() -> None:
    long = " ".join(f"This is sentence number {n} of a rather long story." for n in range(12))

    async def scenario(call: Call) -> None:
        call.write("tell me all")
        call.tell("response.create")
        await call.hush(4.0)
        assert call.tts.running == 1, "waits for room"
        await call.say(0.1)
        assert call.tts.running == 0
        await call.hush(4.0)

    call = converse(scenario, llm=EchoLLM([long]), config=AT_ONCE)
    assert call.done() == [("cancelled", "turn_detected"), ("completed", "")]


def test_a_lead_of_one_frame_is_enough_for_a_whole_answer() -> None:
    config = msgspec.structs.replace(PLAIN, playout=PlayoutConfig(frame_ms=20, lead_ms=20))

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(9.0)

    call = converse(scenario, llm=EchoLLM([ANSWER]), config=config)
    assert call.sound_ms() == pytest.approx(len(ANSWER) * 65, abs=1)
    assert call.done() == [("completed", "")]


# --- function calls -------------------------------------------------------------------------------

WEATHER = ToolCall("call_1", "weather", '{"city": "Kyoto"}')


def test_a_function_call_makes_the_round_trip() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.5)
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        call.tell("conversation.item.create", item=output)
        call.tell("response.create")
        await call.hush(5.0)

    llm = EchoLLM([Reply(tool_calls=(WEATHER,)), "It is sunny in Kyoto."])
    call = converse(scenario, llm=llm, retriever=ScriptedRetriever())
    done = call.one("response.function_call_arguments.done").event
    assert (done["call_id"], done["name"]) == ("call_1", "weather")
    assert done["arguments"] == '{"city": "Kyoto"}'
    first, second = call.all("response.done")
    assert [item["type"] for item in first.event["response"]["output"]] == ["function_call"]
    assert call.done() == [("completed", ""), ("completed", "")]
    roles = [message.role for message in call.llm.requests[1].messages]
    assert roles == ["system", "user", "assistant", "tool"]
    assert len(call.retriever.questions if call.retriever else []) == 1, "no search for a result"


def test_what_is_said_before_a_function_call_comes_before_it_in_sound_and_history() -> None:
    reply = Reply(text="Let me look that up for you.", tool_calls=(WEATHER,))

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(6.0)

    call = converse(scenario, llm=EchoLLM([reply]))
    output = call.one("response.done").event["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert {item["status"] for item in output} == {"completed"}
    audio_done = call.one("response.output_audio.done").at
    assert audio_done >= call.frames[-1].at
    kinds = [item.type for item in call.session.conversation]
    assert kinds == ["message", "message", "function_call"]
    assert call.sound_ms() == pytest.approx(len(reply.text) * 65, abs=1)


def test_a_function_call_that_was_cut_short_is_never_seen() -> None:
    """Half a call in the history would have no result: strict servers refuse the next request."""
    long = ToolCall("call_1", "write", '{"text": "' + "word " * 40 + '"}')
    call = cut_at(1.7, answers=(Reply(text="Let me write that down.", tool_calls=(long,)),))
    assert call.all("response.function_call_arguments.done") == []
    assert [item.type for item in call.session.conversation if item.type != "message"] == []
    assert call.done() == [("cancelled", "turn_detected"), ("completed", "")]


# --- the client cuts ------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", list(MOMENTS)[:-1])
def test_response_cancel_ends_it_at_every_phase(moment: str) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(MOMENTS[moment] + 0.001)
        call.tell("response.cancel")
        cut_at = call.last("response.done").at
        await call.hush(1.0)
        assert all(frame.at <= cut_at for frame in call.frames)
        assert call.streams() == {"stt": 1}
        call.tell("response.cancel", event_id="again")
        await call.say(0.6)
        await call.hush(3.0)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    assert call.done() == [("cancelled", "client_cancelled"), ("completed", "")]
    assert call.outcomes() == ["cancelled", "completed"]
    assert call.one("error").event["error"]["code"] == "response_cancel_not_active"
    assert call.one("error").event["error"]["event_id"] == "again"


def test_cancelling_another_response_cancels_none() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        call.tell("response.cancel", response_id="resp_other")
        await call.hush(6.0)

    call = converse(scenario)
    assert call.errors() == ["response_cancel_not_active"]
    assert call.done() == [("completed", "")]


def test_deleting_the_answer_that_is_spoken_takes_it_out_of_history_only() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.5)
        item_id = call.frames[0].item_id
        call.tell("conversation.item.delete", item_id=item_id)
        await call.hush(8.0)
        call.tell("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=5)

    call = converse(scenario, llm=EchoLLM([ANSWER]))
    assert call.done() == [("completed", "")]
    assert [role for role, _ in call.history()] == ["user"]
    assert call.errors() == ["item_truncate_invalid_item_id"]
    assert call.sound_ms() == pytest.approx(len(ANSWER) * 65, abs=1)


def test_an_answer_asked_for_while_the_last_one_sounds_begins_at_once() -> None:
    async def scenario(call: Call) -> None:
        call.write("one")
        call.tell("response.create")
        while not call.done():
            await pass_time(0.01)
        call.write("two")
        call.tell("response.create")
        await call.hush(4.0)

    call = converse(scenario)
    first_done, second_created = call.all("response.done")[0], call.all("response.created")[1]
    assert second_created.at == pytest.approx(first_done.at, abs=0.02)
    assert call.outcomes() == ["completed", "completed"]
    assert call.sound_ms(2) == pytest.approx(len("You said: two.") * 65, abs=1)


def test_a_second_response_is_refused_while_one_is_active() -> None:
    async def scenario(call: Call) -> None:
        call.write("one")
        call.tell("response.create")
        call.tell("response.create", event_id="mine")
        await call.hush(4.0)

    call = converse(scenario)
    error = call.one("error").event["error"]
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "mine"
    assert call.done() == [("completed", "")]


def test_the_sound_of_a_new_answer_is_whole_after_a_cut() -> None:

    call = cut_at(2.5)
    assert call.sound(2) == asyncio.run(spoken(call.tts, "Second answer,", " all right."))
