"""Calls over HTTP, with a real server: the shapes that clients know, keys, pages of elsewhere."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from structlog.testing import capture_logs

from tests.served import LIMIT_S, Answer, Caller, Hosted, address, request
from voice import metrics
from voice.client_secrets import MOST_SETTINGS_BYTES
from voice.sdp_lines import MOST_BYTES

Host = Callable[..., Hosted]

KEY = "correct-horse-battery-staple"
OTHER = "another-key-of-the-operator"
ELSEWHERE = "https://voice.example.com"
OFFER = (Path(__file__).parent / "offers" / "chromium-microphone.sdp").read_bytes()
CALLS = "/v1/realtime/calls"
SDP = "Content-Type: application/sdp"
SLOW = {"instructions": "Speak slowly.", "audio": {"output": {"voice": "af"}}}


@pytest.fixture
def open_house(hosting: Host) -> Hosted:
    return hosting()


@pytest.fixture
def locked(hosting: Host) -> Hosted:
    return hosting(server={"api_keys": [KEY, OTHER], "allowed_origins": [ELSEWHERE]})


def ask(
    server: Hosted, method: str, path: str, *headers: str, body: bytes = b"", key: str = ""
) -> Answer:
    host, port = address(server.url)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return request(server.url, ("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def call(server: Hosted, *headers: str, body: bytes = OFFER, key: str = "") -> Answer:
    return ask(server, "POST", CALLS, *(headers or (SDP,)), body=body, key=key)


def error(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = answer.json["error"]
    assert set(body) == {"type", "code", "message", "param"}
    return body


def form(**parts: str) -> tuple[str, bytes]:
    """As openai-py and agents-js send it: types, and no file names."""
    kinds = {"sdp": "application/sdp", "session": "application/json"}
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n'
        f"Content-Type: {kinds.get(name, 'text/plain')}\r\n\r\n{text}\r\n"
        for name, text in parts.items()
    )
    return "Content-Type: multipart/form-data; boundary=x", f"{body}--x--\r\n".encode()


def secret(server: Hosted, key: str = KEY, **body: Any) -> Answer:
    return ask(
        server, "POST", "/v1/realtime/client_secrets", body=json.dumps(body).encode(), key=key
    )


@contextmanager
def settings_of(server: Hosted) -> Iterator[list[dict[str, Any] | None]]:
    """What each call is opened with."""
    seen: list[dict[str, Any] | None] = []
    opening = server.desk.calls.open

    async def watch(data: bytes, settings: dict[str, Any] | None, caller: Any) -> Any:
        seen.append(settings)
        return await opening(data, settings, caller)

    server.desk.calls.open = watch  # type: ignore[method-assign]  # told of, and done
    try:
        yield seen
    finally:
        del server.desk.calls.open


# --- set-up ---------------------------------------------------------------------------------------


def test_a_raw_offer_is_answered_with_the_calls_place(open_house: Hosted) -> None:
    answer = call(open_house)
    assert answer.status == 201
    assert answer.headers["content-type"].startswith("application/sdp")
    place = answer.headers["location"]
    assert place.startswith(f"{CALLS}/rtc_")
    assert answer.body.startswith(b"v=0\r\n") and b"a=candidate" in answer.body
    assert ask(open_house, "DELETE", place).status == 200
    gone = ask(open_house, "DELETE", place)
    assert gone.status == 404 and error(gone)["code"] == "call_not_found"


def test_a_form_brings_the_sessions_settings(open_house: Hosted) -> None:
    head, body = form(sdp=OFFER.decode(), session=json.dumps(SLOW))
    with settings_of(open_house) as seen:
        answer = call(open_house, head, body=body)
    assert answer.status == 201
    assert seen == [SLOW]
    assert ask(open_house, "POST", answer.headers["location"] + "/hangup").status == 200


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"audio": {"output": {"speed": "fast"}}}, "session.audio.output.speed"),
        ({"type": "transcription"}, "session.type"),
        ({"tools": "none"}, "session.tools"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(
    open_house: Hosted, session: dict[str, Any], param: str
) -> None:
    head, body = form(sdp=OFFER.decode(), session=json.dumps(session))
    answer = call(open_house, head, body=body)
    assert answer.status == 400
    assert error(answer)["param"] == param


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"session": "{}"}, "missing_required_parameter"),
        ({"sdp": OFFER.decode(), "session": "{"}, "invalid_json"),
        ({"sdp": OFFER.decode(), "session": "[]"}, "invalid_value"),
        ({"sdp": "v=1"}, "invalid_sdp"),
    ],
)
def test_a_form_that_is_wrong_is_told_where(
    open_house: Hosted, parts: dict[str, str], code: str
) -> None:
    head, body = form(**parts)
    answer = call(open_house, head, body=body)
    assert answer.status == 400
    assert error(answer)["code"] == code


WRONG = {"audio": {"output": {"speed": "fast"}}, "tools": "none", "max_output_tokens": 0}
ITS_FIELDS = ("session.audio.output.speed", "session.tools", "session.max_output_tokens")


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ({"sdp": OFFER.decode(), "session": json.dumps(WRONG)}, ITS_FIELDS),
        ({"session": json.dumps(WRONG)}, ("sdp", *ITS_FIELDS)),
        ({"sdp": "v=1", "session": json.dumps(WRONG)}, ("sdp", *ITS_FIELDS)),
        ({"session": "{"}, ("sdp", "session")),
        ({"session": "[]"}, ("sdp", "session")),
    ],
)
def test_all_that_is_wrong_with_a_form_is_told_at_once(
    open_house: Hosted, parts: dict[str, str], fields: tuple[str, ...]
) -> None:
    head, body = form(**parts)
    answer = call(open_house, head, body=body)
    assert answer.status == 400
    told = error(answer)
    if "sdp" in fields:
        head, body = form(**{name: text for name, text in parts.items() if name == "sdp"})
        alone = error(call(open_house, head, body=body))
        assert (told["param"], told["code"]) == ("sdp", alone["code"])
        assert alone["message"] in told["message"]
    for field in fields:
        assert field == "sdp" or f"{field} " in told["message"]


def test_what_is_no_offer_is_told_in_the_shape_that_clients_show(open_house: Hosted) -> None:
    wrong = call(open_house, body=OFFER.replace(b"a=setup:actpass", b"a=setup:x"))
    assert wrong.status == 400
    assert error(wrong)["code"] == "invalid_sdp" and "a=setup" in error(wrong)["message"]
    assert error(wrong)["type"] == "invalid_request_error"
    assert call(open_house, body=b"").status == 400
    assert call(open_house, "Content-Type: text/html").status == 415
    assert call(open_house, "Content-Type: multipart/form-data", body=b"x").status == 400
    assert call(open_house, body=OFFER + b"a=x\r\n" * (MOST_BYTES // 5)).status == 413
    huge = call(open_house, body=b"x" * 400_000)
    assert huge.status == 413 and error(huge)["code"]


def test_refused_callers_are_counted_and_nothing_else_is(open_house: Hosted) -> None:
    def counted() -> float:
        told = (metrics.REFUSED.labels(code) for code in ("invalid_sdp", "call_not_found"))
        return float(sum(one._value.get() for one in told))

    before = counted()
    call(open_house, body=b"hello")
    ask(open_house, "DELETE", f"{CALLS}/rtc_x")
    assert counted() == before + 1


def test_trickling_is_not_offered(open_house: Hosted) -> None:
    place = call(open_house).headers["location"]
    patched = ask(open_house, "PATCH", place, body=b"a=candidate")
    assert patched.status == 405
    assert ask(open_house, "GET", CALLS).status == 405
    ask(open_house, "DELETE", place)


def test_a_real_peer_connects_and_its_settings_hold_before_it_says_anything(
    open_house: Hosted,
) -> None:
    async def talk() -> tuple[dict[str, Any], str]:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            peer.addTrack(AudioStreamTrack())
            channel = peer.createDataChannel("oai-events")
            first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            channel.on("message", lambda text: None if first.done() else first.set_result(text))
            await peer.setLocalDescription(await peer.createOffer())
            head, body = form(sdp=peer.localDescription.sdp, session=json.dumps(SLOW))
            answer = await asyncio.to_thread(call, open_house, head, body=body)
            answered = RTCSessionDescription(answer.body.decode(), "answer")
            await peer.setRemoteDescription(answered)
            async with asyncio.timeout(LIMIT_S):
                event: dict[str, Any] = json.loads(await first)
            place = answer.headers["location"]
            await asyncio.to_thread(ask, open_house, "DELETE", place)
            async with asyncio.timeout(LIMIT_S):
                while peer.connectionState != "closed":  # noqa: ASYNC110  # the server says so
                    await asyncio.sleep(0.02)
            return event, place
        finally:
            await peer.close()

    event, place = asyncio.run(talk())
    assert event["type"] == "session.created"
    assert event["session"]["instructions"] == "Speak slowly."
    assert event["session"]["audio"]["output"]["voice"] == "af"
    left = open_house.ask(lambda: open_house.desk.calls.opened_by(place.rpartition("/")[2]))
    assert left is None, "the call is gone when that is said"


@pytest.mark.parametrize("more", [1, 4096, 190_000])
def test_a_long_session_in_an_offers_form_is_told_by_its_name(
    open_house: Hosted, more: int
) -> None:
    """It is decoded on the event loop: what is long is not looked at."""
    empty = json.dumps({"instructions": ""})
    head, body = form(
        sdp=OFFER.decode(),
        session=json.dumps({"instructions": "x" * (MOST_SETTINGS_BYTES - len(empty) + more)}),
    )
    answer = call(open_house, head, body=body)
    assert answer.status == 413
    assert error(answer)["param"] == "session"
    assert "64 KiB" in error(answer)["message"]


def test_a_session_of_that_length_is_taken(open_house: Hosted) -> None:
    empty = json.dumps({"instructions": ""})
    session = {"instructions": "x" * (MOST_SETTINGS_BYTES - len(empty))}
    head, body = form(sdp=OFFER.decode(), session=json.dumps(session))
    with settings_of(open_house) as seen:
        ask(open_house, "DELETE", call(open_house, head, body=body).headers["location"])
    assert seen == [session]


def test_calls_on_their_way_in_count_for_the_room_there_is(hosting: Host) -> None:
    server = hosting(server={"max_sessions": 2})
    places = [call(server).headers["location"] for _ in range(2)]
    full = call(server)
    assert full.status == 503 and error(full)["code"] == "server_busy"
    assert int(full.headers["retry-after"]) > 0
    assert error(full)["type"] == "server_error"
    ask(server, "DELETE", places[0])
    assert call(server).status == 201


def test_offers_come_only_so_often_with_one_key(hosting: Host) -> None:
    keys = {"api_keys": [KEY, OTHER]}
    server = hosting(server=keys, webrtc={"offers_per_minute_and_key": 3, "offers_per_minute": 1})
    for _ in range(3):
        ask(server, "DELETE", call(server, key=KEY).headers["location"], key=KEY)
    often = call(server, key=KEY)
    assert often.status == 429 and error(often)["code"] == "rate_limit_exceeded"
    assert 0 < int(often.headers["retry-after"]) <= 61
    assert call(server, key=OTHER).status == 201, "from this machine's own address, as often"


# --- keys -----------------------------------------------------------------------------------------


def test_nothing_is_done_for_who_has_no_key(locked: Hosted) -> None:
    for key in ("", "wrong", "ek_made-up"):
        answer = call(locked, key=key)
        assert answer.status == 401 and error(answer)["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(locked, "GET", "/v1/realtime/ice").status == 401
    assert secret(locked, key="").status == 401


def test_a_call_is_ended_by_who_opened_it_or_by_a_key_and_by_nobody_else(locked: Hosted) -> None:
    mine, theirs = (secret(locked).json["value"] for _ in range(2))
    place = call(locked, key=mine).headers["location"]
    assert ask(locked, "DELETE", place).status == 401
    assert ask(locked, "DELETE", place, key="wrong").status == 401
    assert ask(locked, "POST", place + "/hangup", key=theirs).status == 404
    assert ask(locked, "POST", place + "/hangup", key=mine).status == 200
    place = call(locked, key=mine).headers["location"]
    assert ask(locked, "DELETE", place, key=OTHER).status == 200


def test_a_client_secret_opens_calls_with_its_settings(locked: Hosted) -> None:
    made = secret(locked, session=SLOW, expires_after={"anchor": "created_at", "seconds": 60})
    assert made.status == 200
    body = made.json
    assert body["value"].startswith("ek_") and len(body["value"]) == 3 + 32
    assert abs(body["expires_at"] - time.time() - 60) < 5
    assert body["session"]["instructions"] == "Speak slowly."
    assert body["session"]["object"] == "realtime.session" and body["session"]["id"]
    with settings_of(locked) as seen:
        for _ in range(2):
            ask(locked, "DELETE", call(locked, key=body["value"]).headers["location"], key=KEY)
        head, form_body = form(sdp=OFFER.decode(), session='{"instructions": "Be brief."}')
        place = call(locked, head, body=form_body, key=body["value"]).headers["location"]
        ask(locked, "DELETE", place, key=KEY)
    assert seen == [SLOW, SLOW, {"instructions": "Be brief."}]


def test_a_client_secret_opens_a_websocket_too(locked: Hosted) -> None:
    token = secret(locked, session=SLOW).json["value"]
    with Caller(locked.url, additional_headers={"Authorization": f"Bearer {token}"}) as caller:
        created = caller.until("session.created")
        assert created["session"]["instructions"] == "Speak slowly."


def test_a_client_secret_opens_calls_and_nothing_of_the_operators(locked: Hosted) -> None:
    token = secret(locked).json["value"]
    assert ask(locked, "GET", "/metrics", key=token).status == 401
    assert ask(locked, "GET", "/api/models", key=token).status == 401
    assert secret(locked, key=token).status == 401
    assert ask(locked, "GET", "/v1/realtime/ice", key=token).status == 200


def test_an_expired_secret_opens_nothing_but_still_ends_its_call(locked: Hosted) -> None:
    token = secret(locked).json["value"]
    place = call(locked, key=token).headers["location"]
    locked.ask(locked.desk.client_secrets._known.clear)
    assert call(locked, key=token).status == 401
    assert ask(locked, "DELETE", place, key=token).status == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 8000}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "never"}}, "expires_after.anchor"),
        ({"session": "x"}, "session"),
        ({"session": {"audio": {"output": {"speed": 9}}}}, "session.audio.output.speed"),
        ({"session": {"instructions": "x" * (MOST_SETTINGS_BYTES + 1)}}, "session"),
    ],
)
def test_a_secret_that_cannot_be_is_told_by_its_field(
    locked: Hosted, body: dict[str, Any], param: str
) -> None:
    answer = secret(locked, **body)
    assert answer.status in (400, 413)
    assert error(answer)["param"] == param


def test_all_that_is_wrong_with_a_secret_is_told_at_once(locked: Hosted) -> None:
    answer = secret(locked, expires_after={"anchor": "never", "seconds": 5}, session=WRONG)
    assert answer.status == 400
    assert error(answer)["param"] == "expires_after.anchor"
    message = error(answer)["message"]
    for field in ("expires_after.anchor", "expires_after.seconds", *ITS_FIELDS):
        assert f"{field} " in message
    assert '"created_at"' in message and ">= 10" in message
    one, both = secret(locked, session=7, expires_after=7), ("expires_after ", "session ")
    assert one.status == 400 and all(field in error(one)["message"] for field in both)


def test_a_secret_is_asked_for_with_json_or_nothing(locked: Hosted) -> None:
    assert ask(locked, "POST", "/v1/realtime/client_secrets", key=KEY).status == 200
    wrong = ask(locked, "POST", "/v1/realtime/client_secrets", body=b"{", key=KEY)
    assert wrong.status == 400 and error(wrong)["code"] == "invalid_json"
    nested = ask(locked, "POST", "/v1/realtime/client_secrets", body=b"[" * 60_000, key=KEY)
    assert nested.status == 400


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CALLS, {"POST", "OPTIONS"}),
        ("PUT", f"{CALLS}/rtc_x", {"DELETE", "OPTIONS"}),
        ("GET", f"{CALLS}/rtc_x/hangup", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/realtime/client_secrets", {"POST"}),
        ("POST", "/v1/realtime/ice", {"GET", "OPTIONS"}),
        ("POST", "/v1/realtime", {"GET"}),
        ("DELETE", "/v1/telephony/vonage/voice", {"GET", "POST"}),
        ("GET", "/api/telephony/calls", {"POST"}),
    ],
)
def test_another_method_is_told_in_the_form_of_all_errors(
    locked: Hosted, method: str, path: str, allowed: set[str]
) -> None:
    answer = ask(locked, method, path, f"Origin: {ELSEWHERE}", key=KEY)
    assert answer.status == 405
    assert error(answer)["code"] == "method_not_allowed"
    assert allowed <= set(answer.headers["allow"].split(", "))
    assert all(name in error(answer)["message"] for name in (method, *allowed))
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE


@pytest.mark.parametrize(
    ("method", "path", "key", "status", "code"),
    [
        ("GET", "/v1/realtime", "", 401, "invalid_api_key"),
        ("POST", "/v1/realtime/client_secrets", "", 401, "invalid_api_key"),
        ("POST", "/v1/telephony/twilio/voice", "", 404, "no_such_path"),
        ("POST", "/api/telephony/calls", "", 401, "invalid_api_key"),
        ("POST", "/api/telephony/calls", KEY, 422, "invalid_value"),
        ("DELETE", "/api/telephony/calls/CA1", KEY, 403, "outbound_not_allowed"),
        ("POST", "/api/telephony/audiosocket", KEY, 403, "no_audiosocket"),
    ],
)
def test_whatever_callers_are_refused_they_are_told_in_the_same_form(
    locked: Hosted, method: str, path: str, key: str, status: int, code: str
) -> None:
    answer = ask(locked, method, path, key=key)
    assert (answer.status, error(answer)["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/realtime/nothing", f"{CALLS}/a/b"])
def test_a_path_that_is_not_there_is_told_so_too(locked: Hosted, path: str) -> None:
    answer = ask(locked, "GET", path, key=KEY)
    assert answer.status == 404 and error(answer)["code"] == "no_such_path"


@pytest.mark.parametrize(
    ("method", "path", "key", "status", "code"),
    [
        ("GET", "/api/performance", "", 401, "invalid_api_key"),
        ("GET", "/metrics", "", 401, "invalid_api_key"),
        ("GET", "/api/models", "", 401, "invalid_api_key"),
        ("GET", "/api/sources/none.md", KEY, 404, "no_such_path"),
        ("GET", "/api/nothing", KEY, 404, "no_such_path"),
        ("GET", "/nothing.js", "", 404, "no_such_path"),
        ("GET", f"/{'long' * 100}", "", 404, "no_such_path"),
        ("DELETE", "/api/performance", KEY, 405, "method_not_allowed"),
        ("POST", "/api/models/switch", KEY, 422, "invalid_value"),
        ("GET", "/api/models/none", KEY, 409, "no_models"),
        ("POST", "/api/system/reload-config", KEY, 409, "nothing_to_reload"),
    ],
)
def test_operators_are_told_in_the_form_that_callers_are(
    locked: Hosted, method: str, path: str, key: str, status: int, code: str
) -> None:
    answer = ask(locked, method, path, key=key)
    told = error(answer)
    assert (answer.status, told["code"]) == (status, code)
    assert told["message"] and set(answer.json) == {"error"}


def test_a_fault_of_the_servers_own_is_told_in_that_form_and_logged(locked: Hosted) -> None:
    locked.desk.figures = cast(Any, None)
    with capture_logs() as logged:
        answer = ask(locked, "GET", "/api/performance", key=KEY)
    assert (answer.status, error(answer)["code"]) == (500, "internal_error")
    assert "NoneType" not in error(answer)["message"]
    assert [line["event"] for line in logged if "exc_info" in line] == ["request_failed"]


# --- pages ----------------------------------------------------------------------------------------


def test_a_page_that_is_listed_may_ask_and_may_read_the_place(locked: Hosted) -> None:
    asked = "Access-Control-Request-Method: POST"
    told = ask(locked, "OPTIONS", CALLS, f"Origin: {ELSEWHERE}", asked)
    assert told.status == 204
    assert told.headers["access-control-allow-origin"] == ELSEWHERE
    allowed = told.headers["access-control-allow-headers"].lower()
    for name in ("authorization", "content-type", "x-openai-agents-sdk"):
        assert name in allowed
    assert "POST" in told.headers["access-control-allow-methods"]
    answer = call(locked, SDP, f"Origin: {ELSEWHERE}", "X-OpenAI-Agents-SDK: x", key=KEY)
    assert answer.status == 201
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    assert "location" in answer.headers["access-control-expose-headers"].lower()
    ask(locked, "DELETE", answer.headers["location"], key=KEY)


def test_it_may_read_why_it_was_refused_too(locked: Hosted) -> None:
    answer = call(locked, SDP, f"Origin: {ELSEWHERE}")
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ELSEWHERE}.evil.example"])
def test_any_other_page_is_told_nothing(locked: Hosted, origin: str) -> None:
    for method, path, body in (
        ("OPTIONS", CALLS, b""),
        ("POST", CALLS, OFFER),
        ("DELETE", f"{CALLS}/rtc_x", b""),
        ("GET", "/v1/realtime/ice", b""),
        ("POST", "/v1/realtime/client_secrets", b""),
    ):
        answer = ask(locked, method, path, SDP, f"Origin: {origin}", body=body, key=KEY)
        assert answer.status == 403, (method, path)
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_that_had_its_name_rebound_is_told_nothing(open_house: Hosted) -> None:
    data = b"GET /v1/realtime/ice HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    answer = request(open_house.url, data)
    assert answer.status == 403


def test_no_server_is_named_to_a_page_by_default(open_house: Hosted) -> None:
    body = ask(open_house, "GET", "/v1/realtime/ice").json
    assert body["iceServers"] == []
    assert "link" not in call(open_house).headers


def test_a_page_is_told_the_operators_servers_with_a_login_for_a_while(hosting: Host) -> None:
    servers = ["stun:stun.example.com", "turn:turn.example.com:3478?transport=udp"]
    secret = "north-of-the-river"
    settings = {"ice_servers": servers, "turn_secret": secret, "turn_credential_s": 600}
    server = hosting(webrtc=settings)
    answer = ask(server, "GET", "/v1/realtime/ice")
    stun, turn = answer.json["iceServers"]
    assert stun == {"urls": servers[:1]}
    expiry, _, user = turn["username"].partition(":")
    assert int(expiry) == answer.json["expires_at"] and abs(int(expiry) - time.time() - 600) < 5
    assert user and turn["credential"] and secret not in answer.body.decode()
    assert answer.headers["cache-control"] == "no-store"
    link = call(server).headers["link"]
    assert '<stun:stun.example.com>; rel="ice-server"' in link
    assert f'<{servers[1]}>; rel="ice-server"; username="' in link


RELAY = {"ice_servers": ["turn:turn.example.com"], "turn_secret": "north-of-the-river"}


def test_logins_at_the_relay_are_handed_out_only_so_often_with_one_key(hosting: Host) -> None:
    often = {"offers_per_minute_and_key": 3, "offers_per_minute": 1}
    server = hosting(server={"api_keys": [KEY, OTHER]}, webrtc={**RELAY, **often})

    def asked(key: str) -> Answer:
        return ask(server, "GET", "/v1/realtime/ice", key=key)

    logins = [asked(KEY).json["iceServers"][0]["credential"] for _ in range(3)]
    assert len(set(logins)) == 3
    refused = asked(KEY)
    assert refused.status == 429 and error(refused)["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert "Use the last one" in error(refused)["message"]
    assert "credential" not in refused.body.decode()
    assert asked(OTHER).status == 200, "from this machine's own address, as often"
    place = call(server, key=KEY).headers["location"]
    assert ask(server, "DELETE", place, key=KEY).status == 200, "offers are counted apart"


def test_where_there_are_no_logins_servers_are_told_as_often_as_one_asks(hosting: Host) -> None:
    stun = {"ice_servers": ["stun:stun.example.com"], "offers_per_minute_and_key": 1}
    server = hosting(server={"api_keys": [KEY]}, webrtc=stun)
    for _ in range(3):
        assert ask(server, "GET", "/v1/realtime/ice", key=KEY).status == 200


# --- settings of the set-up -----------------------------------------------------------------------


def test_what_is_prepared_is_what_a_session_is_told_to_be(open_house: Hosted) -> None:
    effective = open_house.ask(lambda: open_house.desk.prepared(SLOW))
    assert effective["instructions"] == "Speak slowly."
    assert effective["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert msgspec.json.encode(effective)
