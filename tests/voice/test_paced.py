"""Sound that leaves in real time, and no sooner, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mocks.clock import Sockets, now, run_virtual
from voice.transports.telephony.audiosocket import ERROR, HEAD, SILENCE, AudioSocket, frame
from voice.transports.telephony.paced import MOST_UNSENT_BYTES, PacedLine

ADAPTER = AudioSocket(0x10)
PIECE = ADAPTER.sound(b"\1\2" * 160)


class Far:
    """The other end: what came, and when."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.came: list[tuple[float, bytes]] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(HEAD.size)
                payload = await self._reader.readexactly(HEAD.unpack(head)[1])
                self.came.append((now(), head + payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.came]


def with_line(talk: Callable[[PacedLine, Far], Awaitable[None]], **options: Any) -> list[Any]:
    """Returns:
    Marks that came back, and when.
    """
    marks: list[Any] = []

    async def main() -> None:
        accepted: asyncio.Queue[Any] = asyncio.Queue()
        server = await asyncio.start_server(lambda *both: accepted.put_nowait(both), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        _, ours = await accepted.get()
        line = PacedLine(
            ours.transport,
            0x10,
            came_back=lambda mark: marks.append((now(), mark[3:].decode())),
            **{"silence": False, **options},
        )
        far = Far(reader)
        try:
            await talk(line, far)
        finally:
            line.stop()
            far.task.cancel()
            await asyncio.gather(far.task, return_exceptions=True)
            for one in (writer, ours):
                one.close()
            server.close()

    run_virtual(main(), sockets=Sockets.OURS)
    return marks


def near(times: list[float], wanted: list[float]) -> bool:
    return times == pytest.approx(wanted, abs=0.005)


def test_one_frame_leaves_every_20_ms_however_many_are_given() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        begun = now()
        for _ in range(5):
            line.put(PIECE, sound=True)
        await asyncio.sleep(1.0)
        assert near(far.times, [begun + 0.02 * count for count in range(5)])

    with_line(talk)


def test_what_was_given_and_has_not_left_never_leaves_once_it_is_cleared() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        for _ in range(50):
            line.put(PIECE, sound=True)
        await asyncio.sleep(0.105)
        line.clear()
        await asyncio.sleep(1.0)
        assert len(far.came) == 6
        begun = now()
        line.put(PIECE, sound=True)
        await asyncio.sleep(0.1)
        assert near(far.times[6:], [begun])

    with_line(talk)


def test_a_mark_comes_back_when_what_stands_before_it_has_been_played() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        for name in ("a", "b"):
            line.put(PIECE, sound=True)
            line.put(PIECE, sound=True)
            line.put(ADAPTER.mark(name), sound=True)
        await asyncio.sleep(1.0)
        assert all(data == PIECE for _, data in far.came), "no mark ever leaves"

    (a_at, a), (b_at, b) = with_line(talk)
    assert (a, b) == ("a", "b")
    assert near([a_at, b_at], [0.04, 0.08])


def test_a_cleared_mark_never_comes_back() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        line.put(PIECE, sound=True)
        line.put(ADAPTER.mark("a"), sound=True)
        line.clear()
        await asyncio.sleep(0.5)

    assert with_line(talk) == []


def test_two_answers_in_a_row_are_paced_as_one() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        begun = now()
        line.put(PIECE, sound=True)
        await asyncio.sleep(0.005)
        line.put(PIECE, sound=True)
        await asyncio.sleep(0.5)
        assert near(far.times, [begun, begun + 0.02])

    with_line(talk)


def test_where_it_is_wanted_there_is_silence_between() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        await asyncio.sleep(0.1)
        line.put(PIECE, sound=True)
        await asyncio.sleep(0.1)
        frames = [data for _, data in far.came]
        assert len(frames) in (10, 11) and frames.count(PIECE) == 1
        assert set(frames) == {PIECE, frame(0x10, bytes(320))}
        assert near(far.times, [far.times[0] + 0.02 * count for count in range(len(frames))])

    with_line(talk, silence=True)


def test_what_is_no_sound_leaves_at_once() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        for _ in range(10):
            line.put(PIECE, sound=True)
        line.put(frame(SILENCE))
        await asyncio.sleep(0.01)
        assert frame(SILENCE) in [data for _, data in far.came]

    with_line(talk)


@pytest.mark.parametrize(
    ("code", "told"), [(1000, []), (1001, []), (1008, [ERROR]), (1011, [ERROR])]
)
def test_an_end_that_is_an_error_is_told_as_one(code: int, told: list[int]) -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        line.put(PIECE, sound=True)
        line.end(code, "why")
        line.put(PIECE, sound=True)
        line.end(1000, "once more")
        await far.task
        assert [data[0] for _, data in far.came] == told
        assert line.ended == (code, "why")

    with_line(talk)


def test_a_loop_that_was_late_catches_up_a_little_and_sends_no_burst() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        for _ in range(40):
            line.put(PIECE, sound=True)
        await asyncio.sleep(0.105)
        before = len(far.came)
        line._next_at -= 0.06  # as if the loop had been late by three frames
        await asyncio.sleep(0.02)
        assert len(far.came) - before == 4
        before = len(far.came)
        line._next_at -= 3.0  # or by three seconds
        await asyncio.sleep(0.02)
        assert len(far.came) - before <= 2

    with_line(talk)


def test_who_takes_nothing_is_dropped() -> None:
    async def talk(line: PacedLine, far: Far) -> None:
        far.task.cancel()
        line._transport.set_write_buffer_limits(0)
        for _ in range(20_000):
            line.put(frame(SILENCE, bytes(400)))
            if line.dropped:
                break
        assert line.dropped and line.ended[0] == 1006
        assert line._transport.is_closing()

    with_line(talk)
    assert MOST_UNSENT_BYTES < 1_000_000
