"""The wire of `POST /v1/chat/completions`, streamed: the request's body, the answer's chunks.

Pure. Covers what vLLM 0.33, llama.cpp, Ollama, LocalAI, OpenRouter, OpenAI and the compatible
endpoints of Gemini and Anthropic send.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from providers._reasoning import SpokenText
from providers.base import (
    Finish,
    LLMEvent,
    LLMRequest,
    Message,
    TextDelta,
    ToolCallDelta,
    Usage,
)


class FunctionPiece(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct):
    index: int | None = None
    """Gemini leaves it out; a new id is then a new call."""
    id: str | None = None
    function: FunctionPiece | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    """Never spoken; only shows that the model is at work."""
    reasoning_content: str | None = None
    """What older servers call it."""
    tool_calls: list[ToolCallPiece] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None


class CachedTokens(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class TokenCounts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: CachedTokens | None = None


class Chunk(msgspec.Struct):
    """One event of the stream."""

    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    """vLLM and OpenRouter report what goes wrong in mid-stream with status 200 and this."""

    @property
    def has_token(self) -> bool:
        """Whether the model has begun: some servers send the role long before."""
        for choice in self.choices or ():
            delta = choice.delta or Delta()
            if delta.content or delta.reasoning or delta.reasoning_content or delta.tool_calls:
                return True
            if choice.finish_reason:
                return True
        return False


class Model(msgspec.Struct, gc=False):
    id: str


class ModelList(msgspec.Struct):
    """`GET /v1/models`."""

    data: list[Model]


chunk_decoder = msgspec.json.Decoder(Chunk)
models_decoder = msgspec.json.Decoder(ModelList)


def encode_request(request: LLMRequest, model: str, defaults: Mapping[str, Any]) -> bytes:
    """The body. `defaults` are further fields of it; what the request sets goes before them."""
    body: dict[str, Any] = {
        **defaults,
        "model": model,
        "messages": [_encode_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters or {"type": "object", "properties": {}},
                },
            }
            for tool in request.tools
        ]
        body["tool_choice"] = _encode_tool_choice(request.tool_choice)
    return msgspec.json.encode(body)


def _encode_message(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        encoded["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        encoded["content"] = message.content or None
        encoded["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return encoded


def _encode_tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """The Realtime API names the function one level higher than this one."""
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


class ChatReply:
    """Chunks in, events out."""

    def __init__(self) -> None:
        self._text = SpokenText()
        self._calls: dict[int, str] = {}
        """index -> id of every call begun."""
        self._usage = Usage()
        self.finish_reason = ""

    def receive(self, chunk: Chunk) -> list[LLMEvent]:
        events: list[LLMEvent] = []
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        for choice in (chunk.choices or [])[:1]:
            delta = choice.delta
            if delta is not None and delta.content:
                spoken = self._text.feed(delta.content)
                if spoken:
                    events.append(TextDelta(spoken))
            for piece in (delta.tool_calls if delta is not None else None) or ():
                events.append(self._tool_call(piece))
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
        return events

    def end(self) -> list[LLMEvent]:
        """The rest of the text, and the Finish."""
        rest = self._text.end()
        events: list[LLMEvent] = [TextDelta(rest)] if rest else []
        return [*events, Finish(reason=self._reason(), usage=self._usage)]

    def _reason(self) -> Literal["stop", "length", "tool_calls", "content_filter"]:
        match self.finish_reason:
            case "length" | "content_filter" as reason:
                return reason
            case _:
                # Asked for one function by name, vLLM and OpenAI end its call with "stop".
                return "tool_calls" if self._calls else "stop"

    def _tool_call(self, piece: ToolCallPiece) -> ToolCallDelta:
        function = piece.function or FunctionPiece()
        index = self._index(piece)
        call_id, name = "", ""
        if index not in self._calls:
            call_id = piece.id or f"call_{secrets.token_hex(8)}"
            name = function.name or ""
            self._calls[index] = call_id
        return ToolCallDelta(
            index=index, arguments=function.arguments or "", call_id=call_id, name=name
        )

    def _index(self, piece: ToolCallPiece) -> int:
        if piece.index is not None:
            return piece.index
        last = len(self._calls) - 1
        is_new = last < 0 or (piece.id and piece.id != self._calls.get(last))
        return last + 1 if is_new else last


def _usage(counts: TokenCounts) -> Usage:
    details = counts.prompt_tokens_details or CachedTokens()
    return Usage(
        input_tokens=counts.prompt_tokens or 0,
        output_tokens=counts.completion_tokens or 0,
        cached_tokens=details.cached_tokens or 0,
    )
