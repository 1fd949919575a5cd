"""An OpenAI-compatible server with an EchoLLM behind it; streams as vLLM 0.33 does, or as others.

Source: vLLM's vllm/entrypoints/openai: role chunk with the first token, deltas, a chunk with the
finish_reason, one with `usage` and no choices, `[DONE]`; errors in mid-stream with status 200.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from mocks.http_server import HttpServer, nothing_to_say
from mocks.llm import EchoLLM, ReasoningDelta
from mocks.llm_completion import STATUS, Asked, Completion, Pacing
from mocks.llm_dialects import DIALECTS, Name, Wording, error, refusal
from mocks.wire_faults import FaultyWriter, WireFault, WireFaults, begin, hang_up
from providers.base import LLMEvent, ProviderError, TextDelta


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What some requests get instead of the model's words."""

    status: int = 200
    """0: the connection is closed without an answer."""
    body: bytes = b""
    content_type: str = "application/json"
    retry_after: str = ""
    request: int = 1
    """The first one that gets it, counted from 1; 0: every one."""
    times: int = 1


class LLMServer(HttpServer[WireFault]):
    """Args:
    llm: What is said, when, and with which faults. A `fail` before the first token is an HTTP
        status, later an error in the stream; a `cut` closes the connection.
    more_models: What it offers beside `model`; the same `llm` speaks for them.
    dialect: Whose deviations it has; see `mocks/llm_dialects.py`.
    faults: What goes wrong on the wire; `await server.inject(…)` changes it later.
    answers: Requests that never reach `llm`.
    api_key: Asked for under the API's root, if there is one.
    reasoning_field: `reasoning_content`, as older servers call it.
    newline: b"\\r\\n" for servers that end their lines so.
    split_bytes: The stream goes out in pieces of this size, through letters and line ends.
    drip_ms: Pause between those pieces.
    keep_alive_comments: Whether a comment goes before every event.
    lists_models: Whether there is a list of models.
    liveness: Path by which it says that it lives, such as LocalAI's /readyz; None: the dialect's.
    """

    def __init__(
        self,
        llm: EchoLLM | None = None,
        *,
        model: str = "mock",
        more_models: Iterable[str] = (),
        dialect: Name = "vllm",
        faults: Iterable[WireFault] = (),
        answers: Iterable[HttpAnswer] = (),
        api_key: str = "",
        reasoning_field: str = "",
        newline: bytes = b"\n",
        split_bytes: int = 0,
        drip_ms: float = 0.0,
        keep_alive_comments: bool = False,
        lists_models: bool = True,
        liveness: str | None = None,
    ) -> None:
        super().__init__(WireFault, api_key=api_key)
        self.llm = llm or EchoLLM()
        self.faults = WireFaults(faults)
        self.bodies: list[bytes] = []
        """Of the last hundred requests."""
        self._dialect = DIALECTS[dialect]
        self._model = model
        self._offered = (model, *more_models)
        self._answers = tuple(answers)
        self._reasoning_field = reasoning_field or self._dialect.reasoning_field
        self._pacing = Pacing(
            newline=newline,
            split_bytes=split_bytes,
            drip_ms=drip_ms,
            comments=keep_alive_comments,
        )
        root, router = self._dialect.root, self._app.router
        router.add_post(root + "/chat/completions", self._counted(self._answer))
        router.add_get("/metrics", self._metrics)
        if lists_models:
            router.add_get(root + "/models", self._models)
        if path := self._dialect.liveness if liveness is None else liveness:
            self._add_liveness(path, _version if path == "/api/version" else nothing_to_say)

    @property
    def endpoint(self) -> str:
        """What to set LLM_ENDPOINT to."""
        return self.url + self._dialect.root

    def _is_open(self, path: str) -> bool:
        return not path.startswith(self._dialect.root)

    def _set_faults(self, *faults: WireFault) -> None:
        self.faults.set(*faults)

    def _lasting_fault(self) -> WireFault | None:
        return self.faults.lasting()

    # --- beside the completions -------------------------------------------------------------------

    async def _models(self, _: web.Request) -> web.Response:
        if not self._dialect.lists_models:
            return self._failure(401, "x-api-key header is required")
        owned = {"owned_by": self._dialect.owner} if self._dialect.owner else {}
        data = [{"id": name, "object": "model", **owned} for name in self._offered]
        return web.json_response({"object": "list", "data": data})

    def state(self) -> dict[str, int]:
        return super().state() | {"finished": self.llm.finished, "faults": self.faults.hits}

    async def _metrics(self, _: web.Request) -> web.Response:
        """Those of vLLM's that tell whether an abort arrived."""
        label = f'{{model_name="{self._model}"}}'
        return web.Response(
            text=f"vllm:num_requests_running{label} {self.running}\n"
            f"vllm:num_requests_waiting{label} 0\n"
            f"vllm:request_success_total{label} {self.llm.finished}\n"
        )

    # --- completions ------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies = [*self.bodies[-99:], body]
        fault = self.faults.next()
        await begin(fault)
        if fault is not None and fault.kind == "status":
            return self._failure(fault.status, "scripted fault", fault.retry_after)
        scripted = self._scripted()
        if scripted is not None:
            return _play_scripted(request, scripted)
        try:
            asked = msgspec.json.decode(body, type=Asked)
            refused = refusal(self._dialect, msgspec.json.decode(body))
        except ValueError as problem:
            return self._failure(400, str(problem))
        if refused is not None:
            return web.json_response(refused[1], status=refused[0])
        if asked.model not in self._offered:
            return self._failure(404, f"The model `{asked.model}` does not exist.")
        async with aclosing(self.llm.play(asked.request())) as events:
            if not asked.stream:
                return await self._whole(events)
            return await Completion(
                request, self._wording(asked), FaultyWriter(request, fault), self._pacing
            ).play(events)

    def _wording(self, asked: Asked) -> Wording:
        options = asked.stream_options
        common = {
            "id": f"chatcmpl-{self.requests}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
        }
        return Wording(
            self._dialect,
            common,
            counts=options is not None and options.include_usage,
            reasoning_field=self._reasoning_field if asked.include_reasoning else "",
        )

    def _scripted(self) -> HttpAnswer | None:
        for answer in self._answers:
            if answer.request == 0 or answer.request <= self.requests < (
                answer.request + answer.times
            ):
                return answer
        return None

    async def _whole(self, events: AsyncIterator[LLMEvent | ReasoningDelta]) -> web.Response:
        try:
            texts = [event.text async for event in events if isinstance(event, TextDelta)]
        except ProviderError as problem:
            return self._failure(STATUS.get(problem.fault, 500), problem.message)
        message = {"role": "assistant", "content": "".join(texts)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        content = {"object": "chat.completion", "model": self._model, "choices": [choice]}
        return web.json_response(content)

    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        headers = {"Retry-After": retry_after} if retry_after else {}
        content = error(self._dialect, status, message)
        return web.json_response(content, status=status, headers=headers)


@asynccontextmanager
async def serve_llm(
    llm: EchoLLM | None = None, *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> AsyncIterator[LLMServer]:
    """A running LLMServer; `options` are its arguments, `endpoint` is where it is reached."""
    server = LLMServer(llm, **options)
    await server.start(host, port)
    try:
        yield server
    finally:
        await server.aclose()


async def run_llm(
    llm: EchoLLM | None = None, *, host: str = "127.0.0.1", port: int = 8001, **options: Any
) -> None:
    """Serves until it is cancelled."""
    async with serve_llm(llm, host=host, port=port, **options) as server:
        print(f"llm {server.endpoint}", flush=True)
        await asyncio.Event().wait()


async def _version(_: web.Request) -> web.StreamResponse:
    return web.json_response({"version": "0.13.5"})


def _play_scripted(request: web.Request, answer: HttpAnswer) -> web.StreamResponse:
    if answer.status == 0:
        return hang_up(request)
    headers = {"Content-Type": answer.content_type}
    if answer.retry_after:
        headers["Retry-After"] = answer.retry_after
    if 300 <= answer.status < 400:
        headers["Location"] = answer.body.decode()
    return web.Response(status=answer.status, body=answer.body, headers=headers)
