"""The fields of a session's settings: their types, and the ranges that types cannot say."""

from typing import Any, Literal

from msgspec import Struct

Modality = Literal["audio", "text"]
Eagerness = Literal["low", "medium", "high", "auto"]

INPUT_RATES_HZ = (8000, 16000, 24000, 48000)
OUTPUT_RATE_HZ = 24000
G711_RATE_HZ = 8000

EXTENSIONS = (
    "kaiwa.transcript.partial",
    "kaiwa.turn.sources",
    "kaiwa.turn.timeline",
    "kaiwa.speech.marks",
    "kaiwa.speech.ducked",
    "kaiwa.call.ended",
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


def ranges(settings: Settings) -> list[tuple[str, bool, str]]:
    """Each field's path, whether it can be, and what is said if not."""
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
            "audio.input.turn_detection.idle_timeout_ms",
            0 <= (detection.idle_timeout_ms or 0) <= 3_600_000,
            f"must be 0 (never)..3600000 ms, got {detection.idle_timeout_ms}",
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
