"""Voice activity by loudness alone, for machines where no model is wanted.

Speech is what stands out of the noise, so the noise floor is tracked per stream: it falls at once
to a quieter chunk and rises slowly under louder ones, and speech pauses bring it down again.
Probability goes from 0 at 6 dB above the floor to 1 at 18 dB: 0.5 at 12 dB.
"""

import math
from collections.abc import Callable

import numpy as np

from providers._vad_audio import ChunkQueue, block_rms
from providers.base import LISTEN_RATE_HZ, VAD_CHUNK_SAMPLES, ProviderInfo, Slot, VadFrame

FLOOR_START = 100.0
"""RMS at which a stream is taken to begin, of 32767; about -50 dBFS, a quiet room."""
FLOOR_MIN = 20.0
"""Below this, 12 dB more is still inaudible (digital silence, dither)."""
FLOOR_RISE_DB_S = 3.0
"""Slow enough that a sentence without a pause does not become the floor."""
QUIET_DB, LOUD_DB = 6.0, 18.0

_RISE = 10 ** (FLOOR_RISE_DB_S * VAD_CHUNK_SAMPLES / LISTEN_RATE_HZ / 20)


class EnergyVAD:
    """Implements `providers.base.VAD`. Judges inside `feed()`, measured at 6 µs a chunk."""

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.VAD, provider="energy")

    async def start(self) -> None:
        return None

    async def check(self) -> None:
        frames: list[VadFrame] = []
        stream = self.open(frames.append)
        stream.feed(bytes(2 * VAD_CHUNK_SAMPLES))
        stream.close()

    async def aclose(self) -> None:
        return None

    def open(self, sink: Callable[[VadFrame], None]) -> "_Stream":
        return _Stream(sink)


class _Stream:
    """Implements `providers.base.VadStream`."""

    def __init__(self, sink: Callable[[VadFrame], None]) -> None:
        self._sink: Callable[[VadFrame], None] | None = sink
        self._audio = ChunkQueue()
        self._floor = FLOOR_START

    def feed(self, pcm: bytes) -> None:
        if self._sink is None:
            return
        self._audio.put(pcm)
        while self._sink is not None and self._audio.ready:
            chunk = np.frombuffer(self._audio.take(), dtype="<i2").astype(np.float32)
            rms: list[float] = block_rms(chunk[np.newaxis])[0].tolist()
            self._sink(VadFrame(self._audio.position, self._judge(rms), tuple(rms)))

    def close(self) -> None:
        self._sink = None
        self._audio.clear()

    def _judge(self, rms: list[float]) -> float:
        level = math.sqrt(sum(block * block for block in rms) / len(rms))
        self._floor = max(FLOOR_MIN, min(level, self._floor * _RISE))
        above_db = 20 * math.log10(max(level, 1.0) / self._floor)
        return min(1.0, max(0.0, (above_db - QUIET_DB) / (LOUD_DB - QUIET_DB)))
