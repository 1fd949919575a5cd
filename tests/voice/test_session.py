"""A call as its client drives it: manual mode, text, options, changes in mid-turn; and the pump."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT, EchoSttStream
from mocks.vad import LoudnessVAD
from providers.base import Hypothesis, SttSink
from tests.driving import LOUD, SILENT, Call, converse, pass_time
from voice import wire
from voice.phrases import MISHEARD

QUESTION = "what are your opening hours"
MANUAL = {"off": True}
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"


# --- the client says when -------------------------------------------------------------------------


def test_in_manual_mode_a_commit_and_a_request_make_a_turn() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        call.tell("input_audio_buffer.commit")
        call.tell("response.create")
        await call.hush(5.0)

    call = converse(scenario, detection=MANUAL)
    assert call.story()[:5] == [
        "2.000 input_audio_buffer.committed",
        "2.000 conversation.item.added",
        "2.000 conversation.item.done",
        f"2.020 {COMPLETED} '{QUESTION}'",
        "2.020 response.created",
    ]
    assert call.done() == [("completed", "")]
    assert call.all("input_audio_buffer.speech_started") == []
    record = call.all("kaiwa.turn.timeline")[0].event
    assert record["outcome"] == "completed" and record["final_ms"] == pytest.approx(20)


def test_what_was_committed_without_a_request_is_answered_by_a_later_one() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        call.tell("input_audio_buffer.commit")
        await call.hush(1.0)
        assert call.all("response.created") == []
        call.tell("response.create")
        await call.hush(5.0)

    call = converse(scenario, detection=MANUAL)
    assert call.done() == [("completed", "")]
    turns = [entry.event["turn"] for entry in call.all("kaiwa.turn.timeline")]
    assert turns == [1], "one turn, one record"


@pytest.mark.parametrize("seconds", [0.0, 0.08])
def test_a_commit_of_nothing_is_refused(seconds: float) -> None:
    async def scenario(call: Call) -> None:
        await call.say(seconds)
        call.tell("input_audio_buffer.commit", event_id="mine")

    call = converse(scenario, detection=MANUAL)
    error = call.one("error").event["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


def test_cleared_audio_is_never_heard_of_again_and_its_turn_is_recorded() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        call.tell("input_audio_buffer.clear")
        await call.say(0.5)
        call.tell("input_audio_buffer.commit")
        call.tell("response.create")
        await call.hush(3.0)

    call = converse(scenario, detection=MANUAL, stt=EchoSTT(["first", "second"]))
    assert call.outcomes() == ["cancelled", "completed"]
    assert call.done() == [("completed", "")]
    assert len(call.all("input_audio_buffer.committed")) == 1


# --- text -----------------------------------------------------------------------------------------


def test_a_written_question_is_answered_aloud() -> None:
    async def scenario(call: Call) -> None:
        call.write("good morning")
        call.tell("response.create")
        await call.hush(4.0)

    call = converse(scenario)
    assert call.history() == [("user", "good morning"), ("assistant", "You said: good morning.")]
    record = call.one("kaiwa.turn.timeline").event
    assert record["total_ms"] == pytest.approx((call.frames[0].at - 0.0) * 1000)


def test_a_written_question_does_not_count_among_the_figures_of_spoken_ones() -> None:
    async def scenario(call: Call) -> None:
        call.write("good morning")
        call.tell("response.create")
        await call.hush(4.0)
        await call.say(1.0)
        await call.hush(6.0)

    call = converse(scenario)
    typed, spoken = (entry.event for entry in call.all("kaiwa.turn.timeline"))
    names = ("partial", "final", "tts_start")
    assert [typed[f"{name}_ms"] for name in names] == [None] * 3
    summary = call.figures.summary(0.0, None)
    assert [(summary[n].count, summary[n].p50) for n in names] == [
        (1, spoken[f"{n}_ms"]) for n in names
    ]


def test_a_text_only_answer_makes_no_sound_and_comes_token_by_token() -> None:
    async def scenario(call: Call) -> None:
        call.write("good morning")
        call.tell("response.create", response={"output_modalities": ["text"]})
        await call.hush(1.0)

    call = converse(scenario)
    assert call.frames == [] and call.tts.texts == []
    deltas = call.all("response.output_text.delta")
    assert "".join(e.event["delta"] for e in deltas) == "You said: good morning."
    gaps = {round(b.at - a.at, 6) for a, b in zip(deltas, deltas[1:], strict=False)}
    assert gaps == {0.01}
    assert call.one("response.output_text.done").event["text"] == "You said: good morning."
    item = call.one("response.done").event["response"]["output"][0]
    assert item["content"] == [{"type": "output_text", "text": "You said: good morning."}]


def test_a_text_only_answer_that_is_cancelled_keeps_what_was_written() -> None:
    async def scenario(call: Call) -> None:
        call.write("good morning")
        call.tell("response.create", response={"output_modalities": ["text"]})
        await call.hush_until(0.075)
        call.tell("response.cancel")
        await call.hush(1.0)

    call = converse(scenario)
    assert call.done() == [("cancelled", "client_cancelled")]
    assert call.history()[-1] == ("assistant", "You said:")
    assert call.outcomes() == ["cancelled"]


# --- options of one response ----------------------------------------------------------------------


def test_a_responses_own_instructions_and_metadata_are_its_own() -> None:
    async def scenario(call: Call) -> None:
        call.update(instructions="Be kind.")
        call.write("hello")
        call.tell("response.create", response={"instructions": "Be brief.", "metadata": {"a": "b"}})
        await call.hush(3.0)
        call.tell("response.create")
        await call.hush(3.0)

    call = converse(scenario)
    systems = [request.messages[0].content for request in call.llm.requests]
    assert systems == ["Be brief.", "Be kind."]
    kinds = ("response.created", "response.done")
    told = [call.all(kind)[0].event["response"]["metadata"] for kind in kinds]
    assert told == [{"a": "b"}, {"a": "b"}]
    assert call.all("response.created")[1].event["response"]["metadata"] is None


def test_a_response_out_of_band_leaves_the_conversation_alone() -> None:
    message = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "translate this"}],
    }

    async def scenario(call: Call) -> None:
        call.write("hello")
        call.tell("response.create", response={"conversation": "none", "input": [message]})
        await call.hush(4.0)

    call = converse(scenario, retriever=ScriptedRetriever())
    assert call.history() == [("user", "hello")]
    assert call.llm.requests[0].question == "translate this"
    assert call.done() == [("completed", "")]
    added = [entry.event["item"]["role"] for entry in call.all("conversation.item.added")]
    assert added == ["user"]
    assert call.sound_ms() > 0


def test_options_wait_with_their_request_and_die_with_it() -> None:
    """They were asked for with an answer the caller's speech made void: not for the next one."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.6)
        call.tell("response.create", response={"instructions": "Only for this."})
        await call.say(0.6)
        await call.hush(2.5)
        call.tell("response.create")
        await call.hush(4.0)

    detection = {"type": "server_vad", "create_response": False}
    call = converse(scenario, stt=EchoSTT(final_delay_ms=1200), detection=detection)
    assert [r.messages[0].content for r in call.llm.requests] != []
    assert all(r.messages[0].content != "Only for this." for r in call.llm.requests)
    voided, answered = call.all("response.done")
    assert voided.event["response"]["status_details"]["reason"] == "turn_detected"
    assert answered.event["response"]["status"] == "completed"


