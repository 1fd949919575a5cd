"""A call by telephone, on real sockets; what it says is written by hand: tests/softphone.py."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.needed import needed
from tests.served import SOON_S, Hosted, eventually
from tests.softphone import SILENCE, Softphone
from tests.softphone import SOON_S as NOTHING_S
from tests.softphone_calls import (
    GREETING,
    Start,
    at,
    door,
    hosted,
    nobody,
    only_call,
    phone,
    sessions,
    sip,
)

__all__ = ["hosted", "phone"]


# --- a call ---------------------------------------------------------------------------------------


def test_a_call_is_answered_sounds_and_ends(phone: Softphone, hosted: Hosted) -> None:
    answer = phone.call()
    assert "m=audio" in answer.body and "a=rtpmap:0 PCMU/8000" in answer.body
    assert re.search(r"<sip:kaiwa@127\.0\.0\.1:\d+>", answer.header("Contact"))
    phone.put(phone.packet())
    payload, source = phone.sound(SOON_S)
    assert len(payload) == 160 and source == phone.media
    while set(payload) == {0xFF}:  # silence, until it greets
        payload, _ = phone.sound(SOON_S)
    assert phone.bye().status == 200
    phone.to = ""
    nobody(hosted)


def test_sound_is_heard(phone: Softphone, hosted: Hosted) -> None:
    phone.call()
    phone.say(SILENCE * 50)
    call = only_call(hosted)
    counts = hosted.ask(lambda: call._media.counts)
    assert (counts.received, counts.lost, counts.late) == (50, 0, 0)


def test_an_ipv4_telephone_calls_a_server_that_listens_for_both_kinds(hosting: Start) -> None:
    hosted = hosting(sip=sip(host="::"), agent=GREETING)
    with Softphone(("127.0.0.1", door(hosted).address[1])) as phone:
        answer = phone.call()
        assert answer.media[0] == "127.0.0.1" and "IN IP6" not in answer.body
        assert re.search(r"<sip:kaiwa@127\.0\.0\.1:\d+>", answer.header("Contact"))
        assert phone.sound(SOON_S)[1] == phone.media, "before it has sent any of its own"
        phone.say(SILENCE * 10)
        call = only_call(hosted)
        assert hosted.ask(lambda: call._media.counts).received == 10
        assert phone.bye().status == 200
    nobody(hosted)


def test_an_invite_that_comes_twice_is_one_call(phone: Softphone, hosted: Hosted) -> None:
    phone.cseq += 1
    invite = phone.request("INVITE", phone.sdp())
    phone.send(invite)
    first = phone.final()
    phone.send(invite)
    second = phone.final()
    assert (first.status, second.status) == (200, 200)
    assert first.header("To") == second.header("To")
    assert len(door(hosted).calls) == 1
    phone.to = first.header("To")
    phone.ack()


def test_a_200_is_repeated_until_it_is_acknowledged(phone: Softphone) -> None:
    first = phone.invite()
    again = phone.final()
    assert first.start == again.start == "SIP/2.0 200 OK"
    phone.to = first.header("To")
    phone.ack()


def test_the_callers_proxies_stay_on_the_way(phone: Softphone, hosted: Hosted) -> None:
    """caller ── p1 ── p2 ── p3 ── us; each has put itself before the others (RFC 3261 §16.6)."""
    proxies = ["<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>"]
    headers = (f"Record-Route: {proxies[0]}, {proxies[1]}", f"Record-Route: {proxies[2]}")
    assert phone.call(headers=headers).all("Record-Route") == proxies
    session = only_call(hosted)._session
    hosted.ask(lambda: session.hang_up(1000, "done"))
    bye = phone.next()
    assert bye.method == "BYE" and bye.all("Route") == proxies
    phone.answer(bye)
    phone.to = ""


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_caller_who_goes_on_elsewhere_is_told_there_that_it_is_over(
    phone: Softphone, hosted: Hosted, method: str
) -> None:
    phone.call()
    phone.cseq += 1
    moved = re.sub(r"Contact: <[^>]*>", "Contact: <sip:me@mobile>", phone.request(method))
    phone.send(moved)
    assert phone.final().status == 200
    if method == "INVITE":
        phone.ack()
    session = only_call(hosted)._session
    hosted.ask(lambda: session.hang_up(1000, "done"))
    bye = phone.next()
    assert bye.start == "BYE sip:me@mobile SIP/2.0"
    phone.answer(bye)
    phone.to = ""


def test_an_offer_is_made_to_who_asks_for_one(phone: Softphone) -> None:
    offer = phone.invite("")
    assert offer.status == 200 and "m=audio" in offer.body
    phone.to, phone.media = offer.header("To"), offer.media
    phone.ack(phone.sdp())
    phone.put(phone.packet())
    assert phone.sound(SOON_S)


def test_an_ack_with_another_tag_does_not_answer_our_offer(phone: Softphone) -> None:
    offer = phone.invite("")
    phone.to, phone.media = offer.header("To"), offer.media
    with Softphone(phone.door) as other:
        phone.ack(other.sdp(), to=f"{phone.to}0")
        other.rtp.settimeout(NOTHING_S)
        with pytest.raises(TimeoutError):
            other.rtp.recv(2048)
    phone.ack(phone.sdp())
    phone.put(phone.packet())
    assert phone.sound(SOON_S)


def test_a_cancel_that_comes_too_late_changes_nothing(phone: Softphone, hosted: Hosted) -> None:
    phone.call()
    phone.send(phone.request("CANCEL", branch=phone.invite_branch))
    assert phone.final().status == 200
    assert sessions(hosted) == 1
    assert phone.bye().status == 200
    phone.to = ""


def test_a_call_that_we_end_is_told_until_that_is_known(phone: Softphone, hosted: Hosted) -> None:
    phone.call()
    session = only_call(hosted)._session
    hosted.ask(lambda: session.hang_up(1000, "done"))
    bye = phone.next()
    again = phone.next()
    assert bye.method == again.method == "BYE"
    assert bye.header("Via") == again.header("Via")
    phone.answer(again)
    phone.to = ""
    assert phone.is_left_alone()


def test_who_is_in_mid_sentence_says_no_more_once_the_call_is_ended(
    phone: Softphone, hosted: Hosted
) -> None:
    phone.call()
    session = only_call(hosted)._session
    phone.put(phone.packet())  # it greets
    while set(phone.sound(SOON_S)[0]) == {0xFF}:
        pass
    begun_at = time.monotonic()
    hosted.ask(lambda: session.hang_up(1000, "done"))
    bye = phone.next()
    assert bye.method == "BYE" and time.monotonic() - begun_at < 0.5
    phone.answer(bye)
    phone.to = ""


def test_a_call_without_a_sound_is_over(hosting: Start) -> None:
    hosted = hosting(sip=sip(silent_limit_s=0.5))
    with at(hosted) as phone:
        phone.call()
        bye = phone.next()
        assert bye.method == "BYE"
        phone.answer(bye)
    nobody(hosted)


def test_who_falls_silent_altogether_is_waited_for(hosting: Start) -> None:
    hosted = hosting(sip=sip(suspend_s=0.3), agent=GREETING)
    with at(hosted) as phone:
        phone.call()
        phone.put(phone.packet())
        call = only_call(hosted)
        session = call._session
        eventually(lambda: call._media.paused, "suspended", SOON_S)
        assert hosted.ask(lambda: session._floor.away)
        phone.say(SILENCE * 10)
        eventually(lambda: not call._media.paused, "resumed", SOON_S)
        assert not hosted.ask(lambda: session._floor.away)
        assert phone.bye().status == 200
    nobody(hosted)


def test_silence_that_was_told_is_no_reason_to_wait(hosting: Start) -> None:
    """A telephone that sends nothing while its owner listens says so first (RFC 3389)."""
    hosted = hosting(sip=sip(suspend_s=0.3), agent=GREETING)
    with at(hosted) as phone:
        phone.call()
        phone.say(SILENCE * 5)
        phone.put(phone.packet(b"\x50", kind=13))
        call = only_call(hosted)
        media = call._media
        eventually(lambda: media.resting and not media.paused, "told", SOON_S)
        while phone.sound(SOON_S) and time.monotonic() < media.heard_at + 1:
            assert not media.paused
        assert phone.bye().status == 200
    nobody(hosted)


def test_a_stopping_server_hangs_up(hosting: Start) -> None:
    hosted = hosting(sip=sip(most_calls=9))
    with at(hosted) as phone:
        phone.call()
        hosted.stop()
        assert phone.next().method == "BYE"


# --- hold, keys, moves ----------------------------------------------------------------------------


def test_nothing_is_said_to_who_is_on_hold(phone: Softphone) -> None:
    phone.call()
    phone.put(phone.packet())
    phone.sound(SOON_S)
    held = phone.invite(phone.sdp(more="a=sendonly\r\n"))
    phone.ack()
    assert "a=recvonly" in held.body
    ends_at = time.monotonic() + SOON_S
    with pytest.raises(TimeoutError):
        while time.monotonic() < ends_at:  # what was under way
            phone.sound(2 * NOTHING_S)
    resumed = phone.invite(phone.sdp(more="a=sendrecv\r\n"))
    phone.ack()
    assert "a=sendrecv" in resumed.body
    phone.put(phone.packet())
    assert phone.sound(SOON_S)


def test_sound_follows_to_where_it_is_wanted_now(phone: Softphone) -> None:
    phone.call()
    phone.put(phone.packet())
    phone.sound(SOON_S)
    phone.rtp.close()
    phone.rtp = phone._bound()
    assert phone.invite(phone.sdp()).status == 200
    phone.ack()
    assert phone.sound(SOON_S)


def test_what_cannot_be_agreed_on_leaves_the_call_as_it_was(phone: Softphone) -> None:
    phone.call()
    assert phone.invite(phone.sdp(codecs="18")).status == 488
    phone.put(phone.packet())
    assert phone.sound(SOON_S)


def test_every_key_is_pressed_once(phone: Softphone, hosted: Hosted) -> None:
    pressed: list[str] = []
    phone.call()
    call = only_call(hosted)
    hosted.ask(lambda: setattr(call, "_on_press", lambda session, key: pressed.append(key)))
    phone.press(5)
    phone.press(11)
    info = phone.ask("INFO", "Signal=7\r\nDuration=160\r\n", content_type="application/dtmf-relay")
    assert info.status == 200
    eventually(lambda: len(pressed) >= 3, "three keys", SOON_S)
    assert sorted(pressed) == ["#", "5", "7"]


# --- TCP, ports -----------------------------------------------------------------------------------


def test_a_call_over_tcp(hosting: Start) -> None:
    hosted = hosting(sip=sip(tcp=True))
    with at(hosted) as phone, socket.create_connection(door(hosted).address) as line:
        line.settimeout(SOON_S)
        got = bytearray()

        def heads() -> list[bytes]:
            got.extend(line.recv(65_536))
            return re.findall(rb"SIP/2\.0 (\d+)", bytes(got))

        invite = phone.request("INVITE", phone.sdp()).replace("SIP/2.0/UDP", "SIP/2.0/TCP")
        line.sendall(b"\r\n\r\n" + invite[:50].encode())
        line.sendall(invite[50:].encode())
        while b"200" not in heads():
            pass
        text = got.decode()
        assert ";transport=tcp>" in text
        to = re.search(r"To: (.*)\r\n", text[text.index("200 OK") :])
        assert to is not None
        phone.to = to[1]
        for method in ("ACK", "BYE"):
            phone.cseq += method == "BYE"
            line.sendall(phone.request(method).replace("UDP", "TCP", 1).encode())
        got.clear()
        while b"200" not in heads():
            pass
    nobody(hosted)


def test_sixty_calls_of_sipp_all_succeed(hosted: Hosted, tmp_path: Path) -> None:
    """Its own caller, ten at a time: https://sipp.readthedocs.io"""
    host, port = door(hosted).address
    ask = f"-sn uac -m 60 -l 10 -r 20 -d 300 -timeout 50 -nostdin -i {host} {host}:{port}"
    ran = subprocess.run(
        [needed("sipp"), *ask.split()], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    nobody(hosted)


def test_calls_leave_no_socket_and_no_task_behind(hosted: Hosted) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def hang_up() -> None:
        for session in list(hosted.desk._open.values()):
            session.hang_up(1000, "done")

    def one(number: int = 0) -> None:
        with at(hosted) as phone:
            phone.call(headers=("Supported: timer",))  # there is a timer to forget, too
            phone.say(SILENCE * 3)
            if number % 2:
                assert phone.bye().status == 200
            else:
                hosted.ask(hang_up)
                phone.answer(phone.next())
        nobody(hosted)

    one()
    before, tasks = descriptors(), hosted.tasks()
    for number in range(60):
        one(number)
    eventually(lambda: descriptors() <= before, "no descriptor more", SOON_S)
    eventually(lambda: hosted.tasks() <= tasks, "no task more", SOON_S)
    assert hosted.ask(lambda: [len(d._calls) for d in door(hosted)._dialogs.values()]) == [0]
