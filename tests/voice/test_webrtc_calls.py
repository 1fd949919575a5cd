"""Real peers: given up, refused, closed; and what hostile offers do not do."""

import asyncio
import gc
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aioice
import aiortc.rtcicetransport
import pytest
from aiortc.sdp import SessionDescription

from tests.voice.hostile_offers import hostile
from voice.config import Config, ServerConfig
from voice.config_calls import WebrtcConfig
from voice.server import NEVER
from voice.transports.offer_rates import Caller
from voice.transports.webrtc_calls import MOST_SETUPS_OF_ONE, Calls, places
from voice.transports.websocket import Refusal

OFFERS = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("offers/*.sdp"))]
TALK = (Path(__file__).parent / "offers" / "chromium-microphone.sdp").read_bytes()
HERE = ("127.0.0.1",)
OPEN_S = 0.3
SOON_S = 10.0
MOST_STEP_S = 0.02
"""Of work in one turn of the loop, by the processor's own clock."""


def nobody_connects(outbox: Any, carrier: Any) -> Any:
    raise AssertionError("no peer of these tests connects")


@asynccontextmanager
async def calls(
    *, server: ServerConfig | None = None, now: Callable[[], float] = time.monotonic, **webrtc: Any
) -> AsyncIterator[Calls]:
    config = Config(
        server=server or ServerConfig(), webrtc=WebrtcConfig(**{"addresses": HERE, **webrtc})
    )
    opened = Calls(
        config=lambda: config,
        new_session=nobody_connects,
        check_room=lambda: None,
        now=now,
    )
    async with opened:
        yield opened


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


async def eventually(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not met():  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def refused(call: Callable[[], None]) -> Refusal:
    with pytest.raises(Refusal) as raised:
        call()
    return raised.value


# --- from the offer to the end --------------------------------------------------------------------


def test_an_offer_is_answered_and_the_call_is_known_by_its_id() -> None:
    async def check() -> None:
        async with calls() as open_calls:
            call_id, answer = await open_calls.open(TALK, None, Caller("1.2.3.4", "key"))
            assert call_id.startswith("rtc_") and len(call_id) == 4 + 32
            parsed = SessionDescription.parse(answer)
            assert [media.kind for media in parsed.media] == ["audio", "application"]
            assert parsed.media[0].ice_candidates[0].ip == "127.0.0.1"
            assert open_calls.opened_by(call_id) == "key"
            assert open_calls.waiting == len(open_calls) == 1
            assert await open_calls.end(call_id)
            assert not await open_calls.end(call_id)
            assert open_calls.opened_by(call_id) is None

    run(check)


@pytest.mark.parametrize("offer", OFFERS, ids=range(len(OFFERS)))
def test_each_section_of_a_browsers_offer_has_an_answer(offer: bytes) -> None:
    async def check() -> None:
        async with calls() as open_calls:
            _, answer = await open_calls.open(offer, None, Caller("1.2.3.4"))
            asked = [line.split()[0] for line in offer.decode().splitlines() if line[:2] == "m="]
            heads = [line.split() for line in answer.splitlines() if line[:2] == "m="]
            assert [head[0] for head in heads] == asked
            assert all((head[1] == "0") == (head[0] == "m=video") for head in heads)

    run(check)


def test_callers_are_told_the_address_outside_and_ports_of_the_range() -> None:
    async def check() -> None:
        async with calls(public_address="198.51.100.7", ports="42100-42109") as open_calls:
            _, answer = await open_calls.open(TALK, None, Caller("1.2.3.4"))
            for media in SessionDescription.parse(answer).media:
                assert media.host == "198.51.100.7"
                (candidate,) = media.ice_candidates
                assert candidate.ip == "198.51.100.7" and 42_100 <= candidate.port <= 42_109

    run(check)


def test_a_hundred_offers_that_nobody_connects_to_leave_nothing_behind() -> None:
    async def check() -> None:
        async with calls(connect_limit_s=OPEN_S, most_setups=1000) as open_calls:
            await open_calls.end((await open_calls.open(TALK, None, Caller("0")))[0])
            await eventually(lambda: not len(open_calls))
            gc.collect()
            before, tasks = descriptors(), len(asyncio.all_tasks())
            for number in range(100):
                await open_calls.open(TALK, None, Caller(str(number)))
            assert descriptors() > before
            await eventually(lambda: not len(open_calls))
            await eventually(lambda: descriptors() <= before)
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks)

    run(check)


