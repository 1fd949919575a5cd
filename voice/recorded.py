"""What of a call is recorded, and what is not: no key stands in a recording.

    settings     only the sections that a session asks, without secrets, addresses and fallbacks
    its client   all it says, without what its tools' servers are to be shown

The caller's voice and words are what a recording is for: they stand in it.
"""

from typing import Any

import msgspec

from voice import wire
from voice.config import Config
from voice.config_secrets import SECRET
from voice.facts import Opened

UNRECORDED = ("server", "embedder", "reranker", "mock", "strays", "record", "webrtc")
"""Sections that no session asks for anything."""
UNRECORDED_KEYS = ("endpoint", "endpoints", "extra", "fallbacks", "variables")
"""Settings of other sections that may hold somebody's key or address."""
HIDDEN = ("authorization", "headers", "api_key")
"""Of a client's tools: what a server behind them is to be shown."""


def recorded(config: Config, instructions: str) -> dict[str, Any]:
    """What a session may ask of its settings, and nothing else.

    Args:
        instructions: As the call began with them, filled in.
    """
    hidden = {*UNRECORDED_KEYS, *(path.rpartition(".")[2] for path in SECRET)}
    tree: dict[str, Any] = {}
    for section, values in msgspec.to_builtins(config).items():
        if isinstance(values, dict) and section not in UNRECORDED:
            tree[section] = {key: value for key, value in values.items() if key not in hidden}
    tree["profile"] = config.profile
    tree["agent"]["instructions"] = instructions
    return tree


def without_keys(tree: Any) -> Any:
    """A client's settings, without what its tools' servers are to be shown."""
    if isinstance(tree, dict):
        return {k: "hidden" if k in HIDDEN else without_keys(v) for k, v in tree.items()}
    return [without_keys(one) for one in tree] if isinstance(tree, list) else tree


def fact_without_keys(fact: Any) -> Any:
    match fact:
        case Opened(settings=dict(chosen)):
            return msgspec.structs.replace(fact, settings=without_keys(chosen))
        case wire.SessionUpdate():
            return msgspec.structs.replace(fact, session=without_keys(fact.session))
        case wire.ResponseCreate():
            return msgspec.structs.replace(fact, response=without_keys(fact.response))
    return fact


def event_without_keys(event: wire.ServerEvent) -> wire.ServerEvent:
    """Only the echo of a client's settings holds any."""
    if isinstance(event, wire.SessionCreated | wire.SessionUpdated):
        return msgspec.structs.replace(event, session=without_keys(event.session))
    return event
