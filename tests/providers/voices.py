"""What the tests of voices share: clients of servers that hum, and what they say."""

import asyncio
import os
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any, Literal

from mocks.clock import Sockets, run_virtual
from mocks.serve_tts import FishServer, SpeechServer, TtsServer
from providers.base import TTS, ProviderError, SpeechAudio
from providers.tts_fish import FishTTS
from providers.tts_speech_api import SpeechApiTTS

TEXT = "We open at nine, every day."
KEY = "sk-very-secret"

Answer = Literal["hang", "reset", "nonsense"]
Work = Callable[[Any], Awaitable[Any]]


def fish(**options: Any) -> FishServer:
    return FishServer(**{"latency_ms": 5, **options})


def speech(**options: Any) -> SpeechServer:
    return SpeechServer(**{"latency_ms": 2, "rtf": 0.0, **options})


def client_of(servers: Iterable[TtsServer], **options: Any) -> FishTTS | SpeechApiTTS:
    first, *others = servers
    if isinstance(first, FishServer):
        return FishTTS([first.url, *(other.url for other in others)], **options)
    return SpeechApiTTS(first.url, **options)


def with_servers(servers: Iterable[TtsServer], work: Work, **options: Any) -> Any:
    """What `work` makes, in virtual time, of a client of all `servers`.

    Args:
        options: The client's.
    """

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            tts = client_of(servers, **options)
            try:
                async with asyncio.timeout(600):
                    return await work(tts)
            finally:
                await tts.aclose()

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


def with_server(server: TtsServer, work: Work, **options: Any) -> Any:
    return with_servers([server], work, **options)


async def say(tts: TTS, text: str = TEXT, **options: Any) -> bytes:
    async with aclosing(tts.stream(text, **options)) as events:
        return b"".join([event.pcm async for event in events if isinstance(event, SpeechAudio)])


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def say_again(tts: TTS, text: str = TEXT, limit_s: float = 60.0) -> bytes:
    """Of a voice whose process died: asks until another one speaks."""
    async with asyncio.timeout(limit_s):
        while True:
            with suppress(ProviderError):
                return await say(tts, text)
            await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # what is counted has no event
            await asyncio.sleep(0.005)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def cancel_at_random(
    tts: TTS, text: str, times: int, *, within_s: float = 0.02, pieces: int = 4
) -> None:
    """Cancelled or closed while queueing, connecting, waiting or listening, six at a time.

    Args:
        within_s: Cancelled at most so long after the request.
        pieces: Closed after less than these.
    """
    chance = random.Random(7)

    async def one() -> None:
        if chance.random() < 0.5:
            asking = asyncio.create_task(say(tts, text))
            await asyncio.sleep(chance.uniform(0, within_s))
            await cancel(asking)
            return
        async with aclosing(tts.stream(text)) as events:
            for _ in range(chance.randrange(pieces)):
                await anext(events, None)

    for _ in range(times // 6):
        await asyncio.gather(*(one() for _ in range(6)))


class BadServer:
    """Accepts, and then hangs, resets or says something that is no HTTP."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return "http://{}:{}".format(*self._server.sockets[0].getsockname()[:2])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        await reader.readline()
        if self._answer == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif self._answer == "nonsense":
            writer.write(b"220 mail.example ESMTP\r\n")
