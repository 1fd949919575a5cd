import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice import wire
from voice.errors import ClientError

CLIENT_EVENTS: dict[str, dict[str, Any]] = {
    "session.update": {"session": {"type": "realtime"}},
    "input_audio_buffer.append": {"audio": "AAAA"},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "conversation.item.create": {"item": {"type": "message", "role": "user", "content": []}},
    "conversation.item.delete": {"item_id": "item_1"},
    "conversation.item.retrieve": {"item_id": "item_1"},
    "conversation.item.truncate": {"item_id": "item_1", "content_index": 0, "audio_end_ms": 120},
    "response.create": {"response": {"metadata": {"a": "b"}}},
    "response.cancel": {"response_id": "resp_1"},
    "output_audio_buffer.clear": {},
    "kaiwa.playback.report": {"item_id": "item_1", "played_ms": 12.5},
}
"""One right event of each type, with all it must have."""

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("session.update", {}, "session"),
    ("session.update", {"session": []}, "session"),
    ("input_audio_buffer.append", {}, "audio"),
    ("input_audio_buffer.append", {"audio": 5}, "audio"),
    ("input_audio_buffer.commit", {"event_id": 5}, "event_id"),
    ("input_audio_buffer.clear", {"event_id": []}, "event_id"),
    ("conversation.item.create", {}, "item"),
    ("conversation.item.create", {"item": {}}, "item.type"),
    ("conversation.item.create", {"item": {"type": "x"}}, "item.type"),
    ("conversation.item.create", {"item": {"type": "message", "role": "x"}}, "item.role"),
    (
        "conversation.item.create",
        {"item": {"type": "message", "role": "user", "content": [{"type": "input_text"}]}},
        "item.content[0].text",
    ),
    (
        "conversation.item.create",
        {"item": {"type": "message", "role": "user", "content": [{"type": "video"}]}},
        "item.content[0].type",
    ),
    ("conversation.item.delete", {}, "item_id"),
    ("conversation.item.retrieve", {"item_id": None}, "item_id"),
    ("conversation.item.truncate", {"item_id": "a"}, "audio_end_ms"),
    ("conversation.item.truncate", {"item_id": "a", "audio_end_ms": "1"}, "audio_end_ms"),
    ("conversation.item.truncate", {"item_id": "a", "audio_end_ms": 1.5}, "audio_end_ms"),
    ("response.create", {"response": []}, "response"),
    ("response.cancel", {"response_id": 7}, "response_id"),
    ("output_audio_buffer.clear", {"event_id": 7}, "event_id"),
    ("kaiwa.playback.report", {"item_id": "a"}, "played_ms"),
    ("kaiwa.playback.report", {"item_id": "a", "played_ms": "x"}, "played_ms"),
]


def frame(kind: str, fields: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"type": kind, **fields, **more}).encode()


# --- in ------------------------------------------------------------------------------------------


def test_every_client_event_is_among_the_examples() -> None:
    assert set(CLIENT_EVENTS) == set(wire.CLIENT_EVENT_TYPES)
    assert {kind for kind, _, _ in WRONG} == set(CLIENT_EVENTS)


@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_every_client_event_is_decoded_with_all_its_fields(kind: str) -> None:
    fields = {**CLIENT_EVENTS[kind], "event_id": "mine"}
    event = wire.decode(frame(kind, fields))
    assert type(event) is wire.CLIENT_EVENT_TYPES[kind]
    again = json.loads(msgspec.json.encode(event))
    for name in fields.keys() - {"item"}:
        assert again[name] == fields[name]
    assert wire.decode(msgspec.json.encode(event)) == event


@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_fields_that_nobody_knows_are_passed_over(kind: str) -> None:
    fields = CLIENT_EVENTS[kind]
    assert wire.decode(frame(kind, fields, news=1)) == wire.decode(frame(kind, fields))


@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_text_and_bytes_are_the_same_event(kind: str) -> None:
    data = frame(kind, CLIENT_EVENTS[kind])
    assert wire.decode(data.decode()) == wire.decode(data)


