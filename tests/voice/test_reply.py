"""What breaks behind an answer is apologised for or named; the caller never waits in silence."""

import asyncio
from typing import Any

import msgspec
import pytest
import structlog

from mocks.clock import now
from mocks.faults import LAST, ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.tts import ToneTTS
from providers.base import Fault, Passage, Slot, SpeechAudio, ToolCall
from tests.driving import PLAIN, Call, converse
from voice.chain_llm import ChainLLM
from voice.config import (
    AgentConfig,
    Config,
    LlmConfig,
    PlayoutConfig,
    SpeculationConfig,
    TtsConfig,
)
from voice.conversation import CUT_MARK
from voice.metrics import PROVIDER_ERRORS
from voice.patience import Patience
from voice.phrases import HOLD, all_phrases, apology

ANSWER = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
SORRY = apology("en")
CREATED = 1.5
GRACE_S = 0.25
SHORT_LIMITS = msgspec.structs.replace(
    PLAIN,
    llm=LlmConfig(first_token_limit_s=1.0, token_limit_s=0.5),
    tts=TtsConfig(first_audio_limit_s=0.8, audio_limit_s=0.4, sentence_gap_ms=0, clause_gap_ms=0),
)
HOURS = Passage(text="We are open from nine until eight.", source="hours.md", score=0.7)


def fault(kind: Any, item: int = 0, **more: Any) -> ScriptedFault:
    return ScriptedFault(kind=kind, item=item, **more)


def two_turns(**parts: Any) -> Call:
    """A question while something is broken, and one when it no longer is."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(15.0)
        await call.say(1.0)
        await call.hush(10.0)

    llm = parts.pop("llm", None) or EchoLLM([ANSWER, "Second answer."])
    call = converse(scenario, llm=llm, config=SHORT_LIMITS, **parts)
    assert call.done()[1] == ("completed", ""), "the next turn works"
    assert call.outcomes()[1] == "completed"
    assert call.history()[-1] == ("assistant", "Second answer.")
    return call


def silence_s(call: Call) -> float:
    """From the first response's beginning to its first sound or its end."""
    first = [frame.at for frame in call.frames if frame.frame.turn == 1]
    over: float = min([*first[:1], call.all("response.done")[0].at])
    return over - call.all("response.created")[0].at


# --- the model ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "code", "after_s"),
    [
        (fault("fail"), "llm_broken", 0.0),
        (fault("fail", fault=Fault.OVERLOADED), "llm_overloaded", 0.0),
        (fault("stall"), "llm_timeout", 1.0 + GRACE_S),
        (fault("cut"), "llm_broken", 0.05),
    ],
    ids=["fails", "overloaded", "stalls", "says_nothing"],
)
def test_a_model_that_gives_nothing_is_apologised_for(
    broken: ScriptedFault, code: str, after_s: float
) -> None:
    call = two_turns(llm=EchoLLM([ANSWER, "Second answer."], faults=[broken]))
    assert call.done()[0] == ("failed", code)
    assert call.outcomes()[0] == "failed"
    assert call.history()[1] == ("assistant", SORRY)
    assert call.sound_ms(1) == pytest.approx(len(SORRY) * 65, abs=1)
    assert silence_s(call) == pytest.approx(after_s + 0.03, abs=0.001)
    assert [error.slot.value for error in call.failures] == ["llm"]


@pytest.mark.parametrize("kind", ["fail", "stall"])
def test_a_model_that_breaks_in_mid_answer_keeps_what_was_said_and_apologises(kind: str) -> None:
    call = two_turns(llm=EchoLLM([ANSWER, "Second answer."], faults=[fault(kind, 12)]))
    status, code = call.done()[0]
    assert (status, code) == ("failed", "llm_broken" if kind == "fail" else "llm_timeout")
    said = "We are open from nine until eight."
    assert call.history()[1] == ("assistant", f"{said} {SORRY}")
    assert call.sound_ms(1) == pytest.approx(len(f"{said} {SORRY}") * 65, abs=1)


