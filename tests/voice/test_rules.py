"""What the client leaves open is the operator's; eagerness is a share of the operator's silence."""

from typing import Any

import pytest

from voice import settings
from voice.config import Config, TurnConfig
from voice.rules import turn_rules

CONFIG = Config(turn=TurnConfig(silence_ms=1000, final_limit_s=3.0))


def chosen(detection: dict[str, Any] | None) -> settings.Settings:
    update = {"audio": {"input": {"turn_detection": detection}}}
    defaults = settings.Defaults(silence_ms=1000)
    effective = settings.initial("sess_1", defaults)
    return settings.typed(settings.merge(effective, update, detection=defaults.detection))


@pytest.mark.parametrize(
    ("detection", "silence_ms"),
    [
        ({"type": "server_vad"}, 1000),
        ({"type": "server_vad", "silence_duration_ms": 300}, 300),
        ({"type": "semantic_vad"}, 1000),
        ({"type": "semantic_vad", "eagerness": "low"}, 1600),
        ({"type": "semantic_vad", "eagerness": "high"}, 600),
    ],
)
def test_the_silence_that_ends_a_turn(detection: dict[str, Any], silence_ms: int) -> None:
    rules = turn_rules(CONFIG, chosen(detection))
    assert rules.automatic
    assert (rules.silence_ms, rules.final_limit_s) == (silence_ms, 3.0)


def test_without_detection_the_client_says_when() -> None:
    assert not turn_rules(CONFIG, chosen(None)).automatic
