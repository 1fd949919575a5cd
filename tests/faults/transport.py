"""The cells in which the caller's own connection fails: over a real WebSocket, through a proxy.

turn 1        the connection fails in its phase
neighbour     asks meanwhile, on a connection of its own
next call     comes in as soon as the line is mended
the end       of whoever failed is waited for
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from mocks.clock import now, until
from tests.driving import SentEvent, SentFrame
from tests.faults.caller import Caller
from tests.faults.cell import SETTLE_S, Moments, Seen
from tests.faults.matrix import Cell
from tests.faults.oracles import (
    answers,
    gives_back,
    is_never_silent,
    keeps_quiet,
    lives,
    remembers,
    repeats_nothing,
    serves_others,
)
from tests.faults.proxy import Proxy, Strike
from tests.faults.speech import EXCHANGES
from tests.faults.stack import Log, Stack, resources
from tests.served import masked
from voice.desk import Desk
from voice.playout import Frame
from voice.server import server_for
from voice.settings import AudioFormat

GONE_S = 45.0
"""A client that neither sends nor takes anything is known to have gone: two pings of 20 s."""
CODES = {
    "crash": {1006},
    "reset": {1006},
    "truncate": {1006},
    "malformed": {1002},
    "hang": {1000, 1005, 1006, 1011},
    "stall": {1000, 1005, 1006, 1011},
    "drip": {1000, 1005, 1006, 1011},
    "stop": {1000, 1005, 1006},
}
"""What the log may say of the end; 1011: no answer to a ping."""
_MIDDLE_BYTES = 5000
_HEADER = struct.Struct("<II")
_FORM = AudioFormat(type="audio/pcm", rate=24_000)


class RemoteCaller(Caller):
    """A caller at the other end of a WebSocket; looks into the session only for its history."""

    @classmethod
    async def calling(cls, desk: Desk, port: int, name: str) -> "RemoteCaller":
        connection = await connect(
            f"ws://127.0.0.1:{port}/v1/realtime?audio=binary",
            compression=None,
            proxy=None,
            ping_interval=None,
            open_timeout=SETTLE_S,
            close_timeout=0.5,
        )
        first = msgspec.json.decode(await connection.recv())
        return cls(desk, name, connection, first["session"]["id"])

    def __init__(self, desk: Desk, name: str, connection: ClientConnection, session: str) -> None:
        self.connection = connection
        self._unsent: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(self._read(), name=f"{name} reads"),
            asyncio.create_task(self._write(), name=f"{name} writes"),
        ]
        self._begin(name, desk._open[session])

    def _hear(self, frame: bytes) -> None:
        self._unsent.put_nowait(frame)

    def _post(self, event: str) -> None:
        self._unsent.put_nowait(event)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.connection.send(await self._unsent.get())

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self.connection:
                if isinstance(message, str):
                    self.client.log.append(SentEvent(now(), msgspec.json.decode(message)))
                else:
                    turn, at_ms = _HEADER.unpack_from(message)
                    frame = Frame(turn, at_ms, message[_HEADER.size :])
                    self.client.log.append(SentFrame(now(), frame, "", _FORM))

    async def hang_up(self) -> float:
        began = now()
        with contextlib.suppress(WebSocketException, OSError):
            await self.connection.close()
        self.vanish()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        return now() - began

    def vanish(self) -> None:
        """RST."""
        connection = self.connection.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.transport.abort()

    def send_nonsense(self) -> None:
        """A text that is none, then a frame of a kind that there is not."""
        self.connection.transport.write(masked(1, b"\xff\xfe\xfd") + masked(3, b"?"))


async def seen(cell: Cell, index: Path) -> tuple[Seen, RemoteCaller]:
    """What was seen, and whoever failed, who is not among its callers."""
    found = Seen(cell)
    with Log() as log:
        found.before = resources()
        async with Stack(index, cell) as stack, serving(stack.desk) as proxy:
            failed = await _play(cell, stack, proxy, found)
        await until(lambda: resources().within(found.before), SETTLE_S)
        found.after = resources()
    found.log = log.lines
    return found, failed


@contextlib.asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[Proxy]:
    """The real server, behind a proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = server_for(desk)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        await until(lambda: server.started, SETTLE_S)
        proxy = Proxy(listener.getsockname()[1])
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.aclose()
            server.should_exit = True
            await task


