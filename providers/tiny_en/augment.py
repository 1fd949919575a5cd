"""Rooms, lines and levels, put on clean features while training.

A mel bin's energy is its exponent, so noise is added there, and a band limit is a factor per bin:

    clean ─▶ microphone's colour, level ─▶ telephone band (some) ─▶ + noise ─▶ + floor ─▶ masks
"""

from typing import Any

import numpy as np

from providers.tiny_en.features import BINS, SILENCE, Frames, edges_hz

DB = float(np.log(10) / 10)
"""What one decibel adds to a log energy."""
LEVEL_DB = (-26.0, 4.0)
"""Relative to a peak at a half."""
SNR_DB = (8.0, 40.0)
NOISY_SHARE = 0.45
FLOOR_DB = (-95.0, -55.0)
"""Of the quietest noise, relative to full scale; digital silence is left as it is in some."""
FLOORED_SHARE = 0.8
PHONE_SHARE = 0.15
PHONE_HZ = (300.0, 3400.0)
COLOUR_DB = 2.0
MASKED_BINS = 10
MASKED_FRAMES = 16
MASKED_SHARE = 0.35
REFERENCE_DB = -20.0
"""Level of the noise recordings: RMS of 0.1."""


def phone_gain() -> Frames:
    """[80] log gains of a telephone: 12 dB for every fifth of an octave outside, 50 dB at most."""
    hz = edges_hz()[1:-1]
    outside = np.maximum(np.log2(PHONE_HZ[0] / hz), np.log2(hz / PHONE_HZ[1])).clip(0)
    return np.asarray(-DB * np.minimum(50, 60 * outside), np.float32)


def augmenter(noise: Frames) -> Any:
    """A function (key, x [b, t, 80]) -> [b, t, 80] for JAX; `noise` is [kinds, t, 80]."""
    import jax
    import jax.numpy as jnp

    bank = jnp.asarray(noise)
    gain_of_phone = jnp.asarray(phone_gain())
    waves = jnp.asarray(
        np.stack([np.cos(np.pi * k * (np.arange(BINS) + 0.5) / BINS) for k in (1, 2, 3, 4)])
    ).astype(jnp.float32)

    def uniform(key: Any, batch: int, span: tuple[float, float]) -> Any:
        return jax.random.uniform(key, (batch, 1, 1), minval=span[0], maxval=span[1])

    def happens(key: Any, batch: int, share: float) -> Any:
        return jax.random.bernoulli(key, share, (batch, 1, 1))

    def masked(key: Any, x: Any, axis: int, widest: int) -> Any:
        batch, size = x.shape[0], x.shape[axis]
        at, width, on = jax.random.split(key, 3)
        start = jax.random.uniform(at, (batch, 1)) * size
        end = start + jax.random.uniform(width, (batch, 1)) * widest
        places = jnp.arange(size)[None]
        inside = (places >= start) & (places < end)
        inside &= jax.random.bernoulli(on, MASKED_SHARE, (batch, 1))
        mean = x.mean(axis=(1, 2), keepdims=True)
        return jnp.where(inside[:, :, None] if axis == 1 else inside[:, None, :], mean, x)

    def noise_like(key: Any, x: Any) -> Any:
        kind, at = jax.random.split(key)
        batch, frames, _ = x.shape
        kinds = jax.random.randint(kind, (batch,), 0, bank.shape[0])
        starts = jax.random.randint(at, (batch,), 0, bank.shape[1] - frames)
        cut = jax.vmap(lambda k, s: jax.lax.dynamic_slice(bank, (k, s, 0), (1, frames, BINS))[0])
        return cut(kinds, starts)

    def augment(key: Any, x: Any) -> Any:
        batch = x.shape[0]
        keys = iter(jax.random.split(key, 16))
        colours = jax.random.normal(next(keys), (batch, 1, 4)) * (COLOUR_DB * DB)
        level = uniform(next(keys), batch, LEVEL_DB)
        x = x + colours @ waves + level * DB
        is_phone = happens(next(keys), batch, PHONE_SHARE)
        x = jnp.where(is_phone, x + gain_of_phone, x)
        loudness = -16.0 + level  # speech with its peak at a half has an RMS of about -16 dB
        noise = noise_like(next(keys), x)
        noise_db = loudness - REFERENCE_DB - uniform(next(keys), batch, SNR_DB)
        noise = jnp.where(is_phone, noise + gain_of_phone, noise) + noise_db * DB
        noise = jnp.where(happens(next(keys), batch, NOISY_SHARE), noise, -30.0)
        floor_db = jnp.minimum(uniform(next(keys), batch, FLOOR_DB), loudness - SNR_DB[0])
        floor = noise_like(next(keys), x) + (floor_db - REFERENCE_DB) * DB
        floor = jnp.where(happens(next(keys), batch, FLOORED_SHARE), floor, -30.0)
        x = jnp.maximum(jnp.logaddexp(jnp.logaddexp(x, noise), floor), SILENCE)
        x = masked(next(keys), masked(next(keys), x, 2, MASKED_BINS), 2, MASKED_BINS)
        return masked(next(keys), x, 1, MASKED_FRAMES)

    return augment
