"""The features sherpa-onnx computes for a model it loads by `from_nemo_ctc`, and files of them.

80 log energies of 25 ms every 10 ms, samples in [-1, 1], no dither, frames centred on multiples of
the shift, Slaney's mel scale and areas as in librosa up to half the rate, Hann's window, no removal
of the mean, no normalisation: what sherpa-onnx 2.0.1 does for this kind of model, other than for
its transducers. Measured against `OnlineStream.get_frames`: the same to within 0.001.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en.voices import RATE_HZ, Wave

BINS = 80
HIGH_HZ = RATE_HZ / 2
WINDOW, SHIFT, FFT = 400, 160, 512
PREEMPHASIS = 0.97
LEAST_ENERGY = float(np.finfo(np.float32).eps)
SILENCE = float(np.log(LEAST_ENERGY))
"""A bin of digital silence."""
KNEE_HZ, LINEAR_HZ, KNEE_MEL = 1000.0, 200 / 3, 15.0
"""Slaney's scale is straight below the knee, logarithmic above."""
LOG_STEP = float(np.log(6.4) / 27)

Frames = NDArray[np.float32]


def edges_hz() -> NDArray[np.float64]:
    """[82]: where the triangles begin, peak and end."""
    top = KNEE_MEL + np.log(HIGH_HZ / KNEE_HZ) / LOG_STEP
    mel = np.linspace(0, top, BINS + 2)
    return np.where(mel < KNEE_MEL, mel * LINEAR_HZ, KNEE_HZ * np.exp(LOG_STEP * (mel - KNEE_MEL)))


@cache
def _triangles() -> NDArray[np.float64]:
    """[257, 80] weights of the spectrum's lines."""
    edges = edges_hz()
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    lines = (np.arange(FFT // 2 + 1) * RATE_HZ / FFT)[:, None]
    rise, fall = (lines - left) / (peak - left), (right - lines) / (right - peak)
    weights: NDArray[np.float64] = np.minimum(rise, fall).clip(0) * 2 / (right - left)
    return weights


def frames_of(samples: Wave) -> Frames:
    """[t, 80] of [n] samples at 16 kHz; samples beyond the ends are mirrored."""
    count = (len(samples) + SHIFT // 2) // SHIFT
    starts = np.arange(count) * SHIFT + SHIFT // 2 - WINDOW // 2
    at = starts[:, None] + np.arange(WINDOW)
    at = np.where(at < 0, -at - 1, at)
    at = np.where(at >= len(samples), 2 * len(samples) - 1 - at, at)
    windows = samples.astype(np.float64)[at]
    before = np.concatenate([windows[:, :1], windows[:, :-1]], axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    spectrum = np.fft.rfft((windows - PREEMPHASIS * before) * hann, FFT)
    energy = (np.abs(spectrum) ** 2) @ _triangles()
    return np.log(np.maximum(energy, LEAST_ENERGY)).astype(np.float32)


class Corpus:
    """Utterances: frames [t, 80] as float16 and what is said; float16 overflows when summed."""

    def __init__(self, frames: list[NDArray[np.float16]], texts: list[str], voices: list[str]):
        self.frames, self.texts, self.voices = frames, texts, voices

    def write(self, path: Path) -> None:
        ends = np.cumsum([len(one) for one in self.frames])
        part = path.with_suffix(".part.npz")
        np.savez(
            part,
            frames=np.concatenate(self.frames),
            ends=ends,
            texts=np.array(self.texts),
            voices=np.array(self.voices),
        )
        part.rename(path)

    @classmethod
    def read(cls, folder: Path) -> "Corpus":
        whole = cls([], [], [])
        for path in sorted(folder.glob("train-*.npz")):
            if path.name.endswith(".part.npz"):
                continue
            with np.load(path) as file:
                stored: dict[str, Any] = dict(file)
            whole.frames += np.split(stored["frames"], stored["ends"][:-1])
            whole.texts += stored["texts"].tolist()
            whole.voices += stored["voices"].tolist()
        return whole
