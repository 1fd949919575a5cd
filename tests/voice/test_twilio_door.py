"""Twilio's door on a real server: forged and replayed calls, refused before anything is touched."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from mocks.phone import TwilioStream
from tests.phones import (
    ACCOUNT,
    KEY_ID,
    OTHER_ACCOUNT,
    OTHER_TOKEN,
    PUBLIC,
    SETTINGS,
    TOKEN,
    TWILIO,
    WSS,
    calling,
    closed_with,
    closes,
    form,
    knock,
    post,
    ringing,
    server,
    stays,
    touched,
    twilio,
    twilio_256,
    untouched,
)
from tests.served import Hosted, eventually, request
from voice.transports.telephony.tickets import LIFE_S, Tickets
from voice.transports.telephony.twilio_door import TICKET

__all__ = ["server", "untouched"]

VOICE = f"{TWILIO}/voice"
URL, SOCKET = PUBLIC + VOICE, WSS + TWILIO
CALL, OTHER_CALL = "CA" + "3" * 32, "CA" + "4" * 32
FIELDS = ringing(CALL)
Headers = dict[str, str]


def ask(server: Hosted, fields: dict[str, str], headers: Headers, path: str = VOICE) -> int:
    return post(server.url, path, form(fields), headers).status


def changed(**other: str) -> dict[str, str]:
    return {**FIELDS, **other}


NO_KEY = "algorithm=HMAC_SHA256"
OTHER_KEY, NONE = f"key=other,{NO_KEY}", f"key={KEY_ID},algorithm=NONE"
FORGED: dict[str, tuple[dict[str, str], Headers]] = {
    "not signed": (FIELDS, {}),
    "signed with nothing": (FIELDS, {"X-Twilio-Signature": ""}),
    "signed with another token": (FIELDS, twilio(URL, FIELDS, OTHER_TOKEN)),
    "signed with no token": (FIELDS, twilio(URL, FIELDS, "")),
    "signed for another host": (FIELDS, twilio(f"https://evil.example{VOICE}", FIELDS)),
    "signed for the address we listen on": (FIELDS, twilio(f"http://127.0.0.1{VOICE}", FIELDS)),
    "signed for http": (FIELDS, twilio(URL.replace("https", "http"), FIELDS)),
    "signed for another path": (FIELDS, twilio(f"{URL}/", FIELDS)),
    "signed for the socket": (FIELDS, twilio(SOCKET)),
    "signed without the fields": (FIELDS, twilio(URL)),
    "another caller": (changed(From="+15005550009"), twilio(URL, FIELDS)),
    "another call": (changed(CallSid=OTHER_CALL), twilio(URL, FIELDS)),
    "a field more": (changed(Extra="1"), twilio(URL, FIELDS)),
    "a field less": ({k: v for k, v in FIELDS.items() if k != "To"}, twilio(URL, FIELDS)),
    "half a signature": (FIELDS, {k: v[:14] for k, v in twilio(URL, FIELDS).items()}),
    "another account": (o := changed(AccountSid=OTHER_ACCOUNT), twilio(URL, o)),
    "no call": (n := changed(CallSid=""), twilio(URL, n)),
    "sha256 without a key's name": (FIELDS, twilio_256(URL, FIELDS, settings=NO_KEY)),
    "sha256 with a key we do not know": (FIELDS, twilio_256(URL, FIELDS, settings=OTHER_KEY)),
    "sha256 with another secret": (FIELDS, twilio_256(URL, FIELDS, secret=OTHER_TOKEN)),
    "sha256 with the account's token": (FIELDS, twilio_256(URL, FIELDS, secret=TOKEN)),
    "sha1 said to be sha256": (FIELDS, {**twilio_256(URL, FIELDS), **twilio(URL, FIELDS)}),
    "an algorithm that is none": (FIELDS, twilio_256(URL, FIELDS, settings=NONE)),
}  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_webhook_is_refused(untouched: Hosted, how: str) -> None:
    fields, headers = FORGED[how]
    assert ask(untouched, fields, headers) == 403


FORGED_UPGRADES: dict[str, Headers] = {
    "not signed": {},
    "signed with nothing": {"X-Twilio-Signature": ""},
    "signed with another token": twilio(SOCKET, secret=OTHER_TOKEN),
    "signed for https": twilio(PUBLIC + TWILIO),
    "signed for ws": twilio(SOCKET.replace("wss", "ws")),
    "signed with two slashes behind": twilio(f"{SOCKET}//"),
    "signed for another path": twilio(f"{WSS}/v1/realtime"),
    "signed for another provider": twilio(f"{WSS}/v1/telephony/telnyx"),
    "signed for another host": twilio(f"wss://evil.example{TWILIO}"),
    "the webhook's signature": twilio(URL, FIELDS),
    "signed with fields": twilio(SOCKET, FIELDS),
    "sha256 with a key we do not know": twilio_256(SOCKET, settings=f"key=x,{NO_KEY}"),
    "sha256 with another secret": twilio_256(SOCKET, secret=OTHER_TOKEN),
    "an API key of ours in its stead": {"Authorization": f"Bearer {TOKEN}"},
}


@pytest.mark.parametrize("how", FORGED_UPGRADES)
def test_a_forged_upgrade_is_refused(untouched: Hosted, how: str) -> None:
    answer = knock(untouched.url, TWILIO, FORGED_UPGRADES[how])
    assert answer.status == 403 and answer.json["error"]["code"] == "not_signed"


def test_an_upgrade_with_a_query_is_another_than_was_signed(untouched: Hosted) -> None:
    assert knock(untouched.url, f"{TWILIO}?a=b", twilio(SOCKET)).status == 403
    assert knock(untouched.url, f"{TWILIO}?a=b", twilio(f"{SOCKET}?a=b")).status == 403


def test_an_upgrade_may_be_signed_with_a_slash_behind_its_address(untouched: Hosted) -> None:
    signed = twilio(f"{SOCKET}/")
    assert closes(untouched, TWILIO, signed, start(CALL, "")) == (1008, "not_signed")  # the ticket


# --- behind the upgrade ---------------------------------------------------------------------------


def ticket_for(server: Hosted, call: str, headers: Headers | None = None) -> str:
    """By a webhook that is signed as it should be."""
    fields = ringing(call, Salt=str(time.time_ns()))
    answer = post(server.url, VOICE, form(fields), headers or twilio(URL, fields))
    assert answer.status == 200, answer
    found = re.search(rf'<Parameter name="{TICKET}" value="([^"]*)"', answer.body.decode())
    assert found is not None
    return found[1]


def closed(server: Hosted, frames: list[Any]) -> tuple[int, str]:
    """What the server closes with behind a signed upgrade and these frames."""
    return closes(server, TWILIO, twilio(SOCKET), frames)


def start(call: str, ticket: str, account: str = ACCOUNT) -> list[Any]:
    return list(TwilioStream(call, {TICKET: ticket}, account=account).begin())


@pytest.mark.parametrize("ticket", ["", "x", "1.2.3", "9999999999999.ab." + "0" * 64])
def test_a_stream_without_a_ticket_of_ours_is_closed(untouched: Hosted, ticket: str) -> None:
    assert closed(untouched, start(CALL, ticket)) == (1008, "not_signed")


def test_a_stream_with_another_calls_ticket_is_closed(untouched: Hosted) -> None:
    ticket = ticket_for(untouched, OTHER_CALL)
    assert closed(untouched, start(CALL, ticket)) == (1008, "not_signed")


def test_a_stream_of_another_account_is_closed(untouched: Hosted) -> None:
    ticket = ticket_for(untouched, CALL)
    assert closed(untouched, start(CALL, ticket, OTHER_ACCOUNT)) == (1008, "not_signed")


def test_a_ticket_that_is_too_old_is_closed(untouched: Hosted) -> None:
    tickets: Tickets = untouched.desk.switchboard.twilio._tickets  # type: ignore[union-attr]  # open
    ticket = tickets.issue(CALL, time.time() - LIFE_S, "aa", "an old request")
    assert closed(untouched, start(CALL, ticket)) == (1008, "not_signed")


@pytest.mark.parametrize(
    "frames",
    [
        [],
        ['{"event": "connected", "protocol": "Call", "version": "1.0.0"}'],
        ["{"] * 3,
        [b"\x00" * 160] * 3,
        [json.dumps({"event": "start", "start": {"callSid": CALL}})],
        [json.dumps({"event": "media", "media": {"payload": "AAAA"}})] * 5,
    ],
    ids=["nothing", "connected", "garbage", "binary", "half a start", "media first"],
)
def test_a_stream_that_does_not_start_is_closed(untouched: Hosted, frames: list[Any]) -> None:
    assert closed(untouched, frames) == (1008, "no_start")


def test_a_stream_that_says_much_before_it_starts_is_closed_at_once(untouched: Hosted) -> None:
    assert closed(untouched, ["{}"] * 100) == (1008, "no_start")


def test_a_start_of_something_else_than_mu_law_is_told_what_would_do(untouched: Hosted) -> None:
    frames = [str(frame).replace("x-mulaw", "x-l16") for frame in start(CALL, "")]
    assert closed(untouched, frames) == (1008, "unsupported_call")


# --- who may come in ------------------------------------------------------------------------------


def comes_in(server: Hosted, call: str, ticket: str, headers: Headers | None = None) -> None:
    phone = TwilioStream(call, {TICKET: ticket}, account=ACCOUNT)
    stays(server, TWILIO, headers or twilio(SOCKET), phone)


def test_the_right_call_comes_in_once_and_its_replay_does_not(server: Hosted) -> None:
    ticket = ticket_for(server, CALL)
    comes_in(server, CALL, ticket)
    before = touched(server)
    assert closed(server, start(CALL, ticket)) == (1008, "not_signed")
    assert touched(server) == before


def test_a_webhook_that_comes_again_is_answered_alike_and_after_its_ticket_is_used_not(
    server: Hosted,
) -> None:
    fields = ringing("CA" + "5" * 32)
    answers = [post(server.url, VOICE, form(fields), twilio(URL, fields)) for _ in range(2)]
    assert answers[0].body == answers[1].body
    found = re.search(rf'name="{TICKET}" value="([^"]*)"', answers[0].body.decode())
    assert found is not None
    comes_in(server, fields["CallSid"], found[1])
    before = touched(server)
    assert ask(server, fields, twilio(URL, fields)) == 403
    assert touched(server) == before


def test_the_answer_is_twiml_that_joins_and_then_hangs_up(server: Hosted) -> None:
    fields = ringing("CA" + "6" * 32)
    answer = post(server.url, VOICE, form(fields), twilio(URL, fields))
    assert answer.headers["content-type"].startswith("text/xml")
    shape = re.sub(r'value="[^"]*"', 'value="…"', answer.body.decode())
    assert shape.endswith(
        f'<Response><Connect><Stream url="{SOCKET}"><Parameter name="{TICKET}" value="…" />'
        "</Stream></Connect><Hangup /></Response>"
    )


def test_shared_keys_and_sha256_open_it_too(server: Hosted) -> None:
    fields = ringing("CA" + "7" * 32)
    answer = post(server.url, VOICE, form(fields), twilio_256(URL, fields))
    assert answer.status == 200
    found = re.search(rf'name="{TICKET}" value="([^"]*)"', answer.body.decode())
    assert found is not None
    comes_in(server, fields["CallSid"], found[1], twilio_256(SOCKET))


def test_a_url_signed_with_its_port_is_the_same(server: Hosted) -> None:
    """Twilio's signatures name the port, or not: its own library says that one never knows."""
    fields = ringing("CA" + "8" * 32)
    url = URL.replace("example.com", "example.com:443")
    assert ask(server, fields, twilio(url, fields)) == 200


