"""Embeddings from Hugging Face's text-embeddings-inference: `POST /embed`.

Source: TEI 1.9, docs/openapi.json and router/src/http/server.rs. Two of its habits matter here: one
text on its own is refused at once when the server is full (429), while a batch waits for its turn;
and `Validation` errors come as 413 or 422, by version.
"""

import msgspec

from providers._embedding import RemoteEmbedder
from providers._http import Failures, check_key
from providers._json_calls import JsonCalls
from providers._prefixes import is_same_model, prefixes_of
from providers._tei import decoded, failed, info_of, ping, root_of
from providers.base import Fault, Slot

_NAME = "tei"
_VARIABLE = "EMBEDDING_ENDPOINT"
_PATHS = ("/embed", "/embeddings", "/info")


_rows = msgspec.json.Decoder(list[list[float]])


class TEIEmbedder(RemoteEmbedder):
    """Implements `providers.base.Embedder`.

    Args:
        endpoint: Address with or without `/embed`.
        model: Whose prefixes are used, and what the server must serve; empty: what it says.
        api_key: Sent as a bearer token; never logged, never in an error.
        batch: Texts in one request; fewer where the server's own limit is lower.
        limit_s: For one request and its answer.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str = "",
        api_key: str = "",
        batch: int = 32,
        limit_s: float = 10.0,
    ) -> None:
        check_key(api_key, "EMBEDDING_API_KEY")
        root = root_of(endpoint, _VARIABLE, *_PATHS)
        failures = Failures(Slot.EMBEDDER, _NAME, root, _VARIABLE, api_key)
        super().__init__(
            _NAME,
            JsonCalls(failures, root, api_key=api_key, limit_s=limit_s),
            failures,
            endpoint=root,
            model=model,
            prefixes=prefixes_of(model),
            batch=batch,
        )
        self._seen: tuple[str, str | None] | None = None

    async def ping(self) -> None:
        """Asks whether the server and its model live, which costs them nothing.

        Raises:
            ProviderError: They do not.
        """
        await ping(self._calls, self._failures, self._endpoint, _VARIABLE)

    async def _identify(self) -> None:
        info = await info_of(self._calls, self._failures, self._endpoint, _VARIABLE)
        if info.kind not in ("", "embedding"):
            raise self._failures.make(
                Fault.REFUSED,
                f"{self._endpoint} serves {info.model_id}, {info.what}: set {_VARIABLE} to a "
                "server with an embedding model (a reranker's address is RERANKER_ENDPOINT)",
            )
        names = [name for name in (info.served_model_name, info.model_id) if name]
        if self._model and not any(is_same_model(self._model, name) for name in names):
            raise self._failures.make(
                Fault.REFUSED,
                f"{self._endpoint} serves {info.model_id}, not {self._model}: start it with that "
                f"model, or set EMBEDDING_MODEL={info.model_id} and ingest the documents again",
            )
        seen = (info.model_id, info.model_sha)
        if self._seen not in (None, seen):
            raise self._failures.make(
                Fault.REFUSED,
                f"{self._endpoint} serves another version of {info.model_id} than when Kaiwa "
                "started: restart Kaiwa and ingest the documents again",
            )
        self._seen = seen
        if not self._model:
            self._model, self._prefixes = info.model_id, prefixes_of(info.model_id)
        self._batch = min(self._batch, max(1, info.max_client_batch_size))

    async def _ask(self, texts: list[str], *, is_query: bool) -> list[list[float]]:
        inputs: str | list[str] = texts[0] if is_query else texts
        # Cutting a long text is better than no vector at all: its beginning tells what it is about.
        answer = await self._calls.post(
            "/embed", {"inputs": inputs, "truncate": True, "normalize": True}
        )
        if answer.failure is None:
            return decoded(_rows, answer, self._failures, self._endpoint, _VARIABLE)
        if answer.status in (413, 422) and len(texts) > 1:  # too many texts, or too many bytes
            half = len(texts) // 2
            first = await self._ask(texts[:half], is_query=False)
            return first + await self._ask(texts[half:], is_query=False)
        raise failed(answer, self._failures)
