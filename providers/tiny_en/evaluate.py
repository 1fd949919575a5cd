"""Word errors of the exported file, heard as sherpa-onnx hears: streaming, 100 ms at a time."""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from providers.tiny_en.corpus import coloured, level, trimmed, with_mark
from providers.tiny_en.features import Frames
from providers.tiny_en.voices import RATE_HZ, Voice, Wave, resampled, say

BLOCK = RATE_HZ // 10
LEAD_S, TAIL_S = 0.3, 0.6
BATCH = 16


class Spoken(msgspec.Struct, frozen=True):
    text: str
    voice: Voice
    samples: Wave


def recogniser(folder: Path, *, greedy: bool = False) -> Any:
    """Decodes with the folder's HLG.fst, as the server does; or without."""
    import sherpa_onnx

    from providers._sherpa_graph import nemo_ctc_with_graph
    from providers._sherpa_models import find_model

    model = find_model(folder)
    file, tokens = model.files["model"], model.tokens
    if greedy:
        return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(tokens, file, num_threads=1)
    return nemo_ctc_with_graph(
        model=file, tokens=tokens, graph=model.graph, max_active=model.max_active
    )


def transcripts(recogniser: Any, waves: Sequence[Wave]) -> list[str]:
    """What is heard of each; all of them are decoded together, block by block."""
    streams = [recogniser.create_stream() for _ in waves]
    lead, tail = (np.zeros(round(s * RATE_HZ), np.float32) for s in (LEAD_S, TAIL_S))
    padded = [np.concatenate([lead, one, tail]) for one in waves]
    for start in range(0, max(map(len, padded)), BLOCK):
        for stream, samples in zip(streams, padded, strict=True):
            if len(block := samples[start : start + BLOCK]):
                stream.accept_waveform(RATE_HZ, block.tolist())
        while ready := [stream for stream in streams if recogniser.is_ready(stream)]:
            recogniser.decode_streams(ready)
    return [str(recogniser.get_result(stream)).strip() for stream in streams]


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, left in enumerate(said, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(heard, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]


def spoken(
    texts: Iterable[str], voice: Callable[[random.Random], Voice], seed: int
) -> list[Spoken]:
    rng = random.Random(seed)
    return [spoken_by(voice(rng), text) for text in texts]


def spoken_by(voice: Voice, text: str) -> Spoken:
    return Spoken(text, voice, trimmed(say(with_mark(text), voice)))


def noisy(samples: Wave, snr_db: float, seed: int) -> Wave:
    noise = coloured(np.random.default_rng(seed), 1.0, len(samples) / RATE_HZ + 0.1)
    loud = np.sqrt(np.mean(samples**2)) / 0.1
    return samples + noise[: len(samples)] * np.float32(loud * 10 ** (-snr_db / 20))


def by_telephone(samples: Wave, seed: int) -> Wave:
    """8 kHz, 300 to 3400 Hz, companded to 8 bits by the mu-law, and back at 16 kHz."""
    import soxr

    narrow = soxr.resample(samples, RATE_HZ, 8000)
    spectrum = np.fft.rfft(narrow)
    hz = np.fft.rfftfreq(len(narrow), 1 / 8000)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    narrow = level(np.fft.irfft(spectrum, len(narrow))).clip(-1, 1)
    small = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    small = np.rint(small * 127) / 127
    return resampled((np.sign(small) * (256 ** np.abs(small) - 1) / 255).astype(np.float32), 8000)


def measure(recogniser: Any, tests: Sequence[Spoken], change: Callable[..., Wave] | None = None,
            show: int = 0) -> float:  # fmt: skip
    """Word error rate."""
    wrong = total = 0
    for start in range(0, len(tests), BATCH):
        some = tests[start : start + BATCH]
        waves = [change(one.samples, at) if change else one.samples for at, one in enumerate(some)]
        for one, heard in zip(some, transcripts(recogniser, waves), strict=True):
            wrong += (errors := word_errors(one.text.split(), heard.split()))
            total += len(one.text.split())
            if errors and show > 0:
                show -= 1
                print(f"  {one.voice}: {one.text}\n  {' ' * len(str(one.voice))}> {heard}")
    return wrong / total


def whole_utterance_text(folder: Path, frames: Frames) -> str:
    """Greedy text of [t, 80] frames in one call of the network, without sherpa-onnx."""
    import onnxruntime

    from providers.tiny_en.model import CELLS, LAYERS, STACK
    from providers.tiny_en.pieces import Pieces

    pieces = Pieces.read(folder / "tokens.txt")
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx")
    frames = frames[: len(frames) // STACK * STACK]
    state = np.zeros((1, LAYERS, 1, CELLS), np.float32)
    rows = session.run(["logprobs"], {
        "audio_signal": frames.T[None], "length": np.array([len(frames)]),
        "cache_last_channel": state, "cache_last_time": state,
        "cache_last_channel_len": np.zeros(1, np.int64),
    })[0][0].argmax(axis=-1)  # fmt: skip
    kept = [int(row) for row, last in zip(rows, [-1, *rows[:-1]], strict=True) if row != last]
    return pieces.decode(number for number in kept if number != pieces.blank)