def test_a_second_stream_of_a_call_takes_over_and_the_first_is_let_go(server: Hosted) -> None:
    call = "CA" + "9" * 32
    board = server.desk.switchboard
    frames = start(call, ticket_for(server, call))
    with calling(server, TWILIO, twilio(SOCKET), frames) as first:
        leg = eventually(lambda: board.leg("twilio", call), "the call comes in")
        again = start(call, ticket_for(server, call))
        with calling(server, TWILIO, twilio(SOCKET), again):
            assert closed_with(first)[1] == "the call came in again"
            eventually(lambda: server.ask(lambda: server.desk.sessions) == 1, "one is left")
            assert board.leg("twilio", call) not in (None, leg)
    eventually(lambda: board.leg("twilio", call) is None, "the call leaves")


def test_a_body_that_is_too_large_is_not_read(untouched: Hosted) -> None:
    fields = ringing(CALL, Filler="x" * 70_000)
    assert ask(untouched, fields, twilio(URL, fields)) == 413


def test_more_fields_than_any_call_has_are_refused(untouched: Hosted) -> None:
    fields = {**FIELDS, **{f"f{number}": "1" for number in range(300)}}
    assert ask(untouched, fields, twilio(URL, fields)) == 403


@pytest.mark.parametrize("body", [b"", b"\xff\xfe=%ff%", b"&&&===", b"CallSid", b"%00=%00"])
def test_a_body_that_is_no_form_is_refused(untouched: Hosted, body: bytes) -> None:
    assert post(untouched.url, VOICE, body, twilio(URL)).status == 403


