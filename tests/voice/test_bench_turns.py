from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from voice.bench.player import Player
from voice.bench.turn import EXTENSIONS_EVENT_ID, Outcome, Plan, every
from voice.bench.turns import Caller, Leaving
from voice.bench.wire_events import ServerEvent

FRAME_S = 0.02
AUDIO_100_MS = "A" * 6_400  # 4800 bytes in base64.

Scripted = tuple[float, dict[str, Any]]


def plan(**changes: Any) -> Plan:
    """One second of gap, 0.2 s of speech: begins at 1.00, last frame due at 1.18."""
    values: dict[str, Any] = {
        "turns": 2,
        "warmup_turns": 0,
        "speech_frames": 10,
        "gaps": (1.0,),
        "timeout": 2.0,
    }
    return Plan(**{**values, **changes})


def drive(caller: Caller, until: float, events: Sequence[Scripted] = ()) -> list[Any]:
    """Frames from where the caller is, events between them; returns what the client said."""
    said: list[Any] = []
    waiting = sorted(events, key=lambda event: event[0])
    for frame in range(round(until / FRAME_S) + 1):
        due = round(frame * FRAME_S, 6)
        while waiting and waiting[0][0] <= due:
            at, event = waiting.pop(0)
            said += caller.receive(msgspec.convert(event, ServerEvent), at)
        caller.next_frame(due)
    assert not waiting
    return said


def caller_of(plan: Plan) -> Caller:
    caller = Caller(plan, 0.0)
    caller.open_window()
    return caller


def utterance(at: float, final: float, item: str = "U") -> list[Scripted]:
    name = "conversation.item.input_audio_transcription"
    return [
        (at, {"type": "input_audio_buffer.speech_started", "item_id": item}),
        (final, {"type": f"{name}.delta", "item_id": item, "delta": "hel"}),
        (final, {"type": f"{name}.completed", "item_id": item, "transcript": "hello"}),
    ]


def answer(
    at: float, audio: Sequence[float], done: float, name: str = "R", status: str = "completed"
) -> list[Scripted]:
    delta = {"type": "response.output_audio.delta", "response_id": name, "item_id": f"A{name}"}
    return [
        (at, {"type": "response.created", "response": {"id": name, "status": "in_progress"}}),
        *((when, {**delta, "delta": AUDIO_100_MS}) for when in audio),
        (done, {"type": "response.done", "response": {"id": name, "status": status}}),
    ]


def test_a_turn_is_timed_from_due_times_to_arrivals() -> None:
    caller = caller_of(plan())
    drive(caller, 2.5, [*utterance(1.05, 1.7), *answer(1.7, [1.75, 1.8], 1.81)])
    turn = caller.turns[0]
    assert (turn.onset, turn.end) == (1.0, 1.18)
    assert (turn.speech_started, turn.partial, turn.final) == (1.05, 1.7, 1.7)
    assert (turn.first_audio, turn.last_audio, turn.done) == (1.75, 1.8, 1.81)
    assert turn.outcome is Outcome.COMPLETED
    assert turn.player.received == pytest.approx(0.2)


def test_the_next_question_waits_until_the_answer_has_been_heard_and_the_gap_is_over() -> None:
    caller = caller_of(plan())
    drive(caller, 4.0, [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 10, 1.71)])
    # Heard from 1.76 (start buffer) to 2.76; the next question comes a second later.
    assert caller.turns[1].onset == pytest.approx(3.76, abs=1.5 * FRAME_S)


def test_the_full_hypothesis_counts_as_partial_before_the_stable_one() -> None:
    caller = caller_of(plan())
    partial = {"type": "kaiwa.transcript.partial", "item_id": "U", "text": "he"}
    empty = {**partial, "text": ""}
    drive(caller, 2.0, [*utterance(1.05, 1.7), (1.06, empty), (1.12, partial)])
    assert caller.turns[0].partial == 1.12