def test_a_call_has_as_long_to_connect_as_the_operator_says() -> None:
    async def check() -> None:
        async with calls(connect_limit_s=60.0) as open_calls:
            call_id, _ = await open_calls.open(TALK, None, Caller("1.2.3.4"))
            call: Any = open_calls._calls[call_id]
            now = asyncio.get_running_loop().time()
            assert now + 59 < call.late.when() < call.peer._set_up.when()

    run(check)


def test_a_server_that_stops_closes_them_all() -> None:
    async def check() -> None:
        before = descriptors()
        async with calls() as open_calls:
            for number in range(5):
                await open_calls.open(TALK, None, Caller(str(number)))
            assert len(open_calls) == 5
        assert len(open_calls) == 0
        assert descriptors() <= before + 2, "nothing but the loop's own"

    run(check)


def test_what_is_no_offer_is_refused_and_costs_no_socket() -> None:
    async def check() -> None:
        async with calls() as open_calls:
            before = descriptors()
            for data, status, code in (
                (b"hello", 400, "invalid_sdp"),
                (TALK.split(b"m=audio")[0], 400, "unsupported_sdp"),
                (TALK + b"a=x\r\n" * 5000, 413, "sdp_too_large"),
            ):
                with pytest.raises(Refusal) as raised:
                    await open_calls.open(data, None, Caller("1.2.3.4"))
                assert (raised.value.status, raised.value.code) == (status, code)
                assert raised.value.param == "sdp"
            assert len(open_calls) == 0
            assert descriptors() == before

    run(check)


def test_no_port_left_is_said_as_being_busy() -> None:
    async def check() -> None:
        async with calls(ports="42120-42120") as open_calls:
            await open_calls.open(TALK, None, Caller("1.2.3.4"))
            with pytest.raises(Refusal) as raised:
                await open_calls.open(TALK, None, Caller("1.2.3.4"))
            assert raised.value.status == 503 and raised.value.retry_s
            assert len(open_calls) == 1

    run(check)


# --- how often, how many --------------------------------------------------------------------------


def test_offers_of_an_address_and_of_a_key_are_counted() -> None:
    async def check() -> None:
        clock = [0.0]
        async with calls(
            offers_per_minute=2, offers_per_minute_and_key=3, now=lambda: clock[0]
        ) as open_calls:
            for _ in range(2):
                open_calls.check(Caller("1.2.3.4"))
            often = refused(lambda: open_calls.check(Caller("1.2.3.4")))
            assert (often.status, often.code) == (429, "rate_limit_exceeded")
            assert often.retry_s == 61
            open_calls.check(Caller("1.2.3.5"))
            for last in range(3):
                open_calls.check(Caller(f"2.2.2.{last}", "key"))
            assert refused(lambda: open_calls.check(Caller("2.2.2.9", "key"))).status == 429
            clock[0] = 61
            open_calls.check(Caller("1.2.3.4"))

    run(check)


def test_logins_of_an_address_and_of_a_key_are_counted_apart_from_offers() -> None:
    async def check() -> None:
        clock = [0.0]
        async with calls(
            offers_per_minute=2, offers_per_minute_and_key=3, now=lambda: clock[0]
        ) as open_calls:
            for _ in range(2):
                open_calls.check_login(Caller("1.2.3.4"))
            often = refused(lambda: open_calls.check_login(Caller("1.2.3.4")))
            assert (often.status, often.code, often.retry_s) == (429, "rate_limit_exceeded", 61)
            assert "expires_at" in often.message
            open_calls.check(Caller("1.2.3.4"))
            for last in range(3):
                open_calls.check_login(Caller(f"2.2.2.{last}", "key"))
            assert refused(lambda: open_calls.check_login(Caller("2.2.2.9", "key"))).status == 429
            clock[0] = 61
            open_calls.check_login(Caller("1.2.3.4"))

    run(check)


