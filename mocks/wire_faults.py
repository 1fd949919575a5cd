"""What goes wrong between a server of HTTP and its client, below the words of any API.

refuse     nothing listens any more                            connection refused
hang       connected, and then nothing                         accept and never answer
slow       the head of the answer comes `delay_s` later        slow first byte
stall      nothing behind the first `item` pieces              stall in mid-stream
reset      RST behind them                                     RST in mid-stream
truncate   FIN in the middle of the next one                   truncated chunk
status     `status`, `retry_after`, body in the API's form     500; 429 + Retry-After
malformed  a piece that is not in the API's form               malformed body
bad_utf8   a piece that no decoder takes                       bad UTF-8
drip       byte after byte, `delay_s` between                  drip 1 B/s
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from typing import Literal

import msgspec
from aiohttp import web

Kind = Literal[
    "refuse",
    "hang",
    "slow",
    "stall",
    "reset",
    "truncate",
    "status",
    "malformed",
    "bad_utf8",
    "drip",
]
_MALFORMED = b"data: {half of an ev\n\n"
_BAD_UTF8 = b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'


class WireFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. `refuse` concerns the listening socket, so all requests until it is repaired."""

    kind: Kind
    request: int = 1
    """The request it begins with, counted from 1 since the faults were set; 0: every request."""
    times: int = 1
    """How many requests in a row."""
    item: int = 0
    """Pieces of the body that go out before, for those that come in mid-stream."""
    status: int = 500
    retry_after: str = ""
    delay_s: float = 1.0

    def concerns(self, request: int) -> bool:
        return self.request == 0 or self.request <= request < self.request + self.times


class WireFaults:
    """Those of one server; the first that concerns a request hits it."""

    def __init__(self, faults: Iterable[WireFault] = ()) -> None:
        self._faults = tuple(faults)
        self._requests = 0
        self.hits = 0
        """Requests that met one."""

    def set(self, *faults: WireFault) -> None:
        """Replaces what was there; requests count from 1 again."""
        self._faults, self._requests = faults, 0

    def next(self) -> WireFault | None:
        """For a request that begins now."""
        self._requests += 1
        fault = next((one for one in self._faults if one.concerns(self._requests)), None)
        self.hits += fault is not None
        return fault

    def lasting(self) -> WireFault | None:
        """What every request meets, and so somebody who only asks whether the server lives."""
        return next((one for one in self._faults if one.request == 0), None)


class FaultyWriter:
    """Writes the pieces of one body, and does to them what the fault says.

    Args:
        fault: None: every piece goes out as it is.
    """

    def __init__(self, request: web.Request, fault: WireFault | None) -> None:
        self._request = request
        self._fault = fault
        self._pieces = 0

    async def write(self, response: web.StreamResponse, piece: bytes) -> None:
        """Raises ConnectionResetError where the fault, or the client, ended the connection."""
        fault, number = self._fault, self._pieces
        self._pieces += 1
        if fault is None or number < fault.item:
            await response.write(piece)
            return
        match fault.kind:
            case "stall":
                await asyncio.Event().wait()
            case "reset":
                reset(self._request)
                raise ConnectionResetError("scripted reset")
            case "truncate":
                self._truncate(piece)
                raise ConnectionResetError("scripted end in the middle of a chunk")
            case "drip":
                for byte in piece:
                    await response.write(bytes([byte]))
                    await asyncio.sleep(fault.delay_s)
                return
            case "malformed" if number == fault.item:
                piece = _MALFORMED
            case "bad_utf8" if number == fault.item:
                piece = _BAD_UTF8
        await response.write(piece)

    def _truncate(self, piece: bytes) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.write(b"%x\r\n" % len(piece) + piece[: len(piece) // 2])
            transport.close()


async def begin(fault: WireFault | None) -> None:
    """Waits for what comes before the head of the answer."""
    if fault is not None and fault.kind == "hang":
        await asyncio.Event().wait()
    if fault is not None and fault.kind == "slow":
        await asyncio.sleep(fault.delay_s)


def hang_up(request: web.Request) -> web.StreamResponse:
    """Ends the connection without an answer, or in the middle of one."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def reset(request: web.Request) -> None:
    """Ends the connection with RST: what lies in the buffers is lost on both sides."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
