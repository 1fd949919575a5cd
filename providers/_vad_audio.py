"""What every VAD shares: cutting fed audio into chunks, and the loudness inside a chunk."""

import numpy as np
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ, VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES

CHUNK_BYTES = 2 * VAD_CHUNK_SAMPLES
BLOCKS = VAD_CHUNK_SAMPLES // VAD_BLOCK_SAMPLES
BACKLOG_S = 30
"""Audio a stream may hold unjudged; beyond it the oldest is dropped."""


class ChunkQueue:
    """One stream's audio that has not been judged yet.

    `position` counts what was taken and what was dropped, so it stays true to the caller's audio.
    """

    __slots__ = ("_limit_bytes", "_pcm", "dropped_samples", "position")

    def __init__(self, backlog_s: float = BACKLOG_S) -> None:
        self._pcm = bytearray()
        self._limit_bytes = int(backlog_s * LISTEN_RATE_HZ) * 2
        self.position = 0
        self.dropped_samples = 0

    def put(self, pcm: bytes) -> None:
        """Raises ValueError if `pcm` is not whole 16-bit samples."""
        if len(pcm) % 2:
            raise ValueError(f"pcm must be whole 16-bit samples, got {len(pcm)} bytes")
        self._pcm += pcm
        over = len(self._pcm) - self._limit_bytes
        if over > 0:
            # Whole chunks, so that the ones behind them keep their borders.
            count = -(-over // CHUNK_BYTES) * VAD_CHUNK_SAMPLES
            del self._pcm[: 2 * count]
            self.position += count
            self.dropped_samples += count

    @property
    def ready(self) -> bool:
        return len(self._pcm) >= CHUNK_BYTES

    def take(self) -> bytes:
        """The oldest chunk; `position` is just behind it afterwards. Only when `ready`."""
        chunk = bytes(self._pcm[:CHUNK_BYTES])
        del self._pcm[:CHUNK_BYTES]
        self.position += VAD_CHUNK_SAMPLES
        return chunk

    def clear(self) -> None:
        self._pcm.clear()


def block_rms(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 512] samples at any scale -> [n, 8] root mean square of each 4 ms block."""
    blocks = samples.reshape(len(samples), BLOCKS, VAD_BLOCK_SAMPLES)
    power = np.einsum("nbs,nbs->nb", blocks, blocks) / np.float32(VAD_BLOCK_SAMPLES)
    return np.asarray(np.sqrt(power), dtype=np.float32)