@pytest.mark.parametrize(("kind", "fields", "param"), WRONG)
def test_an_error_names_the_field_and_the_event(
    kind: str, fields: dict[str, Any], param: str
) -> None:
    more = {} if "event_id" in fields else {"event_id": "mine"}
    with pytest.raises(wire.Undecodable) as refused:
        wire.decode(frame(kind, fields, **more))
    assert refused.value.code == "invalid_event"
    assert refused.value.param == param
    assert kind in refused.value.message
    assert refused.value.event_id == more.get("event_id")


def test_an_unknown_event_is_named_and_its_id_comes_back() -> None:
    with pytest.raises(wire.Undecodable, match="'session.close'") as refused:
        wire.decode(b'{"type":"session.close","event_id":"mine"}')
    assert (refused.value.code, refused.value.param) == ("unknown_event", "type")
    assert refused.value.event_id == "mine"


@pytest.mark.parametrize("data", [b"{}", b'{"type":null}', b'{"type":[]}', b'{"type":{"a":1}}'])
def test_an_event_without_a_type_is_told_so(data: bytes) -> None:
    with pytest.raises(wire.Undecodable, match='no "type"') as refused:
        wire.decode(data)
    assert refused.value.param == "type"


def test_an_event_named_at_great_length_is_not_echoed_whole() -> None:
    with pytest.raises(wire.Undecodable) as refused:
        wire.decode(json.dumps({"type": "x" * 100_000}))
    assert len(refused.value.message) < 300


