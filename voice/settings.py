"""A session's settings as the wire shapes them: what the client set, merged, checked, echoed.

The echo is the whole effective session, since stock clients read it: agents-js decides by
`turn_detection.interrupt_response` who cancels on speech, pipecat refuses keys it does not know.
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from voice.errors import ClientError
from voice.settings_fields import (
    EXTENSIONS,
    INPUT_RATES_HZ,
    OUTPUT_RATE_HZ,
    AudioFormat,
    Settings,
    TurnDetection,
    ranges,
)
from voice.wording import wording
from voice.wrong_fields import MOST_ELEMENTS, MOST_TOLD, Problem, refused, wrong_fields

__all__ = [
    "EXTENSIONS",
    "INPUT_RATES_HZ",
    "MAX_DEPTH",
    "OUTPUT_RATE_HZ",
    "AudioFormat",
    "Defaults",
    "Settings",
    "TurnDetection",
    "initial",
    "merge",
    "typed",
]

MAX_SESSION_BYTES = 256 * 1024
"""The echo of a session must fit every stock client's message limit."""
MAX_DEPTH = 64
"""Of nesting; a function's JSON schema stays far below."""
_CONTAINERS = (dict, list)


class Defaults(Struct, frozen=True, kw_only=True):
    """What a session starts with, from the operator's configuration."""

    model: str = "kaiwa"
    instructions: str = ""
    voice: str = ""
    transcription_model: str = ""
    language: str = ""
    silence_ms: int = 500
    threshold: float = 0.5

    @property
    def detection(self) -> TurnDetection:
        return TurnDetection(threshold=self.threshold, silence_duration_ms=self.silence_ms)


DEFAULT_VOICE = "default"
"""What a client sees where the operator chose none."""


def initial(session_id: str, defaults: Defaults) -> dict[str, Any]:
    """The effective session before the client has said anything."""
    detection = msgspec.to_builtins(defaults.detection)
    del detection["eagerness"]
    transcription = {"model": defaults.transcription_model}
    if defaults.language:
        transcription["language"] = defaults.language
    pcm = {"type": "audio/pcm", "rate": OUTPUT_RATE_HZ}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": defaults.model,
        "output_modalities": ["audio"],
        "instructions": defaults.instructions,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": transcription,
                "noise_reduction": None,
                "turn_detection": detection,
            },
            "output": {"format": dict(pcm), "voice": defaults.voice or DEFAULT_VOICE, "speed": 1.0},
        },
    }


_IMMUTABLE = ("id", "object", "model", "type", "expires_at")
_TRANSCRIPTION_KEYS = ("model", "language", "prompt")
_DETECTION_KEYS = {
    "server_vad": (
        "type",
        "threshold",
        "prefix_padding_ms",
        "silence_duration_ms",
        "idle_timeout_ms",
        "create_response",
        "interrupt_response",
    ),
    "semantic_vad": ("type", "eagerness", "create_response", "interrupt_response"),
}


def merge(
    effective: dict[str, Any],
    update: dict[str, Any],
    prefix: str = "session",
    *,
    detection: TurnDetection | None = None,
) -> dict[str, Any]:
    """The effective session after a `session.update`: a deep merge; null, "" and [] clear.

    Args:
        prefix: What the client calls the object it sent, for `param`.
        detection: What holds of turn detection where nothing was ever said.
    Raises:
        ClientError: Fields that cannot be; `param` is the path of the first. The old session stays.
    """
    found: list[Problem] = []
    if update.get("type", "realtime") != "realtime":
        found.append((f"{prefix}.type", f'{update["type"]!r} is not offered; use "realtime"'))
    changes = {key: value for key, value in update.items() if key not in _IMMUTABLE}
    if changes.get("audio", {}) is None:
        found.append((f"{prefix}.audio", "cannot be null"))
        del changes["audio"]
    if _depth(changes) >= MAX_DEPTH:
        message = f"{prefix} is nested more than {MAX_DEPTH} levels deep."
        raise ClientError("invalid_value", message, prefix)
    merged = _deep_merge(effective, changes)
    _tidy_input(merged, detection or TurnDetection())
    found += _judged(merged, prefix)[1]
    if error := refused(found):
        raise error
    if len(msgspec.json.encode(merged)) > MAX_SESSION_BYTES:
        message = f"{prefix} would grow beyond {MAX_SESSION_BYTES // 1024} KiB."
        raise ClientError("string_above_max_length", message, prefix)
    return merged


