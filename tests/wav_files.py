"""WAV files as the tests write them."""

import wave
from pathlib import Path


def write(path: Path, pcm: bytes, rate_hz: int, *, channels: int = 1, width: int = 2) -> Path:
    """Args:
    pcm: Samples of `width` bytes, `channels` beside one another.
    """
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path
