"""What goes wrong on the way to a server, and with the server, at a moment of our choosing.

    Kaiwa ──▶ Proxy ──▶ mock server

It strikes the requests that are under way as well as those to come, until it is repaired:

    refuse    nothing listens; what was connected is closed (FIN)
    crash     nothing listens; what was connected is reset
    hang      accepted, and nothing comes back
    slow      the first byte of an answer takes `delay_s`
    stall     nothing comes behind the first `after` bytes of an answer's body
    reset     RST there
    truncate  FIN there
    drip      a byte a second
    error     500 to every request
    busy      429 with Retry-After to every request
    stop      as a process under SIGSTOP for `delay_s`, which then goes on where it was
"""

import asyncio
import contextlib
import re
import socket
import struct
from typing import Literal

import msgspec

Kind = Literal[
    "refuse", "crash", "hang", "slow", "stall", "reset", "truncate", "drip", "error", "busy",
    "stop",
]  # fmt: skip

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_REQUEST = re.compile(rb"(GET|POST|HEAD) ")
_BODY = b'{"error": {"message": "scripted fault", "code": 0}}'
_ANSWER = {
    "error": b"HTTP/1.1 500 Internal Server Error\r\n",
    "busy": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n",
}
_READ_BYTES = 65_536


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    after: int = 0
    delay_s: float = 5.0


class _Gone(Exception):
    """The fault ended the link."""


class _Link:
    """One connection through the proxy."""

    def __init__(self, down: asyncio.StreamWriter) -> None:
        self.down = down
        self.up: asyncio.StreamWriter | None = None
        self.is_socket = False
        """Whether it was upgraded to a WebSocket."""
        self.is_fresh = True
        """Whether nothing has come back for the last request."""
        self.left = 0
        """Bytes that still pass, for the faults that come in the middle."""
        self.tainted = False
        self._request = b""

    def is_whole(self, data: bytes) -> bool:
        """Whether the request that `data` goes on with is complete."""
        self._request += data
        head, end, body = self._request.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head)
        return len(body) >= (int(length[1]) if length else 0)

    def close(self) -> None:
        for writer in (self.down, self.up):
            if writer is not None:
                writer.close()

    def abort(self) -> None:
        """RST to the client; the server hears of it as well."""
        connection = self.down.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.down.transport.abort()
        if self.up is not None:
            self.up.transport.abort()


class Proxy:
    """Args:
    target: The port it leads to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: Strike | None = None
        self._mended = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._going_again: asyncio.TimerHandle | None = None
        self.port = 0

    @property
    def links(self) -> int:
        return len(self._links)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        self._unlisten()
        if self._going_again is not None:
            self._going_again.cancel()
        for link in list(self._links):
            link.abort()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def strike(self, fault: Strike) -> None:
        self._fault = fault
        self._mended.clear()
        for link in self._links:
            link.left = fault.after
        match fault.kind:
            case "refuse" | "crash":
                self._unlisten()
                for link in list(self._links):
                    link.abort() if fault.kind == "crash" else link.close()
            case "error" | "busy":  # a socket that was greeted before would not notice
                for link in [link for link in self._links if link.is_socket]:
                    link.abort()
            case "stop":
                self._going.clear()
                loop = asyncio.get_running_loop()
                self._going_again = loop.call_later(fault.delay_s, self._going.set)

    async def repair(self) -> None:
        """The server is as new: what had hung in it is gone, but after a stop."""
        self._fault = None
        self._mended.set()
        self._going.set()
        for link in list(self._links):
            if link.tainted:
                link.abort()
        if self._server is None:
            await self.start()

    def _unlisten(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    # --- links ------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="proxy link")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        pumps: list[asyncio.Task[None]] = []
        try:
            await self._going.wait()
            back, link.up = await asyncio.open_connection("127.0.0.1", self._target)
            link.left = self._fault.after if self._fault is not None else 0
            pumps = [
                asyncio.create_task(self._pump_up(link, reader), name="proxy up"),
                asyncio.create_task(self._pump_down(link, back), name="proxy down"),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            link.close()
            self._links.discard(link)

    async def _pump_up(self, link: _Link, reader: asyncio.StreamReader) -> None:
        assert link.up is not None
        with contextlib.suppress(OSError, _Gone):
            while data := await reader.read(_READ_BYTES):
                await self._going.wait()
                fault = self._fault
                begins = bool(_REQUEST.match(data))
                if begins and b"upgrade: websocket" in data.lower():
                    link.is_socket = True
                if not link.is_socket or begins:
                    link.is_fresh = True
                    link.left = fault.after if fault is not None else 0
                if fault is not None and fault.kind in _ANSWER:
                    await self._refuse(link, fault.kind, data)
                    continue
                link.up.write(data)
                await link.up.drain()

    async def _refuse(self, link: _Link, kind: str, data: bytes) -> None:
        if not link.is_whole(data):
            return
        head = _ANSWER[kind] + b"Content-Type: application/json\r\nConnection: close\r\n"
        link.down.write(head + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY)
        await link.down.drain()
        raise _Gone

    async def _pump_down(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, _Gone):
            while data := await reader.read(_READ_BYTES):
                await self._pass(link, data)

    async def _pass(self, link: _Link, data: bytes) -> None:
        await self._going.wait()
        fault = self._fault
        if link.is_fresh:
            link.left += data.find(b"\r\n\r\n") + 4
        match fault.kind if fault is not None else "":
            case "hang":
                await self._hold(link)
            case "slow" if fault is not None and link.is_fresh:
                await asyncio.sleep(fault.delay_s)
            case "stall" | "reset" | "truncate" if fault is not None:
                if len(data) >= link.left:
                    link.down.write(data[: link.left])
                    await link.down.drain()
                    await self._break(link, fault.kind)
                link.left -= len(data)
            case "drip":
                link.tainted = True
                for byte in data:
                    link.down.write(bytes([byte]))
                    await asyncio.sleep(1.0)
                return
        link.is_fresh = False
        link.down.write(data)
        await link.down.drain()

    async def _break(self, link: _Link, kind: str) -> None:
        if kind == "stall":
            await self._hold(link)
        if kind == "reset":
            link.abort()
        raise _Gone

    async def _hold(self, link: _Link) -> None:
        """Until the repair, which ends the link."""
        link.tainted = True
        await self._mended.wait()
        raise _Gone