def _depth(tree: Any) -> int:
    """How many objects and lists with anything in them lie in each other; as JSON is decoded, they
    are of these types exactly. Looking at each number too took most of the time of a merge."""
    level, depth = [tree] if tree else [], 0
    while level:
        depth += 1
        level = [
            child
            for value in level
            for child in (value.values() if type(value) is dict else value)
            if child and type(child) in _CONTAINERS
        ]
    return depth


def _deep_merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict) and key != "format":
            merged[key] = _deep_merge(before, value)
        else:
            merged[key] = value
    return merged


def _tidy_input(merged: dict[str, Any], defaults: TurnDetection) -> None:
    """Fill what was named but left open; keep only the keys that clients know in the echo."""
    audio = merged.get("audio")
    spoken_in = audio.get("input") if isinstance(audio, dict) else None
    if not isinstance(spoken_in, dict):
        return
    for side in (spoken_in, audio.get("output") if isinstance(audio, dict) else None):
        if isinstance(side, dict) and isinstance(side.get("format"), dict):
            form = dict(side["format"])
            if form.get("type") == "audio/pcm":
                form.setdefault("rate", OUTPUT_RATE_HZ)
            else:
                form.pop("rate", None)
            side["format"] = form
    spoken_out = audio.get("output") if isinstance(audio, dict) else None
    if isinstance(spoken_out, dict) and isinstance(spoken_out.get("voice"), dict):
        spoken_out["voice"] = str(spoken_out["voice"].get("id", ""))  # clients want a string back
    transcription = spoken_in.get("transcription")
    if isinstance(transcription, dict):
        kept = {k: transcription[k] for k in _TRANSCRIPTION_KEYS if transcription.get(k)}
        kept.setdefault("model", "")
        spoken_in["transcription"] = kept
    detection = spoken_in.get("turn_detection")
    if isinstance(detection, dict):
        kind = detection.get("type") or "server_vad"
        if not isinstance(kind, str):
            return  # complained of when it is typed
        full = {**msgspec.to_builtins(defaults), "type": kind}
        full |= {key: value for key, value in detection.items() if value is not None}
        keys = _DETECTION_KEYS.get(kind, tuple(full))
        spoken_in["turn_detection"] = {key: full[key] for key in keys}


def typed(effective: dict[str, Any], prefix: str = "session") -> Settings:
    """Raises:
    ClientError: Fields of the wrong kind or outside their range, all of them; `param` is the
        path of the first.
    """
    settings, found = _judged(effective, prefix)
    if error := refused(found):
        raise error
    return settings


def _judged(effective: dict[str, Any], prefix: str) -> tuple[Settings, list[Problem]]:
    """All that is wrong, and the settings without it."""
    cleared = {key: value for key, value in effective.items() if value is not None}
    found: list[Problem] = []
    try:
        settings = msgspec.convert(cleared, Settings)
    except msgspec.ValidationError as error:
        # A list of thousands takes milliseconds: it is not looked through once more.
        short = {key: value for key, value in cleared.items() if not _is_long(value)}
        found += islice(wrong_fields(short, Settings), MOST_TOLD + 1)
        path, what = wording(error)
        if not found or re.split(r"[.\[]", path)[0] not in short:
            found.insert(0, (path, what))
        try:
            settings = msgspec.convert(_without(short, [path for path, _ in found]), Settings)
        except msgspec.ValidationError:  # more of it than is told
            settings = Settings()
    found += [(path, message) for path, allowed, message in ranges(settings) if not allowed]
    return settings, [(f"{prefix}.{path}".rstrip("."), what) for path, what in found]


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > MOST_ELEMENTS


def _without(tree: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Of a list with a wrong member, nothing is left."""
    kept = dict(tree)
    for path in paths:
        *above, name = path.partition("[")[0].split(".")
        part = kept
        for outer in above:
            part[outer] = dict(part[outer])
            part = part[outer]
        part.pop(name, None)
    return kept
