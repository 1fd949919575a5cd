"""One answer: where its words lie in its sound, and what a cut leaves of it."""

import pytest

from providers.base import Fault, Finish, Passage, ProviderError, Slot, ToolCallDelta
from voice import reply_facts, settings, wire
from voice.answer import Answer
from voice.conversation import Conversation
from voice.ids import Ids
from voice.response import Ending, Response
from voice.timeline import Outcome, Timeline

MS = 48
"""Bytes of a millisecond at 24 kHz."""
CUT = Ending(status="cancelled", reason="turn_detected")


def answering(**session: object) -> tuple[Answer, Conversation]:
    effective = settings.merge(settings.initial("sess_1", settings.Defaults()), dict(session))
    conversation = Conversation()
    response = Response(
        ids=Ids("x"), conversation=conversation, settings=settings.typed(effective), turn=1
    )
    answer = Answer(
        response=response,
        conversation=conversation,
        timeline=Timeline(1, "r"),
        question_id="item_q",
        frame_ms=40,
        lead_ms=300,
    )
    response.begin()
    return answer, conversation


def said(answer: Answer, text: str, ms: int, marks: list[tuple[int, float]]) -> None:
    answer.receive(reply_facts.Said(1, text), 0.0)
    for chars, at_ms in marks:
        answer.receive(reply_facts.Marked(1, chars, at_ms), 0.0)
    answer.receive(reply_facts.Sounded(1, bytes(MS * ms)), 0.0)
    answer.frames(0.0)


def kept(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation.messages()]


@pytest.mark.parametrize(
    ("heard_ms", "words"),
    [(0, ""), (120, ""), (200, "We"), (300, "We"), (400, "We are"), (1000, "We are open.")],
)
def test_a_word_was_heard_whole_or_not_at_all(heard_ms: int, words: str) -> None:
    answer, _ = answering()
    said(answer, "We are open.", 1000, [(0, 0), (3, 200), (7, 400), (12, 1000)])
    assert answer.heard_text(heard_ms) == words


def test_a_script_without_spaces_is_cut_between_its_characters() -> None:
    answer, _ = answering()
    said(answer, "九時から八時まで", 800, [(0, 0), (8, 800)])
    assert answer.heard_text(400) == "九時から"


def test_a_cut_keeps_what_was_heard_and_says_how_much() -> None:
    answer, conversation = answering()
    said(answer, "We are open.", 1000, [(0, 0), (3, 200), (7, 400), (12, 1000)])
    events = answer.cut(0.25, CUT, Outcome.INTERRUPTED)
    assert isinstance(events[-1], wire.ResponseDone)
    assert answer.outcome is Outcome.INTERRUPTED
    assert answer.cut_in_ms == pytest.approx(250)
    assert kept(conversation) == ["We —"]
    assert answer.cut(0.3, CUT, Outcome.INTERRUPTED) == [], "a second cut says nothing"


def test_a_cut_before_a_word_was_heard_keeps_nothing() -> None:
    answer, conversation = answering()
    answer.cut(0.1, CUT, Outcome.INTERRUPTED)
    assert (answer.outcome, answer.cut_in_ms) == (Outcome.INTERRUPTED, 0.0)
    assert kept(conversation) == []


def test_an_answer_that_failed_stays_failed_when_its_apology_is_cut() -> None:
    answer, _ = answering()
    error = ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token")
    answer.receive(reply_facts.Failed(1, error), 0.0)
    said(answer, "Sorry.", 400, [(0, 0), (6, 400)])
    answer.cut(0.1, CUT, Outcome.INTERRUPTED)
    assert answer.outcome is Outcome.FAILED
    assert "no token" in answer.problem


def test_function_calls_are_told_behind_the_last_frame_and_not_of_a_broken_answer() -> None:
    for reason, told in (("tool_calls", True), ("length", False)):
        answer, _ = answering()
        said(answer, "Wait.", 100, [(0, 0), (5, 100)])
        for delta in (
            ToolCallDelta(index=0, arguments='{"a":', call_id="c", name="f"),
            ToolCallDelta(index=1, arguments="{}", call_id="d", name="g"),
            ToolCallDelta(index=0, arguments="1}"),
        ):
            assert answer.receive(reply_facts.Called(1, delta), 0.0) == []
        answer.receive(reply_facts.Ended(1, Finish(reason)), 0.0)  # type: ignore[arg-type]
        assert answer.finish() == [], "its last frame has not been sent"
        answer.frames(1.0)
        events = answer.finish()
        kinds = [type(event) for event in events]
        calls = [
            (event.call_id, event.name, event.arguments)
            for event in events
            if isinstance(event, wire.ArgumentsDone)
        ]
        assert calls == ([("c", "f", '{"a":1}'), ("d", "g", "{}")] if told else [])
        assert kinds[-1] is wire.ResponseDone
        if told:
            assert kinds.index(wire.AudioDone) < kinds.index(wire.ArgumentsDelta)


def test_sources_and_marks_are_told_only_to_who_asked() -> None:
    passage = Passage(text="Nine to eight.", source="hours.md", score=0.61237)
    for include in ([], ["kaiwa.turn.sources", "kaiwa.speech.marks"]):
        answer, _ = answering(include=include)
        events = answer.receive(reply_facts.Retrieved(1, (passage,)), 0.0)
        answer.receive(reply_facts.Said(1, "Hi."), 0.0)
        answer.receive(reply_facts.Marked(1, 3, 100.4), 0.0)
        events += answer.receive(reply_facts.Sounded(1, bytes(MS * 100)), 0.0)
        assert len(events) == len(include)
        for event in events:
            if isinstance(event, wire.TurnSources):
                assert event.sources[0].score == 0.6124 and event.item_id == "item_q"
            if isinstance(event, wire.SpeechMarks):
                assert event.marks == [(3, 100)]


def test_a_truncation_is_clamped_to_what_was_sent() -> None:
    answer, conversation = answering()
    said(answer, "We are open.", 200, [(0, 0), (12, 200)])
    answer.receive(reply_facts.Ended(1, Finish()), 0.0)
    answer.frames(0.0)
    answer.finish()
    assert answer.truncate(99_999, 5.0) == 200
    assert kept(conversation) == ["We are open."]
    assert answer.truncate(100, 5.0) == 100
    assert kept(conversation) == ["We are —"]
