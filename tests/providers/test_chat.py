from typing import Any

import msgspec
import pytest

from providers._chat import ChatReply, chunk_decoder
from providers._chat_stream import fault_of_error
from providers.base import Fault, Finish, LLMEvent, TextDelta, ToolCallDelta, Usage


def reply(*chunks: Any) -> list[LLMEvent]:
    chat = ChatReply()
    events = [e for c in chunks for e in chat.receive(chunk_decoder.decode(msgspec.json.encode(c)))]
    return events + chat.end()


def delta(finish_reason: str | None = None, **fields: Any) -> Any:
    return {"choices": [{"delta": fields, "finish_reason": finish_reason}]}


def call(**fields: Any) -> Any:
    return delta(tool_calls=[fields])


def calls_of(events: list[LLMEvent]) -> list[tuple[int, str, str]]:
    """Index, name and whole arguments of each call."""
    calls: dict[int, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            name, arguments = calls.get(event.index, ("", ""))
            calls[event.index] = name + event.name, arguments + event.arguments
    return [(index, *call) for index, call in calls.items()]


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
    ],
)
def test_every_servers_reason_has_a_meaning(reason: str, meant: str) -> None:
    assert reply(delta(reason, content="a"))[-1] == Finish(reason=meant)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["error", "abort", "MALFORMED_FUNCTION_CALL"])
def test_a_finish_that_is_a_failure_is_one(reason: str) -> None:
    chunk = chunk_decoder.decode(msgspec.json.encode(delta(reason, content="")))
    assert reason in chunk.problem


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": 503, "message": ""}, Fault.OVERLOADED),
        ({"code": 400}, Fault.REFUSED),
        ({"code": "server_error"}, Fault.BROKEN),
        ({"code": "rate_limit_exceeded"}, Fault.OVERLOADED),
        ({"code": None, "type": "overloaded_error"}, Fault.OVERLOADED),
        ({"code": None, "type": "invalid_request_error"}, Fault.REFUSED),
        ("engine died", Fault.BROKEN),
    ],
)
def test_an_error_in_mid_stream_is_judged_by_code_or_type(error: Any, fault: Fault) -> None:
    assert fault_of_error(error) is fault


@pytest.mark.parametrize(
    "chunk",
    [
        {"error": {"message": "x"}},
        {"object": "error", "message": "x"},
        {"choices": [{"error": {"message": "x"}, "finish_reason": "error"}]},
    ],
)
def test_errors_are_seen_wherever_they_lie(chunk: Any) -> None:
    assert chunk_decoder.decode(msgspec.json.encode(chunk)).problem is not None


def test_content_may_be_null_missing_or_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}]
    events = reply(
        {"choices": [{"delta": None}]},
        {"choices": []},
        {},
        delta(content=None),
        delta(content="a"),
        delta(content=parts),
    )
    assert events == [TextDelta("a"), TextDelta("b"), Finish()]


def test_a_refusal_is_spoken() -> None:
    assert reply(delta(refusal="I cannot help."))[0] == TextDelta("I cannot help.")


def test_the_last_count_of_tokens_stands() -> None:
    counts = [{"prompt_tokens": 5, "completion_tokens": n} for n in (1, 2)]
    cached = {"prompt_tokens_details": {"cached_tokens": 4}}
    events = reply(
        {"choices": [], "usage": counts[0]}, {"choices": [], "usage": counts[1] | cached}
    )
    assert events[-1] == Finish(usage=Usage(input_tokens=5, output_tokens=2, cached_tokens=4))


def test_calls_all_numbered_0_are_told_apart_by_id() -> None:
    """Ollama before 0.6."""
    events = reply(
        call(index=0, id="a", function={"name": "f", "arguments": "{}"}),
        call(index=0, id="b", function={"name": "g", "arguments": "[]"}),
    )
    assert calls_of(events) == [(0, "f", "{}"), (1, "g", "[]")]


def test_pieces_without_index_or_id_go_on_with_the_last_call() -> None:
    """Gemini."""
    events = reply(
        call(id="a", function={"name": "f", "arguments": '{"x"'}),
        call(function={"arguments": ": 1}"}),
        call(id="b", function={"name": "g", "arguments": "{}"}),
    )
    assert calls_of(events) == [(0, "f", '{"x": 1}'), (1, "g", "{}")]


def test_without_index_and_id_a_name_begins_a_call() -> None:
    events = reply(
        call(id="", function={"name": "f", "arguments": "{}"}),
        call(id="", function={"name": "f", "arguments": "[]"}),
    )
    assert calls_of(events) == [(0, "f", "{}"), (1, "f", "[]")]
    ids = {event.call_id for event in events if isinstance(event, ToolCallDelta)}
    assert len(ids) == 2


def test_an_id_repeated_or_made_anew_in_each_piece_changes_nothing() -> None:
    for second in ("a", "other"):
        events = reply(
            call(index=0, id="a", function={"name": "f", "arguments": "{"}),
            call(index=0, id=second, function={"arguments": "}"}),
        )
        assert calls_of(events) == [(0, "f", "{}")]


def test_what_must_go_back_with_a_call_is_kept_by_its_id() -> None:
    chat = ChatReply()
    extra = {"google": {"thought_signature": "c2ln"}}
    chunk = call(id="a", function={"name": "f"}, extra_content=extra)
    chat.receive(chunk_decoder.decode(msgspec.json.encode(chunk)))
    assert msgspec.json.decode(chat.call_extras["a"]) == extra