def test_a_question_without_an_answer_is_lost_after_the_timeout_and_the_call_goes_on() -> None:
    caller = caller_of(plan())
    drive(caller, 4.5, utterance(1.05, 1.7))
    assert caller.turns[0].outcome is Outcome.LOST
    assert caller.turns[1].onset == pytest.approx(1.18 + 2.0 + 1.0, abs=1.5 * FRAME_S)


def test_an_answer_that_stops_half_way_is_stalled() -> None:
    caller = caller_of(plan())
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.7], 9.0)[:-1]]
    drive(caller, 4.5, events)
    assert caller.turns[0].outcome is Outcome.STALLED


@pytest.mark.parametrize(
    ("status", "audio", "outcome"),
    [
        ("completed", [], Outcome.SILENT),
        ("failed", [], Outcome.FAILED),
        ("cancelled", [1.7], Outcome.FAILED),
    ],
)
def test_answers_that_are_none(status: str, audio: list[float], outcome: Outcome) -> None:
    caller = caller_of(plan())
    drive(caller, 2.2, [*utterance(1.05, 1.7), *answer(1.7, audio, 1.8, status=status)])
    assert caller.turns[0].outcome is outcome


def cutting_in(last_audio: float) -> tuple[Caller, list[Any]]:
    """Heard from 1.76; cut in 0.5 s later: the first frame due at or after 2.26 is 2.26."""
    caller = caller_of(plan(cuts=every(2), barge_in_after=0.5))
    sent = [1.7, *(1.7 + n / 10 for n in range(1, 20) if 1.7 + n / 10 < last_audio), last_audio]
    events = [
        *utterance(1.05, 1.7),
        *answer(1.7, sent, 2.4, status="cancelled"),
        (2.35, {"type": "input_audio_buffer.speech_started", "item_id": "V"}),
    ]
    return caller, drive(caller, 3.0, events)


def test_cutting_in_begins_inside_the_answer_and_measures_its_last_audio() -> None:
    caller, _ = cutting_in(last_audio=2.37)
    first, second = caller.turns
    assert first.outcome is Outcome.CUT
    assert first.cut_at == second.onset == pytest.approx(2.26, abs=1.5 * FRAME_S)
    assert first.last_audio == 2.37
    assert second.speech_started == 2.35


def test_on_speech_started_the_client_reports_what_it_played() -> None:
    _, said = cutting_in(last_audio=2.3)
    # Playing from 1.76 to 2.35 without a break.
    assert said == [
        {
            "type": "conversation.item.truncate",
            "item_id": "AR",
            "content_index": 0,
            "audio_end_ms": 590,
        }
    ]


def held_back(*events: tuple[float, bool]) -> Caller:
    """As in `cutting_in`; the cut is told at 2.35 and the answer over at 2.4."""
    caller = caller_of(plan(cuts=every(2), barge_in_after=0.5, frame_s=FRAME_S))
    drive(
        caller,
        3.0,
        [
            *utterance(1.05, 1.7),
            *answer(1.7, [1.7] * 12, 2.4, status="cancelled"),
            (2.35, {"type": "input_audio_buffer.speech_started", "item_id": "V"}),
            *((at, {"type": "kaiwa.speech.ducked", "ducked": ducked}) for at, ducked in events),
        ],
    )
    return caller


def test_an_answer_is_silent_from_where_it_was_held_back_if_it_does_not_come_back() -> None:
    turn = held_back((2.3, True), (2.41, False)).turns[0]
    assert turn.cut_at == pytest.approx(2.24), "the first sample of a frame that is due at 2.26"
    assert (turn.ducked, turn.confirmed) == (2.3, 2.35)


def test_an_answer_that_came_back_was_not_silent_until_it_was_held_back_again() -> None:
    turn = held_back((2.28, True), (2.31, False), (2.34, True), (2.41, False)).turns[0]
    assert turn.ducked == 2.34
    assert held_back((2.28, True), (2.31, False)).turns[0].ducked is None


def test_audio_after_the_answer_was_cancelled_is_late() -> None:
    caller, _ = cutting_in(last_audio=2.45)
    assert caller.turns[0].late_audio == 1
    assert caller.turns[0].last_audio == 2.45


def test_an_answer_too_short_to_cut_in_is_a_missed_cut() -> None:
    caller = caller_of(plan(cuts=every(2), barge_in_after=0.5))
    drive(caller, 2.5, [*utterance(1.05, 1.7), *answer(1.7, [1.7], 1.71)])
    assert caller.turns[0].outcome is Outcome.COMPLETED
    assert caller.turns[0].missed_cut


def test_speech_the_caller_never_spoke_is_a_false_cut() -> None:
    caller = caller_of(plan())
    ghost = {"type": "input_audio_buffer.speech_started", "item_id": "ghost"}
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 10, 2.1, status="cancelled")]
    said = drive(caller, 2.5, [*events, (2.0, ghost)])
    assert caller.turns[0].false_cuts == 1
    assert caller.turns[0].outcome is Outcome.FAILED
    assert [message["type"] for message in said] == ["conversation.item.truncate"]


def test_an_answer_begun_while_the_caller_speaks_is_not_theirs() -> None:
    caller = caller_of(plan())
    early = answer(1.1, [1.12], 1.15, name="early", status="cancelled")
    drive(caller, 2.5, [*early, *utterance(1.05, 1.7), *answer(1.7, [1.75], 1.8)])
    assert caller.unasked_responses == 1
    assert caller.turns[0].first_audio == 1.75


def test_a_second_answer_to_the_same_question_is_counted_and_not_measured() -> None:
    caller = caller_of(plan())
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.75] * 5, 1.8)]
    drive(caller, 2.5, [*events, *answer(1.9, [1.95], 2.0, name="second")])
    assert caller.turns[0].extra_responses == 1
    assert caller.turns[0].last_audio == 1.75


def test_warm_up_turns_and_turns_before_the_window_are_not_measured() -> None:
    caller = Caller(plan(warmup_turns=1, turns=1, timeout=0.1), 0.0)
    drive(caller, 1.5)
    caller.open_window()
    for frame in range(76, 400):
        caller.next_frame(round(frame * FRAME_S, 6))
    assert [turn.measured for turn in caller.turns[:3]] == [False, True, False]
    assert caller.finished


def test_the_last_measured_answer_being_cut_waits_for_the_turn_that_cuts() -> None:
    caller = caller_of(plan(turns=1, cuts=every(2), barge_in_after=0.5))
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 20, 2.4, status="cancelled")]
    drive(caller, 3.0, events)
    assert caller.turns[0].outcome is Outcome.CUT
    assert not caller.finished
    for frame in range(151, 300):
        caller.next_frame(round(frame * FRAME_S, 6))
    assert caller.finished


def test_a_connection_that_goes_away_loses_the_turn() -> None:
    caller = caller_of(plan())
    drive(caller, 1.5)
    caller.close("closed by the server: 1011")
    assert caller.turns[0].outcome is Outcome.LOST
    assert caller.finished


def test_refused_extensions_are_no_error() -> None:
    caller = caller_of(plan())
    refused = {"message": "unknown", "event_id": EXTENSIONS_EVENT_ID}
    other = {"message": "too fast", "code": "rate_limit"}
    drive(caller, 0.1, [(0.01, {"type": "error", "error": refused})])
    assert caller.error_count == 0
    drive(caller, 0.1, [(0.01, {"type": "error", "error": other})])
    assert caller.errors == ["rate_limit: too fast"]


def test_a_player_that_runs_dry_counts_it_once_and_goes_on() -> None:
    player = Player(start_buffer=0.06)
    player.add(0.0, 0.1)  # heard 0.06..0.16
    player.add(0.15, 0.1)  # in time: ..0.26
    assert player.underruns == 0
    player.add(0.30, 0.1)  # 40 ms late: heard 0.30..0.40
    assert player.underruns == 1
    assert player.dry == pytest.approx(0.04)
    assert player.heard(0.35) == pytest.approx(0.25)
    assert player.is_playing(0.39)
    assert not player.is_playing(0.41)


def test_a_player_has_heard_nothing_before_it_starts_and_nothing_after_it_stops() -> None:
    player = Player(start_buffer=0.06)
    player.add(0.0, 1.0)
    assert player.heard(0.05) == 0
    player.stop(0.26)
    player.add(0.3, 1.0)
    assert player.heard(5.0) == pytest.approx(0.2)
    assert not player.is_playing(0.3)


@pytest.mark.parametrize(
    ("session", "silence_ms"),
    [
        ({"audio": {"input": {"turn_detection": {"silence_duration_ms": 300}}}}, 300),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, None),
        ({"audio": {"input": {"turn_detection": None}}}, None),
        ({"audio": None}, None),
        ({}, None),
    ],
)
def test_a_server_may_tell_how_much_silence_ends_a_turn(
    session: dict[str, Any], silence_ms: float | None
) -> None:
    told = {"type": "session.updated", "session": session}
    assert msgspec.convert(told, ServerEvent).silence_ms == silence_ms
    assert ServerEvent("session.updated").silence_ms is None


def spoken_to(caller: Caller, turns: int) -> list[Scripted]:
    """Answers of a second to each of the first questions of one call, one every four seconds."""
    events: list[Scripted] = []
    for n in range(turns):
        at = 1.7 + 4.0 * n
        events += utterance(at - 0.6, at, item=f"U{n}")
        events += answer(at, [at] * 10, at + 0.9, name=f"R{n}")
    return events


def test_a_caller_who_has_had_the_turns_of_the_call_leaves_politely_once_the_answer_is_heard() -> (
    None
):
    caller = caller_of(plan(turns=9, gaps=(1.0, 2.04), hangs_up_after=2, cuts=(False, False)))
    drive(caller, 2.7, spoken_to(caller, 1))
    assert caller.leaving is None
    for at, event in spoken_to(caller, 2)[6:]:
        caller.receive(msgspec.convert(event, ServerEvent), at)
    drive(caller, 9.0)
    assert [turn.outcome for turn in caller.turns] == [Outcome.COMPLETED, Outcome.LOST]
    assert caller.leaving is Leaving.POLITELY
    assert caller.is_settled and caller.finished
    assert caller.next_frame(9.1) is None


def test_a_rude_caller_leaves_in_the_middle_of_the_last_answer() -> None:
    caller = caller_of(plan(hangs_up_after=1, is_rude=True, barge_in_after=0.5))
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 20, 3.6)[:-1]]
    drive(caller, 2.24, events)
    assert caller.leaving is None
    # Heard from 1.76: half a second later is the middle.
    caller.next_frame(2.26)
    assert caller.leaving is Leaving.RUDELY
    assert [turn.outcome for turn in caller.turns] == [Outcome.HUNG_UP]


def test_the_last_turn_of_a_call_is_not_cut_by_a_question_that_never_comes() -> None:
    caller = caller_of(plan(hangs_up_after=1, cuts=(True,), barge_in_after=0.2))
    drive(caller, 3.5, [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 10, 1.9)])
    assert [turn.outcome for turn in caller.turns] == [Outcome.COMPLETED]


def test_behind_the_window_a_call_is_settled_when_its_measured_turns_are_over() -> None:
    caller = caller_of(plan(turns=9, hangs_up_after=9, cuts=(False, False, True, False)))
    assert caller.is_settled
    events = [*utterance(1.05, 1.7), *answer(1.7, [1.7] * 20, 2.7, status="cancelled")]
    drive(caller, 2.0, events[:-1])
    caller.close_window()
    assert not caller.is_settled
    drive(caller, 2.5)
    # The cut is measured, the question that cuts no more; but the cut's end comes with it.
    assert [turn.measured for turn in caller.turns] == [True, False]
    assert not caller.is_settled
    for frame in range(1, 250):
        caller.next_frame(2.5 + round(frame * FRAME_S, 6))
    assert caller.is_settled


@pytest.mark.parametrize(("nth", "cutting"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6])])
def test_every_nth_question_cuts_in(nth: int, cutting: list[int]) -> None:
    chosen = plan(cuts=every(nth))
    assert [number for number in range(1, 7) if chosen.cuts_in(number)] == cutting
