"""UDP ports of a range: as long as one is free it is found, and nobody waits for who looks."""

import asyncio
import os
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from voice.transports.udp_ports import TRIES_AT_ONCE, bound, found, in_any_order
from voice.transports.webrtc_ice import GATHERING, Gathering, GatheringConnection, NoPort

HERE = "127.0.0.1"
FIRST, COUNT = 21_300, 900  # below those that machines give to whoever asks for any
LAST = FIRST + COUNT - 1


@pytest.fixture(autouse=True, scope="module")
def many_sockets() -> Iterator[None]:
    was, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(was, COUNT + 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (was, most))


@contextmanager
def taken(first: int = FIRST, last: int = LAST, *, but: int | None = None) -> Iterator[None]:
    with ExitStack() as held:
        for port in range(first, last + 1):
            if port != but:
                udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                udp.bind((HERE, port))
        yield


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(main())


@pytest.mark.parametrize("free", [FIRST, FIRST + 1, FIRST + COUNT // 2, LAST])
def test_of_a_wide_range_the_last_free_port_is_found_each_time(free: int) -> None:
    async def check() -> None:
        for _ in range(5):
            udp = await found(HERE, (FIRST, LAST))
            assert udp is not None
            assert udp.getsockname()[1] == free
            udp.close()

    with taken(but=free):
        run(check)


def test_a_call_gets_the_only_port_that_is_left_and_the_next_one_none() -> None:
    async def gathered(connection: GatheringConnection) -> list[int]:
        await connection.gather_candidates()
        return [candidate.port for candidate in connection.local_candidates]

    async def check() -> None:
        GATHERING.set(Gathering((FIRST, LAST), (HERE,)))
        first, refused, next_one = (GatheringConnection(ice_controlling=False) for _ in range(3))
        assert await gathered(first) == [FIRST + 7]
        with pytest.raises(NoPort, match=rf"no UDP port of {FIRST}-{LAST} is free"):
            await gathered(refused)
        await first.close()
        assert await gathered(next_one) == [FIRST + 7]
        for connection in (refused, next_one):
            await connection.close()

    with taken(but=FIRST + 7):
        run(check)


def test_others_have_their_turn_while_a_range_is_gone_through() -> None:
    async def check() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(others())
        await asyncio.sleep(0)
        before = turns
        assert await found(HERE, (FIRST, LAST)) is None
        assert turns - before >= COUNT // TRIES_AT_ONCE
        other.cancel()

    with taken():
        run(check)


def test_who_is_cancelled_on_the_way_leaves_no_socket_behind() -> None:
    async def check() -> None:
        looking = asyncio.create_task(found(HERE, (FIRST, LAST)))
        await asyncio.sleep(0)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking

    with taken():
        before = open_files()
        run(check)
        assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_an_address_that_is_not_ours_is_not_tried_at_each_port() -> None:
    """The other range is tried whole, and is as wide."""

    def spent_s(address: str) -> float:
        begun = time.thread_time()
        assert bound(address, (FIRST, LAST)) is None
        return time.thread_time() - begun

    with taken():
        gone, whole = (min(spent_s(each) for _ in range(5)) for each in ("192.0.2.1", HERE))
    assert gone < whole / 3, (gone, whole)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 30, 97, 1000, 1024])
def test_each_port_comes_once_and_in_another_order_each_time(count: int) -> None:
    orders = [list(in_any_order(5000, 5000 + count - 1)) for _ in range(8)]
    assert all(sorted(order) == list(range(5000, 5000 + count)) for order in orders)
    if count > 20:
        assert len({tuple(order) for order in orders}) > 1
        assert {order[0] for order in orders} != {5000}