DEEP = b'{"a":' * 100_000
HOSTILE: dict[str, str | bytes] = {
    "nothing": b"",
    "space": b" \n",
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "cut off": b'{"type":"input_audio_buffer.commit"',
    "more behind it": b'{"type":"input_audio_buffer.commit"}{}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"input_audio_buffer.commit"}',
    "not UTF-8": b'{"type":"\xff\xfe"}',
    "UTF-16": '{"type":"input_audio_buffer.commit"}'.encode("utf-16"),
    "a lone surrogate": b'{"type":"conversation.item.delete","item_id":"\\ud800"}',
    "a lone surrogate as text": '{"type":"conversation.item.delete","item_id":"\ud800"}',
    "a raw NUL": b'{"type":"conversation.item.delete","item_id":"\x00"}',
    "a number too great": b'{"type":"kaiwa.playback.report","item_id":"a","played_ms":1e999}',
    "a number too long": b'{"type":"session.update","session":{"x":' + b"9" * 5000 + b"}}",
    "not a number": b'{"type":"kaiwa.playback.report","item_id":"a","played_ms":NaN}',
    "a type twice": b'{"type":"session.update","type":"input_audio_buffer.commit"}',
    "depth without end": b"[" * 1_000_000,
    "depth in a session": b'{"type":"session.update","session":' + DEEP + b"1" + b"}" * 100_001,
    "depth in an item": b'{"type":"conversation.item.create","item":' + DEEP,
    "depth in an unknown field": b'{"x":' + DEEP + b"1" + b"}" * 100_001,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frames_are_refused_with_words(name: str) -> None:
    with pytest.raises(wire.Undecodable) as refused:
        wire.decode(HOSTILE[name])
    assert refused.value.message
    msgspec.json.encode(wire.Error(error=wire.ErrorBody(code="x", message=refused.value.message)))


def test_a_nul_in_a_string_is_a_character_like_any_other() -> None:
    event = wire.decode(b'{"type":"conversation.item.delete","item_id":"a\\u0000b"}')
    assert event == wire.ItemDelete(item_id="a\x00b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("session", "audio", "samples", "item", "item_id", "audio_end_ms", "response", "event_id")


@given(
    kind=st.sampled_from(sorted(CLIENT_EVENTS)),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_any_json_is_an_event_or_undecodable(kind: str, fields: dict[str, Any]) -> None:
    try:
        event = wire.decode(frame(kind, fields))
    except wire.Undecodable as error:
        assert error.code in ("invalid_event", "invalid_json")
    else:
        assert type(event) is wire.CLIENT_EVENT_TYPES[kind]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_undecodable(data: bytes) -> None:
    with pytest.raises(wire.Undecodable):
        wire.decode(b"\x01" + data)


def test_a_wrong_field_is_named_in_plain_words() -> None:
    with pytest.raises(wire.Undecodable) as refused:
        wire.decode(frame("conversation.item.truncate", {"item_id": "a", "audio_end_ms": "soon"}))
    expected = "conversation.item.truncate: audio_end_ms must be a whole number, not text."
    assert (refused.value.message, refused.value.param) == (expected, "audio_end_ms")


# --- audio ---------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_audio_goes_there_and_back(pcm: bytes) -> None:
    assert wire.decode_audio(wire.encode_audio(pcm)) == pcm


@pytest.mark.parametrize(
    "text", ["AA", "AA=A", "A", "====", "AAAA\n", " AAAA", "AA==AA==", "-_-_", "é", "\ud800", "\0"]
)
def test_what_is_not_base64_is_refused_by_name(text: str) -> None:
    with pytest.raises(ClientError, match="base64") as refused:
        wire.decode_audio(text)
    assert (refused.value.code, refused.value.param) == ("invalid_audio", "audio")


def test_64_kib_of_audio_are_decoded_within_a_millisecond() -> None:
    """What the loop may be held for; measured: 0.1 ms."""
    data = frame("input_audio_buffer.append", {"audio": wire.encode_audio(bytes(48 * 1024))})
    took = []
    for _ in range(20):
        began = time.thread_time()
        event = wire.decode(data)
        assert isinstance(event, wire.AudioAppend)
        assert len(wire.decode_audio(event.audio)) == 48 * 1024
        took.append(time.thread_time() - began)
    assert min(took) < 1e-3


# --- out -----------------------------------------------------------------------------------------


def example(kind: Any) -> Any:
    """A value of a field's type, the smallest there is."""
    match kind:
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.ListType(item_type=item):
            return [example(item)]
        case msgspec.inspect.TupleType(item_types=items):
            return tuple(example(item) for item in items)
        case msgspec.inspect.VarTupleType(item_type=item):
            return (example(item),)
        case msgspec.inspect.DictType():
            return {"key": "value"}
        case msgspec.inspect.LiteralType(values=values):
            return values[0]
        case msgspec.inspect.UnionType(types=types):
            return example(next(t for t in types if not isinstance(t, msgspec.inspect.NoneType)))
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: example(field.type) for field in fields if field.required})
        case _:
            raise AssertionError(f"no example of {kind}")


SERVER_EVENTS = [
    example(msgspec.inspect.type_info(kind)) for kind in wire.SERVER_EVENT_TYPES.values()
]


def of(kind: wire.ServerEvent) -> str:
    return str(type(kind).__struct_config__.tag)


@pytest.mark.parametrize(
    "event", [e for e in SERVER_EVENTS if not isinstance(e, wire.KeyReceived)], ids=of
)
def test_every_server_event_is_one_line_of_json_with_type_and_event_id(
    event: wire.ServerEvent,
) -> None:
    event.event_id = "event_1"
    data = wire.encode(event)
    assert b"\n" not in data
    body = json.loads(data)
    assert body["type"] == of(event)
    assert body["event_id"] == "event_1"


@pytest.mark.parametrize(
    "event", [e for e in SERVER_EVENTS if not isinstance(e, wire.TurnTimeline)], ids=of
)
def test_every_server_event_can_be_read_back(event: wire.ServerEvent) -> None:
    assert msgspec.json.decode(wire.encode(event), type=type(event)) == event


def test_the_minimal_subset_of_stock_clients_is_complete() -> None:
    """protocols: what passes all four clients."""
    r, c = "response.", "conversation.item."
    assert set(wire.SERVER_EVENT_TYPES) >= {
        "session.created", "session.updated", "error",
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed", "input_audio_buffer.cleared",
        *(c + x for x in ("added", "done", "retrieved", "deleted", "truncated")),
        *(c + "input_audio_transcription." + x for x in ("delta", "completed", "failed")),
        *(r + x for x in ("created", "done", "output_item.added", "output_item.done")),
        *(r + x for x in ("content_part.added", "content_part.done")),
        *(r + x for x in ("output_audio.delta", "output_audio.done")),
        *(r + x for x in ("output_audio_transcript.delta", "output_audio_transcript.done")),
        *(r + x for x in ("output_text.delta", "output_text.done")),
        *(r + x for x in ("function_call_arguments.delta", "function_call_arguments.done")),
        "kaiwa.transcript.partial", "kaiwa.turn.sources", "kaiwa.turn.timeline",
        "kaiwa.speech.marks",
    }  # fmt: skip


def test_a_timeline_is_laid_out_flat() -> None:
    event = wire.TurnTimeline(event_id="event_1", record={"turn": 3, "spans": []})
    assert json.loads(wire.encode(event)) == {
        "type": "kaiwa.turn.timeline",
        "event_id": "event_1",
        "turn": 3,
        "spans": [],
    }


def test_a_key_has_no_event_id() -> None:
    event = wire.KeyReceived(event_id="event_1", event="5", received_at=1_800_000_000)
    assert json.loads(wire.encode(event)) == {
        "type": "input_audio_buffer.dtmf_event_received",
        "event": "5",
        "received_at": 1_800_000_000,
    }


# --- the traps -----------------------------------------------------------------------------------


def test_a_user_audio_content_always_has_the_key_transcript() -> None:
    """Without it agents-js dies of an uncaught ZodError."""
    item = wire.Item(id="a", type="message", role="user", content=(wire.InputAudio(),))
    body = json.loads(wire.encode(wire.ItemAdded(item=item)))
    assert body["item"]["content"] == [{"type": "input_audio", "transcript": None}]


@pytest.mark.parametrize("kind", ["message", "function_call", "function_call_output"])
def test_nothing_optional_of_an_item_is_ever_null(kind: Any) -> None:
    """agents-js drops an item that has a null; one cannot be made of what a client sends either."""
    body = json.loads(wire.encode(wire.ItemRetrieved(item=wire.Item(type=kind))))
    assert body["item"] == {"object": "realtime.item", "type": kind}
    for name in ("id", "status", "role", "content", "call_id", "name", "arguments", "output"):
        with pytest.raises(wire.Undecodable) as refused:
            wire.decode(frame("conversation.item.create", {"item": {"type": kind, name: None}}))
        assert refused.value.param == f"item.{name}"


def test_deltas_of_the_transcription_carry_their_content_index() -> None:
    body = json.loads(wire.encode(wire.TranscriptionDelta(item_id="a", delta="hel")))
    assert body["content_index"] == 0


def test_the_usage_of_a_transcription_is_a_duration() -> None:
    event = wire.TranscriptionCompleted(
        item_id="a", transcript="hello", usage=wire.DurationUsage(seconds=1.5)
    )
    body = json.loads(wire.encode(event))
    assert body["usage"] == {"type": "duration", "seconds": 1.5}
    assert body["content_index"] == 0


def test_parts_and_contents_have_their_own_names_of_type() -> None:
    where = {"response_id": "r", "item_id": "i", "output_index": 0}
    added = wire.ContentPartAdded(**where, part=wire.AudioPart())  # type: ignore[arg-type]
    assert json.loads(wire.encode(added))["part"] == {"type": "audio", "transcript": ""}
    item = wire.Item(type="message", role="assistant", content=(wire.OutputAudio("hi"),))
    body = json.loads(wire.encode(wire.ItemDone(item=item)))
    assert body["item"]["content"] == [{"type": "output_audio", "transcript": "hi"}]


def test_an_error_has_type_and_message_and_the_id_of_the_event_it_answers() -> None:
    error = wire.ErrorBody(code="c", message="m", event_id="mine")
    body = json.loads(wire.encode(wire.Error(error=error)))["error"]
    assert body == {
        "type": "invalid_request_error",
        "code": "c",
        "message": "m",
        "param": None,
        "event_id": "mine",
    }