def test_a_request_while_the_final_is_pending_is_answered_with_its_options() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.6)
        call.tell("response.create", response={"instructions": "Only for this."})
        call.tell("response.create", event_id="again")
        await call.hush(4.0)

    detection = {"type": "server_vad", "create_response": False}
    call = converse(scenario, stt=EchoSTT(final_delay_ms=1200), detection=detection)
    assert [r.messages[0].content for r in call.llm.requests] == ["Only for this."]
    assert call.errors() == ["conversation_already_has_active_response"]


def test_a_request_that_is_cancelled_before_it_begins_is_created_and_cancelled() -> None:
    """Clients wait for the response they asked for; silence would leave them waiting."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.6)
        call.tell("response.create", response={"metadata": {"mine": "1"}})
        call.tell("response.cancel")
        await call.hush(3.0)

    detection = {"type": "server_vad", "create_response": False}
    call = converse(scenario, stt=EchoSTT(final_delay_ms=1200), detection=detection)
    (created,) = call.all("response.created")
    (done,) = call.all("response.done")
    assert created.event["response"]["metadata"] == {"mine": "1"}
    assert done.event["response"]["id"] == created.event["response"]["id"]
    assert done.event["response"]["status_details"]["reason"] == "client_cancelled"
    assert not call.llm.requests


def test_a_pending_request_that_is_cancelled_is_not_answered() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.6)
        call.tell("response.cancel")
        await call.hush(3.0)

    call = converse(scenario, stt=EchoSTT(final_delay_ms=1200))
    assert call.all("response.created") == []
    assert len(call.all(COMPLETED)) == 1


# --- changes in mid-turn --------------------------------------------------------------------------


def test_an_answer_keeps_the_settings_it_began_with() -> None:
    async def scenario(call: Call) -> None:
        call.write("hello there my friend")
        call.tell("response.create")
        await call.hush_until(0.5)
        call.update(
            audio={"output": {"format": {"type": "audio/pcmu"}}}, output_modalities=["text"]
        )
        await call.hush(5.0)
        call.tell("response.create", response={"output_modalities": ["audio"]})
        await call.hush(5.0)

    call = converse(scenario)
    forms = {sent.frame.turn: sent.form.type for sent in call.frames}
    assert forms == {1: "audio/pcm", 2: "audio/pcmu"}
    assert call.sound_ms(1) == pytest.approx(call.sound_ms(2), abs=2)


@pytest.mark.parametrize("automatic", [True, False], ids=["switched_off", "switched_on"])
def test_turn_detection_switched_in_mid_speech_drops_that_speech_and_records_it(
    automatic: bool,
) -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.5)
        detection = None if automatic else {"type": "server_vad"}
        call.update(audio={"input": {"turn_detection": detection}})
        await call.say(0.5)
        await call.hush(1.0)
        if automatic:
            call.tell("input_audio_buffer.commit")
            call.tell("response.create")
        await call.hush(4.0)

    call = converse(scenario, detection={} if automatic else MANUAL)
    assert call.outcomes() == ["cancelled", "completed"]
    assert call.done() == [("completed", "")]


def test_the_input_format_may_change_in_mid_call() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(5.0)
        call.update(audio={"input": {"format": {"type": "audio/pcm", "rate": 48_000}}})
        loud, silent = (b"".join(sample * 3 for sample in pairs(frame)) for frame in (LOUD, SILENT))
        for frame in [loud] * 50 + [silent] * 150:
            await pass_time(0.02)
            call.session.hear(frame)

    call = converse(scenario)
    assert call.done() == [("completed", ""), ("completed", "")]


def pairs(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + 2] for at in range(0, len(pcm), 2)]


# --- the recogniser -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        (ScriptedFault(kind="fail", item=0, times=2), []),
        (ScriptedFault(kind="stall", item=0), []),
        (ScriptedFault(kind="stall", item=2), ["what are"]),
        (ScriptedFault(kind="fail", item=2, times=2), ["what are"]),
        (ScriptedFault(kind="stall", item=-1), ["what are your"]),
        (ScriptedFault(kind="fail", item=-1), ["what are your"]),
    ],
    ids=lambda value: f"{value.kind}_{value.item}" if isinstance(value, ScriptedFault) else "",
)
def test_a_recogniser_that_breaks_loses_no_word_it_gave_and_is_never_waited_for_long(
    fault: ScriptedFault, texts: list[str]
) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(8.0)
        await call.say(1.0)
        await call.hush(6.0)

    call = converse(scenario, stt=EchoSTT(faults=[fault]))
    heard = [entry.event["transcript"] for entry in call.all(COMPLETED)]
    assert heard == [*texts, QUESTION]
    settled = (call.all(COMPLETED) if texts else call.all(FAILED))[0]
    assert settled.at <= 1.5 + 2.0 + 0.001
    assert call.outcomes() == ["completed" if texts else "failed", "completed"]
    assert bool(call.all(FAILED)) is not bool(texts)
    first = f"You said: {texts[0]}." if texts else MISHEARD["en"]
    answers = [text for role, text in call.history() if role == "assistant"]
    assert answers == [first, f"You said: {QUESTION}."]


def test_noise_without_words_ends_without_an_answer() -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.3)
        await call.hush(2.0)

    call = converse(scenario, stt=EchoSTT([""]))
    assert call.outcomes() == ["no_speech"]
    assert call.all("response.created") == []
    assert call.one(COMPLETED).event["transcript"] == ""


def test_audio_that_stops_coming_ends_the_turn() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await pass_time(8.0)

    call = converse(scenario)
    assert call.one("input_audio_buffer.committed").at == pytest.approx(1.0 + 1.5)
    assert call.done() == [("completed", "")]


def test_speech_without_end_is_cut_into_turns() -> None:
    async def scenario(call: Call) -> None:
        await call.say(130.0)
        await call.hush(6.0)

    words = " ".join(f"w{number}" for number in range(450))
    call = converse(scenario, stt=EchoSTT(text=words), llm=EchoLLM(["Yes."] * 3))
    assert len(call.all("input_audio_buffer.committed")) == 3
    assert call.outcomes()[-1] == "completed"


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio", ["AAA=", "AAAA====", "?"])
def test_bad_audio_is_named_with_the_event_that_brought_it(audio: str) -> None:
    async def scenario(call: Call) -> None:
        call.tell("input_audio_buffer.append", audio=audio, event_id="mine")
        await call.say(1.0)
        await call.hush(5.0)

    call = converse(scenario)
    if call.errors():
        error = call.one("error").event["error"]
        assert (error["code"], error["event_id"]) == ("invalid_audio", "mine")
    assert call.done() == [("completed", "")]
    assert call.errors() == (["invalid_audio"] if audio != "AAA=" else [])


def test_half_a_sample_is_refused_with_the_event_that_brought_it() -> None:
    async def scenario(call: Call) -> None:
        call.tell("input_audio_buffer.append", audio="AAAA", event_id="mine")
        call.session.hear(b"abc")

    call = converse(scenario)
    errors = [entry.event["error"] for entry in call.all("error")]
    assert [(e["code"], e["event_id"]) for e in errors] == [
        ("invalid_audio", "mine"),
        ("invalid_audio", None),
    ]


def test_a_client_that_takes_our_next_id_for_its_own_item_breaks_nothing() -> None:
    async def scenario(call: Call) -> None:
        for name in ("item_test00001", "item_test00003", "item_testzzz", "item_test"):
            content = [{"type": "input_text", "text": "hello"}]
            item = {"id": name, "type": "message", "role": "user", "content": content}
            call.tell("conversation.item.create", item=item)
        await call.say(1.0)
        await call.hush(5.0)

    call = converse(scenario)
    assert call.one("input_audio_buffer.committed").event["item_id"] == "item_test00004"
    assert call.done() == [("completed", "")]


# --- the pump -------------------------------------------------------------------------------------


class InstantSTT(EchoSTT):
    """Gives its final before `end()` has returned."""

    def open(
        self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()
    ) -> EchoSttStream:
        return InstantStream(self, sink)


class InstantStream(EchoSttStream):
    def __init__(self, provider: EchoSTT, sink: SttSink) -> None:
        super().__init__(provider, sink)
        self._sink, self._utterance = sink, 0

    def begin(self, utterance: int) -> None:
        self._utterance = utterance

    def end(self) -> None:
        self._sink(Hypothesis(self._utterance, "at once", True))


def test_facts_posted_from_inside_a_fact_wait_their_turn() -> None:
    """A recogniser that answers within `end()` must not overtake the commit that asked it."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        call.tell("input_audio_buffer.commit")
        call.tell("response.create")
        await call.hush(4.0)

    call = converse(scenario, detection=MANUAL, stt=InstantSTT())
    kinds = [line.split(" ", 1)[1] for line in call.story()][:5]
    assert kinds == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{COMPLETED} 'at once'",
        "response.created",
    ]


