"""One client, by configuration only, for every server that speaks OpenAI's chat completions."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.llm_dialects import DIALECTS, Name
from mocks.serve_llm import LLMServer, serve_llm
from mocks.wire_faults import WireFault
from providers.base import (
    Fault,
    Finish,
    LLMEvent,
    LLMRequest,
    Message,
    ProviderError,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.llm_openai import OpenAICompatibleLLM
from tests.providers.answers import answer, text_of
from voice.prompt import continued

HELLO = LLMRequest(
    messages=(
        Message(role="system", content="Be brief."),
        Message(role="user", content="When do you open?"),
    ),
    tools=(Tool(name="book"),),
    max_tokens=50,
    temperature=0.3,
)
CALLS = (
    ToolCall(call_id="call_a", name="book", arguments='{"day": "Monday"}'),
    ToolCall(call_id="call_b", name="book", arguments='{"day": "Friday"}'),
)
COUNTED = ("vllm", "openai", "ollama", "openrouter", "localai")
"""Those that tell the count of tokens. Gemini's does, too, but not where it refuses to be asked."""
ALL = pytest.mark.parametrize("dialect", [*DIALECTS])


def talk(
    dialect: Name,
    work: Callable[[OpenAICompatibleLLM, LLMServer], Awaitable[Any]],
    *replies: str | Reply,
    **options: Any,
) -> Any:
    async def main() -> Any:
        llm = EchoLLM(replies, first_token_ms=1, token_ms=0)
        async with serve_llm(llm, dialect=dialect, api_key="k") as server:
            client = OpenAICompatibleLLM(server.endpoint, model="mock", api_key="k", **options)
            try:
                async with asyncio.timeout(20):
                    return await work(client, server)
            finally:
                await client.aclose()

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


async def ask(llm: OpenAICompatibleLLM, request: LLMRequest = HELLO) -> list[LLMEvent]:
    return await answer(llm, request)


@ALL
def test_it_starts_answers_and_thinks_in_silence(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, _: LLMServer) -> list[LLMEvent]:
        await llm.start()
        return await ask(llm)

    events = talk(dialect, work, *[Reply(text="At 9.", reasoning="Hm.")] * 2)
    assert text_of(events) == "At 9."
    assert isinstance(events[-1], Finish) and events[-1].reason == "stop"
    if dialect in COUNTED:
        assert events[-1].usage.output_tokens == 5
    else:
        assert events[-1].usage == Usage()


@ALL
def test_what_a_server_does_not_take_it_is_told_once(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> list[int]:
        counts = []
        for _ in range(2):
            assert text_of(await ask(llm)) == "You said: When do you open."
            counts.append(server.requests)
        return counts

    extra = {"reasoning_effort": "low", "priority": 1, "cache_salt": "s", "extra": {"top_k": 5}}
    first, both = talk(dialect, work, **extra)
    assert first == {"openai": 6, "gemini": 2, "strict": 2}.get(dialect, 1)
    assert both == first + 1


@ALL
def test_a_limit_of_tokens_is_always_sent(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> Any:
        await ask(llm, LLMRequest(messages=HELLO.messages))
        return msgspec.json.decode(server.bodies[-1])

    body = talk(dialect, work, max_tokens=77)
    assert body["max_completion_tokens" if dialect == "openai" else "max_tokens"] == 77


@ALL
def test_function_calls_come_whole_and_go_back_as_the_server_wants_them(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, _: LLMServer) -> tuple[list[LLMEvent], str]:
        events = await ask(llm)
        results = [
            Message(role="tool", content="done", tool_call_id=call.call_id) for call in CALLS
        ]
        called = Message(role="assistant", tool_calls=CALLS)
        again = LLMRequest(messages=(*HELLO.messages, called, *results))
        return events, text_of(await ask(llm, again))

    events, said = talk(dialect, work, Reply(tool_calls=CALLS), "Booked.")
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    for index, call in enumerate(CALLS):
        mine = [delta for delta in deltas if delta.index == index]
        assert (mine[0].call_id, mine[0].name) == (call.call_id, call.name)
        assert "".join(delta.arguments for delta in mine) == call.arguments
    assert isinstance(events[-1], Finish) and events[-1].reason == "tool_calls"
    assert said == "Booked."


@ALL
def test_a_failure_in_mid_answer_is_told_in_the_servers_words(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> None:
        await ask(llm)
        server.llm.faults.set(ScriptedFault(kind="fail", item=2, message="engine died"))
        said = ""
        with pytest.raises(ProviderError, match="engine died") as caught:
            async with aclosing(llm.stream(HELLO)) as events:
                async for event in events:
                    said += event.text if isinstance(event, TextDelta) else ""
        assert caught.value.fault is Fault.BROKEN
        assert said == "You said"
        assert server.running == 0

    talk(dialect, work)


@ALL
def test_an_overloaded_server_is_asked_again(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> str:
        await ask(llm)
        await server.inject(
            WireFault(kind="status", status=503),
            WireFault(kind="status", status=429, retry_after="0.1", request=2),
        )
        before = server.requests
        text = text_of(await ask(llm))
        assert server.requests == before + 3
        return text

    assert talk(dialect, work) == "You said: When do you open."


@ALL
def test_a_wrong_key_is_refused_with_the_remedy(dialect: Name) -> None:
    async def work(_: OpenAICompatibleLLM, server: LLMServer) -> None:
        wrong = OpenAICompatibleLLM(server.endpoint, model="mock", api_key="wrong")
        for attempt in (wrong.start(), ask(wrong)):
            with pytest.raises(ProviderError, match="check LLM_API_KEY") as caught:
                await attempt
            assert caught.value.fault is Fault.REFUSED
        await wrong.aclose()

    talk(dialect, work)


@ALL
def test_every_server_takes_the_request_to_go_on(dialect: Name) -> None:
    async def work(llm: OpenAICompatibleLLM, _: LLMServer) -> str:
        shown = continued(HELLO.messages, "We open at")
        return text_of(await ask(llm, LLMRequest(messages=shown)))

    assert talk(dialect, work, "nine.") == "nine."


def test_vllm_can_be_told_to_keep_its_reasoning_to_itself() -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> tuple[str, Any]:
        return text_of(await ask(llm)), msgspec.json.decode(server.bodies[-1])

    options = {"include_reasoning": False, "reasoning_effort": "low", "cache_salt": "tenant"}
    text, body = talk("vllm", work, Reply(text="At 9.", reasoning="Hm."), priority=-1, **options)
    assert text == "At 9."
    assert {name: body[name] for name in (*options, "priority")} == {**options, "priority": -1}


def test_a_server_is_only_told_what_is_configured() -> None:
    async def work(llm: OpenAICompatibleLLM, server: LLMServer) -> Any:
        await ask(llm, LLMRequest(messages=HELLO.messages))
        return set(msgspec.json.decode(server.bodies[-1]))

    fields = {"model", "messages", "stream", "stream_options", "max_tokens"}
    assert talk("vllm", work) == fields
