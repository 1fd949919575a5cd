"""How the servers that speak OpenAI's chat completions differ; scripts for `LLMServer`.

    vllm        the role comes with the first token; an error in mid-stream is followed by [DONE]
    openai      role at once; `usage: null` on every chunk; no max_tokens, temperature 1 only, no
                field it does not know; reasoning stays there; an error ends the stream
    ollama      role on every chunk; function calls in one piece, all with index 0
    openrouter  comments before the first token; the count of tokens in a chunk with a choice; an
                error beside a choice with finish_reason "error", and no [DONE]
    gemini      below /v1beta/openai; calls in one piece without index, ended with "stop", with a
                signature that must come back; no field it does not know; errors in a list
    anthropic   the list of models wants a header of its own; no count of tokens; temperature to 1;
                the last message must not be the assistant's
    strict      422 for every field it does not know, stream_options too; content in parts

Each that is somebody's own server says by a path without a key that it lives; services do not.

Sources: vLLM vllm/entrypoints/openai; docs.anthropic.com/en/api/openai-sdk; openrouter.ai/docs/api
streaming and errors; googleapis/python-genai 2868, open-webui/computer 224 (Gemini); ollama/ollama
openai/openai.go; decolua/9router 560 (OpenAI's refusals). Checked against none of the services.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from mocks.llm import ReasoningDelta
from providers.base import Finish, LLMEvent, TextDelta, ToolCallDelta

Name = Literal["vllm", "openai", "ollama", "openrouter", "gemini", "anthropic", "strict"]

_COMMON = frozenset(
    ("model", "messages", "stream", "tools", "tool_choice", "temperature", "max_tokens")
)
_SIGNATURE = {"google": {"thought_signature": "c2lnbmVk"}}
_TYPE = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    name: Name = "vllm"
    root: str = "/v1"
    role: Literal["once", "at once", "each"] = "once"
    takes: frozenset[str] | None = None
    """Fields that are not refused; None: all."""
    usage: Literal["own chunk", "with choice", "never"] = "own chunk"
    whole_calls: bool = False
    index: Literal["own", "zero", "none"] = "own"
    comments: int = 0
    """Before the first token."""
    lists_models: bool = True
    reasoning_field: str = "reasoning"
    """Empty: it is not sent."""
    liveness: str = ""
    """Path; empty: none."""
    owner: str = ""
    """Of its models, as its list has it."""


DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect(liveness="/health", owner="vllm"),
    "openai": Dialect(
        name="openai",
        role="at once",
        takes=_COMMON | {"max_completion_tokens", "stream_options", "reasoning_effort"},
        reasoning_field="",
    ),
    "ollama": Dialect(
        name="ollama",
        role="each",
        whole_calls=True,
        index="zero",
        liveness="/api/version",
        owner="library",
    ),
    "openrouter": Dialect(name="openrouter", role="each", usage="with choice", comments=2),
    "gemini": Dialect(
        name="gemini",
        root="/v1beta/openai",
        role="each",
        takes=_COMMON | {"max_completion_tokens", "reasoning_effort"},
        usage="with choice",
        whole_calls=True,
        index="none",
        reasoning_field="",
    ),
    "anthropic": Dialect(name="anthropic", usage="never", lists_models=False, reasoning_field=""),
    "strict": Dialect(name="strict", takes=_COMMON, usage="never", liveness="/health"),
}


def refusal(dialect: Dialect, body: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Status and body, where the server does not take a request."""
    unknown = [name for name in body if dialect.takes is not None and name not in dialect.takes]
    match dialect.name:
        case "openai":
            return _openai_refusal(body, unknown)
        case "gemini" if unknown:
            lines = [
                f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
                for name in unknown
            ]
            return 400, error(dialect, 400, "\n".join(lines))
        case "gemini" if _unsigned_call(body):
            words = "Function call is missing a thought_signature in functionCall parts."
            return 400, error(dialect, 400, words)
        case "anthropic" if body["messages"][-1]["role"] == "assistant":
            words = (
                "This model does not support assistant message prefill. The conversation must "
                "end with a user message."
            )
            return 400, error(dialect, 400, words)
        case "strict" if unknown:
            problems = [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", name],
                    "msg": "Extra inputs are not permitted",
                    "input": body[name],
                }
                for name in unknown
            ]
            return 422, {"object": "error", "message": {"detail": problems}, "code": None}
    return None


def _openai_refusal(body: Mapping[str, Any], unknown: list[str]) -> tuple[int, Any] | None:
    def refused(param: str, code: str, words: str) -> tuple[int, Any]:
        kind = "invalid_request_error"
        return 400, {"error": {"message": words, "type": kind, "param": param, "code": code}}

    if "max_tokens" in body:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return refused("max_tokens", "unsupported_parameter", words)
    if body.get("temperature", 1) != 1:
        words = (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this "
            "model. Only the default (1) value is supported."
        )
        return refused("temperature", "unsupported_value", words)
    if unknown:
        return refused(unknown[0], "unknown_parameter", f"Unknown parameter: '{unknown[0]}'.")
    return None


