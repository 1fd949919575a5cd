"""A session's settings as the wire shapes them: what the client set, merged, checked, echoed.

The echo is the whole effective session, since stock clients read it: agents-js decides by
`turn_detection.interrupt_response` who cancels on speech, pipecat refuses keys it does not know.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from voice.errors import ClientError
from voice.wording import wording

Modality = Literal["audio", "text"]
Eagerness = Literal["low", "medium", "high", "auto"]

INPUT_RATES_HZ = (8000, 16000, 24000, 48000)
OUTPUT_RATE_HZ = 24000
G711_RATE_HZ = 8000

MAX_SESSION_BYTES = 256 * 1024
"""The echo of a session must fit every stock client's message limit."""
MAX_DEPTH = 64
"""Of nesting; a function's JSON schema stays far below."""

EXTENSIONS = (
    "kaiwa.transcript.partial",
    "kaiwa.turn.sources",
    "kaiwa.turn.timeline",
    "kaiwa.speech.marks",
)
"""What `session.include` may ask for beside OpenAI's own, which are accepted and not sent."""


class AudioFormat(Struct, frozen=True):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int = OUTPUT_RATE_HZ

    @property
    def rate_hz(self) -> int:
        return self.rate if self.type == "audio/pcm" else G711_RATE_HZ


class TurnDetection(Struct, frozen=True):
    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Struct, frozen=True):
    model: str = ""
    language: str = ""
    prompt: str = ""


class AudioInput(Struct, frozen=True):
    format: AudioFormat = AudioFormat()
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(Struct, frozen=True):
    format: AudioFormat = AudioFormat()
    voice: str = ""
    speed: float = 1.0


class Audio(Struct, frozen=True):
    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class ToolSpec(Struct, frozen=True):
    name: str = ""
    type: str = "function"
    description: str = ""
    parameters: dict[str, Any] = {}


class Settings(Struct, frozen=True):
    """The typed view of the effective session; a reply keeps the one it started with."""

    output_modalities: tuple[Modality, ...] = ("audio",)
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    max_output_tokens: int | Literal["inf"] = "inf"
    include: tuple[str, ...] | None = None
    audio: Audio = Audio()

    @property
    def spoken(self) -> bool:
        return self.output_modalities == ("audio",)

    def wants(self, extension: str) -> bool:
        return self.include is not None and extension in self.include


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
            "output": {"format": dict(pcm), "voice": defaults.voice or "default", "speed": 1.0},
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
        ClientError: A field that cannot be; `param` is its path. The old session stays.
    """
    if update.get("type", "realtime") != "realtime":
        message = f'{prefix}.type {update["type"]!r} is not offered; use "realtime".'
        raise ClientError("invalid_value", message, f"{prefix}.type")
    changes = {key: value for key, value in update.items() if key not in _IMMUTABLE}
    if changes.get("audio", {}) is None:
        raise ClientError("invalid_value", f"{prefix}.audio cannot be null.", f"{prefix}.audio")
    if _depth(changes) > MAX_DEPTH:
        message = f"{prefix} is nested more than {MAX_DEPTH} levels deep."
        raise ClientError("invalid_value", message, prefix)
    merged = _deep_merge(effective, changes)
    _tidy_input(merged, detection or TurnDetection())
    typed(merged, prefix)
    if len(msgspec.json.encode(merged)) > MAX_SESSION_BYTES:
        message = f"{prefix} would grow beyond {MAX_SESSION_BYTES // 1024} KiB."
        raise ClientError("string_above_max_length", message, prefix)
    return merged


def _depth(tree: Any) -> int:
    level, depth = [tree], 0
    while level:
        depth += 1
        level = [child for value in level for child in _children(value)]
    return depth


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


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
    ClientError: A field of the wrong kind or outside its range; `param` is its path.
    """
    cleared = {key: value for key, value in effective.items() if value is not None}
    try:
        settings = msgspec.convert(cleared, Settings)
    except msgspec.ValidationError as error:
        path, what = wording(error)
        param = f"{prefix}.{path}".rstrip(".")
        raise ClientError("invalid_value", f"{param} {what}.", param) from None
    for param, allowed, message in _ranges(settings):
        if not allowed:
            raise ClientError("invalid_value", f"{prefix}.{param} {message}", f"{prefix}.{param}")
    return settings


def _ranges(settings: Settings) -> list[tuple[str, bool, str]]:
    spoken_in, spoken_out = settings.audio.input, settings.audio.output
    detection = spoken_in.turn_detection or TurnDetection()
    tools = all(tool.type != "function" or tool.name for tool in settings.tools)
    asked = (wish for wish in settings.include or () if wish.startswith("kaiwa."))
    unknown = [wish for wish in asked if wish not in EXTENSIONS]
    return [
        (
            "audio.input.format.rate",
            spoken_in.format.rate in INPUT_RATES_HZ,
            f"must be one of {', '.join(map(str, INPUT_RATES_HZ))} Hz, got {spoken_in.format.rate}",
        ),
        (
            "audio.output.format.rate",
            spoken_out.format.rate == OUTPUT_RATE_HZ,
            f"must be {OUTPUT_RATE_HZ} Hz, got {spoken_out.format.rate}",
        ),
        (
            "audio.output.speed",
            0.25 <= spoken_out.speed <= 1.5,
            f"must be 0.25..1.5, got {spoken_out.speed}",
        ),
        (
            "audio.input.turn_detection.threshold",
            0.0 < detection.threshold < 1.0,
            f"must lie between 0 and 1, got {detection.threshold}",
        ),
        (
            "audio.input.turn_detection.silence_duration_ms",
            50 <= detection.silence_duration_ms <= 10_000,
            f"must be 50..10000 ms, got {detection.silence_duration_ms}",
        ),
        (
            "audio.input.turn_detection.prefix_padding_ms",
            0 <= detection.prefix_padding_ms <= 2000,
            f"must be 0..2000 ms, got {detection.prefix_padding_ms}",
        ),
        (
            "output_modalities",
            settings.output_modalities in (("audio",), ("text",)),
            'must be ["audio"] (which carries its transcript) or ["text"]',
        ),
        (
            "max_output_tokens",
            settings.max_output_tokens == "inf" or 1 <= settings.max_output_tokens <= 4096,
            f'must be 1..4096 or "inf", got {settings.max_output_tokens}',
        ),
        ("tools", tools, "holds a function without a name"),
        ("include", not unknown, f"can be {', '.join(EXTENSIONS)}, not {', '.join(unknown)}"),
    ]
