"""A model that repeats the question, or says what the script says, token by token."""

import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Literal

import msgspec

from mocks.faults import LAST, ScriptedFault
from mocks.provider import MockProvider
from providers.base import (
    Finish,
    LLMEvent,
    LLMRequest,
    ProviderError,
    Slot,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

# A word with the space before it, or a single mark or character of a script without spaces.
_TOKEN = re.compile(r"\s*(?:[A-Za-z0-9\u00c0-\u024f'’]+|\S)|\s+")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One scripted answer."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """Thought before the answer: takes time, is never heard."""


class ReasoningDelta(msgspec.Struct, frozen=True):
    """A piece of reasoning; servers send it, `LLM.stream` never does."""

    text: str


class EchoLLM(MockProvider):
    """Streams `replies` one request after another, then "You said: <question>.".

    Args:
        replies: Scripted answers; a plain string is a reply of that text.
        first_token_ms: From the request to the first token.
        token_ms: From token to token.
    """

    def __init__(
        self,
        replies: Sequence[str | Reply] = (),
        *,
        first_token_ms: float = 50.0,
        token_ms: float = 10.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.LLM, "echo", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self._replies = deque(_as_reply(reply) for reply in replies)
        self.first_token_ms = first_token_ms
        self.token_ms = token_ms
        self.requests: deque[LLMRequest] = deque(maxlen=1000)
        """The last ones, oldest first."""
        self.running = 0
        self.finished = 0
        self.aborted = 0
        """Closed by the caller before their Finish."""

    def script(self, *replies: str | Reply) -> None:
        """Answers for the next requests, behind those already scripted."""
        self._replies.extend(_as_reply(reply) for reply in replies)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        async with aclosing(self.play(request)) as events:
            async for event in events:
                if not isinstance(event, ReasoningDelta):
                    yield event

    async def play(self, request: LLMRequest) -> AsyncGenerator[LLMEvent | ReasoningDelta, None]:
        """What `stream` yields, with the reasoning left in."""
        self.requests.append(request)
        reply = self._replies.popleft() if self._replies else _echo(request)
        course = self.faults.begin()
        is_over = False
        self.running += 1
        try:
            pieces = _pieces(reply)
            reason: Literal["stop", "length", "tool_calls"] = "stop"
            if reply.tool_calls:
                reason = "tool_calls"
            if request.max_tokens is not None and request.max_tokens < len(pieces):
                pieces, reason = pieces[: request.max_tokens], "length"
            for item, piece in enumerate(pieces):
                if not await course.reach(item, self.token_ms if item else self.first_token_ms):
                    is_over = True
                    return
                yield piece
            if await course.reach(LAST, 0 if pieces else self.first_token_ms):
                is_over = True
                self.finished += 1
                usage = Usage(input_tokens=_count(request), output_tokens=len(pieces))
                yield Finish(reason=reason, usage=usage)
            is_over = True
        except ProviderError:
            is_over = True
            raise
        finally:
            self.running -= 1
            self.aborted += not is_over


def tokens(text: str) -> list[str]:
    """Cuts a text much as a model's tokeniser does; joined, they are the text."""
    return _TOKEN.findall(text)


def _as_reply(reply: str | Reply) -> Reply:
    return Reply(text=reply) if isinstance(reply, str) else reply


def _echo(request: LLMRequest) -> Reply:
    said = [message.content for message in request.messages if message.role == "user"]
    question = request.question or (said[-1] if said else "")
    question = question.strip().rstrip(".?!。？！")
    return Reply(text=f"You said: {question}." if question else "You said nothing.")


def _pieces(reply: Reply) -> list[LLMEvent | ReasoningDelta]:
    pieces: list[LLMEvent | ReasoningDelta] = [ReasoningDelta(t) for t in tokens(reply.reasoning)]
    pieces += [TextDelta(token) for token in tokens(reply.text)]
    for index, call in enumerate(reply.tool_calls):
        pieces.append(
            ToolCallDelta(index=index, arguments="", call_id=call.call_id, name=call.name)
        )
        pieces += [ToolCallDelta(index=index, arguments=token) for token in tokens(call.arguments)]
    return pieces


def _count(request: LLMRequest) -> int:
    return sum(len(tokens(message.content)) for message in request.messages)
