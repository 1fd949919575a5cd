"""WAV files: any usual one is read, and what is none is told with the remedy."""

from pathlib import Path

import numpy as np
import pytest

from tests.wav_files import write
from voice.errors import KaiwaError
from voice.wav import read_mono, read_wav


def test_files_that_are_no_question_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(KaiwaError, match="No such file"):
        read_wav(tmp_path / "none.wav")
    bad = {
        "text.wav": b"hello there",
        "empty.wav": b"",
        "cut.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(KaiwaError, match="ffmpeg"):
            read_wav(tmp_path / name)
    for width in (1, 3):
        path = write(tmp_path / "wide.wav", bytes(600), 16_000, width=width)
        with pytest.raises(KaiwaError, match=f"got {width * 8}-bit.*ffmpeg"):
            read_wav(path)
    with pytest.raises(KaiwaError, match="holds no sound"):
        read_wav(write(tmp_path / "none.wav", b"", 16_000))
    with pytest.raises(KaiwaError, match="no usual sample rate"):
        read_wav(write(tmp_path / "odd.wav", bytes(600), 44_101))
    with pytest.raises(KaiwaError, match="Is a directory"):
        read_wav(tmp_path)


def test_channels_are_mixed_and_other_rates_converted(tmp_path: Path) -> None:
    left_right = np.array([[1000, 3000]] * 22_050, "<i2")
    recording = read_wav(write(tmp_path / "a.wav", left_right.tobytes(), 22_050, channels=2))
    samples = np.frombuffer(recording.pcm, "<i2")
    assert recording.rate_hz == 24_000 and len(samples) == pytest.approx(24_000, abs=2)
    assert np.abs(samples[2000:-2000] - 2000).max() < 20


def test_a_file_that_breaks_off_within_a_sample_is_read_up_to_the_last_whole_one(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.wav", bytes(4 * 100), 16_000, channels=2)
    path.write_bytes(path.read_bytes()[:-3])
    samples, rate_hz = read_mono(path)
    assert (len(samples), rate_hz) == (99, 16_000)
