"""A Line alone, on a transport that the test holds: each limit by itself, in virtual time.

    client  ──masked frames──▶  data_received ──▶ Line ──▶ text(), binary()
    Wire    ◀──written, until it is `stuck`──────┘

A limit that is not the one asked about is out of reach: an hour to send, or a byte to store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from mocks.clock import now, run_virtual
from tests.served import masked, upgrade
from voice.transports.budget import READ_BURST_BYTES, READ_BYTES_S
from voice.transports.line import (
    FRAME_BYTES,
    LINGER_S,
    SLICE_BYTES,
    UNSENT_BYTES,
    Line,
)
from voice.transports.websocket import LineOutbox

HIGH_WATER_BYTES = 65_536
"""asyncio's own: above it a transport asks for a pause."""
NEVER_S = 3600.0


class Wire(asyncio.Transport):
    """A socket whose other end takes all or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = bytearray()
        self.stuck = False
        self.reads = True
        self.aborted_at: float | None = None
        self.most_unsent = 0
        self._unsent = bytearray()
        self._closing = False
        self._paused = False
        self.line: Line

    def write(self, data: Any) -> None:
        if self._closing:
            return
        (self._unsent if self.stuck else self.taken).extend(data)
        self.most_unsent = max(self.most_unsent, len(self._unsent))
        if len(self._unsent) > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self.line.pause_writing()

    def take(self) -> None:
        """The client reads again."""
        self.stuck = False
        self.taken += self._unsent
        self._unsent.clear()
        if self._paused:
            self._paused = False
            self.line.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self._closing

    def write_eof(self) -> None:
        """The other direction stays open."""

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        if self.aborted_at is None:
            self._closing, self.aborted_at = True, now()
            asyncio.get_running_loop().call_soon(self.line.connection_lost, None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Call:
    """A Line with a call attached, and what reached the call."""

    def __init__(self, wire: Wire, line: Line) -> None:
        self.wire, self.line = wire, line
        self.heard: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """As much as a socket gives in one go, whether or not reading is paused."""
        self.line.data_received(data)

    def stall(self) -> None:
        """From here on the client takes nothing, and the transport has asked for a pause."""
        self.wire.stuck = True
        self.line.put(b"x" * (HIGH_WATER_BYTES + 1))
        assert not self.line.writable.is_set()


def on_the_line(
    work: Callable[[Call], Awaitable[None]],
    *,
    send_limit_s: float = NEVER_S,
    max_bytes: int = 2**24,
) -> None:
    """Runs `work` with an open call."""

    async def scenario() -> None:
        wire, opened = Wire(), asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            line: Line = scope["extensions"]["kaiwa.line"]
            call = Call(wire, line)
            gone = line.attach(
                text=call.heard.append, binary=call.heard.append, send_limit_s=send_limit_s
            )
            opened.set_result(call)
            await gone

        config = uvicorn.Config(
            app,
            ws=Line,
            ws_max_size=max_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
        )
        config.load()
        wire.line = Line(config, ServerState(), {}, asyncio.get_running_loop())
        wire.line.connection_made(wire)
        wire.line.data_received(upgrade("http://127.0.0.1:8000"))
        call = await opened
        wire.taken.clear()
        await work(call)
        wire.abort()
        await asyncio.sleep(0)

    run_virtual(scenario())


# --- out ------------------------------------------------------------------------------------------


def test_sound_that_was_cleared_before_it_left_never_leaves() -> None:
    async def work(call: Call) -> None:
        call.stall()
        for number in range(10):
            call.line.put(b"old sound %d" % number, binary=True, sound=True)
        LineOutbox(call.line, binary=True).clear()  # as a session does
        call.line.put(b"new sound", binary=True, sound=True)
        call.wire.take()
        assert b"old sound" not in call.wire.taken
        assert call.wire.taken.endswith(b"new sound")

    on_the_line(work)


@pytest.mark.parametrize("who", ["server", "client"])
def test_behind_a_goodbye_no_sound_leaves(who: str) -> None:
    async def work(call: Call) -> None:
        call.stall()
        call.line.put(b"a sound", binary=True, sound=True)
        if who == "server":
            call.line.end(1000, "over")
        else:
            call.feed(masked(8, b"\x03\xe8"))
        call.wire.take()
        assert b"\x03\xe8" in call.wire.taken
        assert b"a sound" not in call.wire.taken

    on_the_line(work)


def test_only_sound_is_cleared_and_only_sound_waits() -> None:
    async def work(call: Call) -> None:
        call.stall()
        call.line.put(b"a sound", binary=True, sound=True)
        call.line.put(b"an event")
        call.line.clear()
        call.wire.take()
        assert b"an event" in call.wire.taken and b"a sound" not in call.wire.taken

    on_the_line(work)


def test_sound_that_waited_leaves_in_order_once_the_client_reads_again() -> None:
    async def work(call: Call) -> None:
        call.stall()
        for number in range(3):
            call.line.put(b"sound %d" % number, binary=True, sound=True)
        call.wire.take()
        places = [call.wire.taken.index(b"sound %d" % number) for number in range(3)]
        assert places == sorted(places)

    on_the_line(work)


def test_a_client_that_takes_nothing_is_aborted_at_its_limit_and_not_before() -> None:
    async def work(call: Call) -> None:
        call.stall()
        begun = now()
        await asyncio.sleep(4.9)
        assert call.wire.aborted_at is None
        await asyncio.sleep(0.2)
        assert call.wire.aborted_at == pytest.approx(begun + 5.0)
        assert call.line.dropped

    on_the_line(work, send_limit_s=5.0)


def test_a_client_that_reads_again_in_time_stays() -> None:
    async def work(call: Call) -> None:
        for _ in range(3):
            call.stall()
            await asyncio.sleep(4.0)
            call.wire.take()
        await asyncio.sleep(10.0)
        assert call.wire.aborted_at is None and not call.line.dropped

    on_the_line(work, send_limit_s=5.0)


def test_events_for_a_client_that_takes_nothing_have_a_limit_in_bytes() -> None:
    async def work(call: Call) -> None:
        call.wire.stuck = True
        for _ in range(2 * UNSENT_BYTES // 50_000):
            call.line.put(b"x" * 50_000)
        assert call.wire.aborted_at == now() and call.line.dropped
        assert UNSENT_BYTES < call.wire.most_unsent < UNSENT_BYTES + 60_000

    on_the_line(work)


def test_pongs_for_a_client_that_takes_nothing_count_in_that_limit() -> None:
    async def work(call: Call) -> None:
        call.wire.stuck = True
        pings = masked(9, b"x" * 125) * 1000
        for _ in range(2 * UNSENT_BYTES // 127_000):
            call.feed(pings)
            await asyncio.sleep(1.0)  # so that the reading is not what holds them up
        assert call.wire.aborted_at is not None and call.line.dropped
        assert UNSENT_BYTES < call.wire.most_unsent < UNSENT_BYTES + 60_000

    on_the_line(work)


def test_who_is_told_goodbye_and_does_not_answer_is_gone_a_second_later() -> None:
    async def work(call: Call) -> None:
        call.line.end(1001, "the server is stopping")
        begun = now()
        assert call.wire.taken.endswith(b"\x03\xe9the server is stopping")
        await asyncio.sleep(2 * LINGER_S)
        assert call.wire.aborted_at == pytest.approx(begun + LINGER_S)
        assert not call.line.dropped

    on_the_line(work)


# --- in -------------------------------------------------------------------------------------------


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


PATIENT_TURNS = 2 * READ_BURST_BYTES // SLICE_BYTES


@pytest.mark.parametrize("payload", [b"", b"x" * 125, b"x" * 60_000], ids=len)
def test_a_flood_is_read_up_to_the_burst_and_then_at_the_rate(payload: bytes) -> None:
    frame = masked(2, payload)
    cost = len(frame) + FRAME_BYTES
    burst, a_second = READ_BURST_BYTES / cost, READ_BYTES_S / cost

    async def work(call: Call) -> None:
        count = int(burst + 4 * a_second)
        call.feed(frame * count)
        await turns(PATIENT_TURNS)
        assert len(call.heard) == pytest.approx(burst, rel=0.02, abs=2)
        assert not call.wire.reads, "the rest waits in the client's own socket"
        await asyncio.sleep(2.0)
        await turns(PATIENT_TURNS)
        assert len(call.heard) == pytest.approx(burst + 2 * a_second, rel=0.02, abs=3)
        await asyncio.sleep(3.0)
        await turns(PATIENT_TURNS)
        assert len(call.heard) == count and call.wire.aborted_at is None, "nobody is cut off"

    on_the_line(work)


def test_a_flood_is_read_in_slices_with_turns_for_others_between_them() -> None:
    frame = masked(2, b"x" * 125)
    a_slice = SLICE_BYTES / (len(frame) + FRAME_BYTES)

    async def work(call: Call) -> None:
        call.feed(frame * 10_000)
        before = len(call.heard)
        for _ in range(20):
            await asyncio.sleep(0)
            read, before = len(call.heard) - before, len(call.heard)
            assert 0 < read < 1.2 * a_slice

    on_the_line(work)


def test_who_is_below_the_rate_is_never_slowed_down() -> None:
    async def work(call: Call) -> None:
        frame = masked(2, bytes(960))
        for number in range(1, 5000):
            call.feed(frame)
            await turns(2)
            assert len(call.heard) == number and call.wire.reads
            await asyncio.sleep(0.02)

    on_the_line(work)


def test_while_the_call_holds_nothing_is_read_and_then_all_of_it() -> None:
    async def work(call: Call) -> None:
        call.line.hold(held=True)
        assert not call.wire.reads
        call.feed(masked(1, b"first") + masked(1, b"second"))
        await asyncio.sleep(60.0)
        assert call.heard == []
        call.line.hold(held=False)
        await turns(3)
        assert call.heard == [b"first", b"second"] and call.wire.reads

    on_the_line(work)


MESSAGES = st.lists(
    st.sampled_from(["text", "binary", "long", "parts", "ping", "empty"]), max_size=12
)


def frames_of(kind: str, number: int) -> tuple[bytes, list[bytes]]:
    """What a client sends, and what of it the call is given."""
    payload = b"%s %d" % (kind.encode(), number)
    match kind:
        case "ping":
            return masked(9, payload), []
        case "empty":
            return masked(2), [b""]
        case "parts":
            return masked(1, payload, fin=False) + masked(9) + masked(0, b"."), [payload + b"."]
        case "long":
            payload *= 1000
    return masked(1 if kind == "text" else 2, payload), [payload]


@given(MESSAGES, st.lists(st.integers(1, 3000), max_size=20))
def test_however_the_bytes_are_cut_every_message_comes_once_and_in_order(
    kinds: list[str], cuts: list[int]
) -> None:
    sent, expected = b"", []
    for number, kind in enumerate(kinds):
        data, given = frames_of(kind, number)
        sent += data
        expected += given

    async def work(call: Call) -> None:
        at = 0
        for size in [*cuts, len(sent)]:
            call.feed(sent[at : at + size])
            at += size
            await turns(3)
        assert call.heard == expected
        assert call.wire.taken.count(b"ping ") == kinds.count("ping")

    on_the_line(work)


def test_live_audio_passes_the_protocol_by_also_after_something_else() -> None:
    async def work(call: Call) -> None:
        parsed: list[int] = []
        receive = call.line.conn.receive_data

        def parse(data: bytes | bytearray) -> None:
            parsed.append(len(data))
            receive(data)

        call.line.conn.receive_data = parse  # type: ignore[method-assign]  # still the real one
        ping, frame = masked(9, b"ping"), masked(1, bytes(1340))
        for _ in range(3):
            call.feed(frame)
            call.feed(frame * 3)
            call.feed(ping)
            call.feed(frame[:700])
            call.feed(frame[700:])
        assert len(call.heard) == 15
        assert parsed == [len(ping), 700, len(frame) - 700] * 3

    on_the_line(work)


def test_a_short_limit_holds_for_live_audio_too() -> None:
    async def work(call: Call) -> None:
        call.feed(masked(1, bytes(1024)))
        call.feed(masked(1, bytes(1025)))
        assert call.heard == [bytes(1024)]
        assert b"\x03\xf1" in call.wire.taken  # 1009

    on_the_line(work, max_bytes=1024)
