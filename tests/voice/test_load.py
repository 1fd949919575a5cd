"""Levels under load, by lateness and time alone; and what they do to a call, in virtual time."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from tests.driving import Call, converse
from voice.load import FALL_S, FEW, RISE_S, Level, Limits, Load, Pace, Refused, frame_ms, retry_s

PROBE_S = 0.05
LIMITS = Limits((10.0, 20.0, 40.0, 80.0), sessions=100)


def told(
    load: Load, lags: Iterable[tuple[float, float]], *, sessions: int = 50, at: float = 0.0
) -> list[tuple[float, int]]:
    """Probes as the server makes them: each comes late by the lag.

    Args:
        lags: (seconds, lag in ms), one after the other.
    Returns:
        (time, level) of each change.
    """
    changes = []
    for seconds, lag_ms in lags:
        ends_at = at + seconds
        while at < ends_at:
            before = load.level
            at += PROBE_S + lag_ms / 1000
            if load.receive(lag_ms / 1000, sessions, at) != before:
                changes.append((round(at, 1), int(load.level)))
    return changes


# --- levels ---------------------------------------------------------------------------------------


def test_a_server_in_time_leaves_nothing_out() -> None:
    load = Load(LIMITS)
    assert told(load, [(60, 1.0)]) == []
    assert load.refuses(99, 60.0) is None and load.warning == ""


def test_levels_are_entered_one_after_the_other_and_left_one_after_the_other() -> None:
    load = Load(LIMITS)
    changes = told(load, [(20, 200.0), (60, 0.5)])
    assert [level for _, level in changes] == [1, 2, 3, 4, 3, 2, 1, 0]
    times = [at for at, _ in changes]
    steps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert all(step >= RISE_S - 0.05 for step in steps[:3])
    assert all(step >= FALL_S - 0.05 for step in steps[4:])


@pytest.mark.parametrize(("lag_ms", "level"), [(9, 0), (12, 1), (25, 2), (50, 3), (100, 4)])
def test_a_lasting_lag_leads_to_its_level_and_no_further(lag_ms: float, level: int) -> None:
    load = Load(LIMITS)
    told(load, [(60, lag_ms)])
    assert load.level == level


def test_one_long_pause_changes_nothing() -> None:
    load = Load(LIMITS)
    assert told(load, [(10, 1.0), (0.01, 3000.0), (10, 1.0)]) == []


def test_a_lag_that_comes_and_goes_round_a_threshold_does_not_flap() -> None:
    load = Load(LIMITS)
    around = [(2.0, 12.0), (2.0, 8.0)] * 30
    assert [level for _, level in told(load, around)] == [1]


def test_what_the_relief_of_a_level_gives_back_does_not_undo_it() -> None:
    """At level 1 the loop is a quarter less late; the level stays until it is much less."""
    load = Load(LIMITS)
    told(load, [(5, 11.0)])
    assert load.level is Level.FEWER_PARTIALS
    assert told(load, [(60, 8.0)], at=10.0) == []
    assert [level for _, level in told(load, [(60, 5.0)], at=80.0)] == [0]


@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 500)), max_size=40))
def test_levels_never_skip_one_and_never_change_more_often_than_they_may(
    lags: list[tuple[float, float]],
) -> None:
    load = Load(LIMITS)
    before_at, before = -RISE_S, 0
    for at, level in told(load, lags):
        assert abs(level - before) == 1 and 0 <= level <= 4
        least_s = RISE_S if level > before else FALL_S
        assert at - before_at >= least_s - 0.11
        before_at, before = at, level


def test_other_thresholds_hold_from_the_next_probe_on() -> None:
    load = Load(LIMITS)
    told(load, [(5, 12.0)])
    load.limits = Limits((60_000.0,) * 4, 100)
    told(load, [(10, 12.0)], at=6.0)
    assert load.level is Level.NORMAL


def test_the_warning_names_the_level_and_all_that_is_left_out() -> None:
    load = Load(LIMITS)
    told(load, [(60, 25.0)])
    assert load.warning == "level 2: partials are fewer, no answer is begun early"


# --- admission ------------------------------------------------------------------------------------


def test_who_is_full_takes_one_more_when_one_has_gone() -> None:
    load = Load(LIMITS)
    assert load.refuses(99, 0.0) is None
    assert load.refuses(100, 0.0) == Refused("full", 2)
    assert load.refuses(99, 0.1) is None


def test_who_comes_late_all_the_time_takes_no_further_call_but_always_a_few() -> None:
    load = Load(LIMITS)
    told(load, [(60, 100.0)])
    refused = load.refuses(FEW, 60.0)
    assert refused is not None and refused.why == "late"
    assert load.refuses(FEW - 1, 60.0) is None


def test_who_has_few_calls_is_late_for_other_reasons_and_never_says_that_it_refuses() -> None:
    """A laptop on which something is compiled: many calls ─▶ few ─▶ many."""
    load = Load(LIMITS)
    assert [level for _, level in told(load, [(60, 200.0)], sessions=FEW - 1)] == [1, 2, 3]
    assert "refused" not in load.warning
    assert [level for _, level in told(load, [(5, 200.0)], at=61.0)] == [4]
    assert load.receive(0.2, FEW - 1, 67.0) is Level.LARGE_FRAMES


@pytest.mark.parametrize("why", ["full", "late"])
def test_who_is_refused_is_told_to_wait_as_long_as_it_has_been_so(why: str) -> None:
    load, sessions = Load(LIMITS), 100 if why == "full" else 50
    changes = told(load, [(12, 100.0)], sessions=sessions)
    begun = changes[-1][0] if why == "late" else 12.0
    waits = []
    for after in (0.0, 4.5, 19.5, 500.0):
        refused = load.refuses(sessions, begun + after)
        assert refused is not None and refused.why == why
        waits.append(refused.retry_s)
    assert waits == [2, 5, 20, 30]


def test_a_crowd_that_has_gone_is_forgotten() -> None:
    load = Load(LIMITS)
    load.refuses(100, 0.0)
    assert load.refuses(100, 20.0) == Refused("full", 20)
    load.receive(0.001, 50, 21.0)
    assert load.refuses(100, 40.0) == Refused("full", 2)


def test_retry_after_has_whole_seconds_within_its_bounds() -> None:
    assert [retry_s(wait_s) for wait_s in (-3.0, 0.0, 2.1, 9.9, 1e6)] == [2, 2, 3, 10, 30]


# --- what is left out -----------------------------------------------------------------------------


def test_partials_pass_as_they_come_until_there_must_be_fewer() -> None:
    level = [0]
    pace = Pace(lambda: level[0])
    shown = [pace.shows(1, n / 10) for n in range(4)]
    assert shown == [True] * 4
    level[0] = 1
    assert [pace.shows(1, 0.4 + n / 10) for n in range(6)] == [False] * 2 + [True] + [False] * 2 + [
        True
    ]


def test_the_first_partial_of_a_turn_is_shown_at_once() -> None:
    pace = Pace(lambda: 1)
    assert [pace.shows(1, 1.0), pace.shows(1, 1.1), pace.shows(2, 1.1)] == [True, False, True]


def test_frames_grow_within_the_lead_and_never_shrink() -> None:
    assert frame_ms(40, 300, Level.NO_SPECULATION) == 40
    assert frame_ms(40, 300, Level.LARGE_FRAMES) == 80
    assert frame_ms(40, 60, Level.REFUSE) == 60
    assert frame_ms(120, 300, Level.REFUSE) == 120


WORDS = "what are your opening hours on saturday and on sunday"


def spoken(level: int) -> Call:
    """A word, and a partial, with every 100 ms of audio."""

    async def scenario(call: Call) -> None:
        await call.say(2.0)
        await call.hush(0.6)
        await call.hush(6.0)

    stt = EchoSTT(text=WORDS, word_ms=100.0)
    return converse(scenario, stt=stt, tts=ToneTTS(), load_level=lambda: level)


def partials(call: Call) -> list[float]:
    return [sent.at for sent in call.all("kaiwa.transcript.partial")]


def test_under_load_a_call_shows_a_partial_every_250_ms_at_most_and_all_its_words() -> None:
    busy, idle = spoken(Level.FEWER_PARTIALS), spoken(Level.NORMAL)
    times = partials(busy)
    assert all(b - a >= 0.25 for a, b in zip(times, times[1:], strict=False))
    assert 1 < len(times) <= len(partials(idle)) / 2
    for call in (busy, idle):
        done = call.one("conversation.item.input_audio_transcription.completed").event
        deltas = call.all("conversation.item.input_audio_transcription.delta")
        assert done["transcript"] == WORDS
        assert "".join(delta.event["delta"] for delta in deltas) == WORDS
    assert partials(busy)[0] == partials(idle)[0], "the first words show as early as ever"


def test_under_load_an_answer_leaves_in_frames_of_80_ms_and_says_the_same() -> None:
    busy, idle = spoken(Level.LARGE_FRAMES), spoken(Level.NO_SPECULATION)
    assert {sent.ms for sent in busy.frames[:-1]} == {80.0}
    assert {sent.ms for sent in idle.frames[:-1]} == {40.0}
    assert busy.sound() == idle.sound()
    assert busy.frames[0].at == pytest.approx(idle.frames[0].at, abs=0.1)


def test_an_answer_that_has_begun_keeps_its_frames() -> None:
    level = [0]

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(2.0)
        level[0] = 3
        await call.hush(4.0)

    call = converse(scenario, load_level=lambda: level[0])
    assert {sent.ms for sent in call.frames[:-1]} == {40.0}