def test_other_methods_are_none(untouched: Hosted) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert post(untouched.url, VOICE, "", twilio(URL), method=method).status == 405


def test_a_page_of_elsewhere_cannot_use_it_either(untouched: Hosted) -> None:
    headers = {"Origin": "https://evil.example", "Host": "evil.example"}
    assert post(untouched.url, VOICE, form(FIELDS), headers).status in (400, 403)


def test_behind_a_proxy_that_keeps_its_own_name_it_is_let_in(server: Hosted) -> None:
    fields = ringing("CA" + "a" * 32)
    data = form(fields).encode()
    lines = [
        f"POST {VOICE} HTTP/1.1", "Host: voice.example.com", "Connection: close",
        "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(data)}",
        *(f"{n}: {v}" for n, v in twilio(URL, fields).items()),
    ]  # fmt: skip
    assert request(server.url, "\r\n".join(lines).encode() + b"\r\n\r\n" + data).status == 200


# --- when it is shut ------------------------------------------------------------------------------


def test_without_its_secrets_the_door_is_not_there(hosting: Callable[..., Hosted]) -> None:
    server = hosting(telephony={"public_url": PUBLIC, "twilio_account_sid": ACCOUNT})
    for path, headers in ((VOICE, twilio(URL, FIELDS, "")), (VOICE, {})):
        assert post(server.url, path, form(FIELDS), headers).status == 404
    assert knock(server.url, TWILIO, twilio(SOCKET, secret="")).status == 404


def test_where_there_is_no_room_the_caller_hears_that_the_line_is_busy(
    hosting: Callable[..., Hosted],
) -> None:
    server = hosting(telephony=SETTINGS, server={"max_sessions": 1})
    call = "CA" + "b" * 32
    with calling(server, TWILIO, twilio(SOCKET), start(call, ticket_for(server, call))):
        eventually(lambda: server.desk.sessions, "the call comes in")
        fields = ringing("CA" + "c" * 32)
        answer = post(server.url, VOICE, form(fields), twilio(URL, fields))
        assert answer.status == 200 and b'<Reject reason="busy" />' in answer.body
        assert knock(server.url, TWILIO, twilio(SOCKET)).status == 503
        assert knock(server.url, TWILIO, {}).status == 403, "strangers are not told how full it is"


def test_there_are_forty_of_them() -> None:
    """What the door was built to refuse, beside what is above."""
    assert len(FORGED) + len(FORGED_UPGRADES) + 3 >= 40
