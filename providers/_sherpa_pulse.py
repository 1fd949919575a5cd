"""Whether a sherpa-onnx streaming server lives: pings on one connection that carries no audio.

Neither server has a way to ask that would cost less. A handshake each time is a place out of
--max-active-connections, a recogniser's stream and a few lines in the Python server's log; a plain
GET is dropped without an answer where that server runs on websockets 14 or later, as one of a dead
server would be (github.com/k2-fsa/sherpa-onnx/pull/1588 mended the handshake only). The connections
of utterances do not serve: behind audio that waits to be decoded, a ping waits unread.
"""

import asyncio

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from providers._ping import PING_S
from providers._sherpa_socket import VARIABLE, Sockets, abort, close, failure
from providers.base import Fault, ProviderError


class Pulse:
    """Args:
    shown: The server's address, for errors.
    """

    def __init__(self, sockets: Sockets, shown: str) -> None:
        self._sockets = sockets
        self._shown = shown
        self._connection: ClientConnection | None = None
        self._closed = False

    async def ping(self) -> None:
        """Raises ProviderError where the server is dead."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PING_S):
                if not await self._answers():
                    await self._connect()
        except TimeoutError:
            if self._connection is not None:
                await abort(self._connection)
            if self._sockets.heard_at > began:  # only busy
                return
            raise failure(
                Fault.TIMEOUT,
                f"no answer from {self._shown} to a ping in {PING_S:g} s: the server hangs; "
                f"restart it, or check {VARIABLE}",
            ) from None
        except ProviderError as error:
            if error.fault is not Fault.OVERLOADED:  # it lives, all its places are taken
                raise

    async def _connect(self) -> None:
        connection = await self._sockets.connect()
        if self._closed:  # meanwhile
            await abort(connection)
        else:
            self._connection = connection

    async def _answers(self) -> bool:
        """Whether there still is a connection, and the server answers on it."""
        if self._connection is None or self._connection.protocol.state is not State.OPEN:
            return False
        try:
            await (await self._connection.ping())
        except ConnectionClosed:
            return False
        return True

    async def aclose(self) -> None:
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)
