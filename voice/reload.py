"""Settings read again while calls go on: what of them holds at once, and what after a restart.

    file, .env ──read, all checked──▶ merged ──▶ what runs from now on
                     │ wrong: told, nothing changes       settings that need a restart stay as
                     ▼                                    they run, and are told each time
                ConfigError

Calls keep the settings they began with; how the model is asked changes with their next answer.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from voice.config import LOOPBACK, Config, shown
from voice.templates import Prompt

When = Literal["now", "next answer", "new calls", "restart"]

HOLDS: dict[str, When] = {
    "server.api_keys": "now",
    "server.allowed_origins": "now",
    "server.max_sessions": "now",
    "server.drain_s": "now",
    "server.send_limit_s": "new calls",
    "load.*": "now",
    "log.level": "now",
    "log.transcripts": "new calls",
    "vad.threshold": "new calls",
    "vad.min_speech_ms": "new calls",
    "stt.language": "new calls",
    "llm.model": "next answer",
    "llm.temperature": "next answer",
    "llm.max_tokens": "next answer",
    "llm.context_tokens": "next answer",
    "tts.voice": "new calls",
    "tts.sentence_gap_ms": "new calls",
    "tts.clause_gap_ms": "new calls",
    "rag.passages": "now",
    "rag.limit_ms": "new calls",
    "turn.*": "new calls",
    "turn.provider": "restart",
    "turn.model": "restart",
    "barge_in.*": "new calls",
    "speculation.*": "new calls",
    "playout.*": "new calls",
    "agent.*": "new calls",
    "webrtc.*": "new calls",
    "keypad.*": "new calls",
    "telephony.transfer": "new calls",
}
"""What a session or the desk reads whenever it begins something. All else was given to a provider
or a socket when it was made."""


class Fresh(Struct, frozen=True):
    """What was read again, and found to be right."""

    config: Config
    prompt: Prompt
    warnings: tuple[str, ...] = ()


class Change(Struct, frozen=True, kw_only=True):
    """Secrets are told as "set"."""

    setting: str
    before: Any
    now: Any
    """As it is read from the settings."""
    holds: When


class Outcome(Struct, frozen=True, kw_only=True):
    changed: list[Change]
    needs_restart: list[Change]
    """What is set and does not run."""
    warnings: list[str]


class Merged(Struct, frozen=True):
    config: Config
    """What runs from now on."""
    changed: list[Change]
    waiting: list[Change]


def holds(path: str) -> When:
    section = path.partition(".")[0]
    return HOLDS.get(path) or HOLDS.get(f"{section}.*") or "restart"


def merged(running: Config, read: Config) -> Merged:
    changed: list[Change] = []
    waiting: list[Change] = []
    sections: dict[str, Any] = {}
    if running.profile != read.profile:
        waiting.append(change("profile", running.profile, read.profile, "restart"))
    for name in running.__struct_fields__:
        before, now = getattr(running, name), getattr(read, name)
        if not isinstance(before, Struct):
            continue
        taken = {}
        for key in before.__struct_fields__:
            path, old, new = f"{name}.{key}", getattr(before, key), getattr(now, key)
            if old == new:
                continue
            when = "restart" if _would_open(running, path, new) else holds(path)
            (waiting if when == "restart" else changed).append(change(path, old, new, when))
            if when != "restart":
                taken[key] = new
        sections[name] = msgspec.structs.replace(before, **taken)
    return Merged(msgspec.structs.replace(running, **sections), changed, waiting)


def _would_open(running: Config, path: str, new: Any) -> bool:
    """Whether all could call, as would be right only for the address that was set with it."""
    return path == "server.api_keys" and not new and running.server.host not in LOOPBACK


def change(path: str, before: Any, now: Any, when: When) -> Change:
    return Change(setting=path, before=shown(path, before), now=shown(path, now), holds=when)
