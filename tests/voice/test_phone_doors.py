"""The doors of Telnyx, Vonage and Asterisk on a real server."""

import json
import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mocks.phone_others import AsteriskChannel, TelnyxStream, VonageSocket
from tests.phones import (
    ASTERISK,
    PUBLIC,
    SETTINGS,
    TELNYX,
    VONAGE,
    WSS,
    basic,
    called,
    calling,
    closed_with,
    closes,
    form,
    knock,
    post,
    ringing,
    server,
    stays,
    telnyx,
    touched,
    untouched,
    vonage,
)
from tests.served import LIMIT_S, Answer, Hosted, eventually
from voice.transports.telephony.leg import MOST_GARBLED

__all__ = ["server", "untouched"]

CALL = "v2:7V3r4VFCGLTzKLOveE0"
UUID = "63f61863-4a51-4f6b-86e1-46edebcf9356"
Headers = dict[str, str]


# --- Telnyx ---------------------------------------------------------------------------------------

BODY = form(ringing(CALL))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
FORGED: dict[str, tuple[str, Callable[[], Headers]]] = {
    "not signed": (BODY, dict),
    "signed with another key": (BODY, lambda: telnyx(BODY, key=OTHER_KEY)),
    "another body": (BODY + "&x=1", lambda: telnyx(BODY)),
    "ten minutes old": (BODY, lambda: telnyx(BODY, at=time.time() - 600)),
    "of the future": (BODY, lambda: telnyx(BODY, at=time.time() + 600)),
    "another time": (BODY, lambda: {**telnyx(BODY), "telnyx-timestamp": str(int(time.time()) + 9)}),
    "no time": (BODY, lambda: {**telnyx(BODY), "telnyx-timestamp": ""}),
    "a time that is none": (BODY, lambda: {**telnyx(BODY), "telnyx-timestamp": "1e9"}),
    "no base64": (BODY, lambda: {**telnyx(BODY), "telnyx-signature-ed25519": "?"}),
    "half a signature": (BODY, lambda: {**telnyx(BODY), "telnyx-signature-ed25519": "AAAA"}),
    "no call": ("From=1", lambda: telnyx("From=1")),
    "nothing": ("", lambda: telnyx("")),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_telnyx_webhook_is_refused(untouched: Hosted, how: str) -> None:
    body, headers = FORGED[how]
    assert post(untouched.url, f"{TELNYX}/voice", body, headers()).status == 403


def telnyx_way(server: Hosted, call: str) -> str:
    """Path and query of the socket."""
    body = form(ringing(call, Salt=str(time.time_ns())))
    answer = post(server.url, f"{TELNYX}/voice", body, telnyx(body))
    assert answer.status == 200, answer
    found = re.search(r'<Stream url="([^"]*)" (.*?)/></Connect><Hangup/>', answer.body.decode())
    assert found is not None
    assert 'bidirectionalMode="rtp"' in found[2] and 'bidirectionalCodec="PCMU"' in found[2]
    url = unescape(found[1])
    assert url.startswith(f"{WSS}{TELNYX}?")
    return url.removeprefix(WSS)


def test_a_telnyx_call_comes_in_once(server: Hosted) -> None:
    way = telnyx_way(server, CALL)
    stays(server, way, {}, TelnyxStream(CALL))
    before = touched(server)
    assert knock(server.url, way, {}).status == 403, "its own reconnecting, too"
    assert touched(server) == before


def test_a_telnyx_webhook_is_a_replay_however_its_signature_is_written(server: Hosted) -> None:
    body = form(ringing(CALL, Salt=str(time.time_ns())))
    headers = telnyx(body)
    signature = headers["telnyx-signature-ed25519"]
    first = post(server.url, f"{TELNYX}/voice", body, headers)
    other = {**headers, "telnyx-signature-ed25519": rewritten(signature)}
    again = post(server.url, f"{TELNYX}/voice", body, other)
    assert again.status == 200 and again.body == first.body, "no second ticket"


def rewritten(coded: str) -> str:
    """The same bytes: base64's last letter has bits that mean nothing."""
    stem, padding = coded.rstrip("="), coded[len(coded.rstrip("=")) :]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return stem[:-1] + letters[letters.index(stem[-1]) ^ 1] + padding


def test_a_telnyx_call_with_alaw_comes_in(server: Hosted) -> None:
    stays(server, telnyx_way(server, CALL), {}, TelnyxStream(CALL, encoding="PCMA"))


def test_a_telnyx_socket_without_its_ticket_is_refused(untouched: Hosted) -> None:
    way = telnyx_way(untouched, CALL)
    query = parse_qs(urlsplit(way).query)
    ticket = query["ticket"][0]
    for wrong in ({}, {"call": CALL}, {"call": "v2:other", "ticket": ticket}, {"ticket": ticket}):
        assert knock(untouched.url, f"{TELNYX}?{urlencode(wrong)}", {}).status == 403
    other = closes(untouched, way, {}, TelnyxStream("v2:other").begin())
    assert other == (1008, "not_signed"), "the ticket was another call's"


# --- Vonage ---------------------------------------------------------------------------------------

TOLD = called(UUID)
FORGED_JWT: dict[str, Callable[[], Headers]] = {
    "none": dict,
    "empty": lambda: {"Authorization": "Bearer "},
    "no JWT": lambda: {"Authorization": "Bearer a.b.c"},
    "another scheme": lambda: {"Authorization": "Basic YTpi"},
    "another secret": lambda: vonage(TOLD, secret="another-secret-of-thirty-two-signs-and-more"),
    "too old": lambda: vonage(TOLD, iat=int(time.time()) - 900),
    "of the future": lambda: vonage(TOLD, iat=int(time.time()) + 900),
    "expired": lambda: vonage(TOLD, exp=int(time.time()) - 900),
    "another application": lambda: vonage(TOLD, application_id="other"),
}
UNSIGNED = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpYXQiOjF9."


@pytest.mark.parametrize("how", FORGED_JWT)
def test_a_forged_vonage_request_is_refused(untouched: Hosted, how: str) -> None:
    headers = FORGED_JWT[how]()
    answer = post(untouched.url, f"{VONAGE}/voice", TOLD, headers, "application/json")
    assert answer.status == 403
    assert knock(untouched.url, VONAGE, headers).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        lambda: vonage(None),
        lambda: vonage(called("other")),
        lambda: vonage(TOLD, payload_hash="é"),
        lambda: {"Authorization": f"Bearer {UNSIGNED}"},
    ],
    ids=["no hash", "another's", "no hexadecimal", "no algorithm"],
)
def test_a_vonage_webhook_with_a_body_that_was_not_signed_is_refused(
    untouched: Hosted, headers: Callable[[], Headers]
) -> None:
    answer = post(untouched.url, f"{VONAGE}/voice", TOLD, headers(), "application/json")
    assert answer.status == 403


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 5000, b"\xff", b'{"uuid": 7}'])
def test_a_vonage_webhook_of_no_call_is_refused(untouched: Hosted, body: bytes) -> None:
    answer = post(untouched.url, f"{VONAGE}/voice", body, vonage(body), "application/json")
    assert answer.status == 403


