"""Connections to a sherpa-onnx streaming server: one an utterance, the next opened ahead.

The servers keep one utterance per connection. So that no handshake stands before a first partial,
a few connections wait ready, shared by all calls, while there are calls:

    take() -> a spare one, if one is open and young; else a new one
    keep   -> opens as many as calls are open, at most MOST_SPARES; replaces those that grew old,
              because servers and proxies may drop what is idle without our hearing of it
"""

import asyncio
import contextlib
import math
import os
import socket
import ssl
from collections import deque
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.protocol import State
from websockets.uri import parse_uri

from providers._http import error_text
from providers.base import Fault, ProviderError, Slot

PROVIDER = "sherpa-server"
VARIABLE = "STT_ENDPOINT"
MOST_SPARES = 4
SPARE_AGE_S = 20.0
CLOSE_LIMIT_S = 0.5
_RETRY_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Between attempts to open a spare connection that fail one after another."""
_SEND_BUFFER_BYTES = 32 * 1024
"""The kernel doubles it: 1 s of audio. More would hide that the server has fallen behind."""
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def failure(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.STT, PROVIDER, fault, message)


class Endpoint:
    """Where the server is. `url` may hold a password, `shown` does not."""

    def __init__(self, endpoint: str) -> None:
        """Raises:
        ValueError: If it is no WebSocket or HTTP address.
        """
        address = endpoint.strip()
        try:
            parts = urlsplit(address)
            url = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path, parts.query, ""))
            parse_uri(url)
        except (KeyError, ValueError, InvalidURI):
            got = "" if "@" in address or "?" in address else f", got {address!r}"
            raise ValueError(f"{VARIABLE} must be like ws://127.0.0.1:6006{got}") from None
        host = parts.netloc.rpartition("@")[2]
        self.url = url
        self.shown = urlunsplit((_SCHEMES[parts.scheme], host, parts.path, "", ""))


class Sockets:
    """Args:
    connect_limit_s: For connecting and the WebSocket handshake together.
    spare_age_s: After which a connection that nobody took is replaced.
    """

    def __init__(
        self, endpoint: Endpoint, *, connect_limit_s: float, spare_age_s: float = SPARE_AGE_S
    ) -> None:
        self.heard_at = -math.inf
        """When the server last said something on any of them (loop time)."""
        self._endpoint = endpoint
        self._connect_limit_s, self._spare_age_s = connect_limit_s, spare_age_s
        self._spares: deque[tuple[float, ClientConnection]] = deque()
        self._wanted = 0
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def want(self, calls: int) -> None:
        """How many calls are open. At zero the spare connections are closed."""
        self._wanted = min(calls, MOST_SPARES)
        self._changed.set()
        if self._wanted and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.get_running_loop().create_task(
                self._keep(), name="sherpa-server spare connections"
            )

    def take_spare(self) -> ClientConnection | None:
        """One that is open and young, the oldest of these."""
        now = asyncio.get_running_loop().time()
        while self._spares:
            self._changed.set()
            opened_at, spare = self._spares.popleft()
            if spare.protocol.state is State.OPEN and now - opened_at < self._spare_age_s:
                return spare
            spare.transport.abort()
        return None

    def drop_spares(self) -> None:
        """For when one connection was lost: the others are no better."""
        while self._spares:
            self._spares.popleft()[1].transport.abort()
        self._changed.set()

    async def connect(self) -> ClientConnection:
        """A new one.

        Raises:
            ProviderError: If there is none within the limit.
        """
        try:
            connection = await connect(
                self._endpoint.url,
                compression=None,
                proxy=None,
                open_timeout=self._connect_limit_s,
                close_timeout=CLOSE_LIMIT_S,
                ping_interval=None,  # a busy server stops reading, and would miss our pings
                max_size=2**20,
            )
        except (OSError, WebSocketException, ValueError) as error:
            raise self._failure_of(error) from error
        own_socket = connection.transport.get_extra_info("socket")
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        return connection

    async def aclose(self) -> None:
        self._wanted = 0
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait((keeper,))
        await self._close_older(float("inf"))

    async def _keep(self) -> None:
        """Ends when no call is open and no connection left."""
        loop = asyncio.get_running_loop()
        failures = 0
        while self._wanted or self._spares:
            is_needed = self._wanted > 0
            await self._close_older(loop.time() - self._spare_age_s if is_needed else float("inf"))
            self._changed.clear()
            if len(self._spares) < self._wanted:
                try:
                    spare = await self.connect()
                except ProviderError:  # whoever begins an utterance is told
                    await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                    failures += 1
                else:
                    failures = 0
                    self._spares.append((loop.time(), spare))
            elif self._wanted:
                await self._pause(self._spares[0][0] + self._spare_age_s)

    async def _pause(self, until: float) -> None:
        """Shorter if the number of spares or calls changes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()

    async def _close_older(self, opened_until: float) -> None:
        old = []
        while self._spares and self._spares[0][0] <= opened_until:
            old.append(self._spares.popleft()[1])
        await asyncio.gather(*map(close, old))

    def _failure_of(self, error: Exception) -> ProviderError:
        shown = self._endpoint.shown
        if isinstance(error, TimeoutError):
            limit = f"no WebSocket handshake within {self._connect_limit_s:g} s"
            return failure(Fault.TIMEOUT, f"{limit}: is the server at {shown} alive? ({VARIABLE})")
        if isinstance(error, socket.gaierror):
            return failure(Fault.UNREACHABLE, f"no address for the host in {shown}: {_CHECK}")
        if isinstance(error, ssl.SSLError):
            return failure(Fault.UNREACHABLE, f"TLS with {shown} failed ({error.reason}): {_CHECK}")
        if isinstance(error, InvalidStatus):
            return _failure_of_status(error, shown)
        if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError | OSError):
            why = "the connection was closed during the handshake"
        elif isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else type(error).__name__
        elif isinstance(error, InvalidHandshake):
            return failure(Fault.BROKEN, f"{shown} does not speak WebSocket: {_CHECK}")
        else:
            why = type(error).__name__
        running = "running, with TLS" if shown.startswith("wss:") else "running"
        text = f"{why}: is the server at {shown} {running}? ({VARIABLE})"
        return failure(Fault.UNREACHABLE, text)


async def close(connection: ClientConnection) -> None:
    """Says goodbye, for CLOSE_LIMIT_S at most; then the socket is closed."""
    try:
        await connection.close()
    finally:
        await abort(connection)


async def abort(connection: ClientConnection) -> None:
    """Closes the socket at once."""
    connection.transport.abort()
    await connection.wait_closed()


_CHECK = f"check {VARIABLE}"


def _failure_of_status(error: InvalidStatus, shown: str) -> ProviderError:
    status = error.response.status_code
    said = error_text(bytes(error.response.body or b""))
    words = f"HTTP {status}" + (f" ({said})" if said else "")
    if status in (429, 503):
        remedy = "raise its --max-active-connections or give it fewer callers"
        return failure(Fault.OVERLOADED, f"{words}: {remedy}")
    if status in (502, 504):
        return failure(Fault.UNREACHABLE, f"{words}: the proxy at {shown} reaches no server")
    if status >= 500:
        return failure(Fault.BROKEN, f"{words}: see the log of the server at {shown}")
    remedy = f"no sherpa-onnx streaming server at {shown}; {_CHECK}"
    return failure(Fault.REFUSED, f"{words}: {remedy}")