def test_of_ipv6_a_whole_network_counts_as_one() -> None:
    async def check() -> None:
        async with calls(offers_per_minute=1) as open_calls:
            open_calls.check(Caller("2a00:1:2:3::1"))
            assert refused(lambda: open_calls.check(Caller("2a00:1:2:3:ffff::9"))).status == 429
            open_calls.check(Caller("2a00:1:2:4::1"))

    run(check)


def test_ipv4_callers_of_a_socket_for_both_kinds_are_not_one_caller() -> None:
    """As KAIWA_HOST=:: names them; and a proxy on this machine is nobody's address there, too."""

    async def check() -> None:
        async with calls(offers_per_minute=1) as open_calls:
            open_calls.check(Caller("::ffff:198.51.100.1"))
            open_calls.check(Caller("::ffff:198.51.100.2"))
            assert refused(lambda: open_calls.check(Caller("198.51.100.1"))).status == 429
            for _ in range(3):
                open_calls.check(Caller("::ffff:127.0.0.1"))

    run(check)


def test_set_ups_under_way_are_bounded_of_one_address_and_of_all() -> None:
    async def check() -> None:
        async with calls(most_setups=MOST_SETUPS_OF_ONE + 2) as open_calls:
            for _ in range(MOST_SETUPS_OF_ONE):
                open_calls.check(Caller("1.1.1.1"))
                await open_calls.open(TALK, None, Caller("1.1.1.1"))
            busy = refused(lambda: open_calls.check(Caller("1.1.1.1")))
            assert (busy.status, busy.code) == (503, "server_busy") and busy.retry_s
            for last in range(2):
                open_calls.check(Caller(f"1.1.1.{2 + last}"))
                await open_calls.open(TALK, None, Caller(f"1.1.1.{2 + last}"))
            assert refused(lambda: open_calls.check(Caller("1.1.1.9"))).status == 503

    run(check)


def test_others_have_their_turn_between_reading_an_offer_and_answering_it() -> None:
    async def check() -> None:
        async with calls() as open_calls:
            opening = asyncio.create_task(open_calls.open(TALK, None, Caller("1.1.1.1")))
            await asyncio.sleep(0)
            assert not len(open_calls)
            await opening
            assert len(open_calls) == 1

    run(check)


def test_whoever_was_let_in_before_the_others_came_is_counted_with_them() -> None:
    """Who sends the offer's last byte late has been checked long before."""

    async def check() -> None:
        async with calls(most_setups=1) as open_calls:
            for address in ("1.1.1.1", "1.1.1.2"):
                open_calls.check(Caller(address))
            await open_calls.open(TALK, None, Caller("1.1.1.1"))
            with pytest.raises(Refusal, match="being set up"):
                await open_calls.open(TALK, None, Caller("1.1.1.2"))

    run(check)


def test_set_ups_of_one_ipv6_network_are_one_callers() -> None:
    async def check() -> None:
        async with calls(most_setups=50) as open_calls:
            for last in range(MOST_SETUPS_OF_ONE):
                await open_calls.open(TALK, None, Caller(f"2a00:1:2:3::{last}"))
            assert refused(lambda: open_calls.check(Caller("2a00:1:2:3::ffff"))).status == 503
            open_calls.check(Caller("2a00:1:2:4::1"))

    run(check)


def test_a_door_that_is_opened_later_keeps_to_the_ports_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiortc.rtcicetransport, "Connection", aioice.Connection)

    async def check() -> None:
        async with calls(enabled=False, ports="42110-42119") as open_calls:
            _, answer = await open_calls.open(TALK, None, Caller("1.1.1.1"))
            (candidate,) = SessionDescription.parse(answer).media[0].ice_candidates
            assert 42_110 <= candidate.port <= 42_119

    run(check)


def test_a_closed_door_says_where_else_to_call() -> None:
    async def check() -> None:
        async with calls(enabled=False) as open_calls:
            closed = refused(lambda: open_calls.check(Caller("1.1.1.1")))
            assert closed.status == 404 and "WebSocket" in closed.message

    run(check)


