"""What callers send: the session they ask for, and audio that is ready for the wire."""

import struct
from typing import Any

from websockets.frames import Frame, Opcode

from voice.bench.config import BenchConfig
from voice.bench.turn import EXTENSIONS_EVENT_ID

EXTENSIONS = ("kaiwa.transcript.partial", "kaiwa.turn.timeline", "kaiwa.speech.ducked")


def text_frame(data: bytes) -> bytes:
    return Frame(Opcode.TEXT, data).serialize(mask=True)


def plain_frame(data: bytes) -> bytes:
    """A text frame under a mask of zeros, which leaves the bytes as they are: for messages that
    differ from caller to caller, fifty times a second each."""
    size = len(data)
    if size < 126:
        return bytes((0x81, 0x80 | size, 0, 0, 0, 0)) + data
    return struct.pack("!BBHL", 0x81, 0x80 | 126, size, 0) + data


def append_frame(audio_base64: str) -> bytes:
    """An append event as it goes over the socket; the same bytes serve every caller.

    RFC 6455 section 5.3 wants a fresh mask for each frame, to protect proxies from chosen bytes; a
    load generator sends no secrets and chooses no bytes, and every server must take any mask.
    """
    text = '{"type":"input_audio_buffer.append","audio":"' + audio_base64 + '"}'
    return text_frame(text.encode())


def session_update(silence_ms: int) -> dict[str, Any]:
    """24 kHz PCM both ways, the server listens for turns and stops talking when interrupted."""
    turn_detection: dict[str, Any] = {
        "type": "server_vad",
        "create_response": True,
        "interrupt_response": True,
    }
    if silence_ms:
        turn_detection["silence_duration_ms"] = silence_ms
    pcm = {"type": "audio/pcm", "rate": 24_000}
    listening = {
        "format": pcm,
        "turn_detection": turn_detection,
        "transcription": {"model": "gpt-4o-mini-transcribe"},
    }
    session = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": listening, "output": {"format": pcm}},
    }
    return {"type": "session.update", "session": session}


def first_messages(config: BenchConfig) -> list[dict[str, Any]]:
    """Of a call; the answer to the first one makes the session ready."""
    messages = [session_update(config.silence_ms)]
    if config.extensions:
        # A message of its own, so that a server without extensions refuses this one alone.
        extended = {"type": "realtime", "include": list(EXTENSIONS)}
        messages.append(
            {"type": "session.update", "event_id": EXTENSIONS_EVENT_ID, "session": extended}
        )
    return messages
