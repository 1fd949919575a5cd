"""An OpenAI-compatible server with an EchoLLM behind it; streams as vLLM 0.33 does, or as others.

Source: vLLM's vllm/entrypoints/openai: role chunk with the first token, deltas, a chunk with the
finish_reason, one with `usage` and no choices, `[DONE]`; errors in mid-stream with status 200.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from mocks.llm import EchoLLM, ReasoningDelta
from mocks.llm_completion import STATUS, Asked, Completion, Pacing, hang_up
from mocks.llm_dialects import DIALECTS, Name, Wording, error, refusal
from mocks.wire_faults import FaultyWriter, WireFault, WireFaults, begin
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


class LLMServer:
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
    ) -> None:
        self.llm = llm or EchoLLM()
        self.faults = WireFaults(faults)
        self.requests = 0
        self.running = 0
        """Completions begun and not over, faulty ones included."""
        self.aborted = 0
        """Ended by the client before their end."""
        self.bodies: list[bytes] = []
        """Of the last hundred requests."""
        self._dialect = DIALECTS[dialect]
        self._model = model
        self._offered = (model, *more_models)
        self._answers = tuple(answers)
        self._api_key = api_key
        self._reasoning_field = reasoning_field or self._dialect.reasoning_field
        self._pacing = Pacing(
            newline=newline,
            split_bytes=split_bytes,
            drip_ms=drip_ms,
            comments=keep_alive_comments,
        )
        root = self._dialect.root
        app = web.Application(middlewares=[self._guard])
        app.router.add_post(root + "/chat/completions", self._complete)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/mock/state", self._state)
        app.router.add_put("/mock/faults", self._put_faults)
        if lists_models:
            app.router.add_get(root + "/models", self._models)
        # Without handler_cancellation an abandoned request would run on until its next write.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        self._site: web.TCPSite | None = None
        self._address = ("127.0.0.1", 0)
        self.url = ""

    @property
    def endpoint(self) -> str:
        """What to set LLM_ENDPOINT to."""
        return self.url + self._dialect.root

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await self._runner.setup()
        await self._listen(host, port)
        address = self._runner.addresses[0]
        self._address = (address[0], address[1])
        self.url = f"http://{address[0]}:{address[1]}"

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def __aenter__(self) -> "LLMServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def inject(self, *faults: WireFault) -> None:
        """Replaces the faults on the wire, from the next request on; none: all is well again."""
        refuses = any(fault.kind == "refuse" for fault in faults)
        self.faults.set(*(fault for fault in faults if fault.kind != "refuse"))
        if refuses and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            self.drop_connections()
        elif not refuses and self._site is None:
            await self._listen(*self._address)

    async def _listen(self, host: str, port: int) -> None:
        self._site = web.TCPSite(self._runner, host, port, reuse_address=True)
        await self._site.start()

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

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        is_guarded = self._api_key and request.path.startswith(self._dialect.root)
        if is_guarded and not hmac.compare_digest(sent, f"Bearer {self._api_key}"):
            return web.json_response({"error": "Unauthorized"}, status=401)
        response: web.StreamResponse = await handler(request)
        return response

    # --- beside the completions -------------------------------------------------------------------

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, _: web.Request) -> web.Response:
        if not self._dialect.lists_models:
            return self._failure(401, "x-api-key header is required")
        data = [{"id": name} for name in self._offered]
        return web.json_response({"object": "list", "data": data})

    def state(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "running": self.running,
            "finished": self.llm.finished,
            "aborted": self.aborted,
            "faults": self.faults.hits,
            "connections": self.connections,
        }

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _metrics(self, _: web.Request) -> web.Response:
        """Those of vLLM's that tell whether an abort arrived."""
        label = f'{{model_name="{self._model}"}}'
        return web.Response(
            text=f"vllm:num_requests_running{label} {self.running}\n"
            f"vllm:num_requests_waiting{label} 0\n"
            f"vllm:request_success_total{label} {self.llm.finished}\n"
        )

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            faults = msgspec.json.decode(await request.read(), type=list[WireFault])
        except ValueError as problem:
            return web.json_response({"error": str(problem)}, status=400)
        await self.inject(*faults)
        return web.json_response(self.state())

    # --- completions ------------------------------------------------------------------------------

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.running += 1
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        except ConnectionResetError:  # the client went away, or a fault had it so
            self.aborted += 1
            return hang_up(request)
        finally:
            self.running -= 1

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


def _play_scripted(request: web.Request, answer: HttpAnswer) -> web.StreamResponse:
    if answer.status == 0:
        return hang_up(request)
    headers = {"Content-Type": answer.content_type}
    if answer.retry_after:
        headers["Retry-After"] = answer.retry_after
    if 300 <= answer.status < 400:
        headers["Location"] = answer.body.decode()
    return web.Response(status=answer.status, body=answer.body, headers=headers)
