import re
from collections.abc import Iterator

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from voice import metrics
from voice.metrics import REGISTRY, Figures
from voice.timeline import Outcome, Stage, Timeline

OWN = [family for family in REGISTRY.collect() if family.name.startswith("kaiwa_")]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def turn(number: int = 1, outcome: Outcome = Outcome.COMPLETED) -> Timeline:
    timeline = Timeline(number, f"sess-{number}")
    for stage, at in (
        (Stage.SPEECH_START, 10.0),
        (Stage.PARTIAL, 10.25),
        (Stage.SPEECH_END, 11.0),
        (Stage.ENDPOINT, 11.5),
        (Stage.FINAL, 11.5),
        (Stage.TTS_START, 11.75),
    ):
        timeline.stamp(stage, at)
    return timeline


@pytest.fixture
def figures() -> Iterator[Figures]:
    yield Figures()


def test_a_closed_turn_is_counted_and_its_three_figures_kept(figures: Figures) -> None:
    before = {
        name: value(f"kaiwa_{name}_seconds_count") for name in ("partial", "final", "tts_start")
    }
    turns = value("kaiwa_turns_total", outcome="completed")
    figures.record(turn().close(Outcome.COMPLETED, 12.0, None), 12.0)
    assert figures.turns == 1
    assert value("kaiwa_turns_total", outcome="completed") == turns + 1
    for name, count in before.items():
        assert value(f"kaiwa_{name}_seconds_count") == count + 1
    summary = figures.summary(12.0, None)
    assert summary["partial"].p50 == pytest.approx(250)
    assert summary["final"].p50 == pytest.approx(500)
    assert summary["tts_start"].p50 == pytest.approx(750)


def test_the_spans_of_a_turn_sum_to_its_total(figures: Figures) -> None:
    def total() -> float:
        return sum(
            sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name == "kaiwa_span_seconds_sum"
        )

    before = total()
    record = turn().close(Outcome.COMPLETED, 12.0, None)
    figures.record(record, 12.0)
    assert total() - before == pytest.approx(0.75)


def test_a_turn_that_got_nowhere_is_counted_without_figures(figures: Figures) -> None:
    before = value("kaiwa_tts_start_seconds_count")
    figures.record(Timeline(1, "sess-1").close(Outcome.NO_SPEECH, 12.0, None), 12.0)
    assert figures.turns == 1
    assert value("kaiwa_tts_start_seconds_count") == before
    assert figures.summary(12.0, None)["tts_start"].count == 0


def test_each_server_has_figures_of_its_own(figures: Figures) -> None:
    figures.record(turn().close(Outcome.COMPLETED, 12.0, None), 12.0)
    assert Figures().summary(12.0, None)["partial"].count == 0


@pytest.mark.parametrize("family", OWN, ids=lambda family: family.name)
def test_every_metric_has_a_unit_a_meaning_and_bounded_labels(family: Metric) -> None:
    assert re.fullmatch(r"kaiwa_[a-z_]+", family.name)
    assert family.documentation.endswith(".")
    if family.type == "histogram":
        assert family.name.endswith("_seconds")
    names = {label for sample in family.samples for label in sample.labels}
    assert names <= {"stage", "outcome", "why", "slot", "provider", "fault", "code", "le"}


def test_what_is_shown_can_be_read_by_prometheus() -> None:
    metrics.REFUSED.labels("key").inc(0)
    families = {f.name for f in text_string_to_metric_families(generate_latest(REGISTRY).decode())}
    assert {"kaiwa_turns", "kaiwa_partial_seconds", "process_cpu_seconds"} <= families


def test_counting_a_turn_takes_no_time_worth_mentioning(figures: Figures) -> None:
    for n in range(2000):
        figures.record(turn(n).close(Outcome.COMPLETED, 12.0, None), 12.0)
    assert figures.turns == 2000
