"""What strangers do to the SIP leg, and what becomes of it; on real sockets."""

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from tests.served import SOON_S, Hosted
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
from voice.config_calls import PRIVATE
from voice.transports.sip.media import PACKETS_A_BEAT, PACKETS_BURST
from voice.transports.sip.messages import Peers
from voice.transports.sip.wire import HEARD_OF, MOST_TRANSACTIONS, UdpWire

__all__ = ["hosted", "phone"]


# --- hostile --------------------------------------------------------------------------------------


@pytest.fixture
def victim() -> Iterator[socket.socket]:
    """Somebody who has nothing to do with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.3", 0))
        bound.settimeout(NOTHING_S)
        yield bound


def is_left_alone(victim: socket.socket) -> bool:
    try:
        victim.recv(2048)
    except TimeoutError:
        return True
    return False


def test_sound_goes_to_nobody_whom_a_stranger_names(hosting: Start, victim: socket.socket) -> None:
    hosted = hosting(sip=sip(peers=["127.0.0.1/32"]), agent=GREETING)
    with at(hosted) as phone:
        phone.call(phone.sdp("127.0.0.3", victim.getsockname()[1]))
        with pytest.raises(TimeoutError):
            phone.sound(NOTHING_S)  # it is not known yet where to
        assert is_left_alone(victim)
        phone.put(phone.packet())
        assert phone.sound(SOON_S)
        assert is_left_alone(victim)
        phone.bye()
    nobody(hosted)


def test_who_guesses_a_port_can_neither_speak_nor_overhear(
    phone: Softphone, hosted: Hosted, victim: socket.socket
) -> None:
    phone.call()
    phone.say(SILENCE * 5)
    for _ in range(20):
        victim.sendto(phone.packet(), phone.media)
    phone.say(SILENCE * 5)
    assert is_left_alone(victim)
    assert phone.sound(SOON_S)
    call = only_call(hosted)
    assert hosted.ask(lambda: call._media.remote.strangers) == 20


def test_an_answer_goes_to_who_asked_wherever_a_via_points(
    hosted: Hosted, victim: socket.socket
) -> None:
    host, port = victim.getsockname()
    with at(hosted) as phone:
        for via in (
            f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK1",
            f"SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK2;received={host};rport={port}",
        ):
            phone.send(phone.request("OPTIONS", via=via))
            assert phone.final().status == 200
    assert is_left_alone(victim)


def test_who_is_no_peer_is_not_answered(hosting: Start) -> None:
    hosted = hosting(sip=sip(peers=["10.0.0.0/8"]))
    with at(hosted) as phone:
        phone.send(phone.request("OPTIONS"))
        assert phone.is_left_alone()


def test_the_listener_lives_whatever_comes(hosted: Hosted) -> None:
    with at(hosted) as phone:
        good = phone.request("INVITE", phone.sdp()).encode()
        hostile = [
            b"",
            b"\r\n\r\n",
            b"\0" * 100,
            b"INVITE",
            b"INVITE sip:x SIP/2.0\r\n\r\n",
            b"SIP/2.0 200\r\n\r\n",
            b"SIP/2.0 x y\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 BYE\r\n\r\n",
            good.replace(b"CSeq: 1", b"CSeq: one"),
            good.replace(b"From: <", b"From: \xff\xfe<<<<"),
            good.replace(b"Via: SIP/2.0/UDP", b"Via: ;;;;"),
            good.replace(b"Call-ID", b"Call-IX"),
            good.replace(b"Content-Length: ", b"Content-Length: -"),
            good[: len(good) // 2],
            good + b"x" * 60_000,
            re.sub(rb"To: .*?\r\n", b"To: <sip:a>;tag=nobody\r\n", good),
            *(os.urandom(size) for size in range(1, 40)),
        ]
        for data in hostile:
            phone.send(data)
        while not phone.is_left_alone():
            pass
        assert sessions(hosted) == 0
    with at(hosted) as phone:
        phone.call()
        assert phone.bye().status == 200


def test_a_flood_of_messages_is_cut_down(hosting: Start) -> None:
    hosted = hosting(sip=sip(silent_limit_s=50))
    with at(hosted) as phone:
        answered = 0
        for _ in range(12):
            for _ in range(50):  # as many as a socket holds
                phone.send(phone.request("OPTIONS"))
            while not phone.is_left_alone(0.05):
                answered += 1
        assert 100 < answered < 400
    with Softphone(door(hosted).address, "127.0.0.2") as other:  # nobody else pays for it
        assert other.ask("OPTIONS").status == 200


def test_who_writes_under_many_names_is_not_remembered_for_ever() -> None:
    """Over UDP anybody can write as 10.0.0.1, 10.0.0.2, …"""

    async def main() -> None:
        wire = UdpWire(("127.0.0.1", 0), peers=Peers(PRIVATE), told="", screen=lambda *_: None)
        for number in range(3 * HEARD_OF):
            name = str(IPv4Address("10.0.0.0") + number)
            text = (
                f"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK{number}\r\n"
                f"From: <sip:b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: {number}\r\n"
                "CSeq: 1 OPTIONS\r\n\r\n"
            )
            for again in range(2):
                wire.receive(text.replace("z9", f"z9{again}").encode(), (name, 5060))
        assert len(wire._paces) == HEARD_OF and len(wire._served) == MOST_TRANSACTIONS
        await wire.stop()

    asyncio.run(main())


def test_a_flood_over_tcp_waits_its_turn_and_nothing_of_it_is_lost(hosting: Start) -> None:
    hosted = hosting(sip=sip(tcp=True))
    with at(hosted) as phone, socket.create_connection(door(hosted).address) as line:
        line.settimeout(2 * SOON_S)
        for _ in range(160):
            line.sendall(phone.request("OPTIONS").replace("UDP", "TCP", 1).encode())
        seen = b""
        while seen.count(b"SIP/2.0 200 OK") < 160:
            seen += line.recv(65_536)


def test_empty_lines_over_tcp_keep_it_open_and_end_nothing(hosting: Start) -> None:
    hosted = hosting(sip=sip(tcp=True))
    with at(hosted) as phone, socket.create_connection(door(hosted).address) as line:
        line.settimeout(2 * SOON_S)
        line.sendall(b"\r\n" * 10_000 + b"\r")
        line.sendall(b"\n" + phone.request("OPTIONS").replace("UDP", "TCP", 1).encode())
        assert line.recv(65_536).startswith(b"SIP/2.0 200 OK")


def test_ten_thousand_datagrams_of_garbage_end_no_call(phone: Softphone, hosted: Hosted) -> None:
    phone.call()
    garbage = [b"", b"\x80", b"\x80\x65" + bytes(10), bytes(2000), b"\x9f\xff" + b"\xff" * 60]
    short_key = phone.packet(b"\x01", kind=101)
    odd = [phone.packet(b""), phone.packet(bytes(1400)), phone.packet(b"x", kind=13), short_key]
    for count in range(2000):
        for data in garbage:
            phone.put(data)
        phone.put(odd[count % 4])
    phone.say(SILENCE * 10)
    assert phone.sound(SOON_S)
    assert sessions(hosted) == 1


def test_a_caller_who_sends_a_flood_of_sound_is_heard_at_a_callers_pace(
    phone: Softphone, hosted: Hosted
) -> None:
    phone.call()
    call = only_call(hosted)
    begun = time.monotonic()
    for _ in range(2000):
        phone.put(phone.packet())
    received = hosted.ask(lambda: call._media.counts.received)
    beats = (time.monotonic() - begun) / 0.02 + 1
    assert PACKETS_BURST / 2 < received <= PACKETS_BURST + PACKETS_A_BEAT * beats
