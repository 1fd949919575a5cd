import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.llm_dialects import Name
from mocks.serve_llm import serve_llm
from providers.base import ToolCall

CALLS = (ToolCall("a", "book", '{"x": 1}'), ToolCall("b", "book", "{}"))


def events_of(dialect: Name, reply: Reply, *faults: ScriptedFault, **fields: Any) -> list[Any]:
    """What the server sends, [DONE] as "DONE", comments as ":"."""

    async def main() -> str:
        llm = EchoLLM([reply], first_token_ms=0, token_ms=0, faults=faults)
        asked = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        async with (
            serve_llm(llm, dialect=dialect) as server,
            aiohttp.ClientSession() as session,
            session.post(server.endpoint + "/chat/completions", json=asked | fields) as response,
        ):
            assert response.status == 200, await response.text()
            return await response.text()

    events: list[Any] = []
    for event in asyncio.run(main()).split("\n\n")[:-1]:
        data = event.removeprefix("data: ")
        if data == "[DONE]" or data.startswith(":"):
            events.append("DONE" if data == "[DONE]" else ":")
        else:
            events.append(msgspec.json.decode(data))
    return events


def deltas_of(events: list[Any]) -> list[Any]:
    return [e["choices"][0]["delta"] for e in events if isinstance(e, dict) and e.get("choices")]


COUNTED = {"stream_options": {"include_usage": True}}


def test_openai_sends_the_role_first_and_no_count_until_the_end() -> None:
    events = events_of("openai", Reply(text="Hi", reasoning="Hm"), **COUNTED)
    assert deltas_of(events) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hi"},
        {},
    ]
    assert [event["usage"] for event in events[:-2]] == [None] * 3
    assert events[-2]["usage"]["completion_tokens"] == 2 and events[-1] == "DONE"


def test_openrouter_comments_while_it_waits_and_counts_beside_a_choice() -> None:
    events = events_of("openrouter", Reply(text="Hi"), **COUNTED)
    assert events[:2] == [":", ":"]
    assert events[-2]["usage"]["total_tokens"] == 2
    assert events[-2]["choices"][0]["native_finish_reason"] == "stop"


def test_openrouter_ends_in_an_error_beside_a_choice() -> None:
    fault = ScriptedFault(kind="fail", item=1, message="upstream died")
    *_, last = events_of("openrouter", Reply(text="Hi there"), fault)
    assert last["error"] == {"code": "server_error", "message": "upstream died"}
    assert last["choices"][0]["finish_reason"] == "error"


@pytest.mark.parametrize(("dialect", "index"), [("ollama", 0), ("gemini", None)])
def test_ollama_and_gemini_send_calls_whole(dialect: Name, index: int | None) -> None:
    events = events_of(dialect, Reply(tool_calls=CALLS))
    pieces = [delta["tool_calls"][0] for delta in deltas_of(events) if "tool_calls" in delta]
    assert [piece.get("index") for piece in pieces] == [index, index]
    assert [piece["function"]["arguments"] for piece in pieces] == ['{"x": 1}', "{}"]
    finish = [e["choices"][0]["finish_reason"] for e in events if e != "DONE"][-1]
    assert finish == ("stop" if dialect == "gemini" else "tool_calls")


def refused(dialect: Name, **fields: Any) -> tuple[int, Any]:
    async def main() -> tuple[int, Any]:
        asked = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}], **fields}
        async with (
            serve_llm(dialect=dialect) as server,
            aiohttp.ClientSession() as session,
            session.post(server.endpoint + "/chat/completions", json=asked) as response,
        ):
            return response.status, await response.json()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("dialect", "fields", "status", "words"),
    [
        ("openai", {"max_tokens": 5}, 400, "Use 'max_completion_tokens' instead."),
        ("openai", {"temperature": 0.2}, 400, "Only the default (1)"),
        ("openai", {"priority": 1}, 400, "Unknown parameter: 'priority'."),
        ("gemini", {"priority": 1}, 400, 'Unknown name \\"priority\\": Cannot find field.'),
        ("strict", {"priority": 1}, 422, "Extra inputs are not permitted"),
        ("anthropic", {"messages": [{"role": "assistant", "content": "a"}]}, 400, "prefill"),
        (
            "gemini",
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            400,
            "missing a thought_signature",
        ),
    ],
)
def test_each_refuses_in_its_own_words(
    dialect: Name, fields: dict[str, Any], status: int, words: str
) -> None:
    got, body = refused(dialect, **fields)
    assert got == status and words in msgspec.json.encode(body).decode()
    assert isinstance(body, list) == (dialect == "gemini")


@pytest.mark.parametrize("dialect", ["vllm", "ollama", "openrouter", "anthropic"])
def test_the_others_take_what_they_do_not_know(dialect: Name) -> None:
    assert refused(dialect, priority=1, max_tokens=9, temperature=0.2)[0] == 200


def test_vllm_hides_its_reasoning_when_told_to() -> None:
    reply = Reply(text="Hi", reasoning="Hm")
    assert {"reasoning": "Hm"} in deltas_of(events_of("vllm", reply))
    assert deltas_of(events_of("vllm", reply, include_reasoning=False)) == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
