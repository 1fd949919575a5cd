"""Voice activity by script or by loudness."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mocks.faults import Outbox, ScriptedFault
from mocks.provider import MockProvider
from providers.base import LISTEN_RATE_HZ, VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES, Slot, VadFrame

_CHUNK_BYTES = 2 * VAD_CHUNK_SAMPLES

Judge = Callable[[int, Sequence[float]], float]
"""(number of the chunk, loudness of its blocks) -> probability of speech."""


class ScriptedVAD(MockProvider):
    """Says what it was told to say, chunk by chunk, on every stream alike.

    Args:
        probabilities: One per chunk of 32 ms; behind the last comes `rest`.
        delay_ms: From the audio of a chunk to its judgement.
    """

    def __init__(
        self,
        probabilities: Sequence[float] = (),
        *,
        rest: float = 0.0,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.VAD, "scripted", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self._probabilities = tuple(probabilities)
        self._rest = rest
        self._delay_ms = delay_ms

    def open(self, sink: Callable[[VadFrame], None]) -> "MockVadStream":
        return MockVadStream(self, self._judge, sink, self._delay_ms)

    def _judge(self, chunk: int, rms: Sequence[float]) -> float:
        return self._probabilities[chunk] if chunk < len(self._probabilities) else self._rest


class LoudnessVAD(MockProvider):
    """Loud is speech: probability 0.5 at `threshold_rms`, 0.95 twice as loud, 0.05 half as loud."""

    def __init__(
        self,
        *,
        threshold_rms: float = 500.0,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.VAD, "loudness", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self._threshold_rms = threshold_rms
        self._delay_ms = delay_ms

    def open(self, sink: Callable[[VadFrame], None]) -> "MockVadStream":
        return MockVadStream(self, self._judge, sink, self._delay_ms)

    def _judge(self, chunk: int, rms: Sequence[float]) -> float:
        loudness = math.sqrt(sum(block * block for block in rms) / len(rms))
        octaves = math.log2(max(loudness, 1e-3) / self._threshold_rms)
        return 1 / (1 + math.pow(19.0, -octaves))


class MockVadStream:
    """Cuts one caller's audio into chunks and has each judged. A chunk is a fault's item."""

    def __init__(
        self,
        provider: MockProvider,
        judge: Judge,
        sink: Callable[[VadFrame], None],
        delay_ms: float,
    ) -> None:
        self._judge = judge
        self._delay_ms = delay_ms
        self._course = provider.faults.begin()
        self._outbox = Outbox(sink)
        self._rest = b""
        self._chunks = 0
        self._open = True

    def feed(self, pcm: bytes) -> None:
        if not self._open:
            return
        data = self._rest + pcm
        whole = len(data) - len(data) % _CHUNK_BYTES
        for start in range(0, whole, _CHUNK_BYTES):
            self._hear(data[start : start + _CHUNK_BYTES])
        self._rest = data[whole:]

    def _hear(self, chunk: bytes) -> None:
        if self._course.due(self._chunks) != "go":
            self._open = False
            return
        samples = np.frombuffer(chunk, dtype="<i2").astype(np.float32)
        blocks = samples.reshape(-1, VAD_BLOCK_SAMPLES)
        rms = tuple(np.sqrt(np.mean(blocks * blocks, axis=1)).tolist())
        frame = VadFrame(
            end_sample=(self._chunks + 1) * VAD_CHUNK_SAMPLES,
            probability=self._judge(self._chunks, rms),
            rms=rms,
        )
        self._chunks += 1
        self._outbox.put(frame, self._course.delay_s(self._delay_ms))

    def close(self) -> None:
        self._open = False
        self._outbox.close()


def speech_at(*spans: tuple[float, float], until_s: float) -> list[float]:
    """Probabilities for `ScriptedVAD`: 1.0 in the chunks that begin within a span, 0.0 outside.

    Args:
        spans: (start, end) of speech, in seconds of audio.
        until_s: Seconds of audio to write.
    """
    chunk_s = VAD_CHUNK_SAMPLES / LISTEN_RATE_HZ
    starts = [chunk * chunk_s for chunk in range(math.ceil(until_s / chunk_s))]
    return [float(any(start <= at < end for start, end in spans)) for at in starts]
