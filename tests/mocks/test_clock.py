import asyncio
import socket
import sys
import threading
import time

import pytest

from mocks import clock
from mocks.clock import (
    TICK_S,
    DeadlockError,
    Sockets,
    TimeLimitError,
    held,
    now,
    run_virtual,
    until,
)


def test_an_hour_of_sleep_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    began = time.monotonic()
    assert run_virtual(main()) == pytest.approx(3600)
    assert time.monotonic() - began < 60


def test_timers_fire_in_their_order_at_their_times() -> None:
    heard: list[tuple[str, float]] = []

    async def say(word: str, at: float) -> None:
        await asyncio.sleep(at)
        heard.append((word, round(now(), 6)))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for word, at in [("c", 0.3), ("a", 0.1), ("b", 0.2)]:
                group.create_task(say(word, at))

    run_virtual(main())
    assert heard == [("a", 0.1), ("b", 0.2), ("c", 0.3)]


def test_timeouts_expire_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return now()

    assert run_virtual(main()) == pytest.approx(30)


def test_work_in_a_thread_takes_no_virtual_time() -> None:
    async def main() -> list[str]:
        order = []

        async def tick() -> None:
            await asyncio.sleep(0.001)
            order.append("timer")

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(time.sleep, 0.05)
        order.append("thread")
        await ticking
        return order

    assert run_virtual(main()) == ["thread", "timer"]


def test_time_stands_still_while_held_for_a_foreign_thread() -> None:
    async def main() -> float:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.call_later(5, lambda: None)
        woken = threading.Timer(0.03, loop.call_soon_threadsafe, (done.set,))
        with held():
            woken.start()
            await done.wait()
        woken.join()
        return now()

    assert run_virtual(main()) == 0


@pytest.mark.real_time
def test_with_a_socket_watched_time_passes_at_real_speed() -> None:
    async def main() -> float:
        left, right = socket.socketpair()
        left.setblocking(False)
        later = threading.Timer(0.3, right.send, (b"x",))
        later.start()
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().sock_recv(left, 1)
        later.join()
        left.close()
        right.close()
        return now()

    assert 0.03 < run_virtual(main()) < 10


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread will come: it is not waited for."""
    monkeypatch.setattr(clock, "GRACE_S", 0.1)


def test_a_thread_that_nobody_told_of_is_waited_for_before_it_is_called_a_deadlock() -> None:
    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        woken = threading.Timer(0.7, loop.call_soon_threadsafe, (done.set,))
        woken.start()
        await done.wait()
        woken.join()

    run_virtual(main())


def test_a_deadlock_names_the_tasks_that_wait(no_grace: None) -> None:
    async def stuck_reply() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(stuck_reply(), name="reply-7")

    with pytest.raises(DeadlockError, match=r"reply-7 .*stuck_reply.* at .*test_clock.py:\d+"):
        run_virtual(main())


def test_a_run_that_never_ends_meets_its_limit() -> None:
    async def metronome() -> None:
        while True:
            await asyncio.sleep(1)
            heard.append(now())

    heard: list[float] = []
    with pytest.raises(TimeLimitError, match="after 60 virtual seconds"):
        run_virtual(metronome(), limit_s=60)
    assert len(heard) == 60


def test_leftover_tasks_are_cancelled_and_awaited() -> None:
    ended: list[float] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(2)
            ended.append(now())

    async def main() -> None:
        main.task = asyncio.create_task(background())  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    run_virtual(main())
    assert ended == [pytest.approx(3)]


def test_an_exception_nobody_fetched_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("lost")

    async def main() -> None:
        task = asyncio.create_task(broken())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ExceptionGroup, match="unheard") as caught:
        run_virtual(main())
    assert caught.group_contains(ValueError, match="lost")


def test_an_exception_raised_while_being_cancelled_at_the_end_is_raised() -> None:
    async def bad_cleanup() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("in the cleanup")

    async def main() -> None:
        main.task = asyncio.create_task(bad_cleanup())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main())
    assert caught.group_contains(OSError)


def test_a_failing_callback_is_raised() -> None:
    def broken() -> None:
        raise KeyError("callback")

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.1, broken)
        await asyncio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main())
    assert caught.group_contains(KeyError)


def test_an_exception_that_was_fetched_is_no_leak() -> None:
    async def broken() -> None:
        raise ValueError("handled")

    async def main() -> str:
        (outcome,) = await asyncio.gather(asyncio.create_task(broken()), return_exceptions=True)
        return str(outcome)

    assert run_virtual(main()) == "handled"


def test_a_task_that_will_not_be_cancelled_is_named() -> None:
    async def stubborn() -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        main.task = asyncio.create_task(stubborn(), name="mule")  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main())
    assert caught.group_contains(RuntimeError, match="mule")


def test_the_main_coroutines_own_exception_comes_through() -> None:
    async def main() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main())


# --- sockets with both ends here ------------------------------------------------------------------

SMALL = bytes(100)


async def connected() -> tuple[
    asyncio.Server, asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamWriter
]:
    """A connection of this loop to itself: its server, its reading end, both its writers."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.set_result(writer), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    return server, reader, await accepted, writer