def _unsigned_call(body: Mapping[str, Any]) -> bool:
    calls = [call for said in body["messages"] for call in said.get("tool_calls") or ()]
    return any(call.get("extra_content") != _SIGNATURE for call in calls)


def error(dialect: Dialect, status: int, message: str) -> Any:
    """The body of an error, and what stands in an event in mid-stream."""
    match dialect.name:
        case "gemini":
            return [{"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}}]
        case "openrouter":
            return {"error": {"code": status, "message": message}}
        case "openai" | "anthropic" | "ollama":
            kind = "server_error" if status >= 500 else "invalid_request_error"
            kind = "rate_limit_error" if status == 429 else kind
            return {"error": {"message": message, "type": kind, "param": None, "code": None}}
    kind = _TYPE.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


class Wording:
    """One streamed answer as events of a server.

    Args:
        common: Fields that every chunk has.
        counts: Whether the count of tokens was asked for.
    """

    def __init__(
        self, dialect: Dialect, common: Mapping[str, Any], *, counts: bool, reasoning_field: str
    ) -> None:
        self.dialect = dialect
        self._common = common
        self._counts = counts and dialect.usage != "never"
        self._reasoning_field = reasoning_field
        self._calls: dict[int, ToolCallDelta] = {}

    def opening(self) -> list[dict[str, Any]]:
        """What comes before the first token, or with it."""
        if self.dialect.role == "each":
            return []
        empty: dict[str, Any] = {"role": "assistant", "content": ""}
        if self.dialect.name == "openai":
            empty["refusal"] = None
        return [self._chunk(empty)]

    def event(self, event: LLMEvent | ReasoningDelta) -> list[dict[str, Any]]:
        match event:
            case ReasoningDelta(text):
                return [self._chunk({self._reasoning_field: text})] if self._reasoning_field else []
            case TextDelta(text):
                return [self._chunk({"content": self._content(text)})]
            case ToolCallDelta():
                return self._call(event)
            case Finish():
                return [*self._whole_calls(), *self._end(event)]

    def failure(self, status: int, message: str) -> tuple[list[Any], bool]:
        """The events of a failure in mid-stream, and whether [DONE] follows."""
        content = error(self.dialect, status, message)
        match self.dialect.name:
            case "openrouter":
                code = content["error"] | {"code": "server_error"}
                return [self._chunk({"content": ""}, "error") | {"error": code}], False
            case "vllm" | "strict":
                return [content], True
        return [content[0] if isinstance(content, list) else content], False

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self.dialect.name == "strict" else text

    def _call(self, piece: ToolCallDelta) -> list[dict[str, Any]]:
        if self.dialect.whole_calls:
            before = self._calls.get(piece.index, ToolCallDelta(piece.index, ""))
            self._calls[piece.index] = ToolCallDelta(
                piece.index,
                before.arguments + piece.arguments,
                call_id=before.call_id or piece.call_id,
                name=before.name or piece.name,
            )
            return []
        return [self._chunk({"tool_calls": [self._call_piece(piece)]})]

    def _whole_calls(self) -> list[dict[str, Any]]:
        calls = [self._call_piece(call) for call in self._calls.values()]
        null = None if self.dialect.name == "gemini" else ""
        return [self._chunk({"content": null, "tool_calls": [call]}) for call in calls]

    def _call_piece(self, call: ToolCallDelta) -> dict[str, Any]:
        piece: dict[str, Any] = {"function": {"arguments": call.arguments}}
        if self.dialect.index != "none":
            piece["index"] = call.index if self.dialect.index == "own" else 0
        if call.call_id:
            piece |= {"id": call.call_id, "type": "function"}
            piece["function"]["name"] = call.name
        if self.dialect.name == "gemini":
            piece["extra_content"] = _SIGNATURE
        return piece

    def _end(self, finish: Finish) -> list[dict[str, Any]]:
        reason = "stop" if self.dialect.name == "gemini" else finish.reason
        usage = {
            "prompt_tokens": finish.usage.input_tokens,
            "completion_tokens": finish.usage.output_tokens,
            "total_tokens": finish.usage.input_tokens + finish.usage.output_tokens,
        }
        last = self._chunk({}, reason)
        if not self._counts:
            return [last]
        if self.dialect.usage == "own chunk":
            return [last, {**self._common, "choices": [], "usage": usage}]
        return [last, self._chunk({"content": ""}, reason) | {"usage": usage}]

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        if self.dialect.role == "each":
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        if self.dialect.name == "openrouter":
            choice["native_finish_reason"] = reason
        null_usage = {"usage": None} if self._counts and self.dialect.name == "openai" else {}
        return {**self._common, "choices": [choice], **null_usage}
