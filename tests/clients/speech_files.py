"""What the clients say: a little speech, in every format of the wire."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voice.bench.speech import made_speech

SPEECH_MS = 640


def speech(rate_hz: int = 24_000) -> NDArray[np.int16]:
    whole: NDArray[np.int16] = made_speech().samples[: SPEECH_MS * 24]
    if rate_hz == 24_000:
        return whole
    # The mean of three is filter enough: what is said has nothing above 4.5 kHz.
    means: NDArray[np.float64] = whole.reshape(-1, 24_000 // rate_hz).mean(axis=1)
    return means.astype(np.int16)


def ulaw(pcm: NDArray[np.int16]) -> bytes:
    """Source: ITU-T G.711, table 2a, by its segments; written apart from the server's own."""
    sign = np.where(pcm < 0, 0x80, 0)
    level = np.minimum(np.abs(pcm.astype(np.int32)), 32635) + 132
    segment = np.floor(np.log2(level)).astype(np.int32) - 7
    mantissa = (level >> (segment + 3)) & 0x0F
    return bytes((~(sign | segment << 4 | mantissa) & 0xFF).astype(np.uint8))


def alaw(pcm: NDArray[np.int16]) -> bytes:
    """Source: ITU-T G.711, table 1a, by its segments."""
    sign = np.where(pcm >= 0, 0x80, 0)
    level = np.where(pcm >= 0, pcm.astype(np.int32), -pcm.astype(np.int32) - 1) >> 3
    segment = np.maximum(np.floor(np.log2(np.maximum(level, 1))).astype(np.int32) - 4, 0)
    mantissa = (level >> np.maximum(segment, 1)) & 0x0F
    return bytes(((sign | segment << 4 | mantissa) ^ 0x55).astype(np.uint8))


def write_speech_files(folder: Path) -> None:
    """speech.pcm (24 kHz s16le), speech.ulaw and speech.alaw (8 kHz)."""
    telephone = speech(8000)
    (folder / "speech.pcm").write_bytes(speech().tobytes())
    (folder / "speech.ulaw").write_bytes(ulaw(telephone))
    (folder / "speech.alaw").write_bytes(alaw(telephone))
