"""One search of a loaded index: candidates by vector and by word, fused, down to a floor."""

import numpy as np
from numpy.typing import NDArray

from providers.base import Passage
from rag import store
from rag.fuse import WORDS, Calibration, calibration_of, fuse, likeness

_CANDIDATES = 64
"""Chunks each side proposes."""
_SAMPLE = 256
"""Chunks from all over the index whose cosines tell what is usual for a question."""


def find(
    index: store.Contents,
    query: str,
    vector: NDArray[np.float32] | None,
    calibration: Calibration | None = None,
) -> tuple[Passage, ...]:
    """Passages that may answer, best first. Blocking: some ms.

    Args:
        vector: [1, dimensions] The query's; None: by words alone.
        calibration: How the embedder's cosines are read; None: as its fingerprint tells.
    """
    count = min(_CANDIDATES, len(index.chunks))
    by_word = index.lexical.scores(query)
    candidates = np.sort(np.argpartition(-by_word, count - 1)[:count])
    if vector is None:
        calibration = WORDS
        scores = by_word[candidates]
    else:
        calibration = calibration or calibration_of(index.manifest.embedder)
        candidates = np.union1d(index.nearest(vector, count), candidates)
        cosine = index.rows(candidates) @ vector[0]
        if calibration.background is not None:
            usual = index.rows(_spread(len(index.chunks))) @ vector[0]
            cosine = likeness(cosine, usual, calibration)
        scores = fuse(by_word[candidates], cosine, calibration)
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= calibration.floor]
    return tuple(_passage(index, int(candidates[i]), float(scores[i])) for i in order)


def _spread(chunks: int) -> NDArray[np.int64]:
    """Up to `_SAMPLE` ids, evenly over the index, the same for every question."""
    return np.linspace(0, chunks - 1, min(chunks, _SAMPLE)).astype(np.int64)


def _passage(index: store.Contents, position: int, score: float) -> Passage:
    chunk = index.chunks[position]
    return Passage(
        text=chunk.text,
        source=chunk.source,
        title=chunk.title,
        heading=chunk.heading,
        start=chunk.start,
        end=chunk.end,
        score=min(1.0, max(0.0, score)),
        chunk=chunk.id,
    )
