"""Samples: rates, G.711, and the two converters that stand between a wire format and us.

Inside, audio is s16le mono: 16 kHz towards the ears, the wire's own rate towards the speaker.
"""

import numpy as np
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ
from voice.errors import ClientError
from voice.resample import Resampler
from voice.settings import AudioFormat

HEARD_PEAK = 64
"""-54 dBFS: what stays below is a pause to a caller, though few voices give zeros."""


def _mulaw_table() -> NDArray[np.int16]:
    """ITU-T G.711 μ-law, all 256 codes."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    value = np.where(code & 0x80, 0x84 - magnitude, magnitude - 0x84)
    return value.astype(np.int16)


def _alaw_table() -> NDArray[np.int16]:
    """ITU-T G.711 A-law, all 256 codes."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    mantissa, exponent = (code & 0x0F) << 4, (code & 0x70) >> 4
    magnitude = np.where(
        exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0)
    )
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder_table(decoded: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The nearest code for each of the 65,536 samples, so that encoding is one look-up."""
    order = np.argsort(decoded, kind="stable")
    levels = decoded[order].astype(np.int32)
    samples = np.arange(-32768, 32768, dtype=np.int32)
    above = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer_below = samples - levels[above - 1] <= levels[above] - samples
    index = np.where(nearer_below, above - 1, above)
    return order[index].astype(np.uint8)


_DECODE = {"audio/pcmu": _mulaw_table(), "audio/pcma": _alaw_table()}
_ENCODE = {kind: _encoder_table(table) for kind, table in _DECODE.items()}


def decode_g711(kind: str, data: bytes) -> NDArray[np.int16]:
    """[len(data)] samples at 8 kHz."""
    return _DECODE[kind][np.frombuffer(data, np.uint8)]


def encode_g711(kind: str, pcm: NDArray[np.int16]) -> bytes:
    """One byte a sample."""
    return _ENCODE[kind][pcm.astype(np.int32) + 32768].tobytes()


class Listening:
    """What the client sends, as 16 kHz for VAD and STT."""

    def __init__(self, form: AudioFormat) -> None:
        self.form = form
        same = form.rate_hz == LISTEN_RATE_HZ
        self._resampler = None if same else Resampler(form.rate_hz, LISTEN_RATE_HZ)
        self.delay_s = self._resampler.delay_s if self._resampler else 0.0
        """By so much what comes out is behind what went in."""

    def convert(self, data: bytes) -> bytes:
        """Raises:
        ClientError: Half a sample.
        """
        if self.form.type == "audio/pcm" and len(data) % 2:
            message = f"16-bit samples come in whole pairs of bytes, got {len(data)} bytes."
            raise ClientError("invalid_audio", message, "audio")
        if self._resampler is None:
            return data
        if self.form.type == "audio/pcm":
            samples = np.frombuffer(data, "<i2")
        else:
            samples = decode_g711(self.form.type, data)
        return self._resampler.convert(samples).tobytes()


class Speaking:
    """What a voice gives, at the wire's rate. One per reply."""

    def __init__(self, source_hz: int, form: AudioFormat) -> None:
        self._rates_hz = source_hz, form.rate_hz
        same = source_hz == form.rate_hz
        self._resampler = None if same else Resampler(*self._rates_hz)

    def convert(self, pcm: bytes) -> bytes:
        if self._resampler is None:
            return pcm
        return self._resampler.convert(np.frombuffer(pcm, "<i2")).tobytes()

    def flush(self) -> bytes:
        """What the filter still holds, where what follows may be long in coming."""
        if self._resampler is None:
            return b""
        held, self._resampler = self._resampler.flush(), Resampler(*self._rates_hz)
        return held.tobytes()


def to_wire(form: AudioFormat, pcm: bytes) -> bytes:
    """Samples at the wire's rate, in the wire's coding."""
    if form.type == "audio/pcm":
        return pcm
    return encode_g711(form.type, np.frombuffer(pcm, "<i2"))


def duration_ms(pcm: bytes, rate_hz: int) -> float:
    return len(pcm) / 2 / rate_hz * 1000


def audible_ms(pcm: bytes, rate_hz: int) -> float:
    """Up to the last sample that can be heard; 0: none can."""
    samples = np.frombuffer(pcm, "<i2", len(pcm) // 2)
    heard = np.flatnonzero((samples > HEARD_PEAK) | (samples < -HEARD_PEAK))
    return (int(heard[-1]) + 1) / rate_hz * 1000 if len(heard) else 0.0
