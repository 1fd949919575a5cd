"""Asterisk calls by AudioSocket: real sockets, the mock profile, real time."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import uvloop

from mocks.audiosocket import ERROR, HANG_UP, AsteriskCall, frame
from tests.served import written
from voice.build import build
from voice.config import load
from voice.desk import Desk
from voice.errors import ConfigError
from voice.transports.telephony.audiosocket_door import listening

KNOWN, OTHER = UUID(int=17), UUID(int=18)


def hum(rate_hz: int = 8000) -> bytes:
    """20 ms that the energy VAD takes for speech."""
    at = np.arange(rate_hz // 50) / rate_hz
    return (9000 * np.sin(2 * np.pi * 250 * at)).astype("<i2").tobytes()


async def gone(desk: Desk) -> None:
    while desk.sessions:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.01)


Talk = Callable[[int, Desk], Awaitable[None]]


def with_door(talk: Talk, folder: Path, **sections: Any) -> None:
    telephony = {"audiosocket_port": 0, "start_limit_s": 0.5, **sections.pop("telephony", {})}
    config = load(file=written(folder, {"telephony": telephony, **sections}), environment={})

    async def main() -> None:
        built = build(config)
        await built.start()
        desk = Desk(config, built.providers, built.by_slot, None)
        try:
            async with listening(desk) as port:
                assert port is not None
                async with asyncio.timeout(20):
                    await talk(port, desk)
            assert desk.sessions == 0, "no call outlives its door"
        finally:
            await built.aclose()

    uvloop.run(main())  # whose transports are not asyncio's


@pytest.mark.parametrize("kind", [0x10, 0x12, 0x15, 0x16])
def test_a_question_is_answered_in_the_calls_own_rate(kind: int, tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN, kind=kind) as call:
            await call.say(hum(call.rate_hz), 0.8)
            await call.hush(0.6)
            heard = 0.0
            while not heard or call.heard_s > heard:
                heard = call.heard_s
                await call.hush(0.3)
            assert call.heard_s > 0.3
            assert {len(one.payload) for one in call.heard} == {
                call.rate_hz // 50 * 2
            } or kind == 0x15
            loudest = max(
                int(np.abs(np.frombuffer(one.payload, "<i2").astype(int)).max())
                for one in call.heard
            )
            assert loudest > 1000
            assert call.most_ahead_s() < 0.15, "nothing is sent that could not be held back"

    with_door(talk, tmp_path)


def test_a_barge_in_stops_the_sound_within_a_frame(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.say(hum(), 1.5)
            await call.hush(0.5)
            await call.until(lambda: len(call.heard) > 10)
            await call.say(hum(), 1.2)
            (session,) = desk._open.values()
            assert session._answers.current is None or session._answers.current.turn > 1
            cut = len(call.heard)
            await call.say(hum(), 0.3)
            assert len(call.heard) == cut
            said = [m.content for m in session.conversation.messages() if m.role == "assistant"]
            assert said[0].endswith(" —"), "what was not heard is not remembered"

    with_door(talk, tmp_path, mock={"llm_token_ms": 1})


def test_keys_are_a_turn(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.2)
            for key in "42#":
                call.press(key)
            await call.hush(0.5)
            await call.until(lambda: call.heard)
            (session,) = desk._open.values()
            assert session.conversation.messages()[0].content == "Keys pressed: 4 2"

    with_door(talk, tmp_path)


def test_a_call_without_sound_is_one_of_8_khz(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.until(lambda: call.heard)

    with_door(talk, tmp_path, agent={"greeting": "Hello."})


def test_who_hangs_up_is_gone_and_so_is_the_session(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
            assert desk.sessions == 1
            call.hang_up()
            await call.until_closed()
        await gone(desk)
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
        await gone(desk)

    with_door(talk, tmp_path)


def test_a_server_that_stops_hangs_up(tmp_path: Path) -> None:
    calls: list[AsteriskCall] = []

    async def talk(port: int, desk: Desk) -> None:
        context = AsteriskCall.dial(port, KNOWN)
        call = await context.__aenter__()
        await call.hush(0.1)
        calls.append(call)
        await desk.drain()
        await call.until_closed()
        assert call.hung_up_at is not None
        await context.__aexit__(None, None, None)

    with_door(talk, tmp_path, server={"drain_s": 0.1})
    assert calls


# --- who may come in ------------------------------------------------------------------------------


async def turned_away(port: int, first: bytes, told: list[bytes]) -> None:
    async with AsteriskCall.dial(port, None) as call:
        call.send(first)
        await call.until_closed()
        assert call.others == told


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WRONG = frame(ERROR, b"\2")


SOUND = frame(0x10, bytes(320))
NAMED = frame(0x01, KNOWN.bytes)
NONE_OF_IT = {
    "http": GET,
    "sound first": SOUND,
    "a short uuid": frame(0x01, bytes(15)),
    "a second uuid": NAMED * 2,
    "a second uuid later": NAMED + SOUND * 3 + NAMED,
    "half a sample": NAMED + SOUND + b"\x10\x00\x03abc",
    "no such type": NAMED + SOUND + b"\x77\x00\x00",
    "another rate": NAMED + SOUND + frame(0x12, bytes(640)),
    "keys without end": NAMED + frame(0x03, b"1") * 600,
    "no such key": NAMED + SOUND + frame(0x03, b"x"),
    "our own mark": struct.pack(">BH", 0xFE, 2) + b"m1",
    "our own mark later": NAMED + SOUND + struct.pack(">BH", 0xFE, 2) + b"m1",
}


def test_what_is_no_audiosocket_is_told_so_and_closed(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        for what, data in NONE_OF_IT.items():
            async with AsteriskCall.dial(port, None) as call:
                call.send(data)
                await call.until_closed()
                assert call.others == [WRONG], what
        await gone(desk)

    with_door(talk, tmp_path)


def test_who_says_nothing_is_closed_in_time(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        await turned_away(port, b"", [WRONG])
        await turned_away(port, frame(0x01, KNOWN.bytes)[:10], [WRONG])

    with_door(talk, tmp_path)


def test_only_uuids_that_the_operator_named_come_in(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        await turned_away(port, frame(0x01, OTHER.bytes), [frame(HANG_UP)])
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
            assert desk.sessions == 1

    with_door(talk, tmp_path, telephony={"audiosocket_uuids": [str(KNOWN)]})


def test_a_uuid_that_was_given_out_is_good_once(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        name = UUID(desk.switchboard.passes.issue(asyncio.get_running_loop().time()))
        async with AsteriskCall.dial(port, name) as call:
            await call.hush(0.1)
            assert desk.sessions == 1
            await turned_away(port, frame(0x01, name.bytes), [frame(HANG_UP)])
        await turned_away(port, frame(0x01, KNOWN.bytes), [frame(HANG_UP)])

    with_door(talk, tmp_path, telephony={"audiosocket_one_time": True})


def test_peers_of_other_networks_are_closed_without_a_word(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        await turned_away(port, frame(0x01, KNOWN.bytes), [])
        assert desk.sessions == 0

    with_door(talk, tmp_path, telephony={"audiosocket_peers": ["10.0.0.0/8"]})


def test_where_there_is_no_room_asterisk_goes_on_in_its_dialplan(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
            await turned_away(port, frame(0x01, OTHER.bytes), [frame(HANG_UP)])

    with_door(talk, tmp_path, server={"max_sessions": 1})


def test_calls_that_come_at_once_are_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, None) as first:
            first.send(NAMED)
            await asyncio.sleep(0.05)
            assert desk.sessions == 0, "it has sent no sound"
            await turned_away(port, frame(0x01, OTHER.bytes), [frame(HANG_UP)])
            first.send(SOUND)
            while not desk.sessions:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.01)

    with_door(talk, tmp_path, server={"max_sessions": 1})


def test_a_far_end_that_is_gone_without_a_word_is_looked_for(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
            (waits_s,) = [one for one in keepalive_s(port) if one]
            assert waits_s <= 30, "else a line is taken for good"

    with_door(talk, tmp_path)


def keepalive_s(port: int) -> list[int]:
    """Of the connections that came to a port: how long nothing may come; 0: for ever."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as one:
            one.getpeername()
            if one.getsockname()[:2] == ("127.0.0.1", port):
                on = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                idle, interval, count = (
                    one.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (
                        socket.TCP_KEEPIDLE,
                        socket.TCP_KEEPINTVL,
                        socket.TCP_KEEPCNT,
                    )
                )
                found.append(on * (idle + interval * count))
    return found


def test_connections_that_say_nothing_are_so_many_and_no_more(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
        await asyncio.sleep(0.05)
        await turned_away(port, frame(0x01, KNOWN.bytes), [])
        for _, writer in silent:
            writer.close()
        await asyncio.sleep(0.05)
        async with AsteriskCall.dial(port, KNOWN) as call:
            await call.hush(0.1)
            assert desk.sessions == 1

    with_door(talk, tmp_path, telephony={"start_limit_s": 5.0})


def test_a_port_in_use_is_told_by_its_setting(tmp_path: Path) -> None:
    async def talk(port: int, desk: Desk) -> None:
        file = written(tmp_path, {"telephony": {"audiosocket_port": port}})
        other = Desk(load(file=file, environment={}), desk._providers, {}, None)
        with pytest.raises(ConfigError, match=r"telephony\.audiosocket_port: 127\.0\.0\.1:"):
            async with listening(other):
                pass

    with_door(talk, tmp_path)


def test_it_is_shut_unless_a_port_is_set(tmp_path: Path) -> None:
    async def main() -> None:
        config = load(file=written(tmp_path, {}), environment={})
        built = build(config)
        async with listening(Desk(config, built.providers, built.by_slot, None)) as port:
            assert port is None

    asyncio.run(main())