def ncco(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    (action,) = answer.json
    assert action["action"] == "connect"
    endpoint: dict[str, Any] = action["endpoint"][0]
    assert endpoint["uri"] == f"{WSS}{VONAGE}" and endpoint["authorization"] == {"type": "vonage"}
    assert endpoint["content-type"] == "audio/l16;rate=16000"
    return endpoint


def test_a_vonage_call_comes_in_once(server: Hosted) -> None:
    headers = vonage(TOLD)
    answer = post(server.url, f"{VONAGE}/voice", TOLD, headers, "application/json")
    phone = VonageSocket(UUID, ncco(answer)["headers"])
    stays(server, VONAGE, vonage(None), phone)
    before = touched(server)
    assert closes(server, VONAGE, vonage(None), phone.begin()) == (1008, "not_signed")
    again = post(server.url, f"{VONAGE}/voice", TOLD, headers, "application/json")
    assert again.status == 403, "a replay"
    assert touched(server) == before


def test_a_vonage_webhook_is_a_replay_whatever_stands_around_its_jwt(server: Hosted) -> None:
    headers = vonage(TOLD)
    first = post(server.url, f"{VONAGE}/voice", TOLD, headers, "application/json")
    other = {"Authorization": headers["Authorization"].replace("Bearer ", "bearer  ")}
    again = post(server.url, f"{VONAGE}/voice", TOLD, other, "application/json")
    assert first.status == again.status == 200
    assert again.body == first.body, "no second ticket"


def test_a_vonage_webhook_may_be_a_get(server: Hosted) -> None:
    fields = {"to": "15005550001", "from": "15005550006", "uuid": UUID, "conversation_uuid": "C-1"}
    signed = json.dumps(fields, separators=(",", ":")).encode()
    path = f"{VONAGE}/voice?{urlencode(fields)}"
    answer = post(server.url, path, "", vonage(signed), method="GET")
    stays(server, VONAGE, vonage(None), VonageSocket(UUID, ncco(answer)["headers"]))
    assert post(server.url, path + "9", "", vonage(signed), method="GET").status == 403


def test_a_vonage_call_without_its_ticket_is_closed(untouched: Hosted) -> None:
    for headers in ({}, {"kaiwa_call": UUID}, {"kaiwa_call": UUID, "kaiwa_ticket": "1.2.3"}):
        frames = VonageSocket(UUID, headers).begin()
        assert closes(untouched, VONAGE, vonage(None), frames) == (1008, "not_signed")


# --- Asterisk -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?"},
        basic("wrong-password-of-the-exchange"),
        basic(name="root"),
        basic(""),
        {"Authorization": basic()["Authorization"].replace("Basic", "Bearer")},
    ],
)
def test_asterisk_without_its_password_is_refused(untouched: Hosted, headers: Headers) -> None:
    assert knock(untouched.url, ASTERISK, headers).status == 403


