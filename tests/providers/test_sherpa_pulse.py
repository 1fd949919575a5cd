"""A ping of a sherpa-onnx server: one quiet connection; busy and full servers are no dead ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from mocks.clock import Sockets as ClockSockets
from mocks.clock import run_virtual
from mocks.serve_stt import STTServer
from providers._sherpa_pulse import Pulse
from providers._sherpa_socket import Endpoint, Sockets
from providers.base import Fault, ProviderError
from providers.stt_sherpa_server import SherpaServerSTT


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await main()

    run_virtual(limited(), sockets=ClockSockets.OURS)


@asynccontextmanager
async def freezable() -> AsyncIterator[tuple[Pulse, Sockets, list[ServerConnection]]]:
    """The pulse of a server whose connections a test may have read no more."""
    open_ones: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        open_ones.append(connection)
        await connection.wait_closed()
        open_ones.remove(connection)

    async with serve(handle, "127.0.0.1", 0, close_timeout=0.1) as server:
        address = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        sockets = Sockets(Endpoint(address), connect_limit_s=2.0)
        pulse = Pulse(sockets, address)
        try:
            yield pulse, sockets, open_ones
        finally:
            await pulse.aclose()
            await sockets.aclose()


def test_one_connection_serves_all_pings() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            for _ in range(50):
                await stt.ping()
            assert (server.connections, server.connections_made) == (1, 1)
            assert server.utterances == 0
            await stt.aclose()

    run(main)


def test_a_server_whose_places_are_all_taken_lives() -> None:
    async def main() -> None:
        async with STTServer(max_active_connections=0) as server:
            stt = SherpaServerSTT(server.url)
            await stt.ping()
            await stt.aclose()

    run(main)


def test_a_server_that_stops_answering_on_its_connection_is_told_and_asked_on_a_new_one() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with freezable() as (pulse, _, connections):
            await pulse.ping()
            frozen = connections[0]
            frozen.transport.pause_reading()
            began = loop.time()
            with pytest.raises(ProviderError) as caught:
                await pulse.ping()
            assert caught.value.fault is Fault.TIMEOUT and loop.time() - began < 1.0
            assert "STT_ENDPOINT" in caught.value.message
            frozen.transport.resume_reading()
            await frozen.wait_closed()
            await pulse.ping()
            assert frozen not in connections and len(connections) == 1

    run(main)


def test_a_server_that_answers_callers_is_only_busy() -> None:
    async def main() -> None:
        async with freezable() as (pulse, sockets, connections):
            await pulse.ping()
            connections[0].transport.pause_reading()
            pinging = asyncio.create_task(pulse.ping())
            await asyncio.sleep(0.5)
            sockets.heard_at = asyncio.get_running_loop().time()
            await pinging

    run(main)


def test_every_reply_to_a_caller_is_a_sign_of_life() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            loop = asyncio.get_running_loop()
            for _ in range(2):
                began = loop.time()
                await stt.check()
                assert stt.sockets.heard_at > began
            await stt.aclose()

    run(main)


def test_a_closed_provider_is_not_asked() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            await stt.ping()
            await stt.aclose()
            with pytest.raises(ProviderError, match="closed"):
                await stt.ping()

    run(main)


def test_a_connection_that_opens_while_the_provider_is_closed_is_not_kept() -> None:
    async def main() -> None:
        async with freezable() as (pulse, _, connections):
            pinging = asyncio.create_task(pulse.ping())
            await asyncio.sleep(0)
            await pulse.aclose()
            await pinging
            await asyncio.sleep(0.5)
            assert connections == []

    run(main)
