"""What goes wrong on a WebSocket: faults scripted by connection or utterance, and reply."""

import socket
import struct
from typing import Literal

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode

from mocks.faults import LAST

AT_HANDSHAKE = ("busy", "error", "hang")


class SocketFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    busy, error  503 with the Python server's words; 500
    hang         takes the connection and never answers the handshake
    stall        before `reply`: nothing more comes (the Python server does not read then either)
    reset, cut   before `reply`: RST; half of it, then the socket is closed
    close        before `reply`: a goodbye with code 1011
    malformed, not_utf8, binary   instead of `reply`
    drip         `reply` and all behind it come byte by byte, one every `drip_ms`
    slow         from `reply` on every decode step takes `factor` times as long
    """

    kind: Literal[
        "busy",
        "error",
        "hang",
        "stall",
        "reset",
        "cut",
        "close",
        "malformed",
        "not_utf8",
        "binary",
        "drip",
        "slow",
    ]
    request: int = 1
    """What it begins with, counted from 1; 0: all. Connections for the first three kinds, else
    utterances: connections that bring no audio are not counted."""
    times: int = 1
    """How many in a row."""
    reply: int = 0
    """Counted from 0; -1: the last."""
    drip_ms: float = 1000.0
    factor: float = 10.0

    def hits(self, request: int) -> bool:
        return self.request == 0 or self.request <= request < self.request + self.times

    def strikes(self, reply: int, *, is_last: bool) -> bool:
        return self.reply == reply or (is_last and self.reply == LAST)


class Gone(Exception):
    """A fault ended the connection."""


async def play(connection: ServerConnection, fault: SocketFault, text: str) -> None:
    """Does what comes instead of `text`.

    Raises:
        Gone: If that ended the connection.
    """
    match fault.kind:
        case "malformed":
            await connection.send('{"text": "what are')
            return
        case "not_utf8":
            await connection.send(b"\xff\xfe\xfd", text=True)
            return
        case "binary":
            await connection.send(bytes(range(256)))
            return
        case "stall":
            await connection.wait_closed()
        case "reset":
            reset(connection)
        case "cut":
            frame = frame_of(text)
            connection.transport.write(frame[: len(frame) // 2])
            connection.transport.close()
        case "close":
            await connection.close(1011, "scripted fault")
    raise Gone


def frame_of(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def reset(connection: ServerConnection) -> None:
    """Closes the socket with an RST."""
    own_socket = connection.transport.get_extra_info("socket")
    own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()
