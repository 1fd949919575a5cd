"""What the openai SDK's scenarios share; runs in the clients' own environment."""

import asyncio
import base64
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FRAME_MS = 40
SPEECH = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
HEARD = "hi there"
ANSWER = f"You said: {HEARD}."
QUIET = {"pcm": b"\0\0", "ulaw": b"\xff", "alaw": b"\xd5"}
BYTES_MS = {"pcm": 48, "ulaw": 8, "alaw": 8}

VAD = {"type": "server_vad", "silence_duration_ms": 200}


def session(**changes: Any) -> dict[str, Any]:
    """A whole `session` for session.update, the turn's end found by the server."""
    return {"type": "realtime", "audio": {"input": {"turn_detection": VAD}}, **changes}


def user_text(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }


WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def speech_frames(form: str = "pcm") -> list[str]:
    """The utterance in base64 frames of 40 ms."""
    data = (SPEECH / f"speech.{form}").read_bytes()
    size = FRAME_MS * BYTES_MS[form]
    return [base64.b64encode(data[at : at + size]).decode() for at in range(0, len(data), size)]


def quiet_frame(form: str = "pcm") -> str:
    size = FRAME_MS * BYTES_MS[form] // len(QUIET[form])
    return base64.b64encode(QUIET[form] * size).decode()


def audio_of(events: list[Any]) -> bytes:
    deltas = [event.delta for event in events if event.type == "response.output_audio.delta"]
    return b"".join(base64.b64decode(delta) for delta in deltas)


def kinds(events: list[Any], *, without: tuple[str, ...] = ()) -> list[str]:
    """Types in order; what repeats at once stands once, words and sound of an answer too."""
    found: list[str] = []
    for event in events:
        kind = event.type
        if kind in ("response.output_audio_transcript.delta", "response.output_audio.delta"):
            kind = "(words and sound)"
        if kind not in without and found[-1:] != [kind]:
            found.append(kind)
    return found


DELTA = "conversation.item.input_audio_transcription.delta"

UTTERANCE = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
]
SPOKEN_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "(words and sound)",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
WRITTEN_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def serve(scenarios: dict[str, Callable[[str], Any]]) -> None:
    """Plays what standard input names, one at a time, and says what went wrong."""
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        problem = None
        try:
            outcome = scenarios[order["scenario"]](order["url"])
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
        except BaseException:
            problem = traceback.format_exc()
        print(json.dumps(problem), flush=True)