class BrokenVAD(LoudnessVAD):
    """Its frames are none, from the hundredth on."""

    def open(self, sink: Any) -> Any:
        count = 0

        def broken(frame: Any) -> None:
            nonlocal count
            count += 1
            sink(frame if count < 100 else type(frame)(frame.end_sample, "loud", frame.rms))

        return super().open(broken)


def test_a_bug_in_a_handler_ends_the_call_with_1011_and_is_logged_once() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(6.0)
        call.tell("response.create")
        sent = len(call.client.log)
        await call.hush(3.0)
        assert len(call.client.log) == sent, "nothing more is sent"

    with structlog.testing.capture_logs() as logs:
        call = converse(scenario, vad=BrokenVAD())
    assert [(code, reason) for _, code, reason in call.client.ended] == [(1011, "internal error")]
    broke = [entry for entry in logs if entry["event"] == "session_broke"]
    assert len(broke) == 1 and broke[0]["exc_info"] is True


def test_a_call_whose_events_cannot_be_sent_is_ended_all_the_same() -> None:
    def broken(event: wire.ServerEvent) -> None:
        raise ValueError("no JSON")

    async def scenario(call: Call) -> None:
        call.update(include=["kaiwa.call.ended"])
        call.client.send = broken  # type: ignore[method-assign]  # a client's end that breaks
        with pytest.raises(ValueError):
            call.write(QUESTION)

    call = converse(scenario)
    assert [(code, reason) for _, code, reason in call.client.ended] == [(1011, "internal error")]


