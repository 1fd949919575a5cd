"""Embeddings by OpenAI's API, `POST /v1/embeddings`: vLLM, Ollama, LocalAI, llama.cpp, OpenAI …

Differences that are met here: some list no models, some cannot cut a text that is too long, and
none says which of a batch's texts it was.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from providers._embedding import RemoteEmbedder
from providers._http import Failures, api_root, check_key
from providers._json_calls import Answer, JsonCalls
from providers._openai_health import OpenAIHealth
from providers._prefixes import Prefixes, is_same_model, prefixes_of
from providers._probe import TokenProbe
from providers.base import Fault, ProviderError, Slot

_NAME = "openai"
_VARIABLE = "EMBEDDING_ENDPOINT"
_SHORTER = 0.6
_CUTS = 6
"""0.6 ** 6: to a twentieth. What is refused then is not refused for its length."""
_TOO_LONG = ("context length", "too long", "too large", "maximum", "tokens", "n_ctx")


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _List(msgspec.Struct):
    data: list[_Row]


_models = msgspec.json.Decoder(_Models)
_list = msgspec.json.Decoder(_List)


class OpenAIEmbedder(RemoteEmbedder):
    """Implements `providers.base.Embedder`.

    Args:
        endpoint: Address with or without `/v1` or `/v1/embeddings`.
        model: As the server calls it.
        api_key: Sent as a bearer token; never logged, never in an error.
        dimensions: For models that can give fewer numbers; None: all of them.
        batch: Texts in one request.
        query_prefix: Put before a question; None: what the model's card asks for.
        passage_prefix: Put before a passage; None: what the model's card asks for.
        limit_s: For one request and its answer.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str,
        api_key: str = "",
        dimensions: int | None = None,
        batch: int = 32,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        limit_s: float = 10.0,
    ) -> None:
        check_key(api_key, "EMBEDDING_API_KEY")
        if not model:
            raise ValueError("EMBEDDING_MODEL must name the model, as the server calls it")
        root = api_root(endpoint, _VARIABLE, "/embeddings")
        failures = Failures(Slot.EMBEDDER, _NAME, root, _VARIABLE, api_key)
        calls = JsonCalls(failures, root, api_key=api_key, limit_s=limit_s)
        known = prefixes_of(model)
        super().__init__(
            _NAME,
            calls,
            failures,
            endpoint=root,
            model=model,
            prefixes=Prefixes(
                known.query if query_prefix is None else query_prefix,
                known.passage if passage_prefix is None else passage_prefix,
            ),
            batch=batch,
        )
        self._wanted = dimensions
        self._asks = TokenProbe()
        self._health = OpenAIHealth(calls, failures, root, _VARIABLE, has_key=bool(api_key))

    async def check(self) -> None:
        """Lists the models; embeds a word only where no caller's question has told lately.

        At some servers each request costs money.
        """
        loop = asyncio.get_running_loop()
        await self._identify()
        if self._asks.is_due(loop.time()):
            try:
                await self._probe()
            except ProviderError as error:
                self._asks.failed(loop.time(), error)
                raise

    @property
    def check_every_s(self) -> float:
        """Seconds from one check to the next; more where answers have a price."""
        return self._health.check_every_s

    @property
    def ping(self) -> Callable[[], Awaitable[None]] | None:
        """Asks whether the server lives, which costs it nothing; None: its answers have a price.

        Raises:
            ProviderError: It is dead, or says that it is not well.
        """
        return None if self._health.is_paid else self._health.ping

    async def _identify(self) -> None:
        answer = await self._calls.get("/models")
        if answer.status in (404, 405):  # no such list
            return
        if answer.failure is not None:
            raise answer.failure
        try:
            models = _models.decode(answer.body).data
        except ValueError:
            raise self._failures.make(
                Fault.BROKEN,
                f"{self._endpoint}/models is no list of models: is {_VARIABLE} the address of an "
                "OpenAI-compatible API?",
            ) from None
        self._health.learn(model.owned_by for model in models)
        offered = [model.id for model in models]
        if offered and not any(is_same_model(self._model, name) for name in offered):
            names = ", ".join(offered[:10]) + (" …" if len(offered) > 10 else "")
            raise self._failures.make(
                Fault.REFUSED,
                f"no model {self._model!r} at {self._endpoint}; set EMBEDDING_MODEL to one of: "
                f"{names}",
            )

    async def _ask(self, texts: list[str], *, is_query: bool) -> list[list[float]]:
        loop = asyncio.get_running_loop()
        try:
            with self._health.work.going_on():
                found = await self._shortened(texts)
        except ProviderError:
            self._asks.doubted(loop.time())
            raise
        self._asks.succeeded(loop.time())
        self._health.work.heard(loop.time())
        return found

    async def _shortened(self, texts: list[str]) -> list[list[float]]:
        """Asks with ever shorter texts as long as the server finds one of them too long."""
        for _ in range(_CUTS):
            answer = await self._request(texts)
            if answer.failure is None:
                return self._in_order(answer, len(texts))
            if not _is_too_long(answer):
                raise answer.failure
            longest = int(max(map(len, texts)) * _SHORTER)
            texts = [text[:longest] for text in texts]
        assert answer.failure is not None
        raise answer.failure

    async def _request(self, texts: list[str]) -> Answer:
        body: dict[str, object] = {
            "model": self._model,
            "input": texts,
            "encoding_format": "float",
        }
        if self._wanted is not None:
            body["dimensions"] = self._wanted
        return await self._calls.post("/embeddings", body)

    def _in_order(self, answer: Answer, wanted: int) -> list[list[float]]:
        try:
            rows = {row.index: row.embedding for row in _list.decode(answer.body).data}
        except ValueError as error:
            raise self._failures.make(
                Fault.BROKEN,
                f"{self._endpoint}/embeddings answered with something else than a list of "
                f"embeddings ({error}): see the server's log",
            ) from None
        if rows.keys() != set(range(wanted)):
            raise self._broken(f"{len(rows)} rows for {wanted} texts")
        return [rows[place] for place in range(wanted)]


def _is_too_long(answer: Answer) -> bool:
    """Status and words differ: vLLM says "maximum context length", Ollama "exceeds the context"."""
    said = answer.told.lower()
    return answer.status in (400, 413, 422, 500) and any(word in said for word in _TOO_LONG)