@pytest.mark.parametrize("text", ["", "***", "\n\n"])
def test_an_answer_without_a_word_is_a_failure_not_silence(text: str) -> None:
    call = two_turns(llm=EchoLLM([text, "Second answer."]))
    assert call.done()[0] == ("failed", "llm_broken")
    assert call.history()[1] == ("assistant", SORRY)


def test_a_slow_model_within_its_limits_is_waited_for() -> None:
    call = two_turns(llm=EchoLLM([ANSWER, "Second answer."], first_token_ms=990, token_ms=90))
    assert call.done()[0] == ("completed", "")
    assert call.history()[1] == ("assistant", ANSWER)


@pytest.mark.parametrize("item", [0, 2])
def test_written_answers_fail_in_writing(item: int) -> None:
    async def scenario(call: Call) -> None:
        call.update(output_modalities=["text"])
        call.write("hello")
        call.tell("response.create")
        await call.hush(3.0)

    call = converse(scenario, llm=EchoLLM([ANSWER], faults=[fault("fail", item)]))
    assert call.done() == [("failed", "llm_broken")]
    assert call.frames == []
    text = call.one("response.output_text.done").event["text"]
    assert text == (SORRY if item == 0 else "We are")


def test_a_call_of_a_model_that_failed_is_not_the_clients_to_make() -> None:
    reply = Reply(tool_calls=(ToolCall("call_1", "look", '{"a": 1, "b": 2}'),))
    call = two_turns(llm=EchoLLM([reply, "Second answer."], faults=[fault("fail", 3)]))
    assert call.done()[0] == ("failed", "llm_broken")
    assert call.all("response.function_call_arguments.done") == []
    assert call.history()[1] == ("assistant", SORRY)


# --- the voice ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "code", "after_s"),
    [
        (fault("fail"), "tts_broken", 0.0),
        (fault("stall"), "tts_timeout", 0.8 + GRACE_S),
        (fault("cut"), "tts_broken", 0.03),
    ],
    ids=["fails", "stalls", "gives_nothing"],
)
def test_a_voice_that_gives_no_sound_ends_the_answer_at_once(
    broken: ScriptedFault, code: str, after_s: float
) -> None:
    """There is no other voice to apologise with: the client is told."""
    call = two_turns(tts=ToneTTS(faults=[broken]))
    assert call.done()[0] == ("failed", code)
    assert call.outcomes()[0] == "failed"
    assert call.sound_ms(1) == 0
    first_clause = CREATED + 0.05 + 0.07
    assert call.all("response.done")[0].at == pytest.approx(first_clause + after_s, abs=0.01)
    assert [role for role, _ in call.history()] == ["user", "user", "assistant"]


@pytest.mark.parametrize(("kind", "code"), [("fail", "tts_broken"), ("stall", "tts_timeout")])
def test_a_voice_that_breaks_in_mid_clause_ends_the_answer_behind_its_sound(
    kind: str, code: str
) -> None:
    call = two_turns(tts=ToneTTS(faults=[fault(kind, 5)]))
    assert call.done()[0] == ("failed", code)
    assert call.sound_ms(1) == pytest.approx(500)
    heard_to = next(frame.at for frame in call.frames) + 0.5
    assert call.all("response.done")[0].at <= heard_to + 0.4 + GRACE_S
    assert call.llm.running == 0


def test_a_failed_voice_does_not_wait_for_the_rest_of_the_model() -> None:
    slow = EchoLLM([ANSWER * 3, "Second answer."], token_ms=100)
    call = two_turns(llm=slow, tts=ToneTTS(faults=[fault("fail")]))
    assert silence_s(call) < 1.0
    assert call.llm.aborted == 1


