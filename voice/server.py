"""The listener: one process, one loop, one port; started, watched and stopped in good order."""

import asyncio
import gc
import itertools
import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import FrameType
from typing import Any

import structlog
import uvicorn
from litestar import Litestar

from providers.base import ProviderError
from voice import metrics
from voice.build import Built, build, check_names, known_delays, warnings
from voice.config import Config, ServerConfig
from voice.desk import Desk
from voice.doors import Socket, listeners, sockets
from voice.errors import ConfigError
from voice.garbage import Garbage
from voice.http import application
from voice.logs import configure
from voice.reload import Fresh
from voice.templates import prompt_of
from voice.transports.line import Line
from voice.transports.request import PromptRequest
from voice.transports.websocket import refuse_elsewhere

PROBE_S = 0.05
HOUSEKEEPING_EVERY = 20
"""Probes: once a second."""
NEVER = 1_000_000_000
"""Collections of the second generation before the interpreter begins one of the third."""
SWITCH_INTERVAL_S = 0.001
"""How long a model's thread may keep the interpreter while the loop wants it. Python's own 5 ms
is a quarter of an audio frame."""

Reread = Callable[[], Config]

log = structlog.get_logger()


class Front:
    """WebSocket calls go straight to their transport, everything else to Litestar."""

    def __init__(self, sockets: Mapping[str, Socket], http: Litestar) -> None:
        self._sockets, self._http = sockets, http

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            path = scope["path"].rstrip("/")
            serve: Socket = self._sockets.get(path, refuse_elsewhere)
            await serve(scope, receive, send)
        else:
            if scope.get("method") == "HEAD":  # answered as GET; uvicorn leaves the body out
                scope = {**scope, "method": "GET"}
            await self._http(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn, but the first signal drains and only the second one stops at once."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self._desk = desk
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if not self.should_exit:
            log.info("ready", url=_url(self), profile=self._desk.config.profile)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._desk.stopping or self._loop is None:
            super().handle_exit(sig, frame)
            self.force_exit = True
            # What is torn down in mid-work by a second signal is no error to be told.
            logging.getLogger("uvicorn.error").disabled = True
        else:
            self._desk.stopping = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = asyncio.create_task(self._drained(), name="drain")

    async def _drained(self) -> None:
        log.info("draining", sessions=self._desk.sessions)
        await self._desk.drain()
        self.should_exit = True


def _url(server: uvicorn.Server) -> str:
    host, port, *_ = server.servers[0].sockets[0].getsockname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(config: Config, reread: Reread | None = None) -> int:
    """Serves until told to stop.

    Args:
        reread: Reads the settings again, on a thread.
    Returns:
        The process's exit status.
    """
    configure(config.log)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        return uvicorn_run(config, reread)
    except (ConfigError, ProviderError) as error:
        log.error("cannot_start", error=str(error))
        return 2


def uvicorn_run(config: Config, reread: Reread | None = None) -> int:
    """Raises:
    ConfigError, ProviderError: It cannot serve; the text says what to do.
    """
    if sys.platform == "win32":
        return asyncio.run(_serve(config, reread))
    import uvloop

    return uvloop.run(_serve(config, reread))


async def _serve(config: Config, reread: Reread | None) -> int:
    check_names(config)  # a wrong setting is said before a port in use
    with _bound(config.server) as listener:
        built = build(config)
        try:
            await built.start()
            if built.library is not None and built.library.warning:
                log.warning("no_documents", why=built.library.warning)
            return await _listen(config, built, listener, reread)
        finally:
            await built.aclose()


def _bound(server: ServerConfig) -> socket.socket:
    """Before the models are loaded, so that a port in use is told at once.

    Raises:
        ConfigError: The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            f"server.host: {server.host}: {error.strerror}. KAIWA_HOST must be an address of this "
            "machine: 127.0.0.1, or 0.0.0.0 for all."
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"server.port: {server.host}:{server.port} cannot be had: {error.strerror}. "
            "Stop what uses it, or choose another: kaiwa serve --port 8001 (0: any free one)."
        ) from None
    return listener


def server_for(desk: Desk) -> Server:
    """uvicorn round the desk; `serve(sockets=[…])` runs it."""
    config = uvicorn.Config(
        Front(sockets(desk), application(desk)),
        ws=Line,
        ws_max_size=desk.config.server.max_frame_kib * 1024,
        ws_per_message_deflate=False,
        ws_ping_interval=desk.config.server.ping_s,
        ws_ping_timeout=desk.config.server.ping_s,
        http=PromptRequest,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    return Server(config, desk)


def _fresh(reread: Reread) -> Callable[[], Fresh]:
    def read() -> Fresh:
        config = reread()
        return Fresh(config, prompt_of(config), tuple(warnings(config)))

    return read


async def _listen(
    config: Config, built: Built, listener: socket.socket, reread: Reread | None
) -> int:
    desk = Desk(
        config,
        built.providers,
        built.by_slot,
        built.library,
        known_delays(config),
        built.warnings,
        _fresh(reread) if reread else None,
    )
    server = server_for(desk)
    desk.watch.start()
    probe = asyncio.create_task(_probe_lag(desk), name="lag-probe")
    # What is loaded now stays: the collector need never look at it again.
    gc.collect()
    gc.freeze()
    often, seldom, _ = gc.get_threshold()
    gc.set_threshold(often, seldom, NEVER)  # see voice/garbage.py
    try:
        async with AsyncExitStack() as open_ports:
            for port in listeners(desk):
                await open_ports.enter_async_context(port)
            await server.serve(sockets=[listener])
    finally:
        probe.cancel()
        await desk.watch.aclose()
    return 0 if server.started else 1


async def _probe_lag(desk: Desk) -> None:
    """How late the loop comes to a timer: what every caller's audio waits for."""
    garbage = Garbage(time.monotonic())
    for count in itertools.count():
        due = time.monotonic() + PROBE_S
        await asyncio.sleep(PROBE_S)
        lag_s = max(0.0, time.monotonic() - due)
        metrics.LOOP_LAG.observe(lag_s)
        desk.feel(lag_s)
        if count % HOUSEKEEPING_EVERY == 0:
            metrics.TASKS.set(len(asyncio.all_tasks()))
            if garbage.due(desk.closed, desk.sessions, due):
                gc.collect()
