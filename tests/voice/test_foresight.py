"""Answers begun in the silence that may end the turn: never heard or seen before it does.

caller   ~~~~~~~~|          1.0 s of speech, in the frames of 20 ms
final                |      1.22: the model is asked; 50 ms to its first token, 10 ms a token
commit                  |   1.5: the first frame leaves
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from mocks.clock import now
from mocks.faults import LAST, ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT, EchoSttStream
from mocks.tts import ToneTTS
from mocks.turn import ScriptedTurnModel
from providers.base import Fault, Hypothesis, Passage, Slot, SttSink, ToolCall
from tests.driving import PLAIN, Call, converse
from tests.recorded_calls import recorded
from voice import metrics
from voice.chain import CALL
from voice.chain_llm import ChainLLM
from voice.chain_tts import ChainTTS
from voice.config import AgentConfig, Config, RagConfig, SpeculationConfig
from voice.patience import Patience
from voice.replay import replay

ANSWER = "We are open from nine until eight. On Sundays we are closed."
AHEAD = msgspec.structs.replace(PLAIN, speculation=SpeculationConfig())
COMMIT = 1.5
FINAL = 1.22


def ahead(**changes: Any) -> Config:
    return msgspec.structs.replace(PLAIN, speculation=SpeculationConfig(**changes))


def ask(config: Config = AHEAD, **parts: Any) -> Call:
    """One question, and silence."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(7.0)

    parts.setdefault("llm", EchoLLM([ANSWER, ANSWER, ANSWER]))
    return converse(scenario, config=config, **parts)


