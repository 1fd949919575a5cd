"""Whole calls with speech over an answer: what the client gets, and what it must not notice.

answer   #######______________#########     held back, cut, or gone on with where it stopped
caller          ~~~~~ "mm-hm"
"""

from typing import Any

import msgspec
import pytest

from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from tests.driving import PLAIN, Call, converse
from voice.config import AgentConfig, BargeInConfig, Config

ANSWER = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
SPOKEN_S = len(ANSWER) * 0.065
QUESTION = "what are your opening hours"


def talked_over(
    heard: str, seconds: float = 0.3, *, at: float = 3.0, config: Config = PLAIN, **parts: Any
) -> Call:
    """A question; over its answer, at `at`, the recogniser hears `heard`."""

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(at)
        await call.say(seconds)
        await call.hush(10.0)

    stt = parts.pop("stt", EchoSTT([QUESTION, heard], word_ms=5000))
    llm = EchoLLM([ANSWER, "Second answer."])
    return converse(scenario, stt=stt, llm=llm, config=config, **parts)


def ducks(call: Call) -> list[bool]:
    return [entry.event["ducked"] for entry in call.all("kaiwa.speech.ducked")]


def whole(call: Call) -> bytes:
    return call.sound(1)


@pytest.mark.parametrize("heard", ["", "mm-hm"], ids=["cough", "backchannel"])
def test_what_is_no_turn_leaves_no_trace_on_the_wire_and_every_sample_sounds_once(
    heard: str,
) -> None:
    undisturbed = talked_over("", 0.0)
    call = talked_over(heard)
    assert ducks(call) == [True, False]
    assert whole(call) == whole(undisturbed)
    assert [f.frame.at_ms for f in call.frames] == [f.frame.at_ms for f in undisturbed.frames]
    hidden = r"kaiwa\.speech|.*delta|session\."
    events = [line.split(" ", 1)[1] for line in call.story(leave_out=hidden) if "…" not in line]
    expected = [line.split(" ", 1)[1] for line in undisturbed.story(leave_out=hidden)]
    assert events == [line for line in expected if "…" not in line and "sound" not in line]
    assert call.history() == [("user", QUESTION), ("assistant", ANSWER)]
    assert call.outcomes() == ["completed"]
    assert call.client.cleared_at == []


def test_the_answer_is_silent_while_it_is_held_back_and_no_longer() -> None:
    call = talked_over("mm-hm", 0.3)
    on, off = (entry.at for entry in call.all("kaiwa.speech.ducked"))
    assert on == pytest.approx(3.04, abs=0.03)
    assert off == pytest.approx(3.4, abs=0.06), "the final 20 ms behind the pause"
    held = [frame.at for frame in call.frames if on < frame.at < off]
    assert held == []
    assert any(frame.at == pytest.approx(off) for frame in call.frames), "at once"


def test_a_resumed_answer_is_no_underrun() -> None:
    call = talked_over("mm-hm")
    answer = next(iter(call.session._answers._recent.values()))
    assert answer.playout.underruns == 0


def test_the_last_frame_leaves_as_soon_as_if_the_answer_were_cut() -> None:
    at_once = msgspec.structs.replace(PLAIN, barge_in=BargeInConfig(confirm_ms=0))
    for at in (2.0, 2.3, 2.66, 3.14):
        lasts = []
        for config in (PLAIN, at_once):
            call = talked_over("no stop", 0.8, at=at, config=config)
            lasts.append(max(frame.at for frame in call.frames if frame.frame.turn == 1))
        assert lasts[0] == lasts[1] <= at + 0.15


def test_words_cut_it_and_are_answered() -> None:
    call = talked_over("no stop please", 0.4)
    assert ducks(call) == [True, False]
    assert call.done() == [("cancelled", "turn_detected"), ("completed", "")]
    started = call.all("input_audio_buffer.speech_started")[1]
    assert started.event["audio_start_ms"] == pytest.approx(3000 - 320, abs=40), "from its sound on"
    texts = [text for _, text in call.history()]
    assert texts[2:] == ["no stop please", "Second answer."] and texts[1].endswith(" —")
    assert call.outcomes() == ["interrupted", "completed"]
    kinds = [entry.type for entry in call.sent if entry.at >= started.at]
    assert kinds.index("response.done") < kinds.index("kaiwa.speech.ducked")


def test_the_turn_of_a_confirmed_doubt_is_timed_from_its_first_sound() -> None:
    call = talked_over("no stop please do", 1.2, stt=EchoSTT([QUESTION, "no stop please do"]))
    second = call.all("kaiwa.turn.timeline")[1].event
    assert 200 <= second["partial_ms"] <= 700
    partials = [entry.event["text"] for entry in call.all("kaiwa.transcript.partial")]
    assert "no stop" in partials and "no stop please do" in partials


def test_our_own_voice_in_the_callers_microphone_is_not_answered() -> None:
    call = talked_over("open from nine until", 0.4)
    assert call.outcomes() == ["completed"]
    assert whole(call) == whole(talked_over("", 0.0))


def test_the_same_words_are_a_turn_when_the_agent_does_not_say_them() -> None:
    call = talked_over("parking for bicycles", 0.4)
    assert call.outcomes() == ["interrupted", "completed"]


def test_a_yes_over_the_last_word_is_answered() -> None:
    call = talked_over("yes", at=round((1.65 + SPOKEN_S - 0.14) / 0.02) * 0.02)
    assert call.outcomes() == ["completed", "completed"]
    assert call.history()[2:] == [("user", "yes"), ("assistant", "Second answer.")]


