"""The faults that `mock.faults` scripts: what is wrong with them, and each slot's."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mocks.faults import ScriptedFault
from voice.config import Config, Problem
from voice.config_problems import explained
from voice.errors import ConfigError

FAULTY = ("stt", "llm", "tts")
"""Slots whose mocks can be told to fail."""


def scripted(config: Config, slot: str) -> dict[str, Any]:
    """What a mock is made with.

    Raises:
        ConfigError: The first of `wrong_faults`.
    """
    mock = config.mock
    for path, what in wrong_faults(config):
        raise ConfigError(f"{path}: {what}")
    faults = tuple(
        msgspec.convert(_without_slot(fault), ScriptedFault)
        for fault in mock.faults
        if fault["slot"] == slot
    )
    return {"jitter_ms": mock.jitter_ms, "faults": faults, "seed": mock.seed}


def _without_slot(fault: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fault.items() if key != "slot"}


def wrong_faults(config: Config) -> Iterator[Problem]:
    for number, fault in enumerate(config.mock.faults):
        path = f"mock.faults[{number}]"
        if fault.get("slot") not in FAULTY:
            yield f"{path}.slot", f"must be one of {', '.join(FAULTY)}, got {fault.get('slot')!r}"
        try:
            msgspec.convert(_without_slot(fault), ScriptedFault)
        except msgspec.ValidationError as error:
            within, what = explained(str(error), ScriptedFault)
            yield f"{path}.{within}".rstrip("."), what