class Attempts:
    """How the counts have changed since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found = {}
        for counter in (metrics.SPECULATIONS, metrics.SPECULATIONS_LEFT_OUT, metrics.WASTED_TOKENS):
            for family in counter.collect():
                for sample in family.samples:
                    if sample.name.endswith("_total"):
                        found[" ".join(sample.labels.values())] = sample.value
        return found

    def __call__(self) -> dict[str, float]:
        after = self._now()
        grown = {key: value - self._before.get(key, 0.0) for key, value in after.items()}
        return {key: value for key, value in grown.items() if value}


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


class RevisingSTT(EchoSTT):
    """Its final has other words, case or marks than its last partial."""

    def __init__(self, partial: str, final: str, *, final_delay_ms: float = 250.0) -> None:
        super().__init__(text=partial, word_ms=100.0, final_delay_ms=final_delay_ms)
        self.final = final

    def open(
        self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()
    ) -> EchoSttStream:
        def revised(event: Any) -> None:
            if isinstance(event, Hypothesis) and event.is_final:
                event = msgspec.structs.replace(event, text=self.final)
            sink(event)

        return EchoSttStream(self, revised)


def first_sound(call: Call) -> float:
    return call.frames[0].at


# --- what it is for -------------------------------------------------------------------------------


def test_what_fits_into_the_silence_is_heard_when_the_turn_is_committed(attempts: Attempts) -> None:
    call = ask()
    assert call.one("input_audio_buffer.committed").at == pytest.approx(COMMIT)
    assert first_sound(call) - COMMIT <= 0.015
    assert attempts() == {"adopted": 1}
    slow = ask(PLAIN)
    assert first_sound(slow) - COMMIT >= 0.08 + 0.05
    assert slow.sound() == call.sound()
    assert slow.history() == call.history()
    kinds = [entry.type for entry in slow.sent]
    assert [entry.type for entry in call.sent] == kinds, "clients notice the time alone"


def test_the_timeline_sums_up_and_tells_the_lead() -> None:
    record = ask().one("kaiwa.turn.timeline").event
    spans = {span["name"]: span["ms"] for span in record["spans"]}
    assert sum(spans.values()) == record["total_ms"] == record["tts_start_ms"]
    assert spans["endpoint"] == pytest.approx(500, abs=1)
    begun = ("final", "retrieval", "llm_first_token", "first_clause", "tts_first_audio")
    assert [spans[name] for name in begun] == [0] * 5
    assert record["attempts"] == 1
    assert 80 <= record["lead_ms"] <= 280
    plain = ask(PLAIN).one("kaiwa.turn.timeline").event
    assert (plain["attempts"], plain["lead_ms"]) == (0, None)


def test_what_is_searched_for_ahead_is_of_the_turn_that_is_answered() -> None:
    class Asked(ScriptedRetriever):
        async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
            asker = CALL.get({})
            calls.add(asker["session"])
            turns.append((query, asker["turn"]))
            return await super().search(query, limit_s=limit_s)

    async def scenario(call: Call) -> None:
        for _ in range(2):
            await call.say(1.0)
            await call.hush(7.0)

    turns: list[tuple[str, int | None]] = []
    calls: set[str] = set()
    stt = EchoSTT(turns=["when do you open on monday", "and where is the tower of yours"])
    call = converse(scenario, llm=EchoLLM([ANSWER] * 4), stt=stt, retriever=Asked(), config=AHEAD)
    assert calls == {call.session.id}, "or one question would be counted as often as it is searched"
    first = [turn for query, turn in turns if query.startswith("when")]
    second = [turn for query, turn in turns if query.startswith("and")]
    assert len(first) > 1 and set(first) == {1} and len(second) > 1 and set(second) == {2}


def test_the_lead_is_what_was_really_ahead() -> None:
    """Clipped by the first audio where that came before the commit, else by the commit."""
    slow = ask(llm=EchoLLM([ANSWER], first_token_ms=1000)).one("kaiwa.turn.timeline").event
    assert slow["lead_ms"] == pytest.approx((COMMIT - FINAL) * 1000, abs=15)
    assert slow["total_ms"] == pytest.approx(220 + 1000 + 80 + 30, abs=25)


def test_what_was_written_ahead_leaves_in_one_piece() -> None:
    """Hundreds of tokens one by one would hold the loop up."""

    async def scenario(call: Call) -> None:
        call.update(output_modalities=["text"])
        await call.say(1.0)
        await call.hush(2.0)

    text = "word " * 100 + "end."
    call = converse(scenario, llm=EchoLLM([text], token_ms=1), config=AHEAD)
    delta = call.one("response.output_text.delta")
    assert delta.at == pytest.approx(COMMIT) and delta.event["delta"] == text
    assert call.history()[1] == ("assistant", text)


def test_nothing_leaves_before_the_commit() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        sent = len(call.client.log)
        await call.hush_until(COMMIT - 0.02)
        assert call.tts.texts, "the voice has begun"
        assert len(call.history()) == 0 == len(call.session.conversation)
        kinds = {entry.type for entry in call.sent[sent:]}
        assert kinds <= {"kaiwa.transcript.partial"} | {
            "conversation.item.input_audio_transcription.delta"
        }
        assert call.frames == []
        await call.hush(6.0)

    converse(scenario, llm=EchoLLM([ANSWER]), config=AHEAD)


def test_a_partial_that_stands_is_enough_where_the_final_is_late(attempts: Attempts) -> None:
    call = ask(stt=RevisingSTT("what are your hours", "what are your hours", final_delay_ms=290))
    assert call.one("kaiwa.turn.timeline").event["lead_ms"] == pytest.approx(150, abs=25)
    assert attempts() == {"adopted": 1}


# --- the same words, other words ------------------------------------------------------------------


@pytest.mark.parametrize(
    "final", ["What are your hours?", "what are  your, hours", "WHATAREYOURHOURS"]
)
def test_case_punctuation_and_spaces_change_nothing(final: str, attempts: Attempts) -> None:
    call = ask(stt=RevisingSTT("what are your hours", final), llm=EchoLLM())
    assert attempts() == {"adopted": 1}
    assert len(call.llm.requests) == 1
    assert call.history()[0] == ("user", final), "what was understood is what is kept"


def test_other_words_waste_one_attempt_and_are_answered(attempts: Attempts) -> None:
    call = ask(stt=RevisingSTT("what are your towers", "what are your hours"), llm=EchoLLM())
    counted = attempts()
    assert (counted["changed"], counted["adopted"]) == (1, 1)
    assert counted["prompt estimated"] > 0
    assert call.history()[1] == ("assistant", "You said: what are your hours.")
    assert [request.question for request in call.llm.requests] == [
        "what are your towers",
        "what are your hours",
    ]
    assert call.one("kaiwa.turn.timeline").event["attempts"] == 2
    assert first_sound(call) - COMMIT <= 0.2


def test_tokens_of_an_answer_that_was_written_are_counted_not_estimated(
    attempts: Attempts,
) -> None:
    """It is thrown away before its first sound."""
    stt = RevisingSTT("what are your towers", "what are your hours", final_delay_ms=290)
    ask(stt=stt, llm=EchoLLM(["Yes."] * 3, first_token_ms=10), tts=ToneTTS(first_audio_ms=400))
    counted = attempts()
    assert "prompt estimated" not in counted
    assert counted["completion counted"] == 2
    assert counted["prompt counted"] > 0


def test_after_the_most_attempts_the_answer_waits_for_the_commit(attempts: Attempts) -> None:
    call = ask(
        ahead(attempts=1),
        stt=RevisingSTT("what are your towers", "what are your hours"),
        llm=EchoLLM(),
    )
    counted = attempts()
    assert counted["changed"] == 1 and "adopted" not in counted
    assert first_sound(call) > COMMIT + 0.1
    assert call.one("kaiwa.turn.timeline").event["lead_ms"] is None


def test_the_caller_who_goes_on_ends_it_at_once_and_nothing_of_it_is_seen(
    attempts: Attempts,
) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.4)
        assert call.llm.running + call.tts.running
        await call.say(0.1)
        assert call.streams() == {"stt": 1}
        await call.say(0.5)
        await call.hush(7.0)

    stt = EchoSTT(["what are", "your hours"])
    call = converse(scenario, stt=stt, llm=EchoLLM(), config=AHEAD)
    assert call.history() == [
        ("user", "what are your hours"),
        ("assistant", "You said: what are your hours."),
    ]
    counted = attempts()
    assert (counted["went_on"], counted["adopted"]) == (1, 1)
    assert first_sound(call) > 2.4
    assert len(call.all("response.created")) == 1


def test_settings_that_change_in_the_silence_begin_it_anew(attempts: Attempts) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.34)
        call.update(instructions="Be brief.")
        assert attempts()["request"] == 1
        call.update(instructions="Be brief.")
        await call.hush(7.0)

    call = converse(scenario, llm=EchoLLM([ANSWER] * 3), config=AHEAD)
    assert (attempts()["request"], attempts()["adopted"]) == (1, 1)
    assert [one.messages[0].content for one in call.llm.requests][1:] == ["Be brief."]
    assert call.done() == [("completed", "")]


def test_an_answer_is_begun_with_the_settings_of_that_moment(attempts: Attempts) -> None:
    """They come in a long silence, 0.2 s before it is begun."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.2)
        call.update(instructions="Be brief.")
        await call.hush(7.0)

    detection = {"type": "server_vad", "silence_duration_ms": 2000}
    call = converse(scenario, llm=EchoLLM([ANSWER] * 3), config=AHEAD, detection=detection)
    assert attempts() == {"adopted": 1}
    assert [one.messages[0].content for one in call.llm.requests] == ["Be brief."]


