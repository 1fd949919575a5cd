"""SIP over TCP: the same, in connections that callers open; a message ends where it says so.

What is dropped here nobody sends again, so a flood is not read on until its pace allows it.
"""

import asyncio
from typing import cast

from voice.transports.sip.messages import Source
from voice.transports.sip.wire import MOST_BYTES, MOST_CONNECTIONS, Wire

IDLE_S = 3600.0
"""Without a byte: longer than any session is refreshed (RFC 4028 asks for 1800 s)."""
MESSAGES_AT_ONCE = 8
"""Then others have their turn."""
_END = b"\r\n\r\n"


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, wire: "TcpWire") -> None:
        self._wire = wire
        self._unread = bytearray()
        self.transport: asyncio.Transport
        self.source: Source = ("", 0)
        self._idle: asyncio.TimerHandle | None = None
        self._next_turn: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.source = transport.get_extra_info("peername")[:2]
        self._wire.opened(self)

    def data_received(self, data: bytes) -> None:
        self._rest()
        self._unread += data
        if self._next_turn is None:
            self._read_on()

    def _read_on(self) -> None:
        self._next_turn, wait_s = None, 0.0
        for _ in range(MESSAGES_AT_ONCE):
            if wait_s := self._wire.wait_s(self.source[0]):
                break
            message = self._next()
            if message is not None:
                self._wire.receive(message, self.source)
            if self.transport.is_closing():
                return
            if message is None:
                self.transport.resume_reading()
                return
        self.transport.pause_reading()
        self._next_turn = asyncio.get_running_loop().call_later(wait_s, self._read_on)

    def _next(self) -> bytes | None:
        """The next whole message; None while there is none. What cannot be one ends the line."""
        rest = self._unread.lstrip(b"\r\n")  # empty lines keep it open, RFC 5626
        del self._unread[: len(self._unread) - len(rest)]
        end = self._unread.find(_END)
        length = 0 if end < 0 else _body_bytes(bytes(self._unread[:end]))
        if length is None or max(len(self._unread), end + length) > MOST_BYTES:
            self.transport.abort()
            return None
        whole = end + len(_END) + length
        if end < 0 or len(self._unread) < whole:
            return None
        message = bytes(self._unread[:whole])
        del self._unread[:whole]
        return message

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._idle, self._next_turn):
            if timer is not None:
                timer.cancel()
        self._unread.clear()
        self._wire.closed(self)


def _body_bytes(head: bytes) -> int | None:
    """As Content-Length has it, 0 without; None: it is no length."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            text = value.strip()
            return int(text) if text.isdigit() and len(text) < 7 else None
    return 0


class TcpWire(Wire):
    reliable = True
    protocol = "TCP"
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._streams: dict[Source, Stream] = {}
        self._server = await self._loop.create_server(lambda: Stream(self), *self.local_addr)
        self.local_addr = self._server.sockets[0].getsockname()[:2]

    def opened(self, stream: Stream) -> None:
        if len(self._streams) >= MOST_CONNECTIONS or not self._peers.admit(stream.source[0]):
            self._drop("peer", stream.source)
            stream.transport.abort()
            return
        self._streams[stream.source] = stream
        stream._rest()

    def closed(self, stream: Stream) -> None:
        if self._streams.get(stream.source) is stream:
            del self._streams[stream.source]

    def put(self, data: bytes, to: Source) -> None:
        stream = self._streams.get(to)
        if stream is None:
            return
        if stream.transport.get_write_buffer_size() > MOST_BYTES:
            stream.transport.abort()  # it reads nothing
        elif not stream.transport.is_closing():
            stream.transport.write(data)

    async def stop(self) -> None:
        await super().stop()
        if self._server is not None:
            self._server.close()
            for stream in list(self._streams.values()):
                stream.transport.close()
            await self._server.wait_closed()