class MuteTTS(ToneTTS):
    """Gives samples, and all of them are zero."""

    async def stream(self, text: str, **how: Any) -> Any:
        async for event in super().stream(text, **how):
            if isinstance(event, SpeechAudio) and len(self.texts) == 1:
                yield SpeechAudio(bytes(len(event.pcm)))
            else:
                yield event


def test_a_voice_that_gives_only_zeros_has_failed() -> None:
    call = two_turns(tts=MuteTTS())
    assert call.done()[0] == ("failed", "tts_broken")


def test_a_slow_voice_within_its_limits_is_waited_for() -> None:
    call = two_turns(tts=ToneTTS(rtf=2.0))
    assert call.done()[0] == ("completed", "")
    assert call.sound_ms(1) == pytest.approx(len(ANSWER) * 65, abs=1)


def test_a_voice_that_waits_for_room_is_not_taken_for_stalled() -> None:
    long = " ".join(f"This is sentence number {n} of a rather long story." for n in range(12))

    async def scenario(call: Call) -> None:
        call.write("tell me all")
        call.tell("response.create")
        await call.hush(50.0)

    call = converse(scenario, llm=EchoLLM([long]), config=SHORT_LIMITS)
    assert call.done() == [("completed", "")]
    assert call.sound_ms() == pytest.approx(len(long) * 65, abs=20)


def test_when_model_and_voice_both_fail_the_client_is_told() -> None:
    call = two_turns(
        llm=EchoLLM([ANSWER, "Second answer."], faults=[fault("fail")]),
        tts=ToneTTS(faults=[fault("fail")]),
    )
    assert call.done()[0] == ("failed", "tts_broken")
    assert sorted(error.slot.value for error in call.failures) == ["llm", "tts"]


# --- retrieval ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fail", "stall", "slow", "cut"])
def test_without_passages_the_answer_goes_on_and_the_record_says_why(kind: str) -> None:
    retriever = ScriptedRetriever([HOURS], delay_ms=50, faults=[fault(kind)])
    call = two_turns(retriever=retriever)
    assert call.done()[0] == ("completed", "")
    assert call.llm.requests[0].passages == ()
    assert call.llm.requests[1].passages == (HOURS,)
    spans = {s["name"]: s["ms"] for s in call.all("kaiwa.turn.timeline")[0].event["spans"]}
    assert spans["retrieval"] <= 300.0
    assert len(call.all("kaiwa.turn.sources")) == 1


# --- our own bugs ---------------------------------------------------------------------------------


class WrongLLM(EchoLLM):
    def stream(self, request: Any) -> Any:
        if not self.requests:
            self.requests.append(request)
            raise RuntimeError("a bug")
        return super().stream(request)


def test_a_bug_in_one_answer_ends_that_answer_and_no_more() -> None:
    call = two_turns(llm=WrongLLM(["Second answer."]))
    assert call.done()[0] == ("failed", "internal_error")
    assert call.outcomes()[0] == "failed"
    assert call.all("kaiwa.turn.timeline")[0].event["cut_in_ms"] is None


def test_a_limit_is_counted_for_the_last_token_too() -> None:
    broken = fault("stall", LAST)
    call = two_turns(llm=EchoLLM([ANSWER, "Second answer."], faults=[broken]))
    assert call.done()[0] == ("failed", "llm_timeout")


def test_nothing_is_left_running_when_a_call_ends_in_any_phase() -> None:
    for at in (1.5, 1.52, 1.6, 1.65, 2.0, 3.0, 6.8, 7.0):

        async def scenario(call: Call, at: float = at) -> None:
            await call.say(1.0)
            await call.hush_until(at)
            began = asyncio.get_running_loop().time()
            await call.session.close()
            assert asyncio.get_running_loop().time() - began <= 2.0
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            assert rest == set()

        converse(scenario, llm=EchoLLM([ANSWER]), retriever=ScriptedRetriever())


