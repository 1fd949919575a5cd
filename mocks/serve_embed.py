"""A text-embeddings-inference or vLLM server with hashed words behind it, on a real socket.

    dialect   routes                                                      errors
    tei       /embed /v1/embeddings /embeddings /rerank /info /health     {"error", "error_type"};
                                                                          OpenAI's: {"message",
                                                                          "code", "type"}
    vllm      /v1/embeddings /v1/models /health                           {"error": {"message", …}}

Source: TEI 1.9's router/src/http/server.rs and router/src/lib.rs; vLLM 0.33's entrypoints/openai.
One text on its own is refused when TEI is full, a batch waits: so it is in TEI.
"""

import asyncio
import hmac
import math
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from mocks.embed import HashEmbedder
from mocks.wire_faults import FaultyWriter, WireFault, WireFaults, begin

_WORD = re.compile(r"\w+")
_TYPES = {
    400: "Empty",
    413: "Validation",
    422: "Tokenizer",
    424: "Backend",
    429: "Overloaded",
    503: "Unhealthy",
}


class Spoilt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that comes whole and is worth nothing.

    nan     null where a number should be, as TEI writes a NaN
    zero    only zeros
    shape   a number less in each row
    """

    kind: Literal["nan", "zero", "shape"]
    request: int = 1
    """The first one that gets it, counted from 1; 0: every one."""
    times: int = 1


class _Inputs(msgspec.Struct):
    inputs: str | list[str]
    truncate: bool | None = None
    normalize: bool = True
    dimensions: int | None = None


class _OpenAIInputs(msgspec.Struct):
    input: str | list[str]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None


class _Pairs(msgspec.Struct):
    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None


class _Refused(Exception):
    def __init__(self, status: int, said: str, retry_after: str = "") -> None:
        super().__init__(said)
        self.status = status
        self.retry_after = retry_after


class EmbedServer:
    """Args:
    model_id: What /info or /v1/models says.
    kind: What the model is for; the other one's route answers 424, as TEI's does.
    common: 0..1, share of every vector that all texts have in common: cosines lie above it. 0.7 is
        what models of the e5 family look like.
    delay_ms: For each request, jitter_ms on top.
    most_requests: Running at a time; one text more is refused, a batch waits.
    most_tokens: In a text (words and two); longer ones are cut or refused.
    """

    def __init__(
        self,
        *,
        dialect: Literal["tei", "vllm"] = "tei",
        model_id: str = "intfloat/multilingual-e5-base",
        kind: Literal["embedding", "reranker"] = "embedding",
        dimensions: int = 256,
        common: float = 0.0,
        api_key: str = "",
        most_texts: int = 32,
        most_requests: int = 512,
        most_tokens: int = 512,
        most_bytes: int = 2_000_000,
        auto_truncate: bool = True,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        seed: int = 0,
        faults: Iterable[WireFault] = (),
        spoilt: Iterable[Spoilt] = (),
    ) -> None:
        self.dialect = dialect
        self.model_id = model_id
        self.model_sha: str | None = None
        self.kind = kind
        self.common = common
        self.is_healthy = True
        self.faults = WireFaults(faults)
        self.spoilt = tuple(spoilt)
        self.requests = 0
        """That embed or rank."""
        self.running = 0
        self.most_running = 0
        self.aborted = 0
        self.texts: list[str] = []
        """All that were embedded, as they came."""
        self.batches: list[int] = []
        self.url = ""
        self._embedder = HashEmbedder(dimensions=dimensions)
        self._api_key = api_key
        self._most_texts = most_texts
        self._most_requests = most_requests
        self._most_tokens = most_tokens
        self._auto_truncate = auto_truncate
        self._delay_ms, self._jitter_ms = delay_ms, jitter_ms
        self._random = random.Random(seed)
        self._site: web.TCPSite | None = None
        self._permits = asyncio.Semaphore(most_requests)
        # Without handler_cancellation an abandoned request would run on until its next write.
        self._runner = web.AppRunner(
            self._app(most_bytes), handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )

    def _app(self, most_bytes: int) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=most_bytes)
        app.router.add_get("/health", self._health)
        app.router.add_get("/mock/state", self._state)
        app.router.add_post("/v1/embeddings", self._route(self._openai))
        if self.dialect == "vllm":
            app.router.add_get("/v1/models", self._models)
            return app
        app.router.add_get("/info", self._info)
        app.router.add_post("/embeddings", self._route(self._openai))
        app.router.add_post("/embed", self._route(self._embed))
        app.router.add_post("/rerank", self._route(self._rerank))
        return app

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Also after `refuse()`, with the port it had."""
        if self._runner.server is None:
            await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()
        address = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"

    async def refuse(self) -> None:
        """Listens no more and drops who is there."""
        if self._site is not None:
            await self._site.stop()
        self.drop_connections()

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def __aenter__(self) -> "EmbedServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def connections(self) -> int:
        """Open ones."""
        server = self._runner.server
        return len(server.connections) if server is not None else 0

    def drop_connections(self) -> None:
        """Closes every open connection, idle or not, without a word."""
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    # --- what is not worked for -------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        is_open = request.path in ("/health", "/mock/state")
        if self._api_key and not is_open:
            if not hmac.compare_digest(sent.encode(), f"Bearer {self._api_key}".encode()):
                if self.dialect == "tei":
                    return web.Response(status=401)
                return web.json_response({"error": "Unauthorized"}, status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _health(self, _: web.Request) -> web.Response:
        if self.is_healthy:
            return web.Response()
        if self.dialect == "vllm":
            return web.Response(status=503)
        return web.json_response({"error": "unhealthy", "error_type": "Unhealthy"}, status=503)

    async def _info(self, _: web.Request) -> web.Response:
        kind = {"pooling": "mean"} if self.kind == "embedding" else {"id2label": {"0": "LABEL_0"}}
        return web.json_response(
            {
                "model_id": self.model_id,
                "model_sha": self.model_sha,
                "model_dtype": "float16",
                "model_type": {self.kind: kind},
                "max_concurrent_requests": self._most_requests,
                "max_input_length": self._most_tokens,
                "max_batch_tokens": 16384,
                "max_batch_requests": None,
                "max_client_batch_size": self._most_texts,
                "auto_truncate": self._auto_truncate,
                "tokenization_workers": 2,
                "version": "1.9.3",
            }
        )

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model_id}]})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "requests": self.requests,
                "running": self.running,
                "aborted": self.aborted,
                "texts": len(self.texts),
                "connections": self.connections,
            }
        )

    # --- work -------------------------------------------------------------------------------------

    def _route(self, answer: Callable[[bytes], Awaitable[Any]]) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                return await self._handle(request, answer)
            except (asyncio.CancelledError, ConnectionError):
                self.aborted += 1
                raise
            finally:
                self.running -= 1

        return handle

    async def _handle(
        self, request: web.Request, answer: Callable[[bytes], Awaitable[Any]]
    ) -> web.StreamResponse:
        fault = self.faults.next()
        number = self.requests
        await begin(fault)
        try:
            body = await request.read()
            if fault is not None and fault.kind == "status":
                raise _Refused(fault.status, "scripted fault", fault.retry_after)
            if self._is_single(body) and self._permits.locked():
                raise _Refused(429, "Model is overloaded")
            async with self._permits:
                await asyncio.sleep(
                    (self._delay_ms + self._random.uniform(0, self._jitter_ms)) / 1000
                )
                content = await answer(body)
        except web.HTTPRequestEntityTooLarge:
            said = "Failed to buffer the request body: length limit exceeded"
            return web.Response(status=413, text=said)
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
            said = f"Failed to deserialize the JSON body into the target type: {error}"
            if self.dialect == "tei":
                return web.Response(status=422, text=said)
            return web.json_response(_vllm_error(400, said), status=400)
        except _Refused as refused:
            headers = {"Retry-After": refused.retry_after} if refused.retry_after else {}
            content = self._error(request.path, refused)
            return web.json_response(content, status=refused.status, headers=headers)
        return await _written(request, fault, self._spoil(number, msgspec.json.encode(content)))

    def _spoil(self, number: int, content: bytes) -> bytes:
        for one in self.spoilt:
            if one.request == 0 or one.request <= number < one.request + one.times:
                match one.kind:
                    case "nan":
                        return re.sub(rb"-?\d+\.\d+", b"null", content, count=1)
                    case "zero":
                        return re.sub(rb"-?\d+\.\d+(e-?\d+)?", b"0.0", content)
                    case "shape":
                        return re.sub(rb",-?\d+\.\d+(e-?\d+)?\]", b"]", content)
        return content

    def _is_single(self, body: bytes) -> bool:
        """Whether TEI takes it for one text: those do not wait."""
        if self.dialect != "tei":
            return False
        try:
            return isinstance(msgspec.json.decode(body, type=_Inputs).inputs, str)
        except ValueError:
            return False

    def _error(self, path: str, refused: _Refused) -> dict[str, Any]:
        said, kind = str(refused), _TYPES.get(refused.status, "Backend")
        if self.dialect == "vllm":
            return _vllm_error(refused.status, said)
        if path.endswith("/embeddings"):
            return {"message": said, "code": refused.status, "type": kind}
        return {"error": said, "error_type": kind}

    # --- answers ----------------------------------------------------------------------------------

    async def _embed(self, body: bytes) -> list[list[float]]:
        asked = msgspec.json.decode(body, type=_Inputs)
        truncate = self._auto_truncate if asked.truncate is None else asked.truncate
        texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
        return await self._rows(texts, truncate, asked.dimensions)

    async def _openai(self, body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=_OpenAIInputs)
        if self.dialect == "vllm" and asked.model != self.model_id:
            raise _Refused(404, f"The model `{asked.model}` does not exist.")
        truncate = self._auto_truncate
        if self.dialect == "vllm":
            truncate = asked.truncate_prompt_tokens is not None
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        rows = await self._rows(texts, truncate, asked.dimensions)
        data = [
            {"object": "embedding", "embedding": row, "index": place}
            for place, row in enumerate(rows)
        ]
        tokens = sum(map(_tokens, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.model_id, "usage": usage}

    async def _rerank(self, body: bytes) -> list[dict[str, Any]]:
        asked = msgspec.json.decode(body, type=_Pairs)
        if not asked.texts:
            raise _Refused(400, "`texts` cannot be empty")
        if self.kind != "reranker":
            raise _Refused(424, "Backend error: Inference error: model is not a re-ranker model")
        self._admit([f"{asked.query} {text}" for text in asked.texts], asked.truncate)
        wanted = set(_WORD.findall(asked.query.lower()))
        ranks = []
        for place, text in enumerate(asked.texts):
            score = len(wanted & set(_WORD.findall(text.lower()))) / max(1, len(wanted))
            if asked.raw_scores:
                score = 12 * score - 8
            rank = {"index": place, "score": score}
            ranks.append(rank | {"text": text} if asked.return_text else rank)
        return sorted(ranks, key=lambda rank: -float(rank["score"]))

    async def _rows(self, texts: list[str], truncate: bool, size: int | None) -> list[list[float]]:
        if not texts or not all(texts):
            what = "input" if self.dialect == "vllm" else "`inputs`"
            raise _Refused(400, f"{what} cannot be empty")
        if self.kind != "embedding":
            raise _Refused(424, "Backend error: Inference error: model is not an embedding model")
        self._admit(texts, truncate)
        rows = (await self._embedder.embed(texts, "passage"))[:, :size]
        found: list[list[float]] = bunched(rows, self.common).tolist()
        return found

    def _admit(self, texts: list[str], truncate: bool | None) -> None:
        if len(texts) > self._most_texts and self.dialect == "tei":
            raise _Refused(
                413, f"batch size {len(texts)} > maximum allowed batch size {self._most_texts}"
            )
        longest = max(map(_tokens, texts))
        cuts = self._auto_truncate if truncate is None else truncate
        if longest > self._most_tokens and not cuts:
            if self.dialect == "tei":
                raise _Refused(
                    413,
                    "Input validation error: `inputs` must have less than "
                    f"{self._most_tokens} tokens. Given: {longest}",
                )
            raise _Refused(
                400,
                f"This model's maximum context length is {self._most_tokens} tokens. However, you "
                f"requested {longest} tokens in the input for embedding generation. Please reduce "
                "the length of the input.",
            )
        self.texts += texts
        self.batches.append(len(texts))


def bunched(rows: NDArray[np.float32], common: float) -> NDArray[np.float32]:
    """[n, d + 1]: the same rows with a part that all share; cosine c becomes common + (1-common)c.

    That is how the vectors of models trained with a low temperature lie: e5's cosines are 0.7..1.
    """
    shared = np.full((len(rows), 1), math.sqrt(common), np.float32)
    return np.hstack([shared, np.float32(math.sqrt(1 - common)) * rows])


def _tokens(text: str) -> int:
    return len(_WORD.findall(text)) + 2


def _vllm_error(status: int, said: str) -> dict[str, Any]:
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(status, "InternalServerError")
    return {"error": {"message": said, "type": kind, "param": None, "code": status}}


async def _written(
    request: web.Request, fault: WireFault | None, content: bytes
) -> web.StreamResponse:
    """In two pieces, so that a fault can come between them."""
    if fault is None:
        return web.Response(body=content, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    writer, half = FaultyWriter(request, fault), len(content) // 2
    await writer.write(response, content[:half])
    await writer.write(response, content[half:])
    await response.write_eof()
    return response
