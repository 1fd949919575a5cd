"""HTTP, with a limit on how long a request may take to arrive.

uvicorn waits for ever for the rest of a request; a few hundred sockets that never finish one would
use up the process's file descriptors, and nobody else could call.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ARRIVAL_LIMIT_S = 15.0
"""Of a network that loses a tenth of its packets, in bursts, 1 request in 150 took over 5 s."""


class PromptRequest(HttpToolsProtocol):
    """Closes a connection whose request is not whole after `ARRIVAL_LIMIT_S`."""

    arrival_limit_s = ARRIVAL_LIMIT_S
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._came()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._came()
        super().handle_websocket_upgrade()

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.arrival_limit_s, self.transport.abort)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
