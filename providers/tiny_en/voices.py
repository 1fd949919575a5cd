"""Who speaks: flite's voices and espeak-ng's accents and variants, at 16 kHz.

`awb`, the Scottish accent and a few variants are heard in no training; they are the held-out ones.
"""

import queue
import random
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from providers import _espeak

RATE_HZ = 16_000

FLITE = ("rms", "slt", "kal16", "kal")
ESPEAK_ACCENTS = ("en-us", "en-us", "en-us", "en", "en", "en-gb-x-rp", "en-us-nyc")
ESPEAK_VARIANTS = (
    "", "", "", "+f1", "+f2", "+f3", "+f5", "+m1", "+m2", "+m4", "+m5", "+m6", "+m7", "+Alex",
    "+Alicia", "+Annie", "+Denis", "+Gene", "+Lee", "+Mario", "+Michael", "+Reed", "+Storm",
    "+adam", "+anika", "+antonio", "+ed", "+edward", "+grandma", "+ian", "+john", "+klatt2",
    "+linda", "+max", "+paul", "+pedro", "+quincy", "+rob", "+sandro", "+shelby", "+steph",
    "+travis", "+victor",
)  # fmt: skip
HELD_OUT_FLITE = ("awb",)
HELD_OUT_ESPEAK = ("en-gb-scotland", "en-us+f4", "en+m3", "en-us+Andy", "en+belinda")

Wave = NDArray[np.float32]


class Voice(msgspec.Struct, frozen=True):
    engine: str
    """flite or espeak."""
    name: str
    pace: float = 1.0
    size: float = 1.0
    """Over 1 is a larger speaker: a lower voice and lower formants."""

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def known_voice(rng: random.Random) -> Voice:
    pace, size = rng.uniform(0.8, 1.25), rng.uniform(0.87, 1.15) if rng.random() < 0.5 else 1.0
    if rng.random() < 0.55:
        return Voice("flite", rng.choices(FLITE, (5, 5, 2, 1))[0], pace, size)
    return Voice("espeak", rng.choice(ESPEAK_ACCENTS) + rng.choice(ESPEAK_VARIANTS), pace, size)


def plain_known_voice(rng: random.Random) -> Voice:
    """As a program speaks that nobody has tuned; for measuring."""
    voice = known_voice(rng)
    return Voice(voice.engine, voice.name)


def held_out_voice(rng: random.Random) -> Voice:
    if rng.random() < 0.5:
        return Voice("flite", rng.choice(HELD_OUT_FLITE))
    return Voice("espeak", rng.choice(HELD_OUT_ESPEAK))


def say(text: str, voice: Voice) -> Wave:
    """[n] samples in [-1, 1].

    Raises:
        OSError: If flite is not installed or the voice is none.
    """
    if voice.engine == "flite":
        samples, rate_hz = by_flite(text, voice.name, voice.size / voice.pace)
    else:
        samples, rate_hz = by_espeak(text, voice.name, voice.pace * voice.size)
    return resampled((samples / 32768).astype(np.float32), rate_hz / voice.size)


def resampled(samples: Wave, rate_hz: float) -> Wave:
    if rate_hz == RATE_HZ:
        return samples
    import soxr

    result: Wave = soxr.resample(samples, rate_hz, RATE_HZ)
    return result


def by_flite(text: str, voice: str, stretch: float = 1.0) -> tuple[NDArray[np.int16], int]:
    """[n] samples and their rate, which is the voice's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        options: Sequence[str] = ("-voice", voice, "--setf", f"duration_stretch={stretch:.3f}")
        subprocess.run(["flite", *options, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def by_espeak(text: str, voice: str, speed: float = 1.0) -> tuple[NDArray[np.int16], int]:
    """[n] samples and their rate."""
    espeak = _espeak.shared()
    pieces: queue.SimpleQueue[tuple[bytes, list[_espeak.Word]] | Exception | None]
    pieces = queue.SimpleQueue()
    espeak.submit(_espeak.Request(text, (voice,), speed, pieces.put))
    pcm = b""
    while (piece := pieces.get()) is not None:
        if isinstance(piece, Exception):
            raise piece
        pcm += piece[0]
    return np.frombuffer(pcm, "<i2"), espeak.rate_hz
