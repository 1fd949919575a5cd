"""Calls that are answered and never acknowledged: what they hold, and for how long."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from mocks.clock import Sockets, now, run_virtual
from tests.served import SOON_S, Hosted, eventually
from tests.softphone import SILENCE, Message, Softphone
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
from voice.carrier import Carrier
from voice.config import Config
from voice.config_calls import SipConfig
from voice.session import Session
from voice.transports.sip import call as calls
from voice.transports.sip.call import SipCall
from voice.transports.sip.door import SipDoor
from voice.transports.sip.screen import MOST_UNACKNOWLEDGED

__all__ = ["hosted", "phone"]

FLOOD, OTHER, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


# --- in virtual time ------------------------------------------------------------------------------


def no_session(outbox: SipCall, carrier: Carrier) -> Session:
    raise AssertionError("a session for a call that nobody acknowledged")


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[SipDoor]:
    config = Config(sip=SipConfig(port=0, rtp_ports="", tcp=False, **settings))
    async with SipDoor(config, check_room=lambda: None, new_session=no_session) as door:
        yield door


def came(phone: Softphone) -> Iterator[Message]:
    """Whatever lies there."""
    phone.sip.setblocking(False)
    while True:
        try:
            yield Message(phone.sip.recv(65_536))
        except BlockingIOError:
            return


async def finals(phones: list[Softphone], method: str = "INVITE") -> list[int]:
    """Each sends one, and how it is answered."""
    for one in phones:
        one.send(one.request(method, one.sdp() if method == "INVITE" else ""))
    await asyncio.sleep(0.05)
    return [next(m.status for m in came(one) if m.status >= 200) for one in phones]


async def until(moment: float) -> None:
    await asyncio.sleep(moment - now())


Told = Callable[[SipDoor, Callable[[str], Softphone]], Coroutine[Any, Any, None]]


def in_virtual_time(main: Told, **settings: Any) -> None:
    async def run() -> None:
        with ExitStack() as stack:
            async with listening(**settings) as door:
                await main(door, lambda host: stack.enter_context(Softphone(door.address, host)))

    run_virtual(run(), sockets=Sockets.OURS)


def test_twenty_datagrams_do_not_silence_every_line() -> None:
    """
    0.0    20 INVITEs of one address, none is acknowledged   200: a telephone system's are at once
    0.5    another address                                   486
    1.1    another address, a third                          200: each has the line of one of them
    1.1    the first address                                 503: 20 of its calls are overdue
    32.1   the first address                                 200
    """

    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        flood = [phone(FLOOD) for _ in range(20)]
        assert await finals(flood) == [200] * 20
        await until(0.5)
        assert await finals([phone(OTHER)]) == [486]
        await until(1.1)
        assert await finals([phone(OTHER), phone(THIRD)]) == [200, 200]
        assert sum(call.has_line for call in door.calls.values()) == 20
        refused = phone(FLOOD)
        assert await finals([refused]) == [503]
        await until(32.1)
        assert await finals([phone(FLOOD)]) == [200]

    in_virtual_time(main, most_calls=20)


def test_an_address_may_have_some_calls_that_wait_for_a_lost_ack() -> None:
    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        for number in range(MOST_UNACKNOWLEDGED):
            assert await finals([phone(FLOOD)]) == [200], number
            await asyncio.sleep(1.0)
        assert await finals([phone(FLOOD)]) == [503]
        assert await finals([phone(OTHER)]) == [200]

    in_virtual_time(main, most_calls=20)


def test_overdue_calls_take_no_line_of_other_doors() -> None:
    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        await finals([phone(FLOOD) for _ in range(5)])
        assert door.coming == 5
        await until(1.1)
        assert door.coming == 0

    in_virtual_time(main)


def test_a_200_is_repeated_for_32_s_and_not_longer() -> None:
    """64 * T1, RFC 3261 §13.3.1.4: then a BYE, and the call is forgotten."""

    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        caller, seen = phone(OTHER), list[tuple[float, str]]()
        caller.send(caller.request("INVITE", caller.sdp()))
        bye = None
        while now() < 60:
            await asyncio.sleep(0.1)
            for message in came(caller):
                if message.status != 100 and bye is None:
                    seen.append((now() // 0.5 / 2, message.start.split()[0]))
                if message.method == "BYE" and bye is None:
                    bye = message
                    caller.answer(message)
                    assert not door.calls
        assert bye is not None and seen == [
            *((at, "SIP/2.0") for at in (0.0, 0.5, 1.5, 3.5, *range_s(7.5, 31.5, 4.0))),
            (32.0, "BYE"),
        ]

    in_virtual_time(main)


def range_s(first: float, last: float, step: float) -> list[float]:
    return [first + step * number for number in range(int((last - first) / step) + 1)]


def test_who_acknowledges_when_the_line_is_somebody_elses_is_told_that_it_is_over() -> None:
    """
    0.0   INVITE, 200     the only line
    1.1   another's       200: it has that line
    2.0   the first's ACK ─▶ BYE
    """

    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        late = phone(FLOOD)
        late.send(late.request("INVITE", late.sdp()))
        await until(1.1)
        answers = [one for one in came(late) if one.status == 200]
        assert await finals([phone(OTHER)]) == [200]
        await until(2.0)
        assert not [one for one in came(late) if one.method == "BYE"]
        late.to = answers[0].header("To")
        late.ack()
        await asyncio.sleep(0.1)
        assert [one.method for one in came(late) if not one.status] == ["BYE"]

    in_virtual_time(main, most_calls=1)


def test_asking_takes_nobodys_line() -> None:
    async def main(door: SipDoor, phone: Callable[[str], Softphone]) -> None:
        assert await finals([phone(FLOOD)]) == [200]
        assert await finals([phone(OTHER)], "OPTIONS") == [486]
        await until(1.1)
        assert await finals([phone(OTHER)], "OPTIONS") == [200]
        assert all(call.has_line for call in door.calls.values())

    in_virtual_time(main, most_calls=1)


# --- with sessions --------------------------------------------------------------------------------


def test_no_session_is_opened_before_the_ack_and_what_is_said_meanwhile_is_heard(
    phone: Softphone, hosted: Hosted
) -> None:
    answer = phone.invite()
    phone.to, phone.media = answer.header("To"), answer.media
    phone.say(SILENCE * 50, paced=False)  # one second
    assert sessions(hosted) == 0 and len(door(hosted).calls) == 1
    phone.ack()
    call = only_call(hosted)
    eventually(lambda: call._media.counts.received == 50, "all of it", SOON_S)
    assert sessions(hosted) == 1


def test_what_is_agreed_anew_before_the_ack_holds(phone: Softphone, hosted: Hosted) -> None:
    answer = phone.invite()
    phone.to, phone.media = answer.header("To"), answer.media
    invite_cseq = phone.cseq
    assert "a=recvonly" in phone.ask("UPDATE", phone.sdp(more="a=sendonly\r\n")).body
    phone.send(phone.request("ACK", cseq=invite_cseq))
    assert only_call(hosted)._media.agreed.direction == "recvonly"


def test_a_late_ack_begins_the_call_where_there_is_room(
    hosting: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ACK_GRACE_S", 0.0)  # each is overdue at once
    hosted = hosting(sip=sip(), server={"max_sessions": 1}, agent=GREETING)
    with at(hosted) as first, at(hosted) as second:
        for phone in (first, second):
            answer = phone.invite()
            assert answer.status == 200, "the other has no claim to the line"
            phone.to, phone.media = answer.header("To"), answer.media
        second.ack()
        assert second.sound(SOON_S)
        first.ack()
        while (message := first.next()).status:
            pass
        assert message.method == "BYE"
        first.answer(message)
        assert sessions(hosted) == 1
        assert second.bye().status == 200
    nobody(hosted)


@pytest.mark.parametrize("again", [False, True])
def test_what_is_never_acknowledged_is_ended_with_a_bye(
    phone: Softphone, hosted: Hosted, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Where our Contact leads nowhere, each ACK gets lost, and the caller hears silence; or nobody
    hears that it is on hold."""
    if again:
        phone.call()
        only_call(hosted)
    monkeypatch.setattr(calls, "ACK_LIMIT_S", 1.0)  # of RFC 3261: 32 s
    assert phone.invite().status == 200
    while (message := phone.final()).status:
        assert message.status == 200
    assert message.method == "BYE"
    phone.answer(message)
    phone.to = ""
    nobody(hosted)


