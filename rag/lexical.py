"""Search by words over all chunks: rare words count most, misheard ones still count.

Each word of the question is widened to the words of the corpus that are spelt or sound alike; a
chunk's score is the share of the question's weight that it accounts for. Words that no document
holds weigh as much as the rarest, so a question about something else scores low at any length.

What a question is about lies in its rare words. Numbers, and words like "cost" that name a kind of
answer, rank chunks, but hardly show that one speaks of the matter; if little shows it, the score
is less.

Weights within a chunk follow BM25 (Robertson & Zaragoza 2009), the share keeps them in 0..1.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag.related import asked_weight, related, telling_weight
from rag.words import (
    CROSSING_WEIGHT,
    FUNCTION_WEIGHT,
    SOUND_TRUST,
    SPELLING_TRUST,
    grams,
    is_alphabetic,
    is_cjk,
    sound_grams,
    static_weight,
    terms,
)

Ids = NDArray[np.int32]
Keys = NDArray[np.uint32]
Floats = NDArray[np.float32]

LEAST_LIKENESS = 0.6
"""Words less alike are different words: "room" and "broom" are 0.7, "book" and "pocket" 0.3."""
_REJOINED_LIKENESS = 0.8
_SHORTEST_REJOINED = 5
_WIDEST = 8
"""Corpus words that one word of the question is widened to."""
_LONGEST_QUESTION = 64
"""Terms; what a caller says beyond that does not change what it is about."""
_LEAST_WEIGHT = 0.6
"""Weight of a question, in words unknown to the documents, below which no match is a full one."""
_ENOUGH = 0.42
"""Share of what a question is about that a chunk must hold to be scored in full."""
_UNKNOWN = 1.5
"""Weight of a word that no document holds, as a multiple of the rarest's: "gold", "meerkats"."""
_BACKGROUND = 20
"""Chunks without any of the words that are counted in: in one chunk alone no word is rare."""
_K1, _B = 1.2, 0.75


class Postings(msgspec.Struct, frozen=True):
    """Which things hold which key: `ids[offsets[i]:offsets[i+1]]` hold `keys[i]`."""

    keys: Keys
    """Ascending."""
    offsets: NDArray[np.int64]
    ids: Ids

    def find(self, key: int) -> slice:
        at = int(np.searchsorted(self.keys, np.uint32(key)))
        if at == len(self.keys) or self.keys[at] != key:
            return slice(0, 0)
        return slice(int(self.offsets[at]), int(self.offsets[at + 1]))

    def counts(self, keys: Iterable[int], size: int) -> NDArray[np.int64]:
        """[size]: how many of the keys each thing holds."""
        found = [self.ids[self.find(key)] for key in keys]
        if not found:
            return np.zeros(size, np.int64)
        return np.bincount(np.concatenate(found), minlength=size)


def _postings(things: Iterable[Iterable[int]]) -> Postings:
    pairs = [(key, thing) for thing, keys in enumerate(things) for key in keys]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    keys, firsts = np.unique(table[:, 0], return_index=True)
    return Postings(
        keys.astype(np.uint32),
        np.append(firsts, len(table)).astype(np.int64),
        table[:, 1].astype(np.int32),
    )


class _Match(msgspec.Struct, frozen=True):
    """What one word of a question finds."""

    weight: float
    """Of the word, whether found or not."""
    is_known: bool
    """Whether any document holds it, or one like it."""
    ranked: Floats
    """[size] Its weight in each chunk, more for each time it is said there: which chunk is best."""
    covered: Floats
    """[size] Likewise, but not more than once: whether the best one is good enough."""


