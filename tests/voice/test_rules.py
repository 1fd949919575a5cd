"""What the client leaves open is the operator's; eagerness gives bounds within the operator's."""

from typing import Any

import pytest

from voice import settings
from voice.config import Config, TurnConfig
from voice.endpointing import Delays
from voice.rules import delays, turn_rules

CONFIG = Config(turn=TurnConfig(silence_ms=1000, final_limit_s=3.0))


def chosen(detection: dict[str, Any] | None) -> settings.Settings:
    update = {"audio": {"input": {"turn_detection": detection}}}
    defaults = settings.Defaults(silence_ms=1000)
    effective = settings.initial("sess_1", defaults)
    return settings.typed(settings.merge(effective, update, detection=defaults.detection))


@pytest.mark.parametrize(
    ("detection", "least_ms", "most_ms"),
    [
        ({"type": "server_vad"}, 1000, 1000),
        ({"type": "server_vad", "silence_duration_ms": 300}, 300, 300),
        ({"type": "semantic_vad"}, 300, 1500),
        ({"type": "semantic_vad", "eagerness": "medium"}, 300, 1500),
        ({"type": "semantic_vad", "eagerness": "low"}, 600, 3000),
        ({"type": "semantic_vad", "eagerness": "high"}, 200, 900),
    ],
)
def test_the_silence_that_ends_a_turn(
    detection: dict[str, Any], least_ms: int, most_ms: int
) -> None:
    rules = turn_rules(CONFIG, chosen(detection))
    assert rules.automatic
    assert delays(CONFIG, chosen(detection)) == Delays(least_ms, most_ms)
    assert rules.adaptive == (detection["type"] == "semantic_vad")
    assert rules.adaptive or rules.silence_ms == least_ms
    assert rules.final_limit_s == 3.0


@pytest.mark.parametrize("eagerness", ["low", "medium", "auto", "high"])
def test_the_operators_bounds_hold_for_every_eagerness(eagerness: str) -> None:
    config = Config(turn=TurnConfig(min_silence_ms=400, max_silence_ms=800))
    found = delays(config, chosen({"type": "semantic_vad", "eagerness": eagerness}))
    assert 400 <= found.min_ms <= found.max_ms <= 800


@pytest.mark.parametrize("eagerness", ["low", "auto", "high"])
def test_the_final_is_asked_for_before_the_shortest_silence_ends(eagerness: str) -> None:
    detection = {"type": "semantic_vad", "eagerness": eagerness}
    rules = turn_rules(CONFIG, chosen(detection))
    assert rules.final_after_ms <= 0.6 * delays(CONFIG, chosen(detection)).min_ms


def test_without_detection_the_client_says_when() -> None:
    assert not turn_rules(CONFIG, chosen(None)).automatic
