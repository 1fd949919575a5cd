"""Reranking by Hugging Face's text-embeddings-inference: `POST /rerank`.

A reranker reads question and passage together, so its scores tell what a cosine does not: whether
the passage answers at all. What scores below `keep` is left out, down to nothing.
"""

import asyncio
import math
from collections.abc import Sequence

import msgspec

from providers._http import Failures, check_key
from providers._json_calls import JsonCalls
from providers._tei import decoded, failed, info_of, ping, root_of
from providers.base import Fault, Passage, ProviderInfo, Slot

_NAME = "tei"
_VARIABLE = "RERANKER_ENDPOINT"
KEEP = 0.05
"""Of the scores 0..1 that TEI's sigmoid gives. BAAI/bge-reranker-v2-m3 gives 0.0003 to "hi" and
0.995 to the answer (its model card); what lies between is left to the language model."""


class _Rank(msgspec.Struct):
    index: int
    score: float


_ranks = msgspec.json.Decoder(list[_Rank])


class TEIReranker:
    """Implements `providers.base.Reranker`.

    Args:
        endpoint: Address with or without `/rerank`.
        api_key: Sent as a bearer token; never logged, never in an error.
        limit_s: For one ranking; the caller is waiting.
        keep: Score 0..1 below which a passage is left out; 0 keeps all.
    """

    def __init__(
        self, endpoint: str, *, api_key: str = "", limit_s: float = 0.3, keep: float = KEEP
    ) -> None:
        check_key(api_key, "RERANKER_API_KEY")
        if not 0 <= keep <= 1:
            raise ValueError(f"keep must be 0..1, got {keep:g}")
        self._root = root_of(endpoint, _VARIABLE, "/rerank", "/info")
        self._failures = Failures(Slot.RERANKER, _NAME, self._root, _VARIABLE, api_key)
        self._calls = JsonCalls(self._failures, self._root, api_key=api_key, limit_s=limit_s)
        self._keep = keep
        self._most = 32
        self._model = ""

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(
            slot=Slot.RERANKER, provider=_NAME, endpoint=self._root, model=self._model
        )

    async def start(self) -> None:
        info = await info_of(self._calls, self._failures, self._root, _VARIABLE)
        if info.kind not in ("", "reranker"):
            raise self._failures.make(
                Fault.REFUSED,
                f"{self._root} serves {info.model_id}, {info.what} and no reranker: set "
                f"{_VARIABLE} to a server with one, such as BAAI/bge-reranker-v2-m3",
            )
        self._model = info.model_id
        self._most = max(1, info.max_client_batch_size)

    async def check(self) -> None:
        await self.start()
        await self._scores("check", ["check"])

    async def ping(self) -> None:
        """Asks whether the server and its model live, which costs them nothing.

        Raises:
            ProviderError: They do not.
        """
        await ping(self._calls, self._failures, self._root, _VARIABLE)

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def rank(self, query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """Best first, with the reranker's scores; those below `keep` are left out."""
        texts = [_read(passage) for passage in passages]
        parts = [texts[at : at + self._most] for at in range(0, len(texts), self._most)]
        scores = [
            score
            for found in await asyncio.gather(*(self._scores(query, part) for part in parts))
            for score in found
        ]
        ranked = sorted(zip(scores, passages, strict=True), key=lambda pair: -pair[0])
        return tuple(
            msgspec.structs.replace(passage, score=score)
            for score, passage in ranked
            if score >= self._keep
        )

    async def _scores(self, query: str, texts: list[str]) -> list[float]:
        """0..1, in the order of the texts."""
        answer = await self._calls.post(
            "/rerank", {"query": query, "texts": texts, "raw_scores": False, "truncate": True}
        )
        if answer.failure is not None:
            raise failed(answer, self._failures)
        ranks = decoded(_ranks, answer, self._failures, self._root, _VARIABLE)
        by_place = {rank.index: rank.score for rank in ranks}
        is_whole = len(ranks) == len(texts) and by_place.keys() == set(range(len(texts)))
        if not is_whole or not all(map(math.isfinite, by_place.values())):
            raise self._failures.make(
                Fault.BROKEN,
                f"{self._root} did not give one score to each of {len(texts)} passages; see its "
                "log",
            )
        return [min(1.0, max(0.0, by_place[place])) for place in range(len(texts))]


def _read(passage: Passage) -> str:
    """What the reranker is shown: the passage under the headings that say what it is about."""
    return "\n".join(part for part in (passage.title, passage.heading, passage.text) if part)