def test_behind_the_event_that_the_call_has_ended_there_is_none() -> None:
    """A carrier lingers until its last word was heard; the caller may go on meanwhile."""

    async def scenario(call: Call) -> None:
        call.update(include=["kaiwa.call.ended", "kaiwa.transcript.partial"])
        await call.say(1.0)
        call.session.hang_up(1001, "the server is stopping")
        call.session.hang_up(1012, "its time is up")
        await call.hush(0.6)

    call = converse(scenario)
    assert call.one("kaiwa.call.ended").event["code"] == 1001
    assert call.sent[-1].type == "kaiwa.call.ended"


def test_who_speaks_on_behind_the_end_is_not_answered() -> None:
    """
    caller    ~~~~~~~~~~|              |~~~~~~|
    session       hang up               nothing: no model is asked, nothing is said
    """

    async def scenario(call: Call) -> None:
        await call.say(0.5)
        call.session.hang_up(1000, "its time is up")
        told = len(call.client.log)
        await call.say(0.5)
        await call.hush(3.0)
        call.write(QUESTION)
        call.tell("response.create")
        call.press("1", "#")
        await call.hush(3.0)
        assert len(call.client.log) == told
        assert not call.session.busy

    call = converse(scenario)
    assert call.all("response.created") == [] and not call.llm.requests


