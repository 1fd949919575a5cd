"""Texts as points by the hashes of their words: no model, the same on every machine."""

import asyncio
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mocks.faults import LAST, ScriptedFault
from mocks.provider import MockProvider
from providers.base import Slot

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


class HashEmbedder(MockProvider):
    """Near are texts that share words. Query and passage are embedded alike."""

    def __init__(
        self,
        *,
        dimensions: int = 256,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.EMBEDDER, "hash", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self._dimensions = dimensions
        self._delay_ms = delay_ms

    @property
    def fingerprint(self) -> str:
        return f"mock-hash-1-{self._dimensions}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        """A fault's items: 0 before the work, -1 behind it; a cut gives rows of zeros."""
        course = self.faults.begin()
        if not await course.reach(0, self._delay_ms):
            return np.zeros((len(texts), self._dimensions), dtype=np.float32)
        rows = await asyncio.to_thread(self._rows, tuple(texts))
        await course.reach(LAST, 0)
        return rows

    def _rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower()):
                code = zlib.crc32(word.encode())
                row[code % self._dimensions] += 1.0 if code & 0x8000_0000 else -1.0
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        lengths[lengths == 0] = 1.0
        return np.asarray(rows / lengths, dtype=np.float32)
