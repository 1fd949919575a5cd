"""An OpenAI-compatible server with an EchoLLM behind it; streams as vLLM 0.33 does.

Source: vLLM's vllm/entrypoints/openai: role chunk with the first token, deltas, a chunk with the
finish_reason, one with `usage` and no choices, `[DONE]`; errors in mid-stream with status 200.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from aiohttp import web

from mocks.llm import EchoLLM, ReasoningDelta
from providers.base import (
    Fault,
    Finish,
    LLMEvent,
    LLMRequest,
    Message,
    ProviderError,
    TextDelta,
    ToolCallDelta,
)

_STATUS = {Fault.REFUSED: 400, Fault.OVERLOADED: 503, Fault.TIMEOUT: 504}
_TYPE = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}


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


class _Said(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Asked(msgspec.Struct):
    messages: list[_Said]
    model: str = ""
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None


class LLMServer:
    """Args:
    llm: What is said, when, and with which faults. A `fail` before the first token is an HTTP
        status, later an error in the stream; a `cut` closes the connection.
    answers: Requests that never reach `llm`.
    api_key: Asked for under /v1, if there is one.
    reasoning_field: `reasoning`, or `reasoning_content` as older servers call it.
    newline: b"\\r\\n" for servers that end their lines so.
    split_bytes: The stream goes out in pieces of this size, through letters and line ends.
    drip_ms: Pause between those pieces.
    keep_alive_comments: Whether a comment goes before every event.
    lists_models: Whether there is a /v1/models.
    """

    def __init__(
        self,
        llm: EchoLLM | None = None,
        *,
        model: str = "mock",
        answers: Iterable[HttpAnswer] = (),
        api_key: str = "",
        reasoning_field: str = "reasoning",
        newline: bytes = b"\n",
        split_bytes: int = 0,
        drip_ms: float = 0.0,
        keep_alive_comments: bool = False,
        lists_models: bool = True,
    ) -> None:
        self.llm = llm or EchoLLM()
        self.requests = 0
        self.bodies: list[bytes] = []
        """Of the last hundred requests."""
        self.connections_made = 0
        self._model = model
        self._answers = tuple(answers)
        self._api_key = api_key
        self._reasoning_field = reasoning_field
        self._newline = newline
        self._split_bytes = split_bytes
        self._drip_ms = drip_ms
        self._comments = keep_alive_comments
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/health", self._health)
        app.router.add_get("/mock/state", self._state)
        if lists_models:
            app.router.add_get("/v1/models", self._models)
        # Without handler_cancellation an abandoned request would run on until its next write.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"

    async def aclose(self) -> None:
        await self._runner.cleanup()

    async def __aenter__(self) -> "LLMServer":
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

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        is_guarded = self._api_key and request.path.startswith("/v1")
        if is_guarded and not hmac.compare_digest(sent, f"Bearer {self._api_key}"):
            return web.json_response({"error": "Unauthorized"}, status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._model}]})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "requests": self.requests,
                "running": self.llm.running,
                "finished": self.llm.finished,
                "aborted": self.llm.aborted,
                "connections": self.connections,
            }
        )

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = await request.read()
        self.bodies = [*self.bodies[-99:], body]
        scripted = self._scripted()
        if scripted is not None:
            return _play_scripted(request, scripted)
        try:
            asked = msgspec.json.decode(body, type=_Asked)
        except ValueError as error:
            return _failure(400, str(error))
        if asked.model != self._model:
            return _failure(404, f"The model `{asked.model}` does not exist.")
        said = tuple(Message(role=one.role, content=one.content or "") for one in asked.messages)
        llm_request = LLMRequest(messages=said, max_tokens=asked.max_tokens)
        try:
            async with aclosing(self.llm.play(llm_request)) as events:
                return await self._answer(request, asked, events)
        except ConnectionResetError:  # the client went away; `llm` has counted it as aborted
            return _hang_up(request)

    def _scripted(self) -> HttpAnswer | None:
        for answer in self._answers:
            if answer.request == 0 or answer.request <= self.requests < (
                answer.request + answer.times
            ):
                return answer
        return None

    async def _answer(
        self,
        request: web.Request,
        asked: _Asked,
        events: AsyncIterator[LLMEvent | ReasoningDelta],
    ) -> web.StreamResponse:
        if not asked.stream:
            return await _whole_answer(self._model, events)
        response: web.StreamResponse | None = None
        try:
            async for event in events:
                if response is None:  # vLLM's headers and role come with the first token
                    response = await self._begin(request)
                await self._send_event(response, event, asked)
        except ProviderError as error:
            status = _STATUS.get(error.fault, 500)
            if response is None and error.fault is Fault.UNREACHABLE:
                return _hang_up(request)
            if response is None:
                return _failure(status, error.message)
            await self._send(response, {"error": _error(status, error.message)})
            await self._write(response, b"data: [DONE]\n\n")
            return response
        if response is None or not isinstance(event, Finish):
            return _hang_up(request)
        await self._write(response, b"data: [DONE]\n\n")
        return response

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await self._send_delta(response, {"role": "assistant", "content": ""})
        return response

    async def _send_event(
        self, response: web.StreamResponse, event: LLMEvent | ReasoningDelta, asked: _Asked
    ) -> None:
        match event:
            case ReasoningDelta(text):
                await self._send_delta(response, {self._reasoning_field: text})
            case TextDelta(text):
                await self._send_delta(response, {"content": text})
            case ToolCallDelta():
                await self._send_delta(response, {"tool_calls": [_tool_piece(event)]})
            case Finish(reason, usage):
                await self._send_delta(response, {}, finish_reason=reason)
                if asked.stream_options is not None and asked.stream_options.include_usage:
                    counts = {
                        "prompt_tokens": usage.input_tokens,
                        "completion_tokens": usage.output_tokens,
                        "total_tokens": usage.input_tokens + usage.output_tokens,
                    }
                    await self._send(response, self._chunk([], usage=counts))

    async def _send_delta(
        self, response: web.StreamResponse, delta: dict[str, Any], finish_reason: str | None = None
    ) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        await self._send(response, self._chunk([choice]))

    def _chunk(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.requests}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
            "choices": choices,
            **more,
        }

    async def _send(self, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        comment = b": keep-alive\n\n" if self._comments else b""
        await self._write(response, comment + b"data: " + msgspec.json.encode(chunk) + b"\n\n")

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if self._newline != b"\n":
            data = data.replace(b"\n", self._newline)
        if not self._split_bytes:
            await response.write(data)
            return
        for start in range(0, len(data), self._split_bytes):
            await response.write(data[start : start + self._split_bytes])
            await asyncio.sleep(self._drip_ms / 1000)


async def _whole_answer(
    model: str, events: AsyncIterator[LLMEvent | ReasoningDelta]
) -> web.Response:
    try:
        texts = [event.text async for event in events if isinstance(event, TextDelta)]
    except ProviderError as error:
        return _failure(_STATUS.get(error.fault, 500), error.message)
    message = {"role": "assistant", "content": "".join(texts)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response({"object": "chat.completion", "model": model, "choices": [choice]})


def _tool_piece(delta: ToolCallDelta) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": delta.index, "function": {"arguments": delta.arguments}}
    if delta.call_id:
        piece |= {"id": delta.call_id, "type": "function"}
        piece["function"]["name"] = delta.name
    return piece


def _play_scripted(request: web.Request, answer: HttpAnswer) -> web.StreamResponse:
    if answer.status == 0:
        return _hang_up(request)
    headers = {"Content-Type": answer.content_type}
    if answer.retry_after:
        headers["Retry-After"] = answer.retry_after
    if 300 <= answer.status < 400:
        headers["Location"] = answer.body.decode()
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"error": _error(status, message)}, status=status)


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _TYPE.get(status, "InternalServerError")
    return {"message": message, "type": kind, "param": None, "code": status}