async def _play(cell: Cell, stack: Stack, proxy: Proxy, found: Seen) -> RemoteCaller:
    failing = await RemoteCaller.calling(stack.desk, proxy.port, "failing caller")
    neighbour = Caller(stack.desk, "neighbour")
    found.callers = [neighbour]
    found.warnings = [(now(), tuple(stack.desk.health().warnings))]
    await asyncio.sleep(0.5)
    counted = stack.fallbacks()

    def strike() -> None:
        found.struck_at = now()
        if cell.kind == "malformed":
            failing.send_nonsense()
        else:
            proxy.strike(Strike(kind=cell.kind, after=_MIDDLE_BYTES))

    moments = Moments(stack, cell.phase)
    first = asyncio.create_task(moments.first_turn(failing, strike), name="first turn")
    await until(lambda: found.struck_at, 30.0)
    await neighbour.ask(EXCHANGES[4])
    if cell.kind == "stop":
        await asyncio.wait((first,))
    await until(lambda: failing.session.closed, GONE_S if cell.kind != "stop" else 0.0)
    await proxy.repair()
    found.repaired_at = now()
    caller = await RemoteCaller.calling(stack.desk, proxy.port, "next caller")
    found.callers.insert(0, caller)
    await caller.ask(EXCHANGES[3])
    first.cancel()
    await asyncio.wait((first,))
    await failing.hang_up()
    found.warnings.append((now(), tuple(stack.desk.health().warnings)))
    counts = stack.fallbacks()
    found.fallbacks = {slot: counts[slot] - counted[slot] for slot in counts}
    found.hang_ups_s = [await caller.hang_up(), await neighbour.hang_up()]
    await until(lambda: not stack.running() and not stack.desk.sessions, SETTLE_S)
    found.running = stack.running()
    return failing


# --- what must hold -------------------------------------------------------------------------------

COMMON = (
    lives, is_never_silent, answers, repeats_nothing, remembers, gives_back, serves_others,
    keeps_quiet,
)  # fmt: skip


def complaints(found: Seen, failing: RemoteCaller) -> Iterator[str]:
    """As `oracles.complaints`, for a fault that no provider has."""
    for oracle in COMMON:
        yield from (f"{oracle.__name__}: {what}" for what in oracle(found))
    yield from (f"ends: {what}" for what in _ends(found, failing))
    if any(found.fallbacks.values()):
        yield f"counts: {found.fallbacks}"
    for at, warnings in found.warnings:
        if warnings:
            yield f"tells: {warnings} at {at:.2f}, and no provider failed"


def _ends(found: Seen, failing: RemoteCaller) -> Iterator[str]:
    """Its session, in time, with the code of what happened, told once; or it goes on."""
    kind = found.cell.kind
    lines = [
        line
        for line in found.log
        if line.fields["event"] == "session_closed" and line.fields["session"] == failing.session.id
    ]
    if len(lines) != 1:
        yield f"{len(lines)} lines tell of it"
        return
    fields: dict[str, Any] = lines[0].fields
    goodbye = {1000} if found.cell.phase == "closing" else set()
    if fields["code"] not in CODES[kind] | goodbye:
        yield f"{fields['code']} {fields['why']!r}"
    if kind == "stop":
        lasting = failing.turns[-1]
        if lasting.over is None and found.cell.phase != "closing":
            yield "the call did not outlive five seconds without a network"
    elif lines[0].at > found.struck_at + GONE_S:
        yield f"struck at {found.struck_at:.2f}, gone at {lines[0].at:.2f}"