def test_over_tcp_too(hosting: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ACK_LIMIT_S", 0.5)
    hosted = hosting(sip=sip(tcp=True))
    with at(hosted) as phone, socket.create_connection(door(hosted).address) as line:
        line.settimeout(SOON_S)
        line.sendall(phone.request("INVITE", phone.sdp()).replace("UDP", "TCP", 1).encode())
        got = b""
        while b"\r\nCSeq: 1 BYE" not in got and not re.search(rb"BYE sip:\S+ SIP", got):
            got += line.recv(65_536)
    nobody(hosted)


# --- the log --------------------------------------------------------------------------------------


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_strangers_write_nothing_into_the_log(
    hosting: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A body shorter than it says, an INVITE without a branch, and a call without an ACK."""
    monkeypatch.setattr(calls, "ACK_LIMIT_S", 0.5)
    hosted, kept = hosting(sip=sip()), Kept()
    logging.getLogger().addHandler(kept)
    try:
        with at(hosted) as phone:
            phone.call_id = "stranger-strings"
            whole = phone.request("INVITE", phone.sdp())
            phone.send(whole[:-40])
            assert phone.final().status == 400
            phone.send(re.sub(r";branch=\w+", "", whole))
            assert phone.final().status == 200
            while (message := phone.final()).status:
                pass
            phone.answer(message)
            nobody(hosted)
    finally:
        logging.getLogger().removeHandler(kept)
    assert not [record for record in kept.records if record.name.startswith("aiosipua")]
    shown = [line for line in capsys.readouterr().out.splitlines() if "debug" not in line]
    assert any("sip_no_ack" in line for line in shown)
    assert not [line for line in shown if "stranger-strings" in line]