# --- whom the server sends to ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "webrtc", "private", "loopback"),
    [
        ("127.0.0.1", {}, True, True),
        ("0.0.0.0", {}, True, False),
        ("0.0.0.0", {"public_address": "81.2.69.160"}, False, False),
        ("0.0.0.0", {"public_address": "10.0.0.5"}, True, False),
        ("0.0.0.0", {"ice_servers": ("stun:stun.example.com",)}, False, False),
        ("0.0.0.0", {"own_ice_servers": ("stun:stun.example.com",)}, False, False),
        ("0.0.0.0", {"public_address": "81.2.69.160", "private_peers": True}, True, False),
        ("127.0.0.1", {"private_peers": False}, False, True),
    ],
)
def test_private_addresses_are_sent_to_where_no_stranger_reaches_the_server(
    host: str, webrtc: dict[str, Any], private: bool, loopback: bool
) -> None:
    own = {"addresses": HERE, **webrtc}  # whatever addresses this machine has
    config = Config(server=ServerConfig(host=host), webrtc=WebrtcConfig(**own))
    gathering, reach = places(config)
    assert (reach.private, reach.loopback, gathering.loopback) == (private, loopback, loopback)


# --- hostile offers -------------------------------------------------------------------------------


class Traps:
    """UDP sockets on this machine's addresses, at one port; what comes is kept."""

    def __init__(self) -> None:
        self.caught: list[bytes] = []
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind(("0.0.0.0", 0))
        self.port = first.getsockname()[1]
        self._sockets = [first]
        if socket.has_ipv6:
            other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            other.bind(("::", self.port))
            self._sockets.append(other)
        for trap in self._sockets:
            trap.setblocking(False)

    def look(self) -> None:
        for trap in self._sockets:
            try:
                while True:
                    self.caught.append(trap.recv(2048))
            except BlockingIOError:
                continue

    def close(self) -> None:
        for trap in self._sockets:
            trap.close()


class Steps:
    """The longest that one turn of the loop has worked, waiting not counted."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.thread_time() - before)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@contextmanager
def frozen() -> Iterator[None]:
    """The collector as the server has it: what is loaded is not looked through each time."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(thresholds[0], thresholds[1], NEVER)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


PUBLIC = ServerConfig(host="0.0.0.0", api_keys=("a-key-of-sixteen-or-more",))


def test_five_hundred_hostile_offers_reach_nobody_hold_up_nobody_and_leave_nothing() -> None:
    async def check() -> None:
        traps, taken = Traps(), 0
        async with calls(
            server=PUBLIC,
            connect_limit_s=OPEN_S,
            most_setups=1000,
            addresses=(),
            private_peers=False,
        ) as open_calls:
            await open_calls.end((await open_calls.open(TALK, None, Caller("0")))[0])
            gc.collect()
            before, steps = descriptors(), Steps()
            for seed in range(500):
                data = hostile(random.Random(seed), OFFERS, traps.port)
                try:
                    await open_calls.open(data, None, Caller(str(seed)))
                    taken += 1
                except Refusal as refusal:
                    assert refusal.status in (400, 413), refusal.message
                traps.look()
                await asyncio.sleep(0.005)  # they come one by one
            await eventually(lambda: not len(open_calls))
            await steps.stop()
            traps.look()
            await eventually(lambda: descriptors() <= before)
        traps.close()
        assert traps.caught == []
        assert 100 < taken < 450, "else the corpus shows one side only"
        assert steps.longest_s < MOST_STEP_S

    with frozen():
        run(check)


def test_the_same_offers_would_reach_this_machine_if_it_were_allowed() -> None:
    """The trap works: else the test above could not fail."""

    async def check() -> None:
        traps = Traps()
        async with calls(connect_limit_s=OPEN_S, most_setups=1000) as open_calls:
            for seed in range(200):
                data = hostile(random.Random(seed), OFFERS, traps.port)
                try:
                    await open_calls.open(data, None, Caller(str(seed)))
                except Refusal:
                    continue
            await eventually(lambda: not len(open_calls))
            traps.look()
        traps.close()
        assert len(traps.caught) > 5

    run(check)
