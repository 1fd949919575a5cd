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
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from mocks.embed import HashEmbedder
from mocks.embed_wire import (
    Dialect,
    Inputs,
    OpenAIInputs,
    Pairs,
    Refused,
    Spoilt,
    error_body,
    listed,
    ranked,
    spoiled,
    tokens,
    too_long,
    vllm_error,
)
from mocks.http_server import Answer, HttpServer, nothing_to_say
from mocks.wire_faults import FaultyWriter, WireFault, WireFaults, begin

__all__ = ["EmbedServer", "Spoilt", "bunched"]


class EmbedServer(HttpServer[WireFault]):
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
        dialect: Dialect = "tei",
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
        super().__init__(WireFault, api_key=api_key, most_bytes=most_bytes)
        self.dialect: Dialect = dialect
        self.model_id = model_id
        self.model_sha: str | None = None
        self.kind = kind
        self.common = common
        self.faults = WireFaults(faults)
        self.spoilt = tuple(spoilt)
        self.texts: list[str] = []
        """All that were embedded, as they came."""
        self.batches: list[int] = []
        self._embedder = HashEmbedder(dimensions=dimensions)
        self._most_texts = most_texts
        self._most_requests = most_requests
        self._most_tokens = most_tokens
        self._auto_truncate = auto_truncate
        self._delay_ms, self._jitter_ms = delay_ms, jitter_ms
        self._random = random.Random(seed)
        self._permits = asyncio.Semaphore(most_requests)
        self._add_routes()

    def _add_routes(self) -> None:
        router = self._app.router
        self._add_liveness("/health", nothing_to_say)
        router.add_post("/v1/embeddings", self._work(self._openai))
        if self.dialect == "vllm":
            router.add_get("/v1/models", self._models)
            return
        router.add_get("/info", self._info)
        router.add_post("/embeddings", self._work(self._openai))
        router.add_post("/embed", self._work(self._embed))
        router.add_post("/rerank", self._work(self._rerank))

    def _set_faults(self, *faults: WireFault) -> None:
        self.faults.set(*faults)

    def _lasting_fault(self) -> WireFault | None:
        return self.faults.lasting()

    # --- what is not worked for -------------------------------------------------------------------

    def _is_open(self, path: str) -> bool:
        return path == "/health"

    def _unauthorized(self) -> web.Response:
        return web.Response(status=401) if self.dialect == "tei" else super()._unauthorized()

    def _unwell(self, status: int) -> web.Response:
        if self.dialect == "vllm":
            return super()._unwell(status)
        kind = {"error": "unhealthy", "error_type": "Unhealthy"}
        return web.json_response(kind, status=status)

    def state(self) -> dict[str, int]:
        return super().state() | {"texts": len(self.texts)}

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
        model = {"id": self.model_id, "object": "model", "owned_by": "vllm"}
        return web.json_response({"object": "list", "data": [model]})

    # --- work -------------------------------------------------------------------------------------

    def _work(self, answer: Callable[[bytes], Awaitable[Any]]) -> Answer:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, answer)

        return self._counted(handle)

    async def _handle(
        self, request: web.Request, answer: Callable[[bytes], Awaitable[Any]]
    ) -> web.StreamResponse:
        fault = self.faults.next()
        number = self.requests
        await begin(fault)
        try:
            body = await request.read()
            if fault is not None and fault.kind == "status":
                raise Refused(fault.status, "scripted fault", fault.retry_after)
            if self._is_single(body) and self._permits.locked():
                raise Refused(429, "Model is overloaded")
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
            return web.json_response(vllm_error(400, said), status=400)
        except Refused as refused:
            headers = {"Retry-After": refused.retry_after} if refused.retry_after else {}
            content = error_body(self.dialect, request.path, refused)
            return web.json_response(content, status=refused.status, headers=headers)
        return await _written(
            request, fault, spoiled(self.spoilt, number, msgspec.json.encode(content))
        )

    def _is_single(self, body: bytes) -> bool:
        """Whether TEI takes it for one text: those do not wait."""
        if self.dialect != "tei":
            return False
        try:
            return isinstance(msgspec.json.decode(body, type=Inputs).inputs, str)
        except ValueError:
            return False

    # --- answers ----------------------------------------------------------------------------------

    async def _embed(self, body: bytes) -> list[list[float]]:
        asked = msgspec.json.decode(body, type=Inputs)
        truncate = self._auto_truncate if asked.truncate is None else asked.truncate
        texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
        return await self._rows(texts, truncate, asked.dimensions)

    async def _openai(self, body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=OpenAIInputs)
        if self.dialect == "vllm" and asked.model != self.model_id:
            raise Refused(404, f"The model `{asked.model}` does not exist.")
        truncate = self._auto_truncate
        if self.dialect == "vllm":
            truncate = asked.truncate_prompt_tokens is not None
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        rows = await self._rows(texts, truncate, asked.dimensions)
        return listed(rows, texts, self.model_id)

    async def _rerank(self, body: bytes) -> list[dict[str, Any]]:
        asked = msgspec.json.decode(body, type=Pairs)
        if not asked.texts:
            raise Refused(400, "`texts` cannot be empty")
        if self.kind != "reranker":
            raise Refused(424, "Backend error: Inference error: model is not a re-ranker model")
        self._admit([f"{asked.query} {text}" for text in asked.texts], asked.truncate)
        return ranked(asked)

    async def _rows(self, texts: list[str], truncate: bool, size: int | None) -> list[list[float]]:
        if not texts or not all(texts):
            what = "input" if self.dialect == "vllm" else "`inputs`"
            raise Refused(400, f"{what} cannot be empty")
        if self.kind != "embedding":
            raise Refused(424, "Backend error: Inference error: model is not an embedding model")
        self._admit(texts, truncate)
        rows = (await self._embedder.embed(texts, "passage"))[:, :size]
        found: list[list[float]] = bunched(rows, self.common).tolist()
        return found

    def _admit(self, texts: list[str], truncate: bool | None) -> None:
        if len(texts) > self._most_texts and self.dialect == "tei":
            raise Refused(
                413, f"batch size {len(texts)} > maximum allowed batch size {self._most_texts}"
            )
        longest = max(map(tokens, texts))
        cuts = self._auto_truncate if truncate is None else truncate
        if longest > self._most_tokens and not cuts:
            raise too_long(self.dialect, longest, self._most_tokens)
        self.texts += texts
        self.batches.append(len(texts))


def bunched(rows: NDArray[np.float32], common: float) -> NDArray[np.float32]:
    """[n, d + 1]: the same rows with a part that all share; cosine c becomes common + (1-common)c.

    That is how the vectors of models trained with a low temperature lie: e5's cosines are 0.7..1.
    """
    shared = np.full((len(rows), 1), math.sqrt(common), np.float32)
    return np.hstack([shared, np.float32(math.sqrt(1 - common)) * rows])


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