def test_nothing_is_begun_once_no_answer_is_wanted(attempts: Attempts) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(2.2)
        call.update(audio={"input": {"turn_detection": {"create_response": False}}})
        await call.hush(3.0)
        assert not call.llm.requests

    detection = {"type": "server_vad", "silence_duration_ms": 2000}
    converse(scenario, config=AHEAD, detection=detection)
    assert attempts() == {}


def test_a_request_that_differs_in_anything_else_is_made_anew(attempts: Attempts) -> None:
    async def typed(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.42)
        call.write("and mind the accent")
        await call.hush(7.0)

    call = converse(typed, llm=EchoLLM([ANSWER] * 3), config=AHEAD)
    assert attempts()["request"] == 1
    assert len(call.llm.requests[-1].messages) > len(call.llm.requests[0].messages)


# --- with a silence that is as long as the words ask for ------------------------------------------


@pytest.mark.parametrize(("pause", "tried"), [(0.4, 0), (0.9, 1)])
def test_who_goes_on_in_a_sentence_left_open_is_answered_once_and_whole(
    pause: float, tried: int, attempts: Attempts
) -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(pause)
        sent = call.frames
        await call.say(1.0)
        assert sent == [] == call.frames, "nothing of it was heard"
        await call.hush(7.0)

    call = converse(
        scenario,
        config=AHEAD,
        detection={"type": "semantic_vad"},
        stt=EchoSTT(["i want a table for two and", "a chair for the child"], word_ms=50.0),
        llm=EchoLLM(),
    )
    counted = attempts()
    assert (counted.get("went_on", 0), counted["adopted"]) == (tried, 1)
    words = "i want a table for two and a chair for the child"
    assert [content for _, content in call.history()] == [words, f"You said: {words}."]
    assert call.one("kaiwa.turn.timeline").event["attempts"] == tried + 1
    assert call.outcomes() == ["completed"]


