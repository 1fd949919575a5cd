"""A request over HTTP has time to arrive over a bad network, and no more than that."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mocks.clock import Sockets, now, run_virtual
from voice.transports.request import ARRIVAL_LIMIT_S, PromptRequest

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def connected(work: Callable[[Connection], Awaitable[None]]) -> None:
    """What `work` does with a connection, in virtual time."""

    async def main() -> None:
        config = uvicorn.Config(echo, http=PromptRequest, log_config=None, lifespan="off")
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: PromptRequest(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            await work((reader, writer))
        finally:
            writer.close()
            server.close()

    run_virtual(main(), sockets=Sockets.OURS)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What came before the connection was gone."""
    with suppress(ConnectionResetError):
        return await reader.read()
    return b""


@pytest.mark.parametrize("late_s", [0.0, 6.0, ARRIVAL_LIMIT_S - 0.5])
def test_a_request_of_which_packets_are_lost_is_answered_when_it_has_arrived(late_s: float) -> None:
    """Head at once, three bytes half-way, the rest `late_s` behind: 6 s were too late once."""

    async def work(connection: Connection) -> None:
        reader, writer = connection
        for piece in (HEAD, b"abc", b"def"):
            writer.write(piece)
            await asyncio.sleep(late_s / 2)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert b"abcdef" in await reader.readuntil(b"def")

    connected(work)


@pytest.mark.parametrize("begun", [b"", b"POST / HT", HEAD, HEAD + b"abc"])
def test_a_request_that_never_ends_is_closed_though_it_comes_byte_by_byte(begun: bytes) -> None:
    async def work(connection: Connection) -> None:
        reader, writer = connection
        for at in range(len(begun)):
            writer.write(begun[at : at + 1])
            await asyncio.sleep(0.01)
        assert await closed(reader) == b""
        assert now() == pytest.approx(ARRIVAL_LIMIT_S, abs=0.1)

    connected(work)


def test_the_next_request_of_a_connection_has_its_own_time() -> None:
    async def work(connection: Connection) -> None:
        reader, writer = connection
        writer.write(HEAD + b"abcdef")
        await reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(2.0)
        writer.write(HEAD)
        assert await closed(reader) == b""
        assert now() == pytest.approx(2.0 + ARRIVAL_LIMIT_S, abs=0.1)

    connected(work)
