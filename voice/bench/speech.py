"""What the callers say: made by the script or read from a WAV, ending at a known sample.

A made utterance lets anybody repeat a run without a file, a voice or a licence. It is a row of
vowels from harmonics under moving formants. It answers for one thing only, that a voice activity
detector takes it for speech from its first frame to its last and not longer; no recogniser will
find words in it. Measured with Silero v5 at 32 alignments to its 32 ms chunks, at 24 kHz and as
μ-law at 8, questions 0.6 to 9 s apart: p > 0.5 from 15..50 ms after the first sample (99 behind the
longest pauses), never below 0.78 in between, and until 14 ms after the last on average (-5..89).

By telephone little is left above 3.4 kHz, and a sound may stop being speech there: of the utterance
that was said here first, at a pitch of 120 Hz, half the repetitions lost chunks to silence, a few
all of them.
"""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from voice.bench.config import BenchError
from voice.errors import KaiwaError
from voice.resample import Resampler
from voice.wav import read_mono

RATE_HZ = 24_000
"""The rate of `audio/pcm` on the wire."""

SPEECH_FLOOR_DB = -45.0
"""Below the peak by which a recording counts as silent, at its ends."""

# First three formants in Hz of ɑ, i, ɔ, ɛ, u as spoken by men.
# Source: Peterson & Barney, Control methods used in a study of the vowels, 1952, table II.
_FORMANTS_HZ = np.array(
    [(730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (530, 1840, 2480), (300, 870, 2240)],
    dtype=np.float64,
)
_BANDWIDTHS_HZ = (60.0, 80.0, 120.0)
_STRENGTHS = (1.0, 0.6, 0.3)
_VOWELS = (3, 1, 3, 0, 1, 1, 4, 1, 0, 3, 2, 1, 4, 3)
_SYLLABLE_S = 0.14
_PITCH_HZ, _MELODY_HZ = 170.0, 40.0
"""Of 340 voices and rows of vowels tried, those that are speech by telephone too, with the sharpest
ends."""
MADE_S = 2.0


class Speech(msgspec.Struct, frozen=True):
    """An utterance that begins at its first sample and ends at its last."""

    samples: NDArray[np.int16]
    """[n] at 24 kHz."""
    source: str
    """Where it comes from, for the report."""
    cut_lead_ms: float = 0.0
    cut_tail_ms: float = 0.0
    """Silence that was taken off its ends."""

    @property
    def ms(self) -> float:
        return len(self.samples) * 1000 / RATE_HZ


def made_speech() -> Speech:
    """The script's own utterance, the same at every call."""
    count = int(MADE_S * RATE_HZ)
    at = np.arange(count) / RATE_HZ
    melody = _MELODY_HZ * np.sin(2 * np.pi * 0.9 * at) + 6 * np.sin(2 * np.pi * 5.1 * at) - 6 * at
    pitch_hz = _PITCH_HZ + melody
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    vowels = _FORMANTS_HZ[np.resize(_VOWELS, int(MADE_S / _SYLLABLE_S) + 2)]
    centres = (np.arange(len(vowels)) + 0.5) * _SYLLABLE_S
    formants = [np.interp(at, centres, vowels[:, n]) for n in range(3)]

    voice = np.zeros(count)
    for harmonic in range(1, 41):
        hz = harmonic * pitch_hz
        gain = sum(
            strength / (1 + ((hz - formant) / width) ** 2)
            for strength, width, formant in zip(_STRENGTHS, _BANDWIDTHS_HZ, formants, strict=True)
        )
        voice += (hz < 4500) * (gain + 0.01) / harmonic * np.sin(harmonic * phase)
    within = (at % _SYLLABLE_S) / _SYLLABLE_S
    swell = np.sin(np.pi * np.clip(within / 0.9, 0, 1)) ** 0.5 * (within < 0.9)
    voice *= 0.25 + 0.75 * swell

    breath = np.diff(np.random.default_rng(11).standard_normal(count), prepend=0.0)
    peak = np.abs(voice).max()
    voice += breath * peak * (0.003 + 0.02 * (within > 0.8))
    samples = (voice / np.abs(voice).max() * 0.5 * 32767).astype(np.int16)
    return Speech(samples, f"made by the script, {MADE_S:g} s")


def speech_bounds(samples: NDArray[np.int16]) -> tuple[int, int]:
    """First sample above -45 dB of the peak, and the one after the last.

    Raises:
        BenchError: If there is no sound at all.
    """
    level = np.abs(samples.astype(np.int32))
    peak = int(level.max(initial=0))
    if peak == 0:
        raise BenchError("the recording is silent from beginning to end; give another one")
    loud = np.flatnonzero(level > peak * 10 ** (SPEECH_FLOOR_DB / 20))
    return int(loud[0]), int(loud[-1]) + 1


def read_speech(path: str) -> Speech:
    """A PCM WAV of 16 bits, any rate, any channels (mixed), without the silence at its ends.

    Raises:
        BenchError: If it is not such a file or holds no sound.
    """
    try:
        mono, rate_hz = read_mono(Path(path))
    except KaiwaError as error:
        raise BenchError(f"wav: {error}") from None
    first, end = speech_bounds(mono)
    spoken = mono[first:end]
    return Speech(
        spoken if rate_hz == RATE_HZ else Resampler(rate_hz, RATE_HZ).whole(spoken),
        Path(path).name,
        cut_lead_ms=first * 1000 / rate_hz,
        cut_tail_ms=(len(mono) - end) * 1000 / rate_hz,
    )


def frames(samples: NDArray[np.int16], frame_ms: int, rate_hz: int = RATE_HZ) -> list[bytes]:
    """PCM frames whose last one ends with the last sample; the first is filled up in front."""
    size = rate_hz * frame_ms // 1000
    missing = -len(samples) % size
    padded = np.concatenate([np.zeros(missing, np.int16), samples])
    return [row.tobytes() for row in padded.reshape(-1, size)]


def background(
    dbfs: float, frame_ms: int, count: int, seed: int, rate_hz: int = RATE_HZ
) -> list[bytes]:
    """Frames of white noise at an RMS level, to be sent round and round between turns."""
    size = rate_hz * frame_ms // 1000
    if dbfs <= -120:
        return [bytes(2 * size)]
    noise = np.random.default_rng(seed).standard_normal((count, size)) * 32767 * 10 ** (dbfs / 20)
    return [row.tobytes() for row in noise.round().astype(np.int16)]
