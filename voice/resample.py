"""Sample rates, without waiting: a polyphase filter whose delay is a millisecond.

soxr's streams hold 12 to 37 ms back (measured: 24 to 16 kHz, LQ to MQ) before the first sample
comes out, which a caller would wait for at the end of every sentence. Here every `down` samples in
give `up` samples out at once, as one matrix product:

    in   |· · · taps of history · · ·|d0 d1 … |          window of taps + down samples
    out                               u0 u1 …            window @ kernel[taps + down, up]

Some of the smallest such blocks are taken together: fewer, wider windows cost less to lay out.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TAPS_BASE = 48
"""Input samples that one output sample looks at when rates rise; more, in proportion, when they
fall. With the window below: 70 dB of stop band, pass band to 0.41 of the lower rate."""
_KAISER_BETA = 7.0
_LOUDEST = np.float32(32767)
BLOCK_MS = 1
"""What is taken together, where the rates allow it: a divisor of every client's frame."""


@lru_cache(maxsize=32)
def _kernel(up: int, down: int) -> NDArray[np.float32]:
    """[taps + down, up]: windowed sinc, one column for each output of a block."""
    narrow = max(1.0, down / up)
    taps = 2 * math.ceil(TAPS_BASE * narrow / 2)  # even: the centre lies on a sample
    cutoff = 0.46 / narrow  # of the input rate; the transition band ends at half the lower rate
    rows = np.arange(taps + down)[:, None]
    centre = taps / 2 + np.arange(up)[None, :] * down / up
    offset = rows - centre
    inside = np.abs(offset) <= taps / 2
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (2 * offset / taps) ** 2, 0, None)))
    kernel = np.where(inside, 2 * cutoff * np.sinc(2 * cutoff * offset) * window, 0.0)
    scaled: NDArray[np.float32] = (kernel / kernel.sum(axis=0)).astype(np.float32)
    return scaled


class Resampler:
    """One mono stream from `source_hz` to `target_hz`.

    `delay_s` of audio is held back at the start: half the filter.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        shared = math.gcd(source_hz, target_hz)
        blocks = max(1, BLOCK_MS * shared // 1000)
        self._up, self._down = blocks * target_hz // shared, blocks * source_hz // shared
        self._kernel = _kernel(self._up, self._down)
        taps = len(self._kernel) - self._down
        self.delay_s = taps / 2 / source_hz
        # Half the filter of silence before the first sample, so that sample 0 in is sample 0 out.
        self._rest = np.zeros(taps // 2, np.float32)

    def convert(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """[n] samples in, all that is certain out: n * up / down, less what is held back."""
        given = np.concatenate((self._rest, samples), dtype=np.float32)
        span, step = len(self._kernel), self._down
        blocks = (len(given) - span) // step + 1
        if blocks <= 0:
            self._rest = given
            return np.zeros(0, np.int16)
        # Overlapping, read only; `as_strided` would take longer than the product.
        windows: NDArray[np.float32] = np.ndarray(
            (blocks, span), np.float32, given, strides=(step * given.itemsize, given.itemsize)
        )
        made = (np.ascontiguousarray(windows) @ self._kernel).reshape(-1)
        self._rest = given[blocks * step :]
        np.rint(made, out=made)
        np.minimum(made, _LOUDEST, out=made)
        np.maximum(made, -_LOUDEST, out=made)
        return made.astype(np.int16)

    def whole(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """A recording from its first to its last sample."""
        return np.concatenate((self.convert(samples), self.flush()))

    def flush(self) -> NDArray[np.int16]:
        """What is still held back, at the end of the stream."""
        held = len(self._rest) - (len(self._kernel) - self._down) // 2
        wanted = max(0, math.ceil(held * self._up / self._down))
        padding = np.zeros(len(self._kernel) + self._down, np.int16)
        return self.convert(padding)[:wanted]