def test_a_pause_that_sounds_like_the_end_is_time_enough(attempts: Attempts) -> None:
    """Behind "well" 2.4 s would pass, and the answer be begun 1.8 s into them; the turn model says
    after 0.25 s that 1.5 are enough."""
    call = ask(
        detection={"type": "semantic_vad", "eagerness": "low"},
        stt=EchoSTT(text="well", word_ms=50.0),
        turn=ScriptedTurnModel(0.98),
    )
    committed = call.one("input_audio_buffer.committed").at
    assert committed == pytest.approx(2.5, abs=0.03)
    assert attempts() == {"adopted": 1}
    assert first_sound(call) - committed <= 0.015


# --- over an answer ------------------------------------------------------------------------------


def over_an_answer(heard: str) -> Call:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        asked = len(call.llm.requests)
        await call.say(0.3)
        await call.hush(0.06)
        assert len(call.llm.requests) == asked, "nothing is begun for what may be no turn"
        await call.hush(9.0)

    stt = EchoSTT(["what are your opening hours", heard], word_ms=5000)
    return converse(scenario, stt=stt, llm=EchoLLM([ANSWER] * 3), config=AHEAD)


@pytest.mark.parametrize("heard", ["", "mm-hm"], ids=["cough", "backchannel"])
def test_nothing_is_begun_for_what_lets_the_answer_go_on(heard: str, attempts: Attempts) -> None:
    call = over_an_answer(heard)
    assert attempts() == {"adopted": 1}
    assert len(call.llm.requests) == 1
    assert call.outcomes() == ["completed"]
    assert call.sound() == ask().sound()


def test_words_over_an_answer_are_answered_as_soon_as_their_turn_is_over(
    attempts: Attempts,
) -> None:
    call = over_an_answer("no on sunday")
    assert attempts() == {"adopted": 2}
    assert call.outcomes() == ["interrupted", "completed"]
    committed = call.last("input_audio_buffer.committed").at
    first = min(frame.at for frame in call.frames if frame.frame.turn == 2)
    assert first - committed <= 0.015


# --- where it has no place ------------------------------------------------------------------------


