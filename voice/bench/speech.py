"""What the callers say: made by the script or read from a WAV, ending at a known sample.

A made utterance lets anybody repeat a run without a file, a voice or a licence. It is a row of
vowels from harmonics under moving formants. It answers for one thing only, that a voice activity
detector takes it for speech from its first frame to its last and not longer; no recogniser will
find words in it. Measured with Silero v5 at 16 to 32 alignments to its 32 ms chunks:

    by wire        p > 0.5 from 22..52 ms after the first sample until 0..28 ms after the last: the
                   chunk, no more; in between never below 0.6; behind pauses of 4 s it dips
                   below 0.5 for up to 0.1 s at some alignments, which ends no turn
    by telephone   from 15..50 ms (99 behind pauses of 9 s), never below 0.78, and until -5..89 ms

By telephone little is left above 3.4 kHz, and a sound may stop being speech there: of the first
voice, half the repetitions lost chunks to silence, a few all of them. The second one's end is the
less sharp, which would be counted as ours: 4 ms by wire.
"""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from voice.bench.config import BenchConfig, BenchError
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
_STRENGTHS = (1.0, 0.6, 0.3)
MADE_S = 2.0


class Voice(msgspec.Struct, frozen=True):
    vowels: tuple[int, ...]
    syllable_s: float
    pitch_hz: float
    melody_hz: float
    bandwidths_hz: tuple[float, float, float]
    harmonics: int
    tilt: float
    """Each harmonic's strength: its number to the power of minus that."""
    voiced: float
    """Share of a syllable."""
    breath: tuple[float, float]
    """All the time, and between syllables; of the voice's peak."""


BY_WIRE = Voice(
    vowels=(0, 0, 3, 2, 2, 3, 3, 0, 2, 0, 2, 4, 2, 0),
    syllable_s=0.16,
    pitch_hz=120.0,
    melody_hz=25.0,
    bandwidths_hz=(80.0, 100.0, 140.0),
    harmonics=35,
    tilt=0.4,
    voiced=0.75,
    breath=(0.01, 0.05),
)
"""Of 36 rows and rates of syllables tried, the one with the sharpest ends."""
BY_TELEPHONE = Voice(
    vowels=(3, 1, 3, 0, 1, 1, 4, 1, 0, 3, 2, 1, 4, 3),
    syllable_s=0.14,
    pitch_hz=170.0,
    melody_hz=40.0,
    bandwidths_hz=(60.0, 80.0, 120.0),
    harmonics=40,
    tilt=1.0,
    voiced=0.9,
    breath=(0.003, 0.02),
)
"""Of 340 voices and rows of vowels tried, those that are speech by telephone too, with the sharpest
ends."""


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


def speech_of(config: BenchConfig) -> Speech:
    """What its callers say."""
    if config.wav:
        return read_speech(config.wav)
    return made_speech(BY_WIRE if config.transport == "websocket" else BY_TELEPHONE)


def made_speech(voice: Voice = BY_WIRE) -> Speech:
    """The script's own utterance, the same at every call."""
    count = int(MADE_S * RATE_HZ)
    at = np.arange(count) / RATE_HZ
    melody = voice.melody_hz * np.sin(2 * np.pi * 0.9 * at)
    pitch_hz = voice.pitch_hz + melody + 6 * np.sin(2 * np.pi * 5.1 * at) - 6 * at
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    vowels = _FORMANTS_HZ[np.resize(voice.vowels, int(MADE_S / voice.syllable_s) + 2)]
    centres = (np.arange(len(vowels)) + 0.5) * voice.syllable_s
    formants = [np.interp(at, centres, vowels[:, n]) for n in range(3)]

    sound = np.zeros(count)
    for harmonic in range(1, voice.harmonics + 1):
        hz = harmonic * pitch_hz
        gain = sum(
            strength / (1 + ((hz - formant) / width) ** 2)
            for strength, width, formant in zip(
                _STRENGTHS, voice.bandwidths_hz, formants, strict=True
            )
        )
        sound += (hz < 4500) * (gain + 0.01) / harmonic**voice.tilt * np.sin(harmonic * phase)
    within = (at % voice.syllable_s) / voice.syllable_s
    swell = np.sin(np.pi * np.clip(within / voice.voiced, 0, 1)) ** 0.5 * (within < voice.voiced)
    sound *= 0.25 + 0.75 * swell

    breath = np.diff(np.random.default_rng(11).standard_normal(count), prepend=0.0)
    always, between = voice.breath
    sound += breath * np.abs(sound).max() * (always + between * (within > 0.8))
    samples = (sound / np.abs(sound).max() * 0.5 * 32767).astype(np.int16)
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