def test_sentences_are_parted_by_silence_and_the_words_stay_where_they_sound() -> None:
    """Made one by one, "It is open. It is free." would be spoken as one breath."""
    answer = "It is open on Saturday, I think. It is free for everybody who comes."

    async def scenario(call: Call) -> None:
        call.write("When?")
        call.tell("response.create")
        await call.hush(12.0)

    def sounded(config: Config) -> Call:
        return converse(scenario, llm=EchoLLM([answer]), config=config)

    parted, plain = sounded(Config()), sounded(PLAIN)
    clauses = parted.tts.texts
    assert "".join(clauses) == answer
    gaps_ms = [220 if clause.rstrip().endswith(".") else 90 for clause in clauses[:-1]]
    longer_ms = (len(parted.sound()) - len(plain.sound())) / 2 / 24
    assert longer_ms == sum(gaps_ms) > 0
    last_mark = parted.last("kaiwa.speech.marks").event["marks"][-1]
    assert last_mark == [len(answer), round(len(parted.sound()) / 2 / 24)]


# --- a long silence -------------------------------------------------------------------------------


def held(llm: EchoLLM, **agent: Any) -> Call:
    config = msgspec.structs.replace(PLAIN, agent=AgentConfig(**agent))

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(25.0)

    return converse(scenario, llm=llm, config=config)


def gaps(call: Call) -> list[float]:
    """Silences over half a second, from the end of the caller's speech to the last sound."""
    heard_to, found = 1.0, []
    for frame in call.frames:
        if frame.at - heard_to > 0.5:
            found.append(round(frame.at - heard_to, 2))
        heard_to = max(heard_to, frame.at) + frame.ms / 1000
    return found


def test_a_slow_model_leaves_nobody_in_silence_for_three_seconds() -> None:
    call = held(EchoLLM(["Nine to eight."], first_token_ms=8000))
    first, second = HOLD["en"][:2]
    assert call.history()[-1] == ("assistant", f"{first} {second} Nine to eight.")
    assert call.outcomes() == ["completed"]
    assert len(gaps(call)) == 3 and max(gaps(call)) <= 3.0
    timeline = call.one("kaiwa.turn.timeline").event
    assert timeline["tts_start_ms"] > 8000, "the figure is of the answer, not of the word before"


def test_an_answer_that_waits_behind_a_word_into_the_silence_starts_with_its_own_sound() -> None:
    call = held(EchoLLM(["Nine to eight."], first_token_ms=2100))
    hold_ms = len(HOLD["en"][0]) * 65
    hold_began_ms = 1000 * (call.frames[0].at - 1.0)
    timeline = call.one("kaiwa.turn.timeline").event
    assert timeline["tts_start_ms"] > hold_began_ms + hold_ms - PlayoutConfig().lead_ms - 40


def test_a_model_that_stops_in_mid_answer_is_waited_for_with_a_word() -> None:
    call = held(EchoLLM([ANSWER], faults=[fault("stall", 9)]))
    said = f"We are open from nine until eight. {HOLD['en'][0]} {SORRY}"
    assert call.history()[-1] == ("assistant", said)
    assert max(gaps(call)) <= 3.0


def test_a_quick_answer_is_not_held_up() -> None:
    assert held(EchoLLM([ANSWER])).history()[-1] == ("assistant", ANSWER)


def test_an_operator_may_prefer_silence() -> None:
    llm = EchoLLM(["Nine to eight."], first_token_ms=8000)
    assert held(llm, hold_after_ms=0).history()[-1] == ("assistant", "Nine to eight.")


def test_a_caller_may_cut_in_on_the_word_that_breaks_the_silence() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(3.0)
        await call.say(1.0)
        await call.hush(6.0)

    call = converse(scenario, llm=EchoLLM(["late", "Second."], first_token_ms=2500), config=PLAIN)
    assert call.outcomes() == ["interrupted", "completed"]
    assert call.history()[-1][1].endswith("Second.")


class Anyhow(ChainLLM):
    """As `Call` counts streams."""

    running = 0