def test_not_where_the_client_says_when_or_writes() -> None:
    async def manual(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        assert not call.llm.requests
        call.tell("input_audio_buffer.commit")
        await call.hush(1.0)
        assert not call.llm.requests
        call.write("hello")
        await call.hush(0.5)
        assert not call.llm.requests
        call.tell("response.create")
        await call.hush(7.0)
        assert len(call.llm.requests) == 1

    converse(manual, detection={"off": True}, llm=EchoLLM([ANSWER]), config=AHEAD)


def test_not_where_no_answer_comes_by_itself() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(5.0)
        assert not call.llm.requests

    detection = {"type": "server_vad", "create_response": False}
    converse(scenario, detection=detection, config=AHEAD)


def farewell(**agent: Any) -> Config:
    return msgspec.structs.replace(AHEAD, agent=AgentConfig(**agent))


def test_not_for_a_goodbye_which_gets_no_answer(attempts: Attempts) -> None:
    stt = RevisingSTT("goodbye", "Goodbye!", final_delay_ms=290)
    call = ask(farewell(hang_up_phrases=("goodbye",)), stt=stt)
    assert not call.llm.requests and attempts() == {}
    assert call.history()[1] == ("assistant", "Goodbye.")


def test_the_sentence_that_only_begins_with_a_goodbye_is_answered_early(
    attempts: Attempts,
) -> None:
    stt = RevisingSTT("goodbye", "goodbye is what he said", final_delay_ms=100)
    ask(farewell(hang_up_phrases=("goodbye",)), stt=stt)
    assert attempts() == {"adopted": 1}


def test_an_answer_that_was_not_to_be_given_is_no_miss(attempts: Attempts) -> None:
    """The call's time is over while the caller speaks: that is said, and no answer."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(7.0)

    call = converse(scenario, config=farewell(max_call_s=0.5), llm=EchoLLM([ANSWER]))
    assert attempts()["unasked"] == 1
    assert call.figures.speculation.rate is None


def test_not_while_an_answer_is_being_given() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        await call.say(0.6)
        await call.hush(1.0)
        assert len(call.llm.requests) == 1
        await call.hush(12.0)

    detection = {"type": "server_vad", "interrupt_response": False}
    llm = EchoLLM([ANSWER] * 2)
    call = converse(scenario, detection=detection, llm=llm, config=AHEAD)
    assert len(call.llm.requests) == 2


def test_not_for_a_caller_who_has_spoken_for_long(attempts: Attempts) -> None:
    async def scenario(call: Call) -> None:
        await call.say(10.5)
        await call.hush(7.0)

    words = EchoSTT([" ".join(f"w{number}" for number in range(35))])
    converse(scenario, stt=words, llm=EchoLLM([ANSWER]), config=AHEAD)
    assert attempts() == {}


class PaidLLM(EchoLLM):
    is_paid = True


class BusyTTS(ToneTTS):
    waiting = 1


@pytest.mark.parametrize(
    ("why", "parts"),
    [
        ("paid", {"llm": PaidLLM([ANSWER] * 2)}),
        ("queue", {"tts": BusyTTS()}),
        ("load", {"load_level": lambda: 2}),
    ],
)
def test_what_speaks_against_it_leaves_it_out(
    why: str, parts: dict[str, Any], attempts: Attempts
) -> None:
    call = ask(**parts)
    assert attempts() == {why: 1}
    assert len(call.llm.requests) == 1
    assert first_sound(call) - COMMIT > 0.1
    assert call.figures.speculation.rate == 1.0, "it would have been a hit"
    assert call.one("kaiwa.turn.timeline").event["attempts"] == 0


def test_a_paid_model_is_asked_early_where_the_operator_says_so(attempts: Attempts) -> None:
    ask(ahead(paid=True), llm=PaidLLM([ANSWER]))
    assert attempts() == {"adopted": 1}


def test_too_few_hits_end_it_and_hits_that_would_have_been_bring_it_back(
    attempts: Attempts,
) -> None:
    async def scenario(call: Call) -> None:
        for _ in range(10):
            await call.say(0.6)
            await call.hush(0.4)
            await call.say(0.3)
            await call.hush(2.0)
        assert attempts()["hit_rate"] > 0
        for _ in range(20):
            await call.say(0.6)
            await call.hush(3.0)

    llm = EchoLLM(["Yes."] * 60)
    call = converse(scenario, llm=llm, config=ahead(least_hit_rate=0.7))
    assert (call.figures.speculation.rate or 0) >= 0.7
    assert call.all("kaiwa.turn.timeline")[-1].event["lead_ms"] is not None


# --- tools, retrieval -----------------------------------------------------------------------------


def test_a_function_call_waits_for_the_commit_like_all_else() -> None:
    call = ask(llm=EchoLLM([Reply(tool_calls=(ToolCall("c1", "look_up", '{"a": 1}'),))]))
    assert call.one("response.function_call_arguments.done").at >= COMMIT
    assert call.llm.requests[0].turn == 1


HOURS = Passage(text="Nine to eight.", source="hours.md", score=0.7)


def test_passages_found_while_the_caller_spoke_are_those_of_the_question() -> None:
    """The search takes longer than the silence, and is done by then."""
    retriever = ScriptedRetriever([HOURS], delay_ms=280)
    call = ask(
        stt=EchoSTT(text="what are your hours", word_ms=100.0),
        retriever=retriever,
        llm=EchoLLM([ANSWER]),
    )
    assert call.llm.requests[0].passages == (HOURS,)
    assert first_sound(call) - COMMIT <= 0.015
    sources = call.one("kaiwa.turn.sources")
    assert sources.at == pytest.approx(COMMIT)
    assert call.one("response.created").at <= sources.at


def test_searches_ahead_run_one_at_a_time() -> None:
    most = 0

    class Watched(ScriptedRetriever):
        async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
            nonlocal most
            most = max(most, self.running + 1)
            return await super().search(query, limit_s=limit_s)

    ask(stt=EchoSTT(text="one two three four five", word_ms=50.0), retriever=Watched(delay_ms=130))
    assert most == 1


# --- what breaks ----------------------------------------------------------------------------------


def fault(**more: Any) -> ScriptedFault:
    return ScriptedFault(kind="fail", **more)


@pytest.mark.parametrize("slot", ["llm", "tts"])
def test_an_attempt_that_fails_is_begun_anew_and_nobody_is_told(
    slot: str, attempts: Attempts
) -> None:
    parts: dict[str, Any] = {"llm": EchoLLM([ANSWER, ANSWER], faults=[fault()])}
    if slot == "tts":
        parts = {"llm": EchoLLM([ANSWER] * 2), "tts": ToneTTS(faults=[fault()])}
    call = ask(**parts)
    assert attempts()["failed"] == 1
    assert call.failures == []
    assert call.done() == [("completed", "")]
    assert call.outcomes() == ["completed"]
    assert len(call.llm.requests) == 2


def test_one_that_fails_again_is_told_once() -> None:
    call = ask(llm=EchoLLM(faults=[fault(times=2, fault=Fault.OVERLOADED)]))
    assert [error.fault for error in call.failures] == [Fault.OVERLOADED]
    assert call.done() == [("failed", "llm_overloaded")]


def test_one_that_fails_after_it_was_adopted_is_told() -> None:
    """The model breaks off at 1.9, 0.4 s behind the commit."""
    call = ask(llm=EchoLLM([ANSWER], token_ms=50, faults=[fault(item=LAST)]))
    assert [error.fault for error in call.failures] == [Fault.BROKEN]
    assert call.done() == [("failed", "llm_broken")]
    assert len(call.llm.requests) == 1


def test_behind_a_chain_another_serves_the_attempt(attempts: Attempts) -> None:
    spare = EchoLLM([ANSWER])
    broken = EchoLLM(faults=[fault(request=0)])
    chain = ChainLLM(
        [broken, spare],
        now=now,
        patience=Patience(Slot.LLM, "token", 10.0, 5.0),
        attempt_s=2.5,
        continues=lambda llm: True,
    )
    voice = ChainTTS(
        [ToneTTS(), ToneTTS()],
        now=now,
        patience=Patience(Slot.TTS, "audio", 5.0, 3.0),
        attempt_s=1.5,
    )

    async def scenario(call: Call) -> None:
        call.llm.running = call.tts.running = 0
        await call.say(1.0)
        await call.hush(7.0)

    call = converse(scenario, llm=chain, tts=voice, config=AHEAD)
    assert attempts() == {"adopted": 1}
    assert first_sound(call) - COMMIT <= 0.015
    assert (spare.running, broken.running) == (0, 0)


def test_a_silence_is_counted_from_the_callers_last_word_not_from_the_attempt() -> None:
    config = msgspec.structs.replace(AHEAD, agent=AgentConfig(hold_after_ms=3000))
    plain = msgspec.structs.replace(PLAIN, agent=AgentConfig(hold_after_ms=3000))
    slow = {"llm": EchoLLM(["Nine to eight."], first_token_ms=6000)}
    early = ask(config, **slow)
    late = ask(plain, llm=EchoLLM(["Nine to eight."], first_token_ms=6000))
    assert first_sound(early) == pytest.approx(first_sound(late), abs=0.05)


def test_no_word_breaks_a_silence_in_which_nothing_was_asked() -> None:
    """A long endpoint, in which the model takes longer than callers like to wait."""
    config = msgspec.structs.replace(AHEAD, agent=AgentConfig(hold_after_ms=300))
    call = ask(
        config,
        detection={"type": "server_vad", "silence_duration_ms": 3000},
        llm=EchoLLM([ANSWER], first_token_ms=500),
    )
    assert call.history()[1] == ("assistant", ANSWER)


def test_cutting_into_an_adopted_answer_cuts_it_whole() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.8)
        await call.say(0.7)
        assert call.streams() == {"stt": 1}
        await call.hush(7.0)

    call = converse(scenario, llm=EchoLLM([ANSWER] * 3), config=AHEAD)
    assert call.outcomes() == ["interrupted", "completed"]
    assert 0 < call.all("kaiwa.turn.timeline")[0].event["cut_in_ms"] <= 340 + 300


def test_a_call_that_ends_in_the_silence_leaves_no_stream() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(1.36)
        assert call.llm.running + call.tts.running

    converse(scenario, llm=EchoLLM([ANSWER]), config=AHEAD)


def test_a_call_that_ends_is_over_when_its_search_is() -> None:
    """One that takes a moment to be given up, as a request does whose connection is closed."""

    class Slow(ScriptedRetriever):
        async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
            try:
                return await super().search(query, limit_s=limit_s)
            finally:
                self.running += 1
                await asyncio.sleep(0.1)
                self.running -= 1

    async def scenario(call: Call) -> None:
        await call.say(0.8)
        assert call.retriever is not None and call.retriever.running == 1

    stt = EchoSTT(text="what are your hours", word_ms=100.0)
    converse(scenario, config=AHEAD, retriever=Slow(delay_ms=5000), stt=stt)


# --- any conversation -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", range(4))
def test_random_conversations_leave_nothing_behind_and_replay_identically(batch: int) -> None:
    """Sixty in each batch; `converse` looks at the streams and the events' order. A thousand were
    run once."""
    for seed in range(batch * 60, batch * 60 + 60):
        dice = random.Random(seed)
        _, reel = recorded(_anything(dice), **_any_parts(dice))
        assert replay(reel.recording).difference is None, seed


DETECTIONS: list[dict[str, Any] | None] = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "semantic_vad"},
    {"type": "semantic_vad", "eagerness": "low"},
]


def _anything(dice: random.Random) -> Callable[[Call], Awaitable[None]]:
    async def scenario(call: Call) -> None:
        for _ in range(dice.randint(1, 5)):
            await call.say(dice.uniform(0.06, 0.9))
            await call.hush(dice.choice([0.1, 0.3, 0.42, 0.46, 0.6, 1.5, 2.5]))
            match dice.randrange(14):
                case 0:
                    call.tell("response.cancel")
                case 1:
                    call.tell("input_audio_buffer.clear")
                case 2:
                    call.tell("response.create")
                case 3:
                    call.write("and one more thing")
                case 4:
                    call.update(instructions=f"Number {dice.random()}")
                case 5:
                    call.update(audio={"input": {"turn_detection": dice.choice(DETECTIONS)}})
                case 6:
                    call.tell("input_audio_buffer.commit")
                case 7:
                    call.update(output_modalities=dice.choice([["text"], ["audio"]]))
        await call.hush(dice.choice([0.0, 0.25, 0.48, 3.0]))
        await call.session.close()
        running = {task.get_name() for task in asyncio.all_tasks()}
        assert not [
            name for name in running if "reply" in name or "think" in name or "search" in name
        ]
        assert call.session._answers.foresight._attempt is None
        records = [sent.event for sent in call.all("kaiwa.turn.timeline")]
        assert all(record["attempts"] <= 2 for record in records)

    return scenario


def _any_parts(dice: random.Random) -> dict[str, Any]:
    words = ["what are your hours", "on saturday and", "", "well", "goodbye", "mm-hm"]
    call = Reply(tool_calls=(ToolCall("c1", "look_up", "{}"),))
    script: list[str | Reply] = ["Yes.", ANSWER, call]
    replies = [dice.choice(script) for _ in range(12)]
    faults = [fault(request=dice.randint(1, 5), item=dice.choice([0, 2, LAST]))]
    levels = dice.choice([1, 1, 4])
    agent = AgentConfig(
        hang_up_phrases=("goodbye",),
        greeting=dice.choice(["", "Hello there."]),
        idle_after_s=dice.choice([0, 2.0]),
        hold_after_ms=dice.choice([0, 400, 2500]),
        max_call_s=dice.choice([0, 0, 6.0]),
    )
    return {
        "config": msgspec.structs.replace(AHEAD, rag=RagConfig(), agent=agent),
        "detection": dice.choice(DETECTIONS[1:]),
        "stt": EchoSTT(
            [dice.choice(words) for _ in range(12)],
            final_delay_ms=dice.choice([20, 150, 400]),
            word_ms=100.0,
        ),
        "llm": dice.choice([EchoLLM, EchoLLM, PaidLLM])(
            replies,
            first_token_ms=dice.choice([5, 50, 300]),
            faults=faults * dice.randint(0, 1),
        ),
        "tts": ToneTTS(
            first_audio_ms=dice.choice([5, 30, 200]), faults=faults * dice.randint(0, 1)
        ),
        "turn": ScriptedTurnModel(
            *(dice.choice([0.02, 0.5, 0.98, None]) for _ in range(20)),
            delay_ms=dice.choice([30, 80, 300]),
        ),
        "retriever": ScriptedRetriever([HOURS], delay_ms=dice.choice([1, 50, 200, 400])),
        "load_level": lambda: int(now() // 0.7) % levels,
    }