def test_an_answer_sounds_no_further_than_the_end() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.5)
        call.session.hang_up(1001, "the server is stopping")
        frames = len(call.frames)
        await call.hush(0.3)
        assert len(call.frames) == frames > 0

    call = converse(scenario)
    assert call.outcomes() == ["cancelled"]


@pytest.mark.parametrize("coarse", [False, True], ids=["exact", "rounded_to_ms_as_in_uvloop"])
def test_timers_do_not_spin(coarse: bool) -> None:
    """Wake-ups of the session's own timer, over silence and over one whole turn."""

    async def scenario(call: Call) -> None:
        woken = 0
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def counting(delay: float, callback: Any, *args: Any) -> Any:
            if callback != call.session._timer_due:
                return call_later(delay, callback, *args)

            def woke() -> None:
                nonlocal woken
                woken += 1
                callback(*args)

            return call_later(round(delay, 3) if coarse else delay, woke)

        loop.call_later = counting  # type: ignore[method-assign, assignment]
        await pass_time(60.0)
        await call.hush(60.0)
        assert woken == 0
        await call.say(1.0)
        await call.hush(6.0)
        assert 0 < woken <= len(call.frames) + 5
        call.report(call.frames[-1].item_id, 100)
        woken = 0
        await pass_time(60.0)
        assert woken <= 2

    call = converse(scenario)
    assert call.done() == [("completed", "")]
    assert call.one("response.created").at == pytest.approx(1.5 + 120.0, abs=0.002)


# --- the end --------------------------------------------------------------------------------------


def test_closing_tells_the_desk_once_and_nothing_is_dealt_with_afterwards() -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.6)
        await asyncio.gather(*(call.session.close() for _ in range(3)))
        sent = len(call.client.log)
        await call.say(0.6)
        call.tell("response.create")
        await call.hush(3.0)
        assert len(call.client.log) == sent

    call = converse(scenario)
    assert call.closings == 1
    assert call.figures.turns == 1, "the turn that was open is on record"


@pytest.mark.parametrize(("after_s", "outcome"), [(2.0, "cancelled"), (4.0, "completed")])
def test_an_answer_that_was_done_when_the_client_left_was_completed(
    after_s: float, outcome: str
) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(after_s)

    call = converse(scenario)
    assert call.outcomes() == [outcome]


def test_two_hundred_turns_leave_nothing_behind() -> None:
    async def scenario(call: Call) -> None:
        session = call.session
        for turn in range(200):
            await call.say(0.2)
            await call.hush(0.7 if turn % 3 else 2.0)
        await call.hush(4.0)
        assert session._floor.record._open == {}
        assert session._floor.utterances._items == {} == session._floor.utterances._began
        assert len(session._answers._recent) <= 4
        assert len(session._answers._replies.tasks) <= 1
        assert len(session._turns._questions.waiting) == 0
        assert len(session._floor.ear._kept) < 200_000
        assert len(session._inbox) == 0
        assert call.figures.turns == 200

    llm = EchoLLM(["Yes, of course we are."] * 200, first_token_ms=20)
    call = converse(scenario, llm=llm)
    assert len(call.outcomes()) == 200
    assert {"completed", "interrupted"} <= set(call.outcomes())


def test_every_event_that_was_sent_can_be_read_as_json_with_an_id() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(5.0)

    call = converse(scenario)
    kinds = set(wire.SERVER_EVENT_TYPES)
    for entry in call.sent:
        assert entry.event["event_id"] and entry.type in kinds
        assert len(json.dumps(entry.event)) < 256 * 1024