class LexicalIndex(msgspec.Struct, frozen=True):
    """Built once at ingest, read at start; search touches only what shares a word."""

    size: int
    """Chunks."""
    words: Postings
    """Term -> chunks."""
    weights: Floats
    """Parallel to `words.ids`: BM25 weight of the term in that chunk; 1 = once in a usual chunk."""
    spellings: Postings
    """Letter gram -> position of a term in `words.keys`."""
    sounds: Postings
    gram_counts: NDArray[np.int32]
    """[2, terms]: grams of the spelling, of the sound."""

    def scores(self, question: str) -> Floats:
        """[size] How much of the question each chunk accounts for, 0..1."""
        total = np.zeros(self.size, np.float32)
        covered = np.zeros(self.size, np.float32)
        asked = subject = 0.0
        for term in dict.fromkeys(self._rejoined(terms(question)[:_LONGEST_QUESTION])):
            own, telling, match = asked_weight(term), telling_weight(term), self._match(term)
            asked += own * match.weight
            subject += telling * match.weight * (1.0 if match.is_known else _UNKNOWN)
            total += np.float32(own) * match.ranked
            covered += np.float32(telling) * match.covered
        # Function words alone ask about nothing: what they find must not look like a full match.
        least = max(_LEAST_WEIGHT * self._rarest, 1e-6)
        share = np.minimum(total / np.float32(max(asked, least)), np.float32(1))
        evidence = covered / np.float32(_ENOUGH * max(subject, least))
        scores: Floats = share * np.minimum(evidence, np.float32(1))
        return scores

    @property
    def _rarest(self) -> float:
        return log(1 + self.size + _BACKGROUND)

    def _rejoined(self, found: list[str]) -> list[str]:
        """Two words that are one word of the corpus, heard in two: "can sell" for "cancel"."""
        joined: list[str] = []
        for term in found:
            if joined and self._are_one(joined[-1], term):
                joined[-1] += term
            else:
                joined.append(term)
        return joined

    def _are_one(self, one: str, other: str) -> bool:
        whole = one + other
        if len(whole) < _SHORTEST_REJOINED or not (is_alphabetic(one) and is_alphabetic(other)):
            return False
        known = [term for term in (one, other) if static_weight(term) > FUNCTION_WEIGHT]
        if not known or any(self._position(term) is not None for term in known):
            return False
        return float(self._likenesses(whole).max(initial=0)) >= _REJOINED_LIKENESS

    def _position(self, term: str) -> int | None:
        key = np.uint32(crc32(term.encode()))
        at = int(np.searchsorted(self.words.keys, key))
        return at if at < len(self.words.keys) and self.words.keys[at] == key else None

    def _match(self, term: str) -> _Match:
        rarest, size = self._rarest, self.size + _BACKGROUND
        ranked, covered = np.zeros(self.size, np.float32), np.zeros(self.size, np.float32)
        widened = self._widened(term)
        weight = 0.0
        for position, likeness in widened:
            at = slice(int(self.words.offsets[position]), int(self.words.offsets[position + 1]))
            holders = self.words.ids[at]
            rarity = min(rarest, log(1 + (size - len(holders) + 0.5) / (len(holders) + 0.5)))
            value = likeness**2 * rarity
            ranked[holders] = np.maximum(ranked[holders], value * self.weights[at])
            covered[holders] = np.maximum(covered[holders], value)
            # A word known only by likeness may be another word altogether: it keeps a part of the
            # weight of a word that is not there.
            weight = max(weight, likeness * rarity + (1 - likeness) * rarest)
        if not widened:
            weight = rarest * (CROSSING_WEIGHT if is_cjk(term) and len(term) > 1 else 1.0)
        return _Match(weight, bool(widened), ranked, covered)

    def _widened(self, term: str) -> list[tuple[int, float]]:
        at = self._position(term)
        # "how much" asks for a price: a heading that says "much" is none.
        asks = static_weight(term) <= FUNCTION_WEIGHT and bool(related(term))
        exact = [] if at is None or asks else [(at, 1.0)]
        for other, likeness_of_it in related(term).items():
            if (place := self._position(other)) is not None:
                exact.append((place, likeness_of_it))
        if not is_alphabetic(term) or static_weight(term) <= FUNCTION_WEIGHT or len(term) < 3:
            return exact
        likeness = self._likenesses(term)
        near = np.flatnonzero(likeness >= LEAST_LIKENESS)
        near = near[np.argsort(-likeness[near], kind="stable")[:_WIDEST]]
        return exact + [(int(i), float(likeness[i])) for i in near if i != at]

    def _likenesses(self, term: str) -> Floats:
        """[terms]: `rag.words.likeness` to every word of the corpus at once."""
        known = len(self.words.keys)
        spelt, heard = grams(term), sound_grams(term)
        spelling = 2 * self.spellings.counts(spelt, known) / (self.gram_counts[0] + len(spelt))
        sound = 2 * self.sounds.counts(heard, known) / (self.gram_counts[1] + len(heard))
        likeness: Floats = np.maximum(SPELLING_TRUST * spelling, SOUND_TRUST * sound)
        return likeness.astype(np.float32)


def build(texts: Sequence[str], headings: Sequence[str]) -> LexicalIndex:
    """Index chunks.

    Args:
        texts: What the chunks say.
        headings: Title and headings above each; their words count double.
    """
    counted = [
        Counter(terms(text)) + _doubled(Counter(terms(heading)))
        for text, heading in zip(texts, headings, strict=True)
    ]
    by_key = {crc32(term.encode()): term for counts in counted for term in counts}
    words = _postings([crc32(term.encode()) for term in counts] for counts in counted)
    lengths = np.array([sum(counts.values()) for counts in counted], np.float32)
    usual = float(lengths.mean()) if len(lengths) else 1.0
    frequency = {
        (crc32(term.encode()), chunk): count
        for chunk, counts in enumerate(counted)
        for term, count in counts.items()
    }
    keys = np.repeat(words.keys, np.diff(words.offsets))
    times = np.array(
        [
            frequency[key, chunk]
            for key, chunk in zip(keys.tolist(), words.ids.tolist(), strict=True)
        ],
        np.float32,
    )
    damped = _K1 * (1 - _B + _B * lengths[words.ids] / max(usual, 1.0))
    known = [by_key[key] for key in words.keys.tolist()]
    spelt = [grams(term) if is_alphabetic(term) else () for term in known]
    heard = [sound_grams(term) if is_alphabetic(term) else () for term in known]
    return LexicalIndex(
        size=len(texts),
        words=words,
        weights=(times * (1 + _K1) / (times + damped)).astype(np.float32),
        spellings=_postings(spelt),
        sounds=_postings(heard),
        gram_counts=np.array([list(map(len, spelt)), list(map(len, heard))], np.int32).reshape(
            2, -1
        ),
    )


def _doubled(counts: Counter[str]) -> Counter[str]:
    return Counter({term: 2 * count for term, count in counts.items()})
