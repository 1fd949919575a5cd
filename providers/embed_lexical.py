"""Texts as points without a model: hashed words, their spelling and their sound.

Works in any script, downloads nothing, needs 0.2 ms a question. It knows no synonyms; a model does.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from providers.base import ProviderInfo, Slot
from rag.words import WORDS_VERSION, grams, is_alphabetic, sound_grams, static_weight, terms

_INLINE_LETTERS = 400
"""A spoken question is embedded on the spot (0.2 ms); more goes to a thread."""

# Shares of a term's weight: the word itself, the pieces of its spelling, the pieces of its sound.
# numpy alone, because scikit-learn's HashingVectorizer takes 1-2 s to import and knows no sounds.
_WORD, _SPELLING, _SOUND = 0.6, 0.6, 0.5
_SOUND_SALT = 0x5BD1E995
"""Keeps a sound from falling on the place of the same letters spelt."""


class LexicalEmbedder:
    """Implements `providers.base.Embedder`."""

    def __init__(self, dimensions: int = 1024) -> None:
        if dimensions < 64:
            raise ValueError(f"dimensions must be 64 or more, got {dimensions}")
        self._dimensions = dimensions

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.EMBEDDER, provider="lexical", model=self.fingerprint)

    @property
    def fingerprint(self) -> str:
        return f"lexical-{WORDS_VERSION}-{self._dimensions}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def start(self) -> None:
        """Nothing to load."""

    async def check(self) -> None:
        await self.embed(["check"], "query")

    async def aclose(self) -> None:
        """Nothing to give back."""

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        """Questions and passages are embedded alike: `kind` is for models that tell them apart."""
        if sum(map(len, texts)) <= _INLINE_LETTERS:
            return self._embed(texts)
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            counts = Counter(terms(text))
            if not counts:
                continue
            features = [_features(term) for term in counts]
            times = [times**0.5 for times in counts.values()]
            places = np.concatenate([places for places, _ in features]) % self._dimensions
            values = np.concatenate([v * t for (_, v), t in zip(features, times, strict=True)])
            row += np.bincount(places, values, self._dimensions)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, lengths, out=rows, where=lengths > 0)
        return rows


@lru_cache(maxsize=1 << 15)
def _features(term: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Hashes of everything a term shows, and their signed weights. 15 us, 1 us when seen before."""
    shown: list[tuple[tuple[int, ...], float]] = [((crc32(b"w" + term.encode()),), _WORD)]
    if is_alphabetic(term):
        heard = tuple(hashed ^ _SOUND_SALT for hashed in sound_grams(term))
        shown += [(grams(term), _SPELLING), (heard, _SOUND)]
    weights = [share * static_weight(term) / len(hashes) ** 0.5 for hashes, share in shown]
    places = np.array([hashed for hashes, _ in shown for hashed in hashes], np.int64)
    spread = np.repeat(weights, [len(hashes) for hashes, _ in shown])
    return places, np.where(places & (1 << 31), spread, -spread)