@pytest.mark.parametrize("is_json", [True, False])
def test_an_asterisk_channel_comes_in_and_its_subprotocol_is_taken(
    server: Hosted, is_json: bool
) -> None:
    answer = knock(server.url, ASTERISK, basic())
    assert answer.status == 101 and answer.headers["sec-websocket-protocol"] == "media"
    stays(server, ASTERISK, _without_protocol(basic()), AsteriskChannel(is_json=is_json))


def _without_protocol(headers: Headers) -> Headers:
    return {"Authorization": headers["Authorization"]}


def test_an_asterisk_channel_that_connects_again_takes_over(server: Hosted) -> None:
    headers, phone = _without_protocol(basic()), AsteriskChannel("pbx1-1.7")
    with calling(server, ASTERISK, headers, phone.begin()) as first:
        assert json.loads(first.recv(timeout=LIMIT_S)) == {"command": "ANSWER"}
        with calling(server, ASTERISK, headers, phone.begin()) as second:
            assert closed_with(first)[1] == "the call came in again"
            eventually(lambda: server.desk.sessions == 1, "the first session is over")
            stays(server, ASTERISK, headers, phone)
            assert closed_with(second)[1] == "the call came in again"


def test_what_never_speaks_like_asterisk_is_told_so_in_any_script(server: Hosted) -> None:
    """A close frame holds 123 bytes of reason: not 100 signs of four bytes each."""
    headers = _without_protocol(basic())
    frames = [*AsteriskChannel().begin(), *(["\N{GOTHIC LETTER HWAIR}" * 40] * MOST_GARBLED)]
    with calling(server, ASTERISK, headers, frames) as socket:
        assert json.loads(socket.recv(timeout=LIMIT_S)) == {"command": "ANSWER"}
        code, reason = closed_with(socket)
    assert code == 1008 and reason.startswith("no event's name: '\N{GOTHIC LETTER HWAIR}")


def test_an_asterisk_coding_that_we_have_not_is_told_what_would_do(untouched: Hosted) -> None:
    frames = [str(frame).replace("ulaw", "opus") for frame in AsteriskChannel().begin()]
    assert closes(untouched, ASTERISK, _without_protocol(basic()), frames) == (
        1008,
        "unsupported_call",
    )


def test_calls_that_start_at_once_are_no_more_than_there_is_room_for(
    hosting: Callable[..., Hosted],
) -> None:
    server = hosting(telephony=SETTINGS, server={"max_sessions": 1})
    headers = _without_protocol(basic())
    with (
        calling(server, ASTERISK, headers, []) as first,
        calling(server, ASTERISK, headers, []) as second,
    ):
        for socket, name in ((first, "pbx1-1.1"), (second, "pbx1-1.2")):
            for frame in AsteriskChannel(name).begin():
                socket.send(frame)
            eventually(lambda: server.desk.sessions, "the first call comes in")
        assert closed_with(second) == (1013, "server_busy")
        assert server.desk.sessions == 1


# --- when they are shut ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TELNYX, VONAGE, ASTERISK])
def test_without_their_secrets_the_doors_are_not_there(
    hosting: Callable[..., Hosted], path: str
) -> None:
    server = hosting(telephony={"public_url": PUBLIC})
    assert knock(server.url, path, {}).status == 404
    if path != ASTERISK:
        assert post(server.url, f"{path}/voice", "", {}).status == 404
