"""One chat completion of the mock server: what was asked for, and the answer event by event."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from aiohttp import web

from mocks.llm import ReasoningDelta
from mocks.llm_dialects import Wording, error
from mocks.wire_faults import FaultyWriter, hang_up
from providers.base import Fault, Finish, LLMEvent, LLMRequest, Message, ProviderError

STATUS = {Fault.REFUSED: 400, Fault.OVERLOADED: 503, Fault.TIMEOUT: 504}
"""By fault; 500 for all others."""
_COMMENT = {"openrouter": b": OPENROUTER PROCESSING\n\n"}


class _Said(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Asked(msgspec.Struct):
    messages: list[_Said]
    model: str = ""
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    include_reasoning: bool = True

    def request(self) -> LLMRequest:
        said = tuple(Message(role=one.role, content=one.content or "") for one in self.messages)
        limit = self.max_tokens or self.max_completion_tokens
        asked = next((one.content for one in reversed(said) if one.role == "user"), "")
        # Kaiwa writes passages above the question, and nobody wants to hear those repeated.
        question = asked.rpartition("\n\n")[2]
        return LLMRequest(messages=said, question=question, max_tokens=limit)


class Pacing(msgspec.Struct, frozen=True, kw_only=True):
    """How the bytes of the stream are cut and timed."""

    newline: bytes = b"\n"
    split_bytes: int = 0
    drip_ms: float = 0.0
    comments: bool = False


class Completion:
    """The answer to one request."""

    def __init__(
        self, request: web.Request, wording: Wording, writer: FaultyWriter, pacing: Pacing
    ) -> None:
        self._request = request
        self._wording = wording
        self._writer = writer
        self._pacing = pacing

    async def play(self, events: AsyncIterator[LLMEvent | ReasoningDelta]) -> web.StreamResponse:
        """Raises ConnectionResetError if the client went away."""
        response: web.StreamResponse | None = None
        event: LLMEvent | ReasoningDelta | None = None
        if self._wording.dialect.role == "at once" or self._wording.dialect.comments:
            response = await self._begin()
        try:
            async for event in events:
                if response is None:  # vLLM's headers and role come with the first token
                    response = await self._begin()
                for chunk in self._wording.event(event):
                    await self._send(response, chunk)
        except ProviderError as problem:
            return await self._fail(response, problem)
        if response is None or not isinstance(event, Finish):
            return hang_up(self._request)
        await self._write(response, b"data: [DONE]\n\n")
        return response

    async def _fail(
        self, response: web.StreamResponse | None, problem: ProviderError
    ) -> web.StreamResponse:
        status = STATUS.get(problem.fault, 500)
        if response is None:
            if problem.fault is Fault.UNREACHABLE:
                return hang_up(self._request)
            content = error(self._wording.dialect, status, problem.message)
            return web.json_response(content, status=status)
        chunks, is_done = self._wording.failure(status, problem.message)
        for chunk in chunks:
            await self._send(response, chunk)
        if is_done:
            await self._write(response, b"data: [DONE]\n\n")
        return response

    async def _begin(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self._request)
        for _ in range(self._wording.dialect.comments):
            await self._write(response, self._comment())
        for chunk in self._wording.opening():
            await self._send(response, chunk)
        return response

    def _comment(self) -> bytes:
        return _COMMENT.get(self._wording.dialect.name, b": keep-alive\n\n")

    async def _send(self, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        comment = self._comment() if self._pacing.comments else b""
        data = comment + b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        await self._write(response, data)

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        pacing = self._pacing
        if pacing.newline != b"\n":
            data = data.replace(b"\n", pacing.newline)
        size = pacing.split_bytes or len(data)
        for start in range(0, len(data), size):
            await self._writer.write(response, data[start : start + size])
            if pacing.split_bytes:
                await asyncio.sleep(pacing.drip_ms / 1000)
