"""The servers under test: start them, ask what they know of their delays."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from voice.bench import phone_way
from voice.bench.config import BenchConfig, BenchError, KnownDelays

READY_LIMIT_S = 90.0
STOP_LIMIT_S = 10.0
MOST_SESSIONS = 10_000
ASK_LIMIT_S = 5.0


# --- asking it ----------------------------------------------------------------------------------


def websocket_urls(config: BenchConfig) -> tuple[str, ...]:
    """The addresses of a list with commas between them, with ws or wss."""
    urls = (websocket_url(url.strip()) for url in config.url.split(","))
    if config.transport == "twilio":
        return tuple(urlunsplit((*urlsplit(url)[:2], phone_way.SOCKET, "", "")) for url in urls)
    return tuple(urls)


def websocket_url(url: str) -> str:
    """The same address with ws or wss.

    Raises:
        BenchError: If it is no address of a realtime endpoint.
    """
    parts = urlsplit(url)
    schemes = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
    if parts.scheme not in schemes or not parts.hostname:
        raise BenchError(
            "url must look like ws://host:port/v1/realtime, with ws, wss, http or https in front, "
            f"got {url!r}"
        )
    return urlunsplit(parts._replace(scheme=schemes[parts.scheme]))


def http_url(url: str, path: str) -> str:
    """Another path on the server of a realtime endpoint."""
    parts = urlsplit(url)
    scheme = "https" if parts.scheme in ("wss", "https") else "http"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


async def known_delays(config: BenchConfig, url: str) -> tuple[KnownDelays | None, str]:
    """The delays known beforehand, and how they came to be known."""
    if config.known is not None:
        return config.known, "given with the run"
    address = http_url(url, "/api/bench/known-delays")
    headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_LIMIT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(address) as response,
        ):
            if response.status != 200:
                return None, f"unknown: {address} answered {response.status}"
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        return None, f"unknown: {address}: {error or type(error).__name__}"
    try:
        known = msgspec.json.decode(body, type=KnownDelays | None)
    except msgspec.DecodeError as error:
        raise BenchError(f"{address} does not answer as expected: {error}") from error
    if known is None:
        return None, f"unknown: {address} knows none"
    if config.silence_ms:
        asked = msgspec.structs.replace(known, endpoint_ms=float(config.silence_ms))
        return asked, f"asked of {address}, but {config.silence_ms} ms of silence as asked for"
    return known, f"asked of {address}"


# --- starting it --------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True):
    """A server that was started for the run."""

    url: str
    process: Process
    cores: tuple[int, ...]
    """What it is pinned to; empty: nothing."""

    @property
    def pid(self) -> int:
        return self.process.pid


def split_cores(wanted: tuple[int, ...], servers: int = 1) -> tuple[list[set[int]], set[int]]:
    """The cores of each server, and those of the generator; all empty where there are too few.

    With just as many cores as servers, each server has its own and the generator shares them all.

    Raises:
        BenchError: If a wanted core does not exist, or one server would get none.
    """
    nowhere: tuple[list[set[int]], set[int]] = ([set() for _ in range(servers)], set())
    if not hasattr(os, "sched_getaffinity"):
        return nowhere
    here = os.sched_getaffinity(0)
    if not set(wanted) <= here:
        raise BenchError(f"server_cores must be among {sorted(here)}, got {list(wanted)}")
    if wanted and len(wanted) < servers:
        raise BenchError(f"server_cores must name a core for each of {servers} servers")
    chosen = [*wanted] or sorted(here)[:servers]
    if len(chosen) < servers or len(here) == 1:
        return nowhere
    rest = here - set(chosen)
    return [set(chosen[n::servers]) for n in range(servers)], rest or here


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def started(config: BenchConfig) -> AsyncGenerator[tuple[Started, ...], None]:
    """As many servers as are asked for, ready when this returns, stopped with SIGTERM afterwards.

    The calling process, and with it every generator it starts, is moved to the other cores.

    Raises:
        BenchError: If one does not become ready; the message holds the end of its output.
    """
    server_cores, generator_cores = split_cores(config.server_cores, config.servers)
    before = os.sched_getaffinity(0) if generator_cores else set()
    async with AsyncExitStack() as stack:
        if before:
            stack.callback(os.sched_setaffinity, 0, before)
        servers = [
            await stack.enter_async_context(_started(config, cores, generator_cores))
            for cores in server_cores
        ]
        yield tuple(servers)


@asynccontextmanager
async def _started(
    config: BenchConfig, server_cores: set[int], generator_cores: set[int]
) -> AsyncGenerator[Started, None]:
    """`kaiwa serve` on a free port."""
    port = _free_port()
    command = [sys.executable, "-m", "voice.cli", "serve", "--profile", config.profile]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if config.settings:
        command += ["--config", config.settings]
    with tempfile.TemporaryFile() as output:
        # A child inherits its parent's cores, before it can start a thread on another one.
        if server_cores:
            os.sched_setaffinity(0, server_cores)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=_environment(config, port),
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
            )
        finally:
            if server_cores:
                os.sched_setaffinity(0, generator_cores)
        try:
            await _until_ready(process, f"http://127.0.0.1:{port}/ready")
            path = "/v1/realtime?model=kaiwa"
            if config.transport == "twilio":
                path = phone_way.SOCKET
            url = f"ws://127.0.0.1:{port}{path}"
            yield Started(url, process, tuple(sorted(server_cores)))
        except BenchError as error:
            if process.returncode is None:
                raise
            raise BenchError(f"{error}\n{_last_words(process, output)}") from None
        finally:
            await _stop(process)


def _environment(config: BenchConfig, port: int) -> dict[str, str]:
    """With room for everybody, unless it is said how much: the load shall end it, not a number.
    Where somebody is to knock in vain, with room for the callers alone."""
    if config.transport == "twilio":
        phones = {
            "TWILIO_AUTH_TOKEN": config.twilio_auth_token,
            "TWILIO_ACCOUNT_SID": config.twilio_account_sid,
            "KAIWA_PUBLIC_URL": config.public_url or f"http://127.0.0.1:{port}",
        }
        return {"KAIWA_MAX_SESSIONS": str(MOST_SESSIONS), **os.environ, **phones}
    if config.knocking:
        return {**os.environ, "KAIWA_MAX_SESSIONS": str(max(config.callers))}
    return {"KAIWA_MAX_SESSIONS": str(MOST_SESSIONS), **os.environ}


async def _until_ready(process: Process, address: str) -> None:
    try:
        async with asyncio.timeout(READY_LIMIT_S), aiohttp.ClientSession() as session:
            while process.returncode is None:
                try:
                    async with session.get(address) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"the server was not ready after {READY_LIMIT_S:g} s") from None
    raise BenchError("the server that was started did not become ready")


def _last_words(process: Process, output: IO[bytes]) -> str:
    output.seek(0)
    tail = output.read()[-2000:].decode(errors="replace").strip()
    return f"the server ended with {process.returncode}; its last words:\n{tail}"


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