def test_cancel_while_held_back_ends_the_answer_and_the_hold() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(0.2)
        call.tell("response.cancel")
        await call.hush(2.0)

    stt = EchoSTT([QUESTION, ""])
    call = converse(scenario, stt=stt, llm=EchoLLM([ANSWER]))
    assert ducks(call) == [True, False]
    assert call.done() == [("cancelled", "client_cancelled")]
    assert call.outcomes() == ["cancelled"]


def test_truncate_while_held_back_corrects_what_was_heard_and_cuts_nothing() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(0.2)
        item = call.frames[-1].item_id
        call.tell("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
        await call.hush(9.0)

    call = converse(scenario, stt=EchoSTT([QUESTION, ""]), llm=EchoLLM([ANSWER]))
    assert whole(call) == whole(talked_over("", 0.0))
    assert call.history()[1] == ("assistant", "We are —")


def test_clear_while_held_back_lets_the_answer_go_on() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(0.2)
        call.tell("input_audio_buffer.clear")
        await call.hush(9.0)

    call = converse(scenario, stt=EchoSTT([QUESTION, "never heard"]), llm=EchoLLM([ANSWER]))
    assert ducks(call) == [True, False]
    assert whole(call) == whole(talked_over("", 0.0))
    assert call.outcomes() == ["completed"]


def test_commit_while_held_back_is_a_turn() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(0.2)
        call.tell("input_audio_buffer.commit")
        await call.hush(4.0)

    call = converse(scenario, stt=EchoSTT([QUESTION, "mm-hm"]), llm=EchoLLM([ANSWER, "Well."]))
    assert call.outcomes()[0] == "interrupted"
    assert ("user", "mm-hm") in call.history()


def test_a_recogniser_that_fails_over_an_answer_leaves_it_to_the_length() -> None:
    faults = [ScriptedFault(kind="fail", item=0, request=n) for n in (2, 3)]
    short = talked_over("no", 0.3, stt=EchoSTT([QUESTION], faults=faults))
    assert short.outcomes() == ["completed"]
    long = talked_over("no", 1.0, stt=EchoSTT([QUESTION], faults=faults))
    assert long.outcomes()[0] == "interrupted"


def test_in_the_protected_seconds_the_answer_sounds_on_without_words() -> None:
    config = msgspec.structs.replace(PLAIN, agent=AgentConfig(protected_ms=3000))
    call = talked_over("", 0.9, at=2.4, config=config)
    assert ducks(call) == [] and call.outcomes() == ["completed"]
    words = talked_over("stop it now", 0.9, at=2.4, config=config)
    assert words.outcomes() == ["interrupted", "completed"]


def test_a_written_answer_is_cut_by_any_speech_as_it_has_no_sound_to_hold_back() -> None:
    async def scenario(call: Call) -> None:
        call.update(output_modalities=["text"])
        call.write("hello")
        call.tell("response.create")
        await call.hush(0.1)
        await call.say(0.3)
        await call.hush(3.0)

    call = converse(scenario, llm=EchoLLM([ANSWER, "Fine."]), stt=EchoSTT(["on sunday"]))
    assert ducks(call) == []
    assert call.done()[0] == ("cancelled", "turn_detected")


def test_who_does_not_ask_for_the_extension_gets_no_word_of_it() -> None:
    async def scenario(call: Call) -> None:
        call.update(include=["kaiwa.turn.timeline"])
        await call.say(1.0)
        await call.hush_until(3.0)
        await call.say(0.3)
        await call.hush(8.0)

    call = converse(scenario, stt=EchoSTT([QUESTION, ""]), llm=EchoLLM([ANSWER]))
    assert ducks(call) == []
    assert call.outcomes() == ["completed"]


@pytest.mark.parametrize(
    ("partial_ms", "final_ms"), [(0, 20), (200, 120), (300, 300)], ids=["mock", "sherpa", "sphinx"]
)
def test_late_recognisers_make_no_false_and_miss_no_true_barge_in(
    partial_ms: float, final_ms: float
) -> None:
    def hears(text: str) -> EchoSTT:
        times: dict[str, Any] = {"partial_delay_ms": partial_ms, "final_delay_ms": final_ms}
        return EchoSTT([QUESTION, text], word_ms=150, **times)

    for nothing, seconds in (("", 0.3), ("mm-hm", 0.4), ("uh huh okay", 0.7)):
        call = talked_over(nothing, seconds, stt=hears(nothing))
        assert call.outcomes() == ["completed"], nothing
    for words, seconds in (("stop", 0.35), ("no wait a moment", 0.9), ("okay but when", 1.2)):
        call = talked_over(words, seconds, stt=hears(words))
        assert call.outcomes() == ["interrupted", "completed"], words
        assert call.history()[2] == ("user", words)


def test_a_backchannel_that_goes_on_in_one_breath_is_a_turn() -> None:
    stt = EchoSTT([QUESTION, "mm-hm no wait please"], word_ms=300, partial_delay_ms=200)
    call = talked_over("", 1.6, stt=stt)
    assert call.outcomes() == ["interrupted", "completed"]
    assert call.history()[2] == ("user", "mm-hm no wait please")


def test_a_cough_before_the_first_sound_does_not_lose_the_answer() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.52)
        await call.say(0.2)
        await call.hush(9.0)

    pending = EchoSTT([QUESTION, ""], final_delay_ms=700)
    call = converse(scenario, stt=pending, llm=EchoLLM([ANSWER]))
    assert ("assistant", ANSWER) in call.history()
    assert call.outcomes() == ["completed"]
    thinking = EchoSTT([QUESTION, ""])
    call = converse(scenario, stt=thinking, llm=EchoLLM([ANSWER, ANSWER], first_token_ms=400))
    assert ("assistant", ANSWER) in call.history()
    assert call.outcomes() == ["completed"]
    assert len(call.llm.requests) == 1, "it was held back, not begun anew"
