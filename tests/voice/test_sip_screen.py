"""Who may call by telephone, and what is answered who may not; on real sockets."""

import re
import socket

import pytest
from aiosipua import SipDigestAuth, build_credentials, parse_auth
from aiosipua.header_codec import stringify_auth

from tests.served import SOON_S, Hosted, eventually
from tests.softphone import Softphone
from tests.softphone_calls import Start, at, door, hosted, nobody, phone, sessions, sip
from voice.transports.sip import call

__all__ = ["hosted", "phone"]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("v=0\r\nm=audio x RTP/AVP 0\r\n", (), 488),
        ("v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 97\r\n", (), 488),
        ("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/SAVP 0\r\n", (), 488),
        ("v=0\r\n" + "a=x\r\n" * 400, (), 488),
        ("v=0\r\n" + "m=audio 9 RTP/AVP 0\r\n" * 20, (), 488),
        (None, ("Require: teleport",), 420),
    ],
)
def test_what_cannot_be_is_refused(
    hosted: Hosted, body: str | None, headers: tuple[str, ...], status: int
) -> None:
    with at(hosted) as phone:
        answer = phone.invite(body, headers)
        assert answer.status == status
        assert phone.is_left_alone()
        assert sessions(hosted) == 0


@pytest.mark.parametrize(
    ("headers", "strange"),
    [
        (("Require: 100rel",), "100rel"),
        (("Require: timer, 100rel", "Require: Teleport"), "100rel, teleport"),
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE"])
def test_who_requires_what_we_have_not_is_told_what_that_is(
    hosted: Hosted, method: str, headers: tuple[str, ...], strange: str
) -> None:
    with at(hosted) as phone:
        answer = (
            phone.invite(None, headers) if method == "INVITE" else phone.ask(method, "", headers)
        )
        assert answer.status == 420 and answer.header("Unsupported") == strange
        assert sessions(hosted) == 0


def test_who_requires_what_we_have_is_let_in(phone: Softphone) -> None:
    phone.call(headers=("Require: timer", "Supported: timer"))
    assert phone.ask("OPTIONS").header("Supported") == "timer"


@pytest.mark.parametrize("length", ["-5", "many", "", "9999", "1e2", "0x10", "²", "+5", "9" * 400])
@pytest.mark.parametrize("name", ["Content-Length", "l"])
def test_a_length_that_cannot_be_is_400_and_no_call(hosted: Hosted, length: str, name: str) -> None:
    with at(hosted) as phone:
        whole = phone.request("INVITE", phone.sdp())
        head, _, body = whole.partition("\r\n\r\n")
        kept = [line for line in head.split("\r\n") if not line.startswith("Content-Length")]
        phone.send("\r\n".join([*kept, f"{name}: {length}", "", body]))
        assert phone.final().status == 400
        assert sessions(hosted) == 0 and not door(hosted).calls


@pytest.mark.parametrize("more", ["", "x" * 100])
def test_bytes_behind_the_body_are_none_of_it(phone: Softphone, more: str) -> None:
    phone.send(phone.request("INVITE", phone.sdp()) + more)
    answer = phone.final()
    assert answer.status == 200
    phone.invite_branch, phone.to, phone.media = phone.branch, answer.header("To"), answer.media
    phone.ack()


def test_a_refusal_is_repeated_until_it_is_acknowledged(hosted: Hosted) -> None:
    with at(hosted) as phone:
        phone.send(phone.request("INVITE", phone.sdp(codecs="18")))
        first, again = phone.final(), phone.final()
        assert first.start == again.start
        assert first.status == 488 and first.header("To") == again.header("To")
        phone.ack(branch=phone.branch, to=first.header("To"))
        assert phone.is_left_alone()


def test_a_line_that_is_busy_says_so_and_when_to_come_again(hosting: Start) -> None:
    hosted = hosting(sip=sip(most_calls=1))
    with at(hosted) as phone, at(hosted) as other:
        phone.call()
        busy = other.invite()
        assert busy.status == 486 and int(busy.header("Retry-After")) > 0
        phone.bye()
        nobody(hosted)
        other.call()
        assert other.bye().status == 200
    nobody(hosted)


def test_an_options_is_answered_as_an_invite_would_be(hosting: Start) -> None:
    """RFC 3261 §11.2; in a dialog it asks for no line."""
    hosted = hosting(sip=sip(most_calls=1))
    with at(hosted) as phone, at(hosted) as other:
        assert other.ask("OPTIONS").status == 200
        phone.call()
        busy = other.ask("OPTIONS")
        assert busy.status == 486 and int(busy.header("Retry-After")) > 0
        assert phone.ask("OPTIONS").status == 200
        phone.bye()
        nobody(hosted)
        hosted.ask(lambda: setattr(hosted.desk, "stopping", True))
        try:
            assert other.ask("OPTIONS").status == 503
        finally:
            hosted.ask(lambda: setattr(hosted.desk, "stopping", False))


@pytest.mark.parametrize(
    ("uri", "status"),
    [("sips:kaiwa@127.0.0.1", 416), ("http://127.0.0.1", 416), ("kaiwa", 416)]
    + [("SIP:kaiwa@127.0.0.1", 200), ("tel:+49301234567", 200)],
)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_what_is_called_must_be_an_address_of_ours(
    hosted: Hosted, uri: str, status: int, method: str
) -> None:
    """sips is promised to be encrypted on every leg, and nothing here is."""
    with at(hosted) as phone:
        phone.send(
            phone.request(method, phone.sdp() if method == "INVITE" else "").replace(
                f"sip:kaiwa@{phone.door[0]}:{phone.door[1]}", uri, 1
            )
        )
        answer = phone.final()
        assert answer.status == status
        phone.to = answer.header("To")
        phone.ack(branch=phone.branch if status >= 300 else "")
        if status == 200 and method == "INVITE":
            assert phone.bye().status == 200
    nobody(hosted)


def test_a_second_invite_before_the_first_is_answered_makes_no_second_call(hosting: Start) -> None:
    """Room for one, and that is asked for once:

    INVITE, INVITE with a To tag   in one TCP segment: the first is not answered yet
    100 · 481                      200 to the first; the second is of no dialog that there is
    """
    hosted = hosting(sip=sip(tcp=True, most_calls=1))
    with at(hosted) as phone, socket.create_connection(door(hosted).address) as line:
        line.settimeout(SOON_S)
        invites = [phone.request("INVITE", phone.sdp())]
        phone.to = "<sip:kaiwa@127.0.0.1>;tag=made-up"
        for _ in range(5):
            phone.cseq += 1
            invites.append(phone.request("INVITE", phone.sdp()))
        line.sendall("".join(invites).replace("SIP/2.0/UDP", "SIP/2.0/TCP").encode())
        got = b""
        while len(found := re.findall(rb"SIP/2\.0 ([2-6]\d\d)", got)) < 6:
            got += line.recv(65_536)
        assert sorted(found) == [b"200"] + [b"481"] * 5
        assert len(door(hosted)._tasks) == 1 and sessions(hosted) <= 1
        phone.to = ""


def test_a_server_that_stops_takes_no_more_calls(hosted: Hosted) -> None:
    with at(hosted) as phone:
        hosted.ask(lambda: setattr(hosted.desk, "stopping", True))
        try:
            refused = phone.invite()
        finally:
            hosted.ask(lambda: setattr(hosted.desk, "stopping", False))
        assert refused.status == 503 and int(refused.header("Retry-After")) > 0


def test_other_methods_are_told_which_ones_there_are(hosted: Hosted) -> None:
    with at(hosted) as phone:
        for method in ("SUBSCRIBE", "MESSAGE", "REGISTER", "PRACK", "NONSENSE"):
            refused = phone.ask(method)
            assert refused.status == 405 and "INVITE" in refused.header("Allow")
        assert phone.ask("BYE").status == 481
        options = phone.ask("OPTIONS")
        assert options.status == 200 and "INVITE" in options.header("Allow")


def test_who_calls_must_know_the_password(hosting: Start) -> None:
    hosted = hosting(sip=sip(username="alice", password="correct horse"))

    def proof(challenge: str, password: str, count: int = 1) -> str:
        asked = parse_auth(challenge)
        given = build_credentials(
            SipDigestAuth("alice", password), asked, "INVITE", "sip:x", nonce_count=count
        )
        assert given is not None
        return f"Authorization: {stringify_auth(given)}"

    with at(hosted) as phone:
        asked = phone.invite()
        assert asked.status == 401
        challenge = asked.header("WWW-Authenticate")
        assert phone.invite(headers=(proof(challenge, "wrong"),)).status == 401
        elsewhere = challenge.replace('nonce="', 'nonce="1')
        assert phone.invite(headers=(proof(elsewhere, "correct horse"),)).status == 401
        right = proof(challenge, "correct horse")
        phone.call(headers=(right,))
        with at(hosted) as thief:  # what was overheard
            assert thief.invite(headers=(right,)).status == 401
        assert phone.bye().status == 200
    nobody(hosted)


def test_a_call_that_has_not_begun_has_its_place_all_the_same(
    hosting: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "ACK_GRACE_S", SOON_S)
    hosted = hosting(sip=sip(), server={"max_sessions": 1})
    with at(hosted) as first, at(hosted) as second:
        offer = first.invite("")
        assert offer.status == 200
        assert hosted.desk.sessions == 0, "it begins with the ACK"
        assert second.invite().status == 486
        first.to = offer.header("To")
        first.ack(first.sdp())
        assert first.bye().status == 200
    nobody(hosted)


# --- as an extension ------------------------------------------------------------------------------


def test_an_extension_registers_and_is_called_without_a_password(hosting: Start) -> None:
    with Softphone(("127.0.0.1", 0), "127.0.0.2") as system:
        _, port = system.sip.getsockname()
        hosted = hosting(
            sip=sip(
                username="alice",
                password="correct horse",
                registrar=f"127.0.0.2:{port}",
                extension="kaiwa-620",
                extension_password="battery staple",
            )
        )
        system.door = door(hosted).address
        asked = system.next()
        assert asked.method == "REGISTER" and "kaiwa-620@127.0.0.2" in asked.header("To")
        again = system.next()  # it is asked until it answers
        assert again.header("Via") == asked.header("Via")
        challenge = 'Digest realm="fritz.box", nonce="n1", algorithm=MD5, qop="auth"'
        system.answer(again, 401, f"WWW-Authenticate: {challenge}")
        proved = system.next()
        given = parse_auth(proved.header("Authorization"), credentials=True).params
        expected = build_credentials(
            SipDigestAuth("kaiwa-620", "battery staple"),
            parse_auth(challenge),
            "REGISTER",
            given["uri"],
            cnonce=given["cnonce"],
        )
        assert expected is not None and given["response"] == expected.params["response"]
        system.answer(proved, 200, "Expires: 60")
        extension = door(hosted).extension
        assert extension is not None
        eventually(lambda: extension.registered, "registered", SOON_S)
        system.call()
        assert system.bye().status == 200
        with at(hosted) as phone:  # anybody else must know it still
            assert phone.invite().status == 401
        nobody(hosted)
