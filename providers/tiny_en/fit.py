"""Training: batches of like length, Adam, a mean of the weights, a checkpoint every few minutes."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en import model
from providers.tiny_en.augment import augmenter
from providers.tiny_en.features import BINS, SILENCE, Corpus
from providers.tiny_en.pieces import Pieces, learn

PIECES = 256
LONGEST = (120, 160, 200, 240, 280, 320, 400, 480, 640, 800)
"""Frames that utterances are padded to: each length is compiled once."""
FRAMES_PER_BATCH = 9_600
FRAMES_PER_FIRST_BATCH = 6_400
"""In the first pass, which goes from short to long: the network leaves the state in which it says
nothing but blanks much earlier than with long utterances in large batches."""
CLEAN_STEPS = 500
"""Without noise and masks, for the same reason."""
FRAMES_PER_PIECE = 6
"""Room for labels; one faster than that is left out."""
PEAK_RATE = 1.5e-3
WARM_UP_STEPS = 300
LAST_RATE = 0.02
"""Of the peak."""
MEAN_KEEPS = 0.998
LOG_STEPS = 50
SAVE_STEPS = 250

Batch = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]


def batches(corpus: Corpus, pieces: Pieces, epoch: int) -> Iterator[Batch]:
    """One pass over the corpus, the first one from short to long, others in random order.

    Frames [b, t, 80], lengths [b], labels [b, l].
    """
    frames_per_batch = FRAMES_PER_BATCH if epoch else FRAMES_PER_FIRST_BATCH
    rng = np.random.default_rng(epoch)
    of_length: dict[int, list[int]] = {longest: [] for longest in LONGEST}
    labels = [pieces.encode(text) for text in corpus.texts]
    for at in rng.permutation(len(corpus.frames)):
        length = len(corpus.frames[at])
        longest = next((one for one in LONGEST if one >= length), 0)
        if longest and len(labels[at]) <= length // (FRAMES_PER_PIECE + 1):
            of_length[longest].append(int(at))
    plan = []
    for longest, members in of_length.items():
        size = frames_per_batch // longest
        plan += [
            (longest, members[start : start + size])
            for start in range(0, len(members) - size + 1, size)
        ]
    for index in rng.permutation(len(plan)) if epoch else range(len(plan)):
        longest, members = plan[index]
        x = np.full((len(members), longest, BINS), SILENCE, np.float32)
        numbers = np.full((len(members), longest // FRAMES_PER_PIECE), -1, np.int32)
        for row, at in enumerate(members):
            x[row, : len(corpus.frames[at])] = corpus.frames[at]
            numbers[row, : len(labels[at])] = labels[at]
        yield x, np.array([len(corpus.frames[at]) for at in members], np.int32), numbers


def scale_of(corpus: Corpus) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    some = np.concatenate(corpus.frames[::20]).astype(np.float32)
    some = some[some.mean(axis=1) > -14]
    return some.mean(axis=0) - 1.0, some.std(axis=0)


def fit(
    corpus_folder: Path,
    folder: Path,
    steps: int,
    start: Path | None = None,
    peak_rate: float = PEAK_RATE,
    clean_share: float = 0.0,
) -> None:
    """Writes `weights.npz` (the mean) and `tokens.txt` to `folder`, again and again.

    `start`: weights to go on from, with their tokens; the learning rate begins anew.
    `clean_share`: of the batches, are heard without noise and masks.
    """
    import jax
    import jax.numpy as jnp
    import optax

    corpus = Corpus.read(corpus_folder)
    folder.mkdir(parents=True, exist_ok=True)
    if start is None:
        pieces = Pieces(learn(corpus.texts, PIECES))
        weights = model.initial(*scale_of(corpus), pieces.blank + 1)
    else:
        pieces = Pieces.read(start.with_name("tokens.txt"))
        weights = load(start)
    pieces.write(folder / "tokens.txt")
    with np.load(corpus_folder / "noise.npz") as file:
        augment = augmenter(file["noise"])

    rate = optax.warmup_cosine_decay_schedule(
        0.0, peak_rate, min(WARM_UP_STEPS, steps // 20), steps, LAST_RATE * peak_rate
    )
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    fixed = {name: jnp.asarray(weights.pop(name)) for name in ("mean", "deviation")}
    weights = {name: jnp.asarray(value) for name, value in weights.items()}

    def stepped(weights: Any, state: Any, mean: Any, batch: Any, key: Any, is_clean: bool) -> Any:
        x, lengths, labels = batch
        x = x if is_clean else augment(key, x)

        def of(weights: Any) -> Any:
            return model.loss({**weights, **fixed}, x, lengths, labels, pieces.blank)

        value, slope = jax.value_and_grad(of)(weights)
        change, state = adam.update(slope, state, weights)
        weights = optax.apply_updates(weights, change)
        mean = jax.tree.map(lambda m, w: MEAN_KEEPS * m + (1 - MEAN_KEEPS) * w, mean, weights)
        return weights, state, mean, value

    step = jax.jit(stepped, static_argnums=5)
    state, mean = adam.init(weights), weights
    done, losses, began = 0, [], time.monotonic()
    chance = np.random.default_rng(1)
    for epoch in count(0 if start is None else 1):
        corpus = Corpus.read(corpus_folder)  # with the shards that were made meanwhile
        for batch in batches(corpus, pieces, epoch):
            key = jax.random.PRNGKey(done)
            is_clean = start is None and done < CLEAN_STEPS or chance.random() < clean_share
            weights, state, mean, value = step(weights, state, mean, batch, key, is_clean)
            losses.append(float(value))
            done += 1
            if done <= 200:
                mean = weights
            if done % LOG_STEPS == 0:
                minutes = (time.monotonic() - began) / 60
                print(f"{minutes:6.1f} min, epoch {epoch}, step {done}: {np.mean(losses):.3f}",
                      flush=True)  # fmt: skip
                losses.clear()
            if done % SAVE_STEPS == 0 or done == steps:
                save(folder / "weights.npz", {**mean, **fixed})
            if done == steps:
                return


def save(path: Path, weights: model.Weights) -> None:
    part = path.with_suffix(".part.npz")
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in weights.items()}
    np.savez(part, **arrays)
    part.rename(path)


def load(path: Path) -> model.Weights:
    with np.load(path) as file:
        return dict(file)
