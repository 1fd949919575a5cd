"""What the mock servers of speech say: a hum as long as the text, and what may be wrong with it."""

import struct
from typing import Literal

import msgspec
import numpy as np

MS_PER_CHAR = 65.0
AMPLITUDE = 8000
FISH_RATE_HZ = 44_100

FaultKind = Literal[
    "refuse", "hang_up", "hang", "slow", "error", "busy", "html", "stall", "reset", "cut", "drip",
    "malformed", "error_event", "unended", "short", "long", "silence", "noise", "stuck",
    "clipped", "odd", "empty", "float", "wav", "mp3",
]  # fmt: skip


class TtsFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    refuse       nothing listens any more, for all requests, until it is repaired
    hang_up      the connection is closed instead of an answer
    hang         accepted, never answered
    slow         the first byte takes `factor` times as long
    error, busy  `status`; 429 with Retry-After
    html         200 and a web page
    stall        nothing more comes behind `at_s` of audio
    reset        RST there
    cut          the connection is closed there, in the middle of a chunk
    drip         from there a byte a second
    malformed    an event that is neither JSON nor UTF-8, or bytes that are no audio
    error_event  `speech.audio.error` there; unended: no `speech.audio.done`
    short … mp3  what the audio is; `float` has NaN in it, `odd` ends in half a sample
    """

    kind: FaultKind
    request: int = 1
    """The request it begins with, counted from 1; 0: every request."""
    times: int = 1
    at_s: float = 0.3
    factor: float = 20.0
    status: int = 500
    retry_after: str = "1"

    def concerns(self, request: int) -> bool:
        return self.request == 0 or self.request <= request < self.request + self.times


def audio_of(text: str, rate_hz: int, fault: TtsFault | None = None, speed: float = 1.0) -> bytes:
    """s16le: a hum that swells with each syllable, as long as an English speaker takes."""
    seconds = len(text) * MS_PER_CHAR / 1000 / speed
    kind = fault.kind if fault is not None else ""
    seconds = {"short": 0.02, "long": 30 * seconds + 10, "empty": 0.0}.get(kind, seconds)
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    hum = np.sin(2 * np.pi * 180 * at) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at))
    match kind:
        case "silence":
            hum = np.zeros_like(at)
        case "stuck":
            hum = np.ones_like(at)
        case "clipped":
            hum = np.sign(hum) * 32767 / AMPLITUDE
        case "noise" | "mp3":
            noise = np.random.default_rng(0).integers(-32768, 32767, len(at), np.int16).tobytes()
            return (b"ID3\x04" if kind == "mp3" else b"") + noise
        case "float":
            return (hum * np.where(at > 0.2, np.nan, 0.5)).astype("<f4").tobytes()
    pcm: bytes = (hum * AMPLITUDE).astype("<i2").tobytes()
    if kind == "odd":
        return pcm[:-1]
    return wav_header(len(pcm), rate_hz) + pcm if kind == "wav" else pcm


def wav_header(size: int, rate_hz: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(head) + size) + head