def chain_of(*models: EchoLLM, goes_on: bool = False) -> Anyhow:
    return Anyhow(
        models,
        now=now,
        patience=Patience(Slot.LLM, "token", 10.0, 5.0),
        attempt_s=2.0,
        continues=lambda one: goes_on,
    )


def asked(chain: ChainLLM, **parts: Any) -> Call:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(12.0)

    config = msgspec.structs.replace(parts.pop("config", PLAIN), agent=AgentConfig(hold_after_ms=0))
    return converse(scenario, llm=chain, config=config, **parts)


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("kind", ["fail", "stall"])
def test_a_model_that_dies_before_its_first_clause_is_stood_in_for_from_the_beginning(
    kind: str, goes_on: bool
) -> None:
    """Three tokens came, and no clause of them."""
    second = EchoLLM(["Our hours are nine to eight."])
    call = asked(chain_of(EchoLLM([ANSWER], faults=[fault(kind, 3)]), second, goes_on=goes_on))
    assert call.done() == [("completed", "")] and call.outcomes() == ["completed"]
    assert call.history()[-1] == ("assistant", "Our hours are nine to eight.")
    assert second.requests[0].messages[-1].role == "user", "it is not told to go on"
    assert len([one for one in second.requests[0].messages if one.role != "system"]) == 1
    assert silence_s(call) <= (0.3 if kind == "fail" else 2.0 + GRACE_S + 0.3)


def test_a_short_answer_that_breaks_off_at_its_very_end_is_stood_in_for() -> None:
    first = EchoLLM(["At nine"], faults=[fault("fail", LAST)])
    call = asked(chain_of(first, EchoLLM(["From nine on."])))
    assert call.history()[-1] == ("assistant", "From nine on.")


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_has_gone_to_the_voice_stays_said_and_only_who_can_go_on_does(goes_on: bool) -> None:
    first = EchoLLM([ANSWER], faults=[fault("fail", 12)])
    call = asked(chain_of(first, EchoLLM([" open never."]), goes_on=goes_on))
    said = "We are open from nine until eight."
    after = "On Sundays we are open never." if goes_on else SORRY
    assert call.history()[-1] == ("assistant", f"{said} {after}")
    assert call.done() == [("completed", "") if goes_on else ("failed", "llm_broken")]


def test_an_answer_begun_early_that_dies_before_its_first_clause_is_stood_in_for() -> None:
    """The model stalls at 1.4, is given up on behind the commit at 1.5, and nothing was heard."""
    config = msgspec.structs.replace(PLAIN, speculation=SpeculationConfig())
    first = EchoLLM([ANSWER], token_ms=50, faults=[fault("stall", 3)])
    call = asked(chain_of(first, EchoLLM(["Our hours are nine to eight."])), config=config)
    assert call.one("kaiwa.turn.timeline").event["attempts"] == 1
    assert call.done() == [("completed", "")]
    assert call.history()[-1] == ("assistant", "Our hours are nine to eight.")


def test_in_writing_no_word_that_was_sent_is_taken_back() -> None:
    async def scenario(call: Call) -> None:
        call.update(output_modalities=["text"])
        call.write("hello")
        call.tell("response.create")
        await call.hush(3.0)

    second = EchoLLM(["Our hours are nine to eight."])
    chain = chain_of(EchoLLM([ANSWER], faults=[fault("fail", 3)]), second)
    call = converse(scenario, llm=chain)
    assert call.done() == [("failed", "llm_broken")]
    assert call.history()[-1] == ("assistant", "We are open") and not second.requests


def test_a_call_that_was_begun_is_not_begun_anew() -> None:
    half = Reply(text="", tool_calls=(ToolCall("call_1", "look_up", '{"a": 1}'),))
    second = EchoLLM(["Our hours are nine to eight."])
    call = asked(chain_of(EchoLLM([half], faults=[fault("fail", LAST)]), second))
    assert call.done() == [("failed", "llm_broken")] and not second.requests