async def closed(server: asyncio.Server, *writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("sockets", [Sockets.OURS, Sockets.OURS_CHATTY])
def test_time_does_not_wait_for_a_socket_whose_both_ends_are_here(sockets: Sockets) -> None:
    async def main() -> float:
        server, reader, there, here = await connected()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await reader.read(1)
        await closed(server, there, here)
        return now()

    began = time.monotonic()
    assert run_virtual(main(), sockets=sockets) == pytest.approx(600, abs=0.1)
    assert time.monotonic() - began < 120


def test_what_one_end_writes_is_read_before_time_moves_on() -> None:
    async def main() -> list[float]:
        server, reader, there, here = await connected()
        asyncio.get_running_loop().call_later(TICK_S / 4, lambda: None)
        came = []
        for _ in range(20):
            sent = now()
            there.write(SMALL)
            await reader.readexactly(len(SMALL))
            came.append(now() - sent)
            await asyncio.sleep(1)
        await closed(server, there, here)
        return came

    assert max(run_virtual(main(), sockets=Sockets.OURS)) < 0.001


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told what was not sent")
def test_what_a_chatty_end_could_not_send_yet_is_waited_for() -> None:
    """Small pieces wait for an acknowledgement, which the other end holds back for 40 real ms."""

    async def main() -> int:
        server, reader, there, here = await connected()
        there.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        most_missing = 0
        for number in range(1, 30):
            here.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            there.write(SMALL)
            await asyncio.sleep(0.001)
            come = len(reader._buffer)  # type: ignore[attr-defined]
            most_missing = max(most_missing, number * len(SMALL) - come)
        await closed(server, there, here)
        return most_missing

    assert run_virtual(main(), sockets=Sockets.OURS_CHATTY) == 0


def test_an_end_that_does_not_read_is_waited_for_once() -> None:
    async def main() -> None:
        server, reader, there, here = await connected()
        here.transport.pause_reading()  # type: ignore[attr-defined]
        there.write(bytes(16 << 20))
        await asyncio.sleep(60)
        assert len(reader._buffer) == 0  # type: ignore[attr-defined]
        there.transport.abort()
        await closed(server, here)

    began = time.monotonic()
    run_virtual(main(), sockets=Sockets.OURS_CHATTY)
    assert time.monotonic() - began < 60  # each time, it would be a thousand times ACK_S


def test_where_no_timer_is_set_a_wait_for_a_socket_of_ours_is_a_deadlock(no_grace: None) -> None:
    async def main() -> None:
        server, reader, there, here = await connected()
        try:
            await reader.read(1)
        finally:
            there.transport.abort()
            here.transport.abort()
            server.close()

    with pytest.raises(DeadlockError, match="no timer is set"):
        run_virtual(main(), sockets=Sockets.OURS)


def test_until_says_whether_it_became_so_in_time() -> None:
    async def main() -> tuple[bool, bool, float]:
        soon = await until(lambda: now() >= 1, 5.0)
        never = await until(lambda: False, 5.0)
        return soon, never, now()

    soon, never, at = run_virtual(main())
    assert (soon, never) == (True, False) and 6 <= at < 6 + 3 * TICK_S
