"""Makes what is trained on: sentences, spoken, as features; and stretches of noise.

Every utterance is clean and of full band. Level, noise, room colour and telephone band are put on
while training (`augment.py`), so that no utterance is heard twice alike.
"""

import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en.features import Corpus, Frames, frames_of
from providers.tiny_en.sentences import sentences
from providers.tiny_en.voices import RATE_HZ, Voice, Wave, known_voice, say

SHARD = 1000
TWO_SENTENCES = 0.25
"""Share of utterances that are two sentences with a pause between them."""
LEAD_S = (0.05, 0.6)
TRAIL_S = (0.15, 0.6)
"""The short end makes the model tell the last word soon after it was spoken."""
PAUSE_S = (0.0, 0.4)
PEAK = 0.5
NOISE_SHARE = 0.015
"""Of the utterances nobody speaks in: what is trained to stay silent."""
NOISE_S = 60


def silence(seconds: float) -> Wave:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def trimmed(samples: Wave, level: float = 0.01) -> Wave:
    """Without what lies more than 40 dB under the peak at its ends."""
    loud = np.flatnonzero(np.abs(samples) > level * np.abs(samples).max(initial=1e-9))
    edge = RATE_HZ // 100
    return samples[max(0, loud[0] - edge) : loud[-1] + edge] if len(loud) else samples


def with_mark(sentence: str) -> str:
    asks = "who what when where why how which is are do does did can could may will would"
    return sentence + ("?" if sentence.split()[0] in asks.split() else ".")


def utter(texts: list[str], voice: Voice, rng: random.Random) -> Wave:
    """The sentences one after the other, peak at a half, silence round them."""
    parts = [silence(rng.uniform(*LEAD_S))]
    for at, text in enumerate(texts):
        if at:
            parts.append(silence(rng.uniform(*PAUSE_S)))
        said = trimmed(say(with_mark(text), voice))
        parts.append(said * (PEAK / max(1e-6, np.abs(said).max(initial=0))))
    return np.concatenate([*parts, silence(rng.uniform(*TRAIL_S))]).astype(np.float32)


def make_shard(folder: Path, number: int) -> None:
    path = folder / f"train-{number:03}.npz"
    if path.exists():
        return
    rng = random.Random(1000 + number)
    lines = iter(sentences(2 * SHARD, 1000 + number))
    corpus = Corpus([], [], [])
    while len(corpus.texts) < SHARD:
        texts = [next(lines) for _ in range(2 if rng.random() < TWO_SENTENCES else 1)]
        if rng.random() < NOISE_SHARE:
            texts, voice, samples = [], Voice("none", "silence"), silence(rng.uniform(1, 4))
        else:
            voice = known_voice(rng)
            samples = utter(texts, voice, rng)
        corpus.frames.append(frames_of(samples).astype(np.float16))
        corpus.texts.append(" ".join(texts))
        corpus.voices.append(str(voice))
    corpus.write(path)
    print(f"{path.name}: {sum(map(len, corpus.frames)) / 360_000:.2f} h", flush=True)


def coloured(rng: np.random.Generator, slope: float, seconds: float = NOISE_S) -> Wave:
    """Noise whose power falls with frequency to the power of `slope`; RMS of 0.1."""
    spectrum = np.fft.rfft(rng.standard_normal(round(seconds * RATE_HZ)))
    spectrum *= np.maximum(1, np.arange(len(spectrum)) * 1.0) ** (-slope / 2)
    return level(np.fft.irfft(spectrum))


def level(samples: NDArray[Any]) -> Wave:
    return np.asarray(samples * (0.1 / np.sqrt(np.mean(samples**2))), np.float32)


def babble(seed: int) -> Wave:
    rng = random.Random(seed)
    mix = np.zeros(NOISE_S * RATE_HZ, np.float32)
    for _ in range(5):
        at = 0
        for text in sentences(60, rng.randrange(10**6)):
            said = say(text, known_voice(rng))[: len(mix) - at]
            mix[at : at + len(said)] += said / max(1e-6, np.abs(said).max(initial=0))
            at += len(said)
    return level(mix)


def hum(rng: np.random.Generator) -> Wave:
    t = np.arange(NOISE_S * RATE_HZ) / RATE_HZ
    waves = [np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6)) / k for k in range(1, 12)]
    return level(np.sum(waves, axis=0) + 0.3 * rng.standard_normal(len(t)))


def make_noise(folder: Path) -> None:
    path = folder / "noise.npz"
    if path.exists():
        return
    rng = np.random.default_rng(7)
    kinds = [coloured(rng, slope) for slope in (0, 0.5, 1, 1.5, 2)] + [
        hum(rng),
        babble(1),
        babble(2),
    ]
    frames: list[Frames] = [frames_of(kind) for kind in kinds]
    shortest = min(map(len, frames))
    np.savez(path, noise=np.stack([one[:shortest] for one in frames]))


def _work(job: tuple[Path, int]) -> None:
    make_noise(job[0]) if job[1] < 0 else make_shard(*job)


def make(folder: Path, shards: int) -> None:
    """Makes what is missing, on two cores."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for _ in pool.imap_unordered(_work, [(folder, n) for n in range(-1, shards)]):
            pass
