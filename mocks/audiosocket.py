"""Asterisk's end of an AudioSocket: one call's frames, sent in real time, and what comes back.

    async with AsteriskCall.dial(port) as call:
        await call.say(LOUD, 1.0)     frames of 20 ms, as every 20 ms since the call began
        call.press("5")
        call.heard                    (time, payload) of each sound frame, in order

In whatever time the running loop has. Whatever is sent plays at once: the protocol has no buffer
that could be cleared, so a frame that came too early is a fault of the server's, and is counted.

Source: Asterisk, res/res_audiosocket.c and apps/app_audiosocket.c
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from msgspec import Struct

HEAD = struct.Struct(">BH")
HANG_UP, CALL, KEY, ERROR = 0x00, 0x01, 0x03, 0xFF
SLIN = 0x10
RATES_HZ = (8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)
"""Of the types from SLIN on."""
FRAME_S = 0.02
A_CALL = UUID(int=1)
LIMIT_S = 60.0
"""For what must come from the server."""


class Heard(Struct, frozen=True):
    at: float
    payload: bytes


def frame(kind: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


class AsteriskCall:
    """One connection. `dial` makes it.

    Args:
        kind: Of the sound's frames.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: int
    ) -> None:
        self._reader, self._writer, self.kind = reader, writer, kind
        self._loop = asyncio.get_running_loop()
        self.heard: list[Heard] = []
        self.others: list[bytes] = []
        """Frames that are no sound, whole."""
        self.hung_up_at: float | None = None
        self.closed_at: float | None = None
        self._changed = asyncio.Condition()
        self._next_at = self._loop.time()
        self._listening = asyncio.create_task(self._listen(), name="asterisk-listens")

    @classmethod
    @contextlib.asynccontextmanager
    async def dial(
        cls, port: int, call: UUID | None = A_CALL, *, kind: int = SLIN
    ) -> "AsyncIterator[AsteriskCall]":
        """Args:
        call: None: nothing is said of it.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asterisk = cls(reader, writer, kind)
        if call is not None:
            asterisk.send(frame(CALL, call.bytes))
        try:
            yield asterisk
        finally:
            await asterisk.aclose()

    async def aclose(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    @property
    def rate_hz(self) -> int:
        return RATES_HZ[self.kind - SLIN]

    # --- what Asterisk sends ----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def press(self, key: str) -> None:
        self.send(frame(KEY, key.encode()))

    def hang_up(self) -> None:
        self.send(frame(HANG_UP))

    async def say(self, pcm: bytes, seconds: float) -> None:
        """Args:
        pcm: 20 ms, said again and again.
        """
        self._next_at = max(self._next_at, self._loop.time() - FRAME_S)
        for _ in range(round(seconds / FRAME_S)):
            self._next_at += FRAME_S
            await asyncio.sleep(max(0.0, self._next_at - self._loop.time()))
            if self.closed_at is None:
                self.send(frame(self.kind, pcm))

    async def hush(self, seconds: float) -> None:
        await self.say(bytes(2 * round(self.rate_hz * FRAME_S)), seconds)

    # --- what Asterisk is sent --------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(HEAD.size)
                kind, length = HEAD.unpack(head)
                payload = await self._reader.readexactly(length)
                await self._take(kind, payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            async with self._changed:
                self.closed_at = self._loop.time()
                self._changed.notify_all()

    async def _take(self, kind: int, payload: bytes) -> None:
        async with self._changed:
            if kind == self.kind:
                self.heard.append(Heard(self._loop.time(), payload))
            else:
                self.others.append(frame(kind, payload))
            if kind == HANG_UP:
                self.hung_up_at = self._loop.time()
            self._changed.notify_all()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(holds)

    async def until_closed(self) -> None:
        await self.until(lambda: self.closed_at is not None)

    @property
    def heard_s(self) -> float:
        return sum(len(one.payload) for one in self.heard) / 2 / self.rate_hz

    def most_ahead_s(self) -> float:
        """By how much the sound came before its time, at worst: what could not be recalled."""
        ahead, played_until = 0.0, 0.0
        for one in self.heard:
            played_until = max(played_until, one.at) + len(one.payload) / 2 / self.rate_hz
            ahead = max(ahead, played_until - one.at)
        return ahead
