"""The model card's tables, measured: word errors and false words, greedily and with the graph."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from providers.tiny_en.evaluate import (
    Spoken,
    by_telephone,
    measure,
    noisy,
    recogniser,
    spoken,
    spoken_by,
    transcripts,
)
from providers.tiny_en.graph import vocabulary
from providers.tiny_en.noises import noises
from providers.tiny_en.sentences import hand_written, of_other_words, sentences
from providers.tiny_en.voices import Voice, Wave, held_out_voice, plain_known_voice

Row = tuple[str, ...]

DECODED = ("greedily", "with the graph")
VOICES = {
    Voice("flite", "rms"): "",
    Voice("flite", "slt"): "",
    Voice("espeak", "en-us"): "",
    Voice("flite", "awb"): " (held out)",
    Voice("espeak", "en-gb-scotland"): " (held out)",
}
PARTS = 12
"""Utterances that a minute of noise is cut into: 5 s each."""


def report(folder: Path, count: int = 300) -> str:
    models = [recogniser(folder, greedy=True), recogniser(folder)]
    other = f"of {len(of_other_words())} sentences with words outside the graph"
    return "\n\n".join([
        table(("heard", *DECODED), word_error_rows(models, count)),
        table((other, *DECODED), other_word_rows(models)),
        table(("words heard in a minute of", *DECODED), false_word_rows(models)),
    ])  # fmt: skip


def word_error_rows(models: Sequence[Any], count: int) -> Iterator[Row]:
    def row(name: str, tests: Sequence[Spoken], change: Callable[..., Wave] | None = None) -> Row:
        return (name, *(percent(measure(model, tests, change)) for model in models))

    new = sentences(count, 99, held_out=True)
    known = spoken(new, plain_known_voice, 5)
    measure(models[-1], known, show=12)
    yield row("held-out sentences, known voices", known)
    yield row("the same at 15 dB of noise", known, lambda samples, at: noisy(samples, 15, at))
    yield row("the same by telephone", known, by_telephone)
    yield row("held-out sentences, held-out voices", spoken(new, held_out_voice, 6))
    for voice, remark in VOICES.items():
        by_hand = [spoken_by(voice, text) for text in hand_written()]
        yield row(f"hand-written sentences, {voice}{remark}", by_hand)


def other_word_rows(models: Sequence[Any]) -> Iterator[Row]:
    known = set(vocabulary())
    tests = spoken(of_other_words(), plain_known_voice, 7)
    yield ("word errors", *(percent(measure(model, tests)) for model in models))
    said = [one.text.split() for one in tests]
    waves = [one.samples for one in tests]
    heard = [[text.split() for text in transcripts(model, waves)] for model in models]
    for name, is_in_graph in (("outside", False), ("in", True)):
        asked = [[word for word in words if (word in known) is is_in_graph] for words in said]
        total = sum(map(len, asked))
        shares = (percent(found(asked, texts) / total) for texts in heard)
        yield (f"heard of the {total} words {name} the graph", *shares)


def found(asked: Iterable[list[str]], heard: Iterable[list[str]]) -> int:
    """How many words are among those heard of the same sentence."""
    pairs = zip(asked, heard, strict=True)
    return sum((Counter(some) & Counter(words)).total() for some, words in pairs)


def false_word_rows(models: Sequence[Any]) -> Iterator[Row]:
    for name, wave in noises().items():
        yield (name, *(str(false_words(model, wave)) for model in models))


def false_words(model: Any, wave: Wave) -> int:
    return len(" ".join(transcripts(model, np.split(wave, PARTS))).split())


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(head: Row, rows: Iterable[Row]) -> str:
    every = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in every)
