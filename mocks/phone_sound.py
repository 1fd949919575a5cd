"""A telephone's sound: G.711 μ-law, 8 kHz, 20 ms a frame.

Of its own making, so that what the server codes is heard by somebody else.
"""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
FRAME_MS = 20
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000
SILENCE = b"\xff"
_BIAS, _CLIP = 132, 32_635


def ulaw(samples: NDArray[np.int16]) -> bytes:
    """[n] samples at 8 kHz. Source: Sun's g711.c, as ITU-T G.191 has it."""
    wide = samples.astype(np.int32)
    magnitude = np.minimum(np.abs(wide), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(wide < 0, 0x80, 0)
    code = ~(sign | (exponent << 4) | mantissa) & 0xFF
    return bytes(code.astype(np.uint8))


def samples(data: bytes) -> NDArray[np.int16]:
    """What `data` sounds like, at 8 kHz."""
    code = ~np.frombuffer(data, np.uint8).astype(np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << ((code >> 4) & 0x07)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def loudness(data: bytes) -> float:
    """Root mean square, 0..32768."""
    heard = samples(data).astype(np.float64)
    return float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0


def hum(seconds: float, hz: float = 250.0, amplitude: int = 9000) -> bytes:
    """What a VAD by energy takes for speech."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return ulaw((amplitude * np.sin(2 * np.pi * hz * at)).astype(np.int16))