def test_a_chains_failure_is_one_log_line_and_one_count_though_the_answer_fails_by_it() -> None:
    chain = chain_of(EchoLLM(faults=[fault("fail")]))
    counted = PROVIDER_ERRORS.labels("llm", "echo", "broken")
    before = counted._value.get()

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(5.0)

    with structlog.testing.capture_logs() as lines:
        call = converse(scenario, llm=chain)
    assert call.done()[0] == ("failed", "llm_broken")
    told = [line for line in lines if line["event"] == "provider_failed"]
    assert [line["turn"] for line in told] == [1] and told[0]["session"]
    assert counted._value.get() == before, "by the desk, which the chain tells"


# --- what is kept as sound ------------------------------------------------------------------------


class Kept:
    """Every sentence, as half a second of loud sound."""

    def sound(self, text: str, voice: str) -> bytes | None:
        return self.spare(text) if voice == "default" else None

    def spare(self, text: str) -> bytes | None:
        known = text in all_phrases("en")
        return (9000).to_bytes(2, "little") * (24_000 // 2) if known else None


def alone(llm: EchoLLM, tts: ToneTTS) -> Call:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(20.0)

    config = msgspec.structs.replace(PLAIN, agent=AgentConfig())
    return converse(scenario, llm=llm, tts=tts, recitals=Kept(), config=config)


def test_a_dead_voice_still_apologises() -> None:
    call = alone(EchoLLM([ANSWER]), ToneTTS(faults=[fault("fail")]))
    assert call.done() == [("failed", "tts_broken")]
    assert call.history()[-1] == ("assistant", SORRY)
    assert call.sound_ms(1) == pytest.approx(500, abs=1)


def test_a_voice_that_dies_in_mid_answer_apologises_and_keeps_only_what_was_said() -> None:
    call = alone(EchoLLM([ANSWER]), ToneTTS(faults=[ScriptedFault(kind="fail", request=2, item=3)]))
    assert call.done() == [("failed", "tts_broken")]
    assert call.history()[-1] == (
        "assistant",
        f"We are open from nine until eight. On{CUT_MARK} {SORRY}",
    )


def test_a_dead_model_and_a_dead_voice_apologise_once() -> None:
    call = alone(EchoLLM(faults=[fault("fail")]), ToneTTS(faults=[fault("fail")]))
    assert call.history()[-1] == ("assistant", SORRY)
    assert call.sound_ms(1) == pytest.approx(500, abs=1)


def test_a_silence_is_broken_without_waiting_for_the_voice() -> None:
    slow = ToneTTS(first_audio_ms=2000)
    call = alone(EchoLLM(["Nine to eight."], first_token_ms=4000), slow)
    assert gaps(call)[0] == pytest.approx(2.5, abs=0.03)


def test_a_voice_that_hangs_is_waited_for_with_a_word_and_apologised_for() -> None:
    call = alone(EchoLLM([ANSWER]), ToneTTS(faults=[fault("stall")]))
    assert call.done() == [("failed", "tts_timeout")]
    assert call.history()[-1] == ("assistant", f"{HOLD['en'][0]} {HOLD['en'][1]} {SORRY}")
    assert max(gaps(call)) <= 3.0


def test_a_voice_that_is_slow_is_waited_for_with_a_word() -> None:
    call = alone(EchoLLM(["Nine to eight."]), ToneTTS(first_audio_ms=4000))
    assert call.done() == [("completed", "")]
    assert call.history()[-1] == ("assistant", f"{HOLD['en'][0]} Nine to eight.")
    assert max(gaps(call)) <= 3.0


def test_another_voice_than_the_operators_says_it_itself() -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"output": {"voice": "alloy"}})
        await call.say(1.0)
        await call.hush(8.0)

    call = converse(scenario, llm=EchoLLM(faults=[fault("fail")]), recitals=Kept())
    assert call.sound_ms(1) == pytest.approx(len(SORRY) * 65, abs=1)
