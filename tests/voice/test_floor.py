"""One call's floor: what becomes of words when the recogniser is behind, or fails in mid-speech."""

from typing import Any

import pytest

from mocks.faults import ScriptedFault
from mocks.stt import DEFAULT_TEXT, EchoSTT
from providers.base import Fault
from tests.driving import LOUD, SILENT, Call, converse

COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"


def push(call: Call, seconds: float, frame: bytes = LOUD) -> None:
    """Audio at once, as a client sends a file."""
    for _ in range(round(seconds / 0.02)):
        call.session.hear(frame)


@pytest.mark.parametrize("manual", [False, True], ids=["detected", "committed"])
def test_utterances_pushed_at_once_are_waited_for_while_the_recogniser_is_busy(
    manual: bool,
) -> None:
    async def scenario(call: Call) -> None:
        for _ in range(10):
            push(call, 1.0)
            push(call, 0.6, SILENT)
            if manual:
                call.tell("input_audio_buffer.commit")
            await call.hush(0.0)
        call.update(instructions="Be brief.")  # changes nothing of the wait
        await call.hush(9.0)

    # A recogniser that has heard all 16 s after 6: faster than speech, later than the usual limit.
    stt = EchoSTT(partial_delay_ms=6000, final_delay_ms=6000)
    call = converse(scenario, stt=stt, detection={"off": True} if manual else {})
    assert len(call.all("input_audio_buffer.committed")) == 10
    assert (len(call.all(COMPLETED)), len(call.all(FAILED))) == (10, 0)


def test_after_a_backlog_the_wait_is_the_usual_one_again() -> None:
    async def scenario(call: Call) -> None:
        push(call, 10.0)
        await call.hush(12.0)
        stt.final_delay_ms = stt.partial_delay_ms = 60_000
        await call.say(1.0)
        await call.hush(10.0)

    stt = EchoSTT()
    call = converse(scenario, stt=stt)
    late = call.all("input_audio_buffer.committed")[-1].at
    assert call.one(FAILED).at - late == pytest.approx(call.config.turn.final_limit_s, abs=0.05)


@pytest.mark.parametrize("item", [0, 2])
def test_what_a_recogniser_loses_in_mid_speech_is_heard_anew(item: int) -> None:
    async def scenario(call: Call) -> None:
        await call.say(2.0)
        await call.hush(4.0)

    fault = ScriptedFault(kind="fail", item=item)
    call = converse(scenario, stt=EchoSTT(faults=[fault]))
    assert call.one(COMPLETED).event["transcript"] == DEFAULT_TEXT
    texts = [entry.event["text"] for entry in call.all("kaiwa.transcript.partial")]
    assert texts[-1] == DEFAULT_TEXT, "what was said before the failure and after it"
    assert len(call.failures) == 1, "the operator learns of it"
    assert (call.all(FAILED), call.outcomes()) == ([], ["completed"])


def test_a_recogniser_that_loses_it_twice_is_not_asked_a_third_time() -> None:
    async def scenario(call: Call) -> None:
        await call.say(2.0)
        await call.hush(4.0)

    call = converse(scenario, stt=EchoSTT(faults=[ScriptedFault(kind="fail", request=0)]))
    assert len(call.failures) == 2
    assert (len(call.all(FAILED)), call.outcomes()) == (1, ["failed"])


def test_what_is_heard_anew_is_given_the_time_to_be_heard() -> None:
    async def scenario(call: Call) -> None:
        await call.say(11.9)
        stt.partial_delay_ms = stt.final_delay_ms = 5000  # it fails at 17 s, and hears 17 s anew
        await call.say(6.1)
        await call.hush(12.0)

    words = " ".join(f"w{number}" for number in range(60))
    stt = EchoSTT(text=words, faults=[ScriptedFault(kind="fail", item=39)])
    call = converse(scenario, stt=stt)
    assert [said.event["transcript"] for said in call.all(COMPLETED)] == [words]


def test_an_utterance_that_took_its_workers_down_is_not_heard_anew() -> None:
    async def scenario(call: Call) -> None:
        await call.say(3.0)
        await call.hush(4.0)

    crash = ScriptedFault(kind="fail", item=0, fault=Fault.CRASHED)
    call = converse(scenario, stt=EchoSTT(faults=[crash]))
    assert (len(call.all(COMPLETED)), len(call.all(FAILED))) == (0, 1)


def test_what_a_client_names_in_its_prompt_is_what_the_recogniser_expects() -> None:
    told: list[tuple[str, ...]] = []

    class Listening(EchoSTT):
        def open(self, sink: Any, *, language: str = "", hotwords: Any = ()) -> Any:
            told.append(hotwords)
            return super().open(sink, language=language)

    async def scenario(call: Call) -> None:
        transcription = {"model": "whisper-1", "prompt": "Kaiwa,  Jane  Doe\n、"}
        call.update(audio={"input": {"transcription": transcription}})
        await call.say(1.0)
        await call.hush(1.0)

    converse(scenario, stt=Listening())
    assert told == [(), ("Kaiwa", "Jane Doe")]
