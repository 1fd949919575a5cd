"""What every mock server of HTTP has: its socket, its counts, its key, its liveness, its faults.

    GET /mock/state     the counts, told without a key
    PUT /mock/faults    a list of faults in the place of those there were

A ping asks for the path by which the real server says that it lives. It is no request of the model:
it has a count of its own, moves no fault on to the next request, and meets the faults that every
request meets (`request` 0), as far as they come before a body.
"""

import asyncio
import hmac
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec
from aiohttp import web

from mocks.wire_faults import WireFault, begin, hang_up, reset


class Fault(Protocol):
    @property
    def kind(self) -> str: ...


F = TypeVar("F", bound=Fault)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer(ABC, Generic[F]):
    """Args:
    fault: The kind of Struct its faults are.
    api_key: Asked for where `_is_open` does not say otherwise, if there is one.
    most_bytes: Of a request's body.
    """

    def __init__(self, fault: type[F], *, api_key: str = "", most_bytes: int = 1 << 20) -> None:
        self.requests = 0
        """Of the model."""
        self.running = 0
        """Begun and not over, faulty ones included."""
        self.most_running = 0
        self.finished = 0
        self.aborted = 0
        """Given up by the client, or ended by a fault in mid-stream."""
        self.pings = 0
        self.is_healthy = True
        """False: it says 503 of itself, and works on."""
        self.url = ""
        self._fault = fault
        self._api_key = api_key
        self._app = web.Application(middlewares=[self._guard], client_max_size=most_bytes)
        self._app.router.add_get("/mock/state", self._state)
        self._app.router.add_put("/mock/faults", self._put_faults)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._address = ("127.0.0.1", 0)

    # --- the socket -------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Also after `refuse()`, with the port it had."""
        if self._runner is None:
            # Without handler_cancellation an abandoned request would run on until its next write.
            self._runner = web.AppRunner(
                self._app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
            )
            await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port, reuse_address=True)
        await self._site.start()
        address = self._runner.addresses[0]
        self._address = (address[0], address[1])
        self.url = f"http://{address[0]}:{address[1]}"

    async def aclose(self) -> None:
        runner, self._runner, self._site = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def refuse(self) -> None:
        """No port is open any more, and no connection."""
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
        self.drop_connections()

    async def reopen(self) -> None:
        """At the same address."""
        if self._site is None:
            await self.start(*self._address)

    @property
    def connections(self) -> int:
        """Open ones."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    def drop_connections(self) -> None:
        """Closes every open connection, idle or not, without a word."""
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    # --- the key ----------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.path
        if self._api_key and not path.startswith("/mock/") and not self._is_open(path):
            sent = request.headers.get("Authorization", "")
            if not hmac.compare_digest(sent.encode(), f"Bearer {self._api_key}".encode()):
                return self._unauthorized()
        response: web.StreamResponse = await handler(request)
        return response

    def _is_open(self, path: str) -> bool:
        """Whether the real server asks for no key there."""
        return False

    def _unauthorized(self) -> web.Response:
        return web.json_response({"error": "Unauthorized"}, status=401)

    # --- the counts -------------------------------------------------------------------------------

    def state(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "running": self.running,
            "finished": self.finished,
            "aborted": self.aborted,
            "pings": self.pings,
            "connections": self.connections,
        }

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    def _counted(self, answer: Answer) -> Answer:
        """A request of the model."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                response = await answer(request)
                self.finished += 1
                return response
            except asyncio.CancelledError:
                self.aborted += 1
                raise
            except ConnectionError:  # the client went away, or a fault had it so
                self.aborted += 1
                return hang_up(request)
            finally:
                self.running -= 1

        return handle

    # --- the faults -------------------------------------------------------------------------------

    async def inject(self, *faults: F) -> None:
        """Replaces the faults, from the next request on; none: all is well again."""
        refuses = any(fault.kind == "refuse" for fault in faults)
        self._set_faults(*(fault for fault in faults if fault.kind != "refuse"))
        if refuses:
            await self.refuse()
        else:
            await self.reopen()

    @abstractmethod
    def _set_faults(self, *faults: F) -> None: ...

    @abstractmethod
    def _lasting_fault(self) -> WireFault | None:
        """The one that every request meets, as a ping does."""

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read(), type=list[Any])
            faults = [msgspec.convert(one, self._fault) for one in given]
        except ValueError as problem:
            return web.json_response({"error": str(problem)}, status=400)
        await self.inject(*faults)
        return web.json_response(self.state())

    # --- liveness ---------------------------------------------------------------------------------

    def _add_liveness(self, path: str, alive: Answer, method: str = "GET") -> None:
        """Args:
        alive: Its answer when nothing is wrong.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            self.pings += 1
            fault = self._lasting_fault()
            await begin(fault)
            if fault is not None and fault.kind == "reset":
                reset(request)
                return web.Response()
            if fault is not None and fault.kind == "status":
                return self._unwell(fault.status)
            return await alive(request) if self.is_healthy else self._unwell(503)

        self._app.router.add_route(method, path, handle)

    def _unwell(self, status: int) -> web.Response:
        """In the words of this server."""
        return web.Response(status=status)


async def nothing_to_say(_: web.Request) -> web.StreamResponse:
    """200 and an empty body."""
    return web.Response()
