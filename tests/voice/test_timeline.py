import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.timeline import SPANS, Outcome, Percentiles, Span, Stage, Timeline


def test_a_spoken_turn_tells_where_its_time_went() -> None:
    timeline = Timeline(3, "req")
    for stage, at in [
        (Stage.SPEECH_START, 8.0),
        (Stage.PARTIAL, 8.25),
        (Stage.SPEECH_END, 10.0),
        (Stage.ENDPOINT, 10.5),
        (Stage.FINAL, 10.5005),
        (Stage.RETRIEVAL, 10.5065),
        (Stage.LLM_FIRST_TOKEN, 10.507),
        (Stage.FIRST_CLAUSE, 10.507),
        (Stage.TTS_FIRST_AUDIO, 10.521),
        (Stage.TTS_START, 10.522),
        (Stage.HEARD, 10.552),
    ]:
        timeline.stamp(stage, at)
    record = timeline.close(Outcome.COMPLETED, 13.0)
    assert [span.name for span in record.spans] == list(SPANS)
    assert [span.ms for span in record.spans] == [500, 0.5, 6, 0.5, 0, 14, 1, 30]
    assert record.total_ms == 552
    assert record.lasted_ms == 3_000
    assert (record.partial_ms, record.final_ms, record.tts_start_ms) == (250, 500.5, 522)
    assert record.cut_in_ms is None


@pytest.mark.parametrize(
    ("endpoint", "final", "asked", "since"),
    [
        (10.5, 10.52, 10.52, 10.0),
        pytest.param(13.0, 13.02, 13.02, 10.9, id="in case they went on"),
        pytest.param(10.5, 12.9, 12.9, 10.0, id="for the recogniser"),
        pytest.param(10.5, 11.9, 17.0, 14.9, id="for a hoover"),
    ],
)
def test_what_was_waited_for_the_caller_is_no_silence_of_ours(
    endpoint: float, final: float, asked: float, since: float
) -> None:
    """A word came at once where the answer was 0.1 s away: the pause that the words asked for,
    dictated digits, had used up all the silence there may be."""
    timeline = Timeline(1, "req")
    timeline.stamp(Stage.SPEECH_END, 10.0)
    timeline.stamp(Stage.ENDPOINT, endpoint)
    timeline.stamp(Stage.FINAL, final)
    assert timeline.waits_since(asked) == pytest.approx(since)


def test_a_stage_nobody_waited_for_costs_nothing() -> None:
    timeline = Timeline(1, "req")
    timeline.stamp(Stage.SPEECH_END, 1.0)
    timeline.stamp(Stage.FINAL, 1.2)
    timeline.stamp(Stage.RETRIEVAL, 1.25)
    timeline.stamp(Stage.ENDPOINT, 1.5)
    timeline.stamp(Stage.LLM_FIRST_TOKEN, 1.6)
    record = timeline.close(Outcome.COMPLETED, 2.0)
    assert record.spans == (
        Span(Stage.ENDPOINT, 500),
        Span(Stage.FINAL, 0),
        Span(Stage.RETRIEVAL, 0),
        Span(Stage.LLM_FIRST_TOKEN, 100),
    )
    assert record.final_ms == 200


def test_the_first_stamp_of_a_stage_is_kept() -> None:
    timeline = Timeline(1, "req")
    timeline.stamp(Stage.SPEECH_END, 1.0)
    timeline.stamp(Stage.ENDPOINT, 1.5)
    timeline.stamp(Stage.ENDPOINT, 9.0)
    assert timeline.close(Outcome.NO_SPEECH, 9.0).total_ms == 500


def test_a_text_turn_is_measured_from_the_request() -> None:
    timeline = Timeline(1, "req")
    timeline.stamp(Stage.REQUEST, 4.0)
    timeline.stamp(Stage.LLM_FIRST_TOKEN, 4.25)
    timeline.stamp(Stage.TTS_START, 4.5)
    record = timeline.close(Outcome.COMPLETED, 5.0)
    assert [(span.name, span.ms) for span in record.spans] == [
        ("llm_first_token", 250),
        ("tts_start", 250),
    ]
    assert record.total_ms == 500
    assert (record.partial_ms, record.final_ms, record.tts_start_ms) == (None, None, None)


def test_a_failed_turn_keeps_the_time_nobody_got_anything_for() -> None:
    timeline = Timeline(1, "req")
    timeline.stamp(Stage.SPEECH_END, 1.0)
    timeline.stamp(Stage.ENDPOINT, 1.5)
    record = timeline.close(Outcome.FAILED, 11.0)
    assert (record.total_ms, record.lasted_ms) == (500, 10_000)


def test_a_turn_without_any_stamp_has_a_record_too() -> None:
    record = Timeline(1, "req").close(Outcome.CANCELLED, 7.0, cut_in_ms=12.5)
    assert (record.spans, record.total_ms, record.lasted_ms) == ((), 0, 0)
    assert record.cut_in_ms == 12.5


STAMPS = st.lists(
    st.tuples(
        st.sampled_from(Stage), st.floats(0, 1e6, allow_nan=False) | st.floats(1_000.0, 1_003.0)
    )
)


@given(STAMPS, st.sampled_from(Outcome), st.randoms(use_true_random=False))
def test_the_spans_sum_to_the_total_exactly(
    stamps: list[tuple[Stage, float]], outcome: Outcome, order: random.Random
) -> None:
    timeline = Timeline(1, "req")
    for stage, at in stamps:
        timeline.stamp(stage, at)
    record = timeline.close(outcome, 1_003.0)
    spans = [
        span.ms for span in msgspec.json.decode(msgspec.json.encode(record.spans), type=list[Span])
    ]
    order.shuffle(spans)
    assert sum(spans) == record.total_ms
    assert all(ms >= 0 for ms in spans)
    assert [span.name for span in record.spans] == [s for s in SPANS if s in dict(stamps)]
    assert record.lasted_ms >= record.total_ms


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_percentiles_are_nearest_ranks_of_what_occurred(values: list[float]) -> None:
    percentiles = Percentiles()
    for value in values:
        percentiles.add(value, 0.0)
    summary = percentiles.summary(0.0)
    assert summary.count == len(values)
    for share, found in ((0.5, summary.p50), (0.95, summary.p95), (0.99, summary.p99)):
        assert found in values
        assert sum(value <= found for value in values) >= math.floor(share * len(values))
        assert sum(value < found for value in values) <= share * len(values)


def test_percentiles_forget_the_oldest_and_can_look_at_the_newest_alone() -> None:
    percentiles = Percentiles(size=100)
    for second in range(150):
        percentiles.add(float(second), float(second))
    assert percentiles.summary(150.0).p50 == 99
    recent = percentiles.summary(150.0, window_s=10)
    assert (recent.count, recent.p50, recent.p99) == (10, 144, 149)
    assert percentiles.summary(999.0, window_s=10).count == 0
    assert percentiles.summary(999.0, window_s=10).p95 is None


def test_one_value_is_all_of_its_percentiles() -> None:
    percentiles = Percentiles()
    percentiles.add(3.5, 0.0)
    summary = percentiles.summary(0.0)
    assert (summary.p50, summary.p95, summary.p99) == pytest.approx((3.5, 3.5, 3.5))
