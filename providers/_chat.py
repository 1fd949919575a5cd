"""The wire of a streamed chat completion: the answer's chunks, and the events they make.

Pure. Covers what vLLM 0.33, llama.cpp, Ollama, LocalAI, OpenRouter, OpenAI and the compatible
endpoints of Gemini and Anthropic send.
"""

import secrets
from typing import Any, Literal

import msgspec

from providers._reasoning import SpokenText
from providers.base import Finish, LLMEvent, TextDelta, ToolCallDelta, Usage

Reason = Literal["stop", "length", "tool_calls", "content_filter"]

_REASONS: dict[str, Reason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
}
"""By `finish_reason` in lower case; proxies hand on what their model's own API says."""
_FAILED = ("error", "abort", "network_error", "malformed_function_call", "unexpected_tool_call")


class FunctionPiece(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct):
    index: int | None = None
    """Gemini leaves it out; a new id is then a new call."""
    id: str | None = None
    function: FunctionPiece | None = None
    extra_content: msgspec.Raw = msgspec.Raw()
    """Gemini's signature of the thought behind the call; wants it back with the result."""


class ContentPart(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class Delta(msgspec.Struct):
    content: str | list[ContentPart] | None = None
    """Mistral's reasoning models send parts."""
    refusal: str | None = None
    """Words for the caller in the place of an answer."""
    reasoning: str | None = None
    """Never spoken; only shows that the model is at work."""
    reasoning_content: str | None = None
    """What older servers call it."""
    tool_calls: list[ToolCallPiece] | None = None

    @property
    def words(self) -> str:
        """What of it is for the caller, reasoning tags included."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text or "" for part in content if part.type == "text")
        return content or self.refusal or ""


class Choice(msgspec.Struct):
    delta: Delta | None = None
    finish_reason: str | None = None
    error: Any = None


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
    object: str | None = None
    message: str | None = None
    """SGLang's errors lie at the top: {"object": "error", "message": …}."""

    @property
    def has_token(self) -> bool:
        """Whether the model has begun: some servers send the role long before."""
        for choice in self.choices or ():
            delta = choice.delta or Delta()
            if delta.content or delta.refusal or delta.tool_calls or choice.finish_reason:
                return True
            if delta.reasoning or delta.reasoning_content:
                return True
        return False

    @property
    def problem(self) -> Any:
        """The value of the error that this chunk is; None if it is none."""
        if self.error is not None:
            return self.error
        if self.object == "error":
            return self.message or "no reason given"
        for choice in self.choices or ():
            if choice.error is not None:
                return choice.error
            if choice.finish_reason and choice.finish_reason.lower() in _FAILED:
                return f"it ended with finish_reason {choice.finish_reason!r}"
        return None


class Model(msgspec.Struct, gc=False):
    id: str
    owned_by: str | None = None
    """By which a server of one's own says what it is, see `_openai_health`."""


class ModelList(msgspec.Struct):
    """`GET /v1/models`."""

    data: list[Model]


chunk_decoder = msgspec.json.Decoder(Chunk)
models_decoder = msgspec.json.Decoder(ModelList)


class _Call(msgspec.Struct):
    number: int
    server_index: int | None
    call_id: str


class ChatReply:
    """Chunks in, events out."""

    def __init__(self) -> None:
        self._text = SpokenText()
        self._calls: list[_Call] = []
        self._usage = Usage()
        self.finish_reason = ""
        self.call_extras: dict[str, msgspec.Raw] = {}
        """By call id, what must go back to the server with the call."""

    def receive(self, chunk: Chunk) -> list[LLMEvent]:
        events: list[LLMEvent] = []
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        for choice in (chunk.choices or [])[:1]:
            delta = choice.delta or Delta()
            spoken = self._text.feed(delta.words)
            if spoken:
                events.append(TextDelta(spoken))
            events += [self._tool_call(piece) for piece in delta.tool_calls or ()]
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
        return events

    def end(self) -> list[LLMEvent]:
        """The rest of the text, and the Finish."""
        rest = self._text.end()
        events: list[LLMEvent] = [TextDelta(rest)] if rest else []
        return [*events, Finish(reason=self._reason(), usage=self._usage)]

    def _reason(self) -> Reason:
        reason = _REASONS.get(self.finish_reason.lower())
        if reason is not None:
            return reason
        # Asked for one function by name, vLLM and OpenAI end its call with "stop"; Gemini always.
        return "tool_calls" if self._calls else "stop"

    def _tool_call(self, piece: ToolCallPiece) -> ToolCallDelta:
        function = piece.function or FunctionPiece()
        call = self._begun(piece, function)
        call_id, name = "", ""
        if call is None:
            call_id = piece.id or f"call_{secrets.token_hex(8)}"
            name = function.name or ""
            call = _Call(len(self._calls), piece.index, call_id)
            self._calls.append(call)
        if bytes(piece.extra_content) not in (b"", b"null"):
            self.call_extras[call.call_id] = piece.extra_content.copy()
        return ToolCallDelta(
            index=call.number, arguments=function.arguments or "", call_id=call_id, name=name
        )

    def _begun(self, piece: ToolCallPiece, function: FunctionPiece) -> _Call | None:
        """The call that `piece` goes on with; None if it begins one.

        A new id with a name is a new call, whatever the index: older Ollamas number them all 0.
        """
        is_new = bool(piece.id and function.name)
        for call in reversed(self._calls):
            if piece.id and piece.id == call.call_id:
                return call
            if not is_new and piece.index is not None and piece.index == call.server_index:
                return call
        if piece.id or piece.index is not None or function.name or not self._calls:
            return None
        return self._calls[-1]


def _usage(counts: TokenCounts) -> Usage:
    details = counts.prompt_tokens_details or CachedTokens()
    return Usage(
        input_tokens=counts.prompt_tokens or 0,
        output_tokens=counts.completion_tokens or 0,
        cached_tokens=details.cached_tokens or 0,
    )
