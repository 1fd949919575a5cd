import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.faults import LAST, ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.serve_llm import HttpAnswer, LLMServer
from providers._retry import Retry
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

HELLO = LLMRequest(messages=(Message(role="user", content="When do you open?"),))
KEY = "sk-very-secret"


def fast(*replies: str | Reply, **options: Any) -> EchoLLM:
    return EchoLLM(replies, **{"first_token_ms": 1, "token_ms": 0, **options})


def with_server(
    server: LLMServer,
    work: Callable[[OpenAICompatibleLLM], Awaitable[Any]],
    **options: Any,
) -> Any:
    """What `work` makes of a client of `server`."""

    async def main() -> Any:
        async with server:
            llm = OpenAICompatibleLLM(server.url, **{"model": "mock", **options})
            try:
                async with asyncio.timeout(30):
                    return await work(llm)
            finally:
                await llm.aclose()

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


async def ask(llm: OpenAICompatibleLLM, request: LLMRequest = HELLO) -> list[LLMEvent]:
    return await answer(llm, request)


def failure(server: LLMServer, **options: Any) -> ProviderError:
    """The error a question ends in."""
    with pytest.raises(ProviderError) as caught:
        with_server(server, ask, **options)
    return caught.value


async def until(condition: Callable[[], bool], limit_s: float = 1.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server's counters have no event
            await asyncio.sleep(0.005)


# --- the stream -----------------------------------------------------------------------------------


def test_tokens_come_one_by_one_and_the_finish_with_the_servers_count_last() -> None:
    events = with_server(LLMServer(fast("We open at 9.")), ask)
    assert [event.text for event in events[:-1]] == ["We", " open", " at", " 9", "."]
    assert events[-1] == Finish(reason="stop", usage=Usage(input_tokens=5, output_tokens=5))


@pytest.mark.parametrize(
    "quirks",
    [
        {"newline": b"\r\n"},
        {"newline": b"\r"},
        {"keep_alive_comments": True},
        {"split_bytes": 1},
        {"split_bytes": 7, "newline": b"\r\n", "keep_alive_comments": True},
    ],
)
def test_the_streams_form_makes_no_difference(quirks: dict[str, Any]) -> None:
    text = "営業時間は九時からです。Zürich, 3 €!"
    assert text_of(with_server(LLMServer(fast(text), **quirks), ask)) == text


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_never_spoken(field: str) -> None:
    llm = fast(Reply(text="Yes. <think>no</think>Really.", reasoning="Hm, let me see."))
    assert text_of(with_server(LLMServer(llm, reasoning_field=field), ask)) == "Yes. Really."


def test_a_tool_call_keeps_its_id_name_and_arguments() -> None:
    calls = (
        ToolCall(call_id="call_a", name="book", arguments='{"day": "Monday"}'),
        ToolCall(call_id="call_b", name="cancel", arguments="{}"),
    )
    events = with_server(LLMServer(fast(Reply(tool_calls=calls))), ask)
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    for index, call in enumerate(calls):
        mine = [delta for delta in deltas if delta.index == index]
        assert (mine[0].call_id, mine[0].name) == (call.call_id, call.name)
        assert not any(delta.call_id or delta.name for delta in mine[1:])
        assert "".join(delta.arguments for delta in mine) == call.arguments
    assert isinstance(events[-1], Finish) and events[-1].reason == "tool_calls"


def test_what_the_request_says_reaches_the_server() -> None:
    request = LLMRequest(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="assistant", tool_calls=(ToolCall("c1", "book", "{}"),)),
            Message(role="tool", content="done", tool_call_id="c1"),
        ),
        tools=(Tool(name="book", description="Books.", parameters={"type": "object"}),),
        tool_choice={"type": "function", "name": "book"},
        max_tokens=7,
        temperature=0.2,
    )
    server = LLMServer(fast())
    with_server(
        server,
        lambda llm: ask(llm, request),
        reasoning_effort="low",
        temperature=1.0,
        extra={"priority": 1},
    )
    body = msgspec.json.decode(server.bodies[0])
    call = {"id": "c1", "type": "function", "function": {"name": "book", "arguments": "{}"}}
    assert body == {
        "model": "mock",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "done", "tool_call_id": "c1"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "book",
                    "description": "Books.",
                    "parameters": {"type": "object"},
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "book"}},
        "max_tokens": 7,
        "temperature": 0.2,
        "reasoning_effort": "low",
        "priority": 1,
    }


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_endpoint_may_end_anywhere_on_the_way(path: str) -> None:
    async def main() -> str:
        async with LLMServer(fast("Hi.")) as server:
            llm = OpenAICompatibleLLM(server.url + path, model="mock")
            assert llm.info.endpoint == server.url + "/v1"
            text = text_of(await ask(llm))
            await llm.aclose()
            return text

    assert asyncio.run(main()) == "Hi."


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("gpu:8000", "LLM_ENDPOINT must be like http://127.0.0.1:8000"),
        ("http://u:sk-secret@gpu", "set LLM_API_KEY"),
        ("http://gpu/v1?key=sk-secret", "set LLM_API_KEY"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_showing_a_key(
    endpoint: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        OpenAICompatibleLLM(endpoint)
    assert "secret" not in str(caught.value)


# --- connections ----------------------------------------------------------------------------------


def test_one_connection_serves_many_requests() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.start()
        for _ in range(5):
            await ask(llm)
            assert server.connections == 1

    server = LLMServer(fast())
    with_server(server, work)


def test_a_kept_connection_that_died_meanwhile_is_not_noticed() -> None:
    async def work(llm: OpenAICompatibleLLM) -> list[str]:
        texts = []
        for _ in range(5):
            texts.append(text_of(await ask(llm)))
            server.drop_connections()
        return texts

    server = LLMServer(fast())
    assert with_server(server, work) == ["You said: When do you open."] * 5


def test_closing_the_stream_stops_the_server_within_a_second() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        async with aclosing(llm.stream(HELLO)) as events:
            await anext(events)
            assert server.llm.running == 1
        await until(lambda: server.llm.running == 0)
        assert server.llm.aborted == 1

    server = LLMServer(EchoLLM(first_token_ms=1, token_ms=1000))
    with_server(server, work)


def test_aclose_leaves_no_connection_and_may_be_called_twice() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await ask(llm)
        await llm.aclose()
        await llm.aclose()
        await until(lambda: server.connections == 0)

    server = LLMServer(fast())
    with_server(server, work)


# --- failures -------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named_with_the_remedy() -> None:
    async def main() -> None:
        llm = OpenAICompatibleLLM("http://127.0.0.1:9", model="m")
        try:
            await ask(llm)
        finally:
            await llm.aclose()

    with pytest.raises(ProviderError, match=r"is the server at http://127.*LLM_ENDPOINT") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE


@pytest.mark.parametrize(("key", "remedy"), [("", "set LLM_API_KEY"), (KEY, "check LLM_API_KEY")])
def test_a_missing_or_wrong_key_says_which_variable_to_set(key: str, remedy: str) -> None:
    error = failure(LLMServer(api_key="right"), api_key=key)
    assert error.fault is Fault.REFUSED and remedy in str(error)


def test_the_right_key_opens() -> None:
    assert text_of(with_server(LLMServer(fast("Hi."), api_key=KEY), ask, api_key=KEY)) == "Hi."


def test_a_key_that_the_server_repeats_is_not_shown() -> None:
    body = msgspec.json.encode({"error": {"message": f"Incorrect API key: {KEY}"}})
    error = failure(LLMServer(answers=[HttpAnswer(status=401, body=body)]), api_key=KEY)
    assert KEY not in str(error) and "Incorrect API key: ***" in str(error)


def test_a_key_that_no_header_can_carry_is_refused_unseen() -> None:
    with pytest.raises(ValueError, match="LLM_API_KEY") as caught:
        OpenAICompatibleLLM("http://gpu", api_key="secret\n")
    assert "secret" not in str(caught.value)


def test_an_unknown_model_names_those_there_are() -> None:
    error = failure(LLMServer(model="gpt-oss-120b"), model="gpt-oss")
    assert error.fault is Fault.REFUSED
    assert "no model 'gpt-oss'" in str(error) and "one of: gpt-oss-120b" in str(error)


def test_without_a_name_the_first_model_offered_is_used() -> None:
    server = LLMServer(fast("Hi."), model="gpt-oss-120b")
    assert text_of(with_server(server, ask, model="")) == "Hi."


@pytest.mark.parametrize(
    ("status", "fault"), [(400, Fault.REFUSED), (422, Fault.REFUSED), (500, Fault.BROKEN)]
)
def test_other_refusals_carry_the_servers_words_and_are_not_tried_again(
    status: int, fault: Fault
) -> None:
    body = msgspec.json.encode({"error": {"message": "context too long", "code": status}})
    server = LLMServer(answers=[HttpAnswer(status=status, body=body, request=0)])
    error = failure(server)
    assert error.fault is fault and "context too long" in str(error)
    assert server.requests == 1


@pytest.mark.parametrize("status", [429, 503, 502, 0])
def test_an_overloaded_or_unreachable_server_is_tried_again(status: int) -> None:
    server = LLMServer(fast("Hi."), answers=[HttpAnswer(status=status, times=2)])
    assert text_of(with_server(server, ask)) == "Hi."
    assert server.requests == 3


def test_after_two_retries_it_gives_up() -> None:
    server = LLMServer(answers=[HttpAnswer(status=503, request=0)])
    assert failure(server).fault is Fault.OVERLOADED
    assert server.requests == 3


@pytest.mark.parametrize(("retry_after", "requests"), [("0.2", 2), ("30", 1), ("soon", 1)])
def test_retry_after_is_honoured_up_to_two_seconds(retry_after: str, requests: int) -> None:
    async def work(llm: OpenAICompatibleLLM) -> float:
        began = asyncio.get_running_loop().time()
        with suppress(ProviderError):
            await ask(llm)
        return asyncio.get_running_loop().time() - began

    answer = HttpAnswer(status=429, retry_after=retry_after)
    server = LLMServer(fast("Hi."), answers=[answer])
    took_s = with_server(server, work)
    assert server.requests == requests
    assert took_s >= 0.2 if requests == 2 else took_s < 1


def test_a_redirect_says_where_to() -> None:
    answer = HttpAnswer(status=308, body=b"https://other/v1")
    error = failure(LLMServer(answers=[answer]))
    assert "set LLM_ENDPOINT to that" in str(error) and "https://other/v1" in str(error)


def test_a_page_instead_of_a_stream_points_at_the_address() -> None:
    answer = HttpAnswer(body=b"<html>It works!</html>", content_type="text/html")
    error = failure(LLMServer(answers=[answer]))
    assert error.fault is Fault.BROKEN and "LLM_ENDPOINT" in str(error)


def sse(*events: str) -> LLMServer:
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    return LLMServer(answers=[HttpAnswer(body=body, content_type="text/event-stream", request=0)])


@pytest.mark.parametrize(
    "events",
    [
        ["{not json"],
        ['{"choices": [{"delta": {"content": 5}}]}', "[DONE]"],
        ['{"choices": [{"delta": {"content": "half"}}]}'],
        [],
    ],
)
def test_a_stream_that_is_none_or_breaks_off_is_broken(events: list[str]) -> None:
    assert failure(sse(*events)).fault is Fault.BROKEN


def test_what_came_before_bad_bytes_is_still_given() -> None:
    async def work(llm: OpenAICompatibleLLM) -> str:
        async with aclosing(llm.stream(HELLO)) as events:
            first = await anext(events)
            with pytest.raises(ProviderError):
                await anext(events)
        assert isinstance(first, TextDelta)
        return first.text

    assert with_server(sse('{"choices": [{"delta": {"content": "good"}}]}', "\x80"), work) == "good"


def test_a_stream_without_done_but_with_a_finish_reason_is_whole() -> None:
    end = '{"choices": [{"delta": {"content": "all"}, "finish_reason": "length"}]}'
    events = with_server(sse(end), ask)
    assert events == [TextDelta("all"), Finish(reason="length")]


def test_tool_calls_without_index_or_id_get_them() -> None:
    call = '{"choices": [{"delta": {"tool_calls": [{"id": %s, "function": {"name": "f"}}]}}]}'
    events = with_server(sse(call % '"a"', call % '"b"', "[DONE]"), ask)
    assert [(e.index, e.call_id) for e in events[:-1]] == [(0, "a"), (1, "b")]
    (first, _) = with_server(sse(call % "null", "[DONE]"), ask)
    assert first.call_id.startswith("call_")


def test_an_error_in_mid_stream_carries_the_servers_words_and_is_not_tried_again() -> None:
    fault = ScriptedFault(kind="fail", request=0, item=2, message="engine died")
    server = LLMServer(fast(faults=[fault]))
    error = failure(server)
    assert error.fault is Fault.BROKEN and "engine died" in str(error)
    assert server.requests == 1


def test_a_connection_cut_in_mid_stream_is_broken() -> None:
    fault = ScriptedFault(kind="cut", request=0, item=2)
    assert failure(LLMServer(fast(faults=[fault]))).fault is Fault.BROKEN


@pytest.mark.parametrize(
    ("item", "limits", "words"),
    [
        (0, {"first_token_s": 0.1}, "no token"),
        (3, {"token_gap_s": 0.1}, "nothing more for 0.1 s"),
        (LAST, {"total_s": 0.3}, "not over after 0.3 s"),
    ],
)
def test_every_wait_has_its_limit(item: int, limits: dict[str, float], words: str) -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        with pytest.raises(ProviderError, match=words) as caught:
            await ask(llm)
        assert caught.value.fault is Fault.TIMEOUT
        await until(lambda: server.llm.running == 0)

    fault = ScriptedFault(kind="stall", request=0, item=item)
    server = LLMServer(fast(faults=[fault]))
    with_server(server, work, **limits)


def test_comments_do_not_count_as_tokens() -> None:
    async def main() -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            with suppress(ConnectionError):
                for _ in range(1000):
                    writer.write(b": keep-alive\n\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        llm = OpenAICompatibleLLM(f"http://127.0.0.1:{port}", model="m", first_token_s=0.2)
        with pytest.raises(ProviderError, match="no token"):
            await ask(llm)
        await llm.aclose()
        await gone.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_an_answer_without_end_is_cut_at_its_limit() -> None:
    llm = fast("word " * 1000)
    error = failure(LLMServer(llm), max_response_bytes=20_000)
    assert error.fault is Fault.BROKEN and "20000 bytes" in str(error)


# --- check ----------------------------------------------------------------------------------------


def test_check_asks_for_the_models_and_costs_no_token() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.check()

    server = LLMServer()
    with_server(server, work)
    assert server.requests == 0


def test_where_there_is_no_list_check_asks_for_a_few_tokens() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.check()

    server = LLMServer(fast(), lists_models=False)
    with_server(server, work)
    assert msgspec.json.decode(server.bodies[0])["max_tokens"] == 16


def test_where_there_is_no_list_a_check_soon_after_an_answer_costs_no_token() -> None:
    async def asked_before(llm: OpenAICompatibleLLM) -> None:
        await ask(llm)
        for _ in range(5):
            await llm.check()

    async def checked_before(llm: OpenAICompatibleLLM) -> None:
        for _ in range(5):
            await llm.check()

    for work in (asked_before, checked_before):
        server = LLMServer(fast(), lists_models=False)
        with_server(server, work)
        assert server.requests == 1


def test_where_there_is_no_list_a_token_tells_whether_a_callers_failure_is_the_rule() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.check()
        with pytest.raises(ProviderError):
            await ask(llm)
        await llm.check()

    server = LLMServer(fast(), lists_models=False, answers=[HttpAnswer(status=400, request=2)])
    with_server(server, work)
    assert server.requests == 3


def test_where_there_is_no_list_a_failed_token_is_told_again_and_not_asked_again_at_once() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        for _ in range(5):
            with pytest.raises(ProviderError, match="HTTP 400"):
                await llm.check()
        await ask(llm)
        await llm.check()

    server = LLMServer(fast(), lists_models=False, answers=[HttpAnswer(status=400)])
    with_server(server, work)
    assert server.requests == 2


def test_where_there_is_no_list_a_token_nobody_waited_for_counts_as_a_failure() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await llm.check()
        with pytest.raises(ProviderError, match="no token"):
            await llm.check()

    stalled = ScriptedFault(kind="stall", request=0)
    server = LLMServer(fast(faults=[stalled]), lists_models=False)
    with_server(server, work)
    assert server.requests == 1


def test_a_server_that_lists_its_models_and_gives_no_token_is_not_well() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.check()
        with pytest.raises(ProviderError):
            await ask(llm)
        with pytest.raises(ProviderError, match="HTTP 500"):
            await llm.check()

    server = LLMServer(fast(), answers=[HttpAnswer(status=500, request=0)])
    with_server(server, work, retry=Retry(retries=0))


def test_start_fails_on_a_model_that_is_not_there() -> None:
    async def work(llm: OpenAICompatibleLLM) -> None:
        await llm.start()

    with pytest.raises(ProviderError, match="one of: other"):
        with_server(LLMServer(model="other"), work)
