"""Whisper's features, as its own extractor has them."""

import numpy as np
import pytest

from providers._whisper_mel import BANDS, FRAMES, WINDOW_SAMPLES, log_mel


def glide(seconds: float) -> bytes:
    """A tone that rises from 120 Hz by 680 Hz a second and swells three times a second."""
    at = np.arange(int(seconds * 16_000)) / 16_000
    wave = 0.4 * np.sin(2 * np.pi * (120 * at + 340 * at**2)) * (0.6 + 0.4 * np.cos(6 * np.pi * at))
    return (wave * 32_767).astype("<i2").tobytes()


PLACES = ((0, 0), (0, 799), (10, 560), (20, 640), (33, 700), (47, 799), (79, 799))
OF_THE_EXTRACTOR = {
    2.5: ((-0.0035, 0.1209, 0.346, 1.5724, 0.4032, 0.3488, -0.1115), -0.0586),
    8.0: ((1.6426, 0.0863, -0.2378, -0.2378, -0.2378, 0.0589, 0.2898), -0.1354),
    11.0: ((0.9359, -0.2684, -0.3011, -0.3011, -0.3011, -0.2467, 1.54), -0.2321),
}
"""From transformers 5.23, WhisperFeatureExtractor(chunk_length=8), do_normalize, of the last 8 s
padded in front; and their mean. On 8 recordings of human speech no value differed by 1e-5."""


@pytest.mark.parametrize("seconds", OF_THE_EXTRACTOR)
def test_features_are_those_of_whispers_extractor(seconds: float) -> None:
    values, mean = OF_THE_EXTRACTOR[seconds]
    features = log_mel(glide(seconds))
    assert features.shape == (BANDS, FRAMES) and features.dtype == np.float32
    assert [features[place] for place in PLACES] == pytest.approx(values, abs=1e-3)
    assert features.mean() == pytest.approx(mean, abs=1e-4)


def test_silence_in_front_is_padding() -> None:
    """What is not there is not worked out frame by frame, and is the same."""
    short = glide(1.0)
    padded = bytes(2 * WINDOW_SAMPLES - len(short)) + short
    assert np.abs(log_mel(short) - log_mel(padded)).max() < 1e-5


@pytest.mark.parametrize("pcm", [b"", bytes(2), bytes(2 * WINDOW_SAMPLES)])
def test_nothing_at_all_is_flat(pcm: bytes) -> None:
    features = log_mel(pcm)
    assert np.isfinite(features).all() and np.ptp(features) == 0
