import pytest

from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.figures import (
    MEANINGS,
    TurnFigures,
    count,
    distributions,
    span_distributions,
    turn_figures,
    with_added,
)
from voice.bench.player import Player
from voice.bench.turn import Outcome, Turn
from voice.bench.wire_events import Span


def turn(**changes: object) -> Turn:
    values = {
        "number": 3,
        "measured": True,
        "onset": 10.0,
        "player": Player(0.06),
        "end": 12.0,
        "speech_started": 10.05,
        "partial": 10.4,
        "final": 12.5,
        "first_audio": 12.6,
        "last_audio": 13.0,
        "done": 13.1,
        "outcome": Outcome.COMPLETED,
        "spans": (Span("endpoint", 500.0),),
    }
    return Turn(**{**values, **changes})  # type: ignore[arg-type]


def test_each_figure_counts_from_where_its_meaning_says() -> None:
    found = turn_figures(turn(), caller=4, opened_at=9.0)
    assert found == TurnFigures(
        caller=4,
        number=3,
        at_s=1.0,
        outcome=Outcome.COMPLETED,
        partial_ms=400.0,
        final_ms=500.0,
        tts_start_ms=600.0,
        response_done_ms=1100.0,
        speech_started_ms=50.0,
        spans={"endpoint": 500.0},
    )


@pytest.mark.parametrize(("silence_ms", "wait_ms"), [(300, 200.0), (600.0, -100.0), (None, None)])
def test_the_wait_for_the_final_is_what_the_silence_does_not_explain(
    silence_ms: float | None, wait_ms: float | None
) -> None:
    found = turn_figures(turn(), caller=0, opened_at=0.0, silence_ms=silence_ms)
    assert (found.final_ms, found.final_wait_ms) == (500.0, wait_ms)
    assert found.tts_wait_ms == (None if wait_ms is None else wait_ms + 100)
    lost = turn_figures(turn(final=None), caller=0, opened_at=0.0, silence_ms=silence_ms)
    assert lost.final_wait_ms is None


def test_barge_in_counts_from_the_first_interrupting_sample() -> None:
    player = Player(0.06)
    player.add(12.6, 0.9)
    player.stop(12.95)
    cut = turn(outcome=Outcome.CUT, cut_at=12.9, ducked=12.92, confirmed=13.1, player=player)
    found = turn_figures(cut, caller=0, opened_at=0.0)
    assert found.barge_in_stop_ms == 100.0
    assert (found.barge_in_duck_ms, found.barge_in_cut_ms) == (20.0, 200.0)
    assert found.barge_in_quiet_ms == 50.0
    assert found.response_done_ms is None


def test_a_stock_player_is_silent_when_it_has_nothing_left_though_nobody_stops_it() -> None:
    player = Player(0.06)
    player.add(12.6, 0.4)  # heard from 12.66 to 13.06
    cut = turn(outcome=Outcome.CUT, cut_at=12.9, player=player)
    assert turn_figures(cut, caller=0, opened_at=0.0).barge_in_quiet_ms == pytest.approx(160)
    player.stop(13.5)
    assert turn_figures(cut, caller=0, opened_at=0.0).barge_in_quiet_ms == pytest.approx(160)


def test_an_answer_that_had_wholly_arrived_before_the_cut_stops_at_once() -> None:
    found = turn_figures(turn(outcome=Outcome.CUT, cut_at=13.5), caller=0, opened_at=0.0)
    assert found.barge_in_stop_ms == 0.0


def test_what_never_happened_has_no_figure() -> None:
    lost = turn(outcome=Outcome.LOST, final=None, first_audio=None, last_audio=None, done=None)
    found = turn_figures(lost, caller=0, opened_at=0.0)
    assert (found.final_ms, found.tts_start_ms, found.response_done_ms) == (None, None, None)
    assert with_added(found, KnownDelays(endpoint_ms=500)).added_ms is None


def test_added_latency_is_what_the_known_delays_do_not_explain() -> None:
    known = KnownDelays(
        endpoint_ms=300,
        stt_final_ms=20,
        llm_first_token_ms=50,
        llm_token_ms=10,
        tokens_to_first_clause=4,
        tts_first_audio_ms=30,
    )
    assert known.total_ms == 440
    found = turn_figures(turn(), caller=0, opened_at=0.0)
    assert with_added(found, known).added_ms == 160.0


def test_only_figures_with_values_are_reported() -> None:
    turns = [turn_figures(turn(), caller=0, opened_at=0.0)]
    names = set(distributions(turns))
    assert names < set(MEANINGS)
    assert "added_ms" not in names
    assert span_distributions(turns)["endpoint"].p50 == 500.0


def test_every_planned_turn_is_counted_once() -> None:
    outcomes = [Outcome.COMPLETED, Outcome.CUT, Outcome.LOST, Outcome.STALLED, Outcome.SILENT]
    turns = [
        TurnFigures(caller=0, number=n, at_s=0.0, outcome=outcome, underruns=2)
        for n, outcome in enumerate(outcomes)
    ]
    counts = count(turns, planned=8, unasked=1, errors=0, closed=1)
    assert (counts.completed, counts.cut, counts.lost, counts.failed) == (1, 1, 4, 2)
    assert counts.underruns == 10
    assert counts.extra_responses == 1


def test_a_figure_has_a_meaning_and_a_meaning_a_figure() -> None:
    assert set(MEANINGS) <= set(TurnFigures.__struct_fields__)


@pytest.mark.parametrize("changes", [{"turns": 0}, {"frame_ms": 1}, {"timeout_s": 0.0}])
def test_a_wrong_option_is_named(changes: dict[str, float]) -> None:
    with pytest.raises(BenchError, match=next(iter(changes))):
        BenchConfig(**changes)  # type: ignore[arg-type]


def test_no_callers_and_two_servers_are_refused() -> None:
    with pytest.raises(BenchError, match="callers"):
        BenchConfig(callers=())
    with pytest.raises(BenchError, match="server_pid"):
        BenchConfig(spawn=True, server_pid=1)
