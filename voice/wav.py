"""WAV files: what somebody said, and the answer's sound."""

import math
import wave
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from voice import settings
from voice.errors import KaiwaError
from voice.playout import BYTES_PER_SAMPLE
from voice.resample import Resampler

COMMON_HZ = 75
"""What all rates in use share with 24 kHz; where it is less, the filter grows too large."""
REMEDY = "ffmpeg -i FILE -ar 16000 -ac 1 -c:a pcm_s16le spoken.wav makes a fitting one."


class Recording(Struct, frozen=True):
    pcm: bytes
    """s16le mono."""
    rate_hz: int
    """One that a session takes."""


def read_wav(path: Path) -> Recording:
    """Any usual rate and any number of channels.

    Raises:
        KaiwaError: No such file, no WAV, not 16-bit, empty, or of an odd rate.
    """
    mono, rate_hz = read_mono(path)
    if rate_hz in settings.INPUT_RATES_HZ:
        return Recording(mono.tobytes(), rate_hz)
    target_hz = settings.OUTPUT_RATE_HZ
    if math.gcd(rate_hz, target_hz) < COMMON_HZ:
        raise KaiwaError(f"{path}: {rate_hz} Hz is no usual sample rate. {REMEDY}")
    return Recording(Resampler(rate_hz, target_hz).whole(mono).tobytes(), target_hz)


def read_mono(path: Path) -> tuple[NDArray[np.int16], int]:
    """The mean of the channels, [n] samples, and their rate in Hz.

    Raises:
        KaiwaError: No such file, no WAV, not 16-bit, or empty.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise KaiwaError(f"{path}: cannot be read: {error.strerror}.") from None
    except (wave.Error, EOFError) as error:
        why = str(error) or "it ends too early"
        raise KaiwaError(f"{path}: is not a WAV file of PCM samples: {why}. {REMEDY}") from None
    if width != 2:
        raise KaiwaError(f"{path}: must hold 16-bit samples, got {width * 8}-bit. {REMEDY}")
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], "<i2")
    if not len(samples) or rate_hz <= 0:
        raise KaiwaError(f"{path}: holds no sound. {REMEDY}")
    return samples.reshape(-1, channels).mean(axis=1).astype(np.int16), rate_hz


def write_wav(path: Path, pcm: bytes) -> None:
    """Raises:
    KaiwaError: The file cannot be written.
    """
    try:
        # Opened here: where wave.open cannot open a file, it says so twice.
        with path.open("wb") as sink, wave.open(sink, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(settings.OUTPUT_RATE_HZ)
            file.writeframes(pcm)
    except OSError as error:
        raise KaiwaError(
            f"--speak-to: {path}: cannot be written: {error.strerror}; name another file."
        ) from None
