"""What Whisper's networks hear: log-mel features of the last 8 seconds, as their extractor has it.

    16 kHz    -zeros-|~~~~ speech ~~~~|           8 s, padded in front, mean 0, variance 1
    frames    | | | | | | | | | | | | |           every 10 ms, 25 ms long, mirrored at both ends
    bands     80, triangles on Slaney's scale     log10 of the power, at most 8 below the loudest

The same figures as transformers' WhisperFeatureExtractor(chunk_length=8) with do_normalize, which
comes with a package of 12 MB: https://github.com/huggingface/transformers
(src/transformers/models/whisper/feature_extraction_whisper.py, audio_utils.py).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ

Floats = NDArray[np.float32]

WINDOW_S = 8
WINDOW_SAMPLES = WINDOW_S * LISTEN_RATE_HZ
BANDS = 80
FRAMES = 800
_FFT, _HOP = 400, 160
_FRAMES_AT_ONCE = 200
"""Of 1 ms each: who waits for the interpreter's lock, the event loop, waits no longer."""
_LEAST_POWER = 1e-10
_DYNAMIC = 8.0
"""Powers of ten that are told apart; below is the floor."""
_LEAST_VARIANCE = 1e-7


def log_mel(pcm: bytes) -> Floats:
    """Args:
        pcm: s16le at 16 kHz; of more than 8 s the last count.
    Returns:
        [80, 800], about -1 to 1.5.
    """
    tail = np.frombuffer(pcm, "<i2")[-WINDOW_SAMPLES:]
    # At both ends half a frame more, so that the first frame's middle is the first sample.
    half = _FFT // 2
    padded: Floats = np.zeros(WINDOW_SAMPLES + 2 * half, np.float32)
    heard = padded[half:-half]
    if len(tail):
        heard[-len(tail) :] = tail
        heard *= np.float32(1 / 32768)
    heard -= heard.mean()
    heard /= np.sqrt(heard.var() + np.float32(_LEAST_VARIANCE))
    padded[:half] = heard[half:0:-1]
    padded[-half:] = heard[-2 : -half - 2 : -1]
    frames = sliding_window_view(padded, _FFT)[::_HOP][:FRAMES]
    powers = np.empty((FRAMES, BANDS), np.float32)
    # Frames that hold nothing but zeros are all alike: one of them speaks for the others.
    alike = max(0, (WINDOW_SAMPLES - len(tail) - half) // _HOP)
    for first in range(alike, FRAMES, _FRAMES_AT_ONCE):
        some = slice(first, first + _FRAMES_AT_ONCE)
        spectrum = np.fft.rfft(frames[some] * _HANN, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        np.matmul(power, _TRIANGLES, out=powers[some])
    powers[:alike] = powers[alike]
    levels = np.log10(np.maximum(powers, np.float32(_LEAST_POWER)))
    np.maximum(levels, levels.max() - np.float32(_DYNAMIC), out=levels)
    features: Floats = np.ascontiguousarray((levels.T + np.float32(4)) / np.float32(4))
    return features


def _slaney_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even below 1000 Hz, which is 15 mel, a geometric series above."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)))


def _triangles() -> Floats:
    """[201, 80]: each band rises from its neighbour's middle and falls to the next one's, all of
    one area."""
    top = 15 + 27 / np.log(6.4) * np.log(LISTEN_RATE_HZ / 2 / 1000)
    edges = _slaney_hz(np.linspace(0, top, BANDS + 2))
    bins = np.linspace(0, LISTEN_RATE_HZ / 2, _FFT // 2 + 1)[:, None]
    up = (bins - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - bins) / np.diff(edges)[1:]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(up, down)) * area).astype(np.float32)


_HANN: Floats = np.hanning(_FFT + 1)[:-1].astype(np.float32)
_TRIANGLES = _triangles()
