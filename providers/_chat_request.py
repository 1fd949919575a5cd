"""The body of `POST /v1/chat/completions`.

Fields as vLLM 0.33 and OpenAI name them; what a server does not take, `_dialect` leaves out.
"""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.base import LLMRequest, Message, Tool, ToolCall

_REMEMBERED_CALLS = 1000


class CallExtras(OrderedDict[str, msgspec.Raw]):
    """By call id, what the server said of its latest calls and wants back with them."""

    def remember(self, extras: Mapping[str, msgspec.Raw]) -> None:
        self.update(extras)
        while len(self) > _REMEMBERED_CALLS:
            self.popitem(last=False)


def marks_of(request: LLMRequest) -> dict[str, str]:
    """Headers: for balancers that keep a call at the replica which has its beginning cached, and
    for vLLM's log, where every attempt needs a name of its own."""
    if not request.session:
        return {}
    attempt = f"{request.session}-{request.turn}-{secrets.token_hex(2)}"
    return {"X-Session-Id": request.session, "X-Request-Id": attempt}


def chat_body(
    request: LLMRequest, model: str, defaults: Mapping[str, Any], call_extras: CallExtras
) -> dict[str, Any]:
    """Args:
    defaults: Further fields; what the request sets goes before them.
    """
    body: dict[str, Any] = {
        **defaults,
        "model": model,
        "messages": [_message(message, call_extras) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _tool_choice(request.tool_choice)
    return body


def _message(message: Message, call_extras: CallExtras) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        encoded["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        encoded["content"] = message.content or None
        encoded["tool_calls"] = [_call(call, call_extras) for call in message.tool_calls]
    return encoded


def _call(call: ToolCall, call_extras: CallExtras) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "id": call.call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if call.call_id in call_extras:
        encoded["extra_content"] = call_extras[call.call_id]
    return encoded


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters or {"type": "object", "properties": {}},
        },
    }


def _tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """The Realtime API names the function one level higher than this one."""
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice
