"""What nobody speaks in, a minute each: every word heard in it is false."""

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en.corpus import coloured
from providers.tiny_en.voices import RATE_HZ, Wave

MINUTE = 60 * RATE_HZ
MAINS_HZ = 50


def noises() -> dict[str, Wave]:
    """The same ones every time; levels are root mean squares, full scale is 0 dB."""
    rng = np.random.default_rng(7)
    seconds = np.arange(MINUTE) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * MAINS_HZ * k * seconds) / k for k in range(1, 8))
    tone = np.sin(2 * np.pi * 440 * seconds) * (seconds % 1 < 0.5)
    return {
        "silence": np.zeros(MINUTE, np.float32),
        "white noise, -60 dB": at_level(rng.standard_normal(MINUTE), -60),
        "white noise, -40 dB": at_level(rng.standard_normal(MINUTE), -40),
        "white noise, -20 dB": at_level(rng.standard_normal(MINUTE), -20),
        "pink noise, -40 dB": at_level(coloured(rng, 1.0, 60.1)[:MINUTE], -40),
        "pink noise, -20 dB": at_level(coloured(rng, 1.0, 60.1)[:MINUTE], -20),
        "mains hum, -30 dB": at_level(np.asarray(hum), -30),
        "tone, on and off": at_level(tone, -20),
        "30 bursts like coughs": coughs(rng, 30),
    }


def at_level(samples: NDArray[np.floating], level_db: float) -> Wave:
    loud = float(np.sqrt(np.mean(np.square(samples))))
    return np.asarray(samples * (10 ** (level_db / 20) / loud), np.float32)


def coughs(rng: np.random.Generator, count: int) -> Wave:
    """Bursts of dull noise that die away in 40 to 120 ms, at random within their share of time."""
    wave = np.zeros(MINUTE, np.float32)
    share = MINUTE // count
    for start in range(0, MINUTE, share):
        length = int(rng.uniform(0.15, 0.4) * RATE_HZ)
        dull = np.convolve(rng.standard_normal(length), np.hanning(rng.integers(5, 32)), "same")
        fades = np.exp(-np.arange(length) / RATE_HZ / rng.uniform(0.04, 0.12))
        at = start + rng.integers(0, share - length)
        loud = rng.uniform(0.2, 0.8) / np.abs(dull).max()
        wave[at : at + length] = (dull * fades * loud).astype(np.float32)
    return wave
