"""`WS /v1/realtime` on real sockets: who may come in, and what bad input gets for an answer."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.served import (
    Answer,
    Caller,
    Served,
    append,
    get,
    loud,
    measured,
    request,
    silence,
    upgrade,
)

KEY = "a-key-that-is-long-enough-0001"
WRONG = "a-key-that-is-long-enough-0002"
Serve = Callable[..., Served]


# --- before the upgrade ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(serving: Serve) -> Served:
    allowed = ["https://voice.example.com"]
    return serving(server={"api_keys": [KEY], "allowed_origins": allowed}, log={"level": "DEBUG"})


@pytest.fixture(scope="module")
def open_server(serving: Serve) -> Served:
    return serving(mock={"stt_text": "yes"})


def knock(server: Served, *headers: str, path: str = "/v1/realtime") -> Answer:
    return request(server.url, upgrade(server.url, *headers, path=path))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (f"Authorization: Bearer {WRONG}",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        (f"Authorization: Basic {KEY}",),
        (f"Authorization: {KEY}",),
        (f"Authorization: Bearer {KEY[:-1]}",),
        (f"Authorization: Bearer {KEY}x",),
        (f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{WRONG}",),
        ("Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.",),
        (f"Cookie: key={KEY}",),
        ("Authorization: Bearer \xff\xfe",),
    ],
)
def test_without_a_right_key_the_upgrade_is_refused_in_words(
    locked: Served, headers: tuple[str, ...]
) -> None:
    answer = knock(locked, *headers)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["error"]["code"] == "invalid_api_key"
    assert "Authorization: Bearer" in answer.json["error"]["message"]


def test_a_key_in_the_address_counts_for_nothing(locked: Served) -> None:
    for name in ("key", "api_key", "token", "access_token", "authorization"):
        answer = knock(locked, path=f"/v1/realtime?{name}={KEY}")
        assert answer.status == 401


def test_the_right_key_in_the_header_comes_in(locked: Served) -> None:
    with Caller(locked.url, additional_headers={"Authorization": f"Bearer {KEY}"}) as caller:
        assert caller.next()["type"] == "session.created"
    answer = knock(locked, f"authorization: bEaReR {KEY}")
    assert answer.status == 101


def test_the_right_key_as_a_subprotocol_comes_in_and_is_never_echoed(locked: Served) -> None:
    offered = f"realtime, openai-insecure-api-key.{KEY}"
    answer = knock(locked, f"Sec-WebSocket-Protocol: {offered}")
    assert answer.status == 101
    assert answer.headers["sec-websocket-protocol"] == "realtime"
    alone = knock(locked, f"Sec-WebSocket-Protocol: openai-insecure-api-key.{KEY}")
    assert alone.status == 101
    assert "sec-websocket-protocol" not in alone.headers


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example.com",
        "https://voice.example.com.evil.com",
        "https://sub.voice.example.com",
        "https://voice.example.com:444",
        "http://voice.example.com",
        "https://voice.example.com/",
        "https://VOICE.example.com",
        "https://voice.ex\xe4mple.com",
        "https://user@voice.example.com",
        "file://",
        "http://[::1",
        "https://voice.example.com, https://evil.example.com",
    ],
)
def test_a_page_of_elsewhere_is_refused_even_with_the_key(locked: Served, origin: str) -> None:
    answer = knock(locked, f"Origin: {origin}", f"Authorization: Bearer {KEY}")
    assert answer.status == 403
    assert answer.json["error"]["code"] == "origin_not_allowed"


def test_an_allowed_page_and_the_servers_own_come_in(locked: Served) -> None:
    key = f"Authorization: Bearer {KEY}"
    own = locked.url.rstrip("/")
    for origin in ("https://voice.example.com", own):
        assert knock(locked, f"Origin: {origin}", key).status == 101


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.com", "", "[::1", "0.0.0.0"])
def test_a_name_rebound_to_this_machine_is_refused(open_server: Served, host: str) -> None:
    answer = knock(open_server, f"Host: {host}", f"Origin: http://{host}")
    assert answer.status == 403
    assert answer.json["error"]["code"] == "host"


@pytest.mark.real_time
def test_one_call_more_than_there_are_lines_is_refused_at_once(serving: Serve) -> None:
    server = serving(server={"max_sessions": 2})
    with Caller(server.url) as first, Caller(server.url) as second:
        first.until("session.created")
        second.until("session.created")
        with measured() as seconds:
            answer = knock(server)
            took = seconds()
        assert (answer.status, answer.json["error"]["code"]) == (503, "server_busy")
        assert int(answer.headers["retry-after"]) > 0
        assert took < 0.05
        first.answers()
    with Caller(server.url) as third:
        assert third.next()["type"] == "session.created"


@pytest.mark.parametrize("path", ["/", "/ws", "/v1/realtime/sessions", "/v1/Realtime?model=kaiwa"])
def test_a_call_at_the_wrong_path_is_told_the_right_one(open_server: Served, path: str) -> None:
    answer = knock(open_server, path=path)
    assert answer.status == 404
    refused = open_server.logged("call_refused", why="no_such_path")
    assert (refused["status"], refused["level"]) == (404, "info")
    assert "without completing handshake" not in "".join(open_server.lines)
    assert answer.json["error"]["code"] == "no_such_path"
    assert "/v1/realtime" in answer.json["error"]["message"]


def test_keys_never_reach_the_log(locked: Served) -> None:
    bearer = {"Authorization": f"Bearer {KEY}"}
    with Caller(locked.url, f"?api_key={KEY}", additional_headers=bearer) as caller:
        caller.answers()
        caller.send({"type": f"{KEY}"})
        caller.until("error")
    knock(locked, f"Authorization: Bearer {WRONG}", path=f"/v1/realtime?key={KEY}")
    get(locked.url, f"/metrics?key={KEY}", f"Authorization: Bearer {WRONG}")
    get(locked.url, f"/nothing/{KEY}", f"Authorization: Bearer {KEY}")
    locked.logged("session_closed")
    log = "".join(locked.lines)
    assert KEY not in log and WRONG not in log


# --- bad input on an open call --------------------------------------------------------------------


@pytest.fixture
def caller(open_server: Served) -> Iterator[Caller]:
    with Caller(open_server.url) as caller:
        caller.until("session.created")
        yield caller


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def audio(value: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": value}


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": fields}


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": fields}


def rate(hz: Any) -> dict[str, Any]:
    return session(audio={"input": {"format": {"type": "audio/pcm", "rate": hz}}})


def said(role: str, *content: Any) -> dict[str, Any]:
    return item(type="message", role=role, content=list(content))


BAD: dict[str, tuple[Any, str | None, str | None]] = {
    # what is sent → the error's code and its param; None: any
    "half a sample": (audio(b64(b"abc")), "invalid_audio", "audio"),
    "not base64": (audio("!!! no base64 !!!"), "invalid_audio", "audio"),
    "base64 cut short": (audio("QUJD" * 10 + "Q"), "invalid_audio", "audio"),
    "base64 with line breaks": (audio("QUJD\nQUJD"), "invalid_audio", "audio"),
    "words for audio": (audio("hello there"), "invalid_audio", "audio"),
    "a number for audio": (audio(5), "invalid_event", "audio"),
    "a list for audio": (audio([1, 2]), "invalid_event", "audio"),
    "no audio at all": ({"type": "input_audio_buffer.append"}, "invalid_event", None),
    "a rate there is not": (rate(11_025), "invalid_value", "session.audio.input.format.rate"),
    "a rate of nothing": (rate(0), "invalid_value", "session.audio.input.format.rate"),
    "a rate below nothing": (rate(-24_000), "invalid_value", "session.audio.input.format.rate"),
    "a rate in words": (rate("fast"), "invalid_value", "session.audio.input.format.rate"),
    "a format there is not": (
        session(audio={"input": {"format": {"type": "audio/mp3"}}}),
        "invalid_value",
        "session.audio.input.format.type",
    ),
    "a format in one word": (
        session(audio={"input": {"format": "pcm16"}}),
        "invalid_value",
        "session.audio.input.format",
    ),
    "no audio settings": (session(audio=None), "invalid_value", "session.audio"),
    "a list for audio settings": (session(audio=[1]), "invalid_value", "session.audio"),
    "a session that is a word": (
        {"type": "session.update", "session": "x"},
        "invalid_event",
        "session",
    ),
    "a threshold above one": (
        session(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 7}}}),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    "a detection there is not": (
        session(audio={"input": {"turn_detection": {"type": "telepathy"}}}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    "an unknown event": ({"type": "make.coffee"}, "unknown_event", "type"),
    "no type": ({"hello": "there"}, "invalid_event", "type"),
    "a type that is a list": ({"type": []}, "invalid_event", "type"),
    "not JSON": ("make coffee", "invalid_json", None),
    "half of JSON": ('{"type": "input_audio', "invalid_json", None),
    "a JSON list": ("[]", "invalid_json", None),
    "JSON null": ("null", "invalid_json", None),
    "nothing": ("", "invalid_json", None),
    "nested without end": ("[" * 100_000, "invalid_json", None),
    "a session nested without end": (
        '{"type":"session.update","session":' + '{"a":' * 40_000 + "1" + "}" * 40_001,
        "invalid_json",
        None,
    ),
    "more instructions than anybody reads": (
        json.dumps({"type": "session.update", "session": {"instructions": "x" * 300_000}}),
        "event_too_large",
        None,
    ),
    "an item of a thousand empty parts": (
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": ""}] * 1000,
            },
        },
        "invalid_value",
        "item.content",
    ),
    "an infinite number": (
        '{"type":"kaiwa.playback.report","item_id":"x","played_ms":1e999}',
        "invalid_event",
        "played_ms",
    ),
    "a binary frame": (b"\0\0" * 240, "unexpected_binary", None),
    "JSON in a binary frame": (b'{"type":"response.cancel"}', "unexpected_binary", None),
    "an item without a type": (item(role="user"), "invalid_event", "item.type"),
    "an item of another type": (item(type="video"), "invalid_event", "item.type"),
    "a message without a role": (item(type="message", content=[]), None, "item.role"),
    "content that is a word": (
        item(type="message", role="user", content="hi"),
        "invalid_event",
        "item.content",
    ),
    "content of the wrong role": (
        said("user", {"type": "output_text", "text": "hi"}),
        "invalid_value",
        "item.content[0].type",
    ),
    "audio inside an item": (
        said("user", {"type": "input_audio", "audio": "AAAA"}),
        "unsupported_content",
        "item.content[0]",
    ),
    "a picture": (
        said("user", {"type": "input_image", "image_url": "http://127.0.0.1/x.png"}),
        "unsupported_content",
        "item.content[0]",
    ),
    "a book": (
        said("user", {"type": "input_text", "text": "x" * 20_001}),
        "string_above_max_length",
        "item.content",
    ),
    "a very long id": (
        item(type="message", id="x" * 65, role="user", content=[]),
        "invalid_value",
        "item.id",
    ),
    "an output without its call": (
        item(type="function_call_output", output="42"),
        "missing_required_parameter",
        "item.call_id",
    ),
    "an item behind none": (
        {
            **said("user", {"type": "input_text", "text": "hi"}),
            "previous_item_id": "item_of_nobody",
        },
        "item_create_invalid_previous_item_id",
        "previous_item_id",
    ),
    "deleting what is not": (
        {"type": "conversation.item.delete", "item_id": "none"},
        "item_delete_invalid_item_id",
        "item_id",
    ),
    "fetching what is not": (
        {"type": "conversation.item.retrieve", "item_id": "none"},
        "item_retrieve_invalid_item_id",
        "item_id",
    ),
    "cutting what is not": (
        {"type": "conversation.item.truncate", "item_id": "none", "audio_end_ms": 5},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    "cutting at no time": (
        {"type": "conversation.item.truncate", "item_id": "none", "audio_end_ms": "soon"},
        "invalid_event",
        "audio_end_ms",
    ),
    "cancelling nothing": ({"type": "response.cancel"}, "response_cancel_not_active", None),
    "a response that is a word": (
        {"type": "response.create", "response": "please"},
        "invalid_event",
        "response",
    ),
    "an answer in smells": (
        {"type": "response.create", "response": {"output_modalities": ["smell"]}},
        "invalid_value",
        None,
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_answered_with_its_fault_and_the_session_goes_on(
    caller: Caller, what: str
) -> None:
    sent, code, param = BAD[what]
    if isinstance(sent, dict):
        sent = {**sent, "event_id": "mine-1"}
    caller.send(sent)
    error = caller.until("error")["error"]
    assert code is None or error["code"] == code, error
    assert error["type"] == "invalid_request_error" and error["message"]
    assert param is None or error["param"] == param
    assert error["event_id"] == ("mine-1" if isinstance(sent, dict) else None)
    caller.answers()


def test_an_event_id_of_the_wrong_kind_is_an_error_too(caller: Caller) -> None:
    caller.send({"type": "response.cancel", "event_id": 7})
    error = caller.until("error")["error"]
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_event", "event_id", None)
    caller.answers()


def test_a_refused_session_update_leaves_the_session_as_it_was(caller: Caller) -> None:
    before = caller.update(instructions="Be brief.")["session"]
    caller.send(rate(11_025) | {"event_id": "e1"})
    assert caller.until("error")["error"]["event_id"] == "e1"
    after = caller.update()["session"]
    assert after == before


def test_text_in_a_binary_call_and_half_samples_are_errors(open_server: Served) -> None:
    with Caller(open_server.url, "?audio=binary") as caller:
        caller.until("session.created")
        caller.send(b"abc")
        assert caller.until("error")["error"]["code"] == "invalid_audio"
        caller.send(b"")
        caller.send(b"\0\0" * 480)
        caller.answers()
        binary = [event for event in caller.seen if event["type"] == "binary"]
        assert not binary, "an answer in text has no sound"


def test_speech_in_binary_frames_is_answered_in_binary_frames(open_server: Served) -> None:
    with Caller(open_server.url, "?audio=binary") as caller:
        caller.until("session.created")
        caller.send(loud(0.6))
        caller.send(silence(0.6))
        caller.until("response.done")
    kinds = {event["type"] for event in caller.seen}
    assert "binary" in kinds and "response.output_audio.delta" not in kinds


def test_a_frame_beyond_the_limit_ends_the_call_with_1009(open_server: Served) -> None:
    with Caller(open_server.url) as caller:
        caller.until("session.created")
        caller.send(json.dumps(audio("A" * 3 * 2**20)))
        assert caller.close_code() == 1009
    with Caller(open_server.url, "?audio=binary") as caller:
        caller.until("session.created")
        caller.send(bytes(3 * 2**20))
        assert caller.close_code() == 1009


def test_a_client_that_only_talks_nonsense_is_sent_away_with_1008(open_server: Served) -> None:
    with Caller(open_server.url) as caller:
        caller.until("session.created")
        session = {"type": "realtime", "include": ["kaiwa.call.ended"]}
        caller.send({"type": "session.update", "session": session})
        for _ in range(60):
            caller.send("nonsense")
        assert caller.close_code() == 1008
        errors = [event for event in caller.seen if event["type"] == "error"]
        assert len(errors) == 50
        assert caller.seen[-1]["type"] == "kaiwa.call.ended" and caller.seen[-1]["code"] == 1008
    closed = open_server.logged("session_closed", code=1008)
    assert closed["why"] == "too many events that are none"


def test_nonsense_between_good_events_is_forgiven(caller: Caller) -> None:
    for number in range(120):
        caller.send("nonsense" if number % 3 else {"type": "input_audio_buffer.clear"})
    caller.answers()


def test_a_long_append_keeps_its_place_in_the_order(caller: Caller) -> None:
    """A megabyte is decoded elsewhere; what is sent behind it must not overtake it."""
    caller.update(audio={"input": {"turn_detection": None}})
    big = append(loud(14.0) + silence(0.3))
    assert len(big["audio"]) > 900_000
    caller.send(big)
    caller.send({"type": "input_audio_buffer.commit"})
    caller.send(append(loud(0.4)))
    caller.send({**big, "event_id": "second"})
    caller.send({"type": "make.coffee", "event_id": "behind"})
    caller.send({"type": "input_audio_buffer.commit"})
    first = caller.until("conversation.item.input_audio_transcription.completed")
    second = caller.until("conversation.item.input_audio_transcription.completed")
    assert first["usage"]["seconds"] == pytest.approx(14.3, abs=0.2)
    assert second["usage"]["seconds"] == pytest.approx(14.7, abs=0.2)
    order = [event["type"] for event in caller.seen]
    committed = [n for n, kind in enumerate(order) if kind == "input_audio_buffer.committed"]
    assert committed[0] < order.index("error") < committed[1]


def test_a_long_append_that_is_no_base64_is_complained_of_by_name(caller: Caller) -> None:
    caller.send({**audio("!" * 500_000), "event_id": "long"})
    error = caller.until("error")["error"]
    assert (error["code"], error["event_id"]) == ("invalid_audio", "long")
    caller.answers()
