"""A bare client of the wire: says what it is told, keeps what it gets, assumes nothing."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.clients.speech_files import speech

Event = dict[str, Any]

FRAME_MS = 40
FRAME_BYTES = FRAME_MS * 48
VAD = {"type": "server_vad", "silence_duration_ms": 200}
TRANSCRIPTION_DELTA = "conversation.item.input_audio_transcription.delta"
TRANSCRIPTION_COMPLETED = "conversation.item.input_audio_transcription.completed"


class WireClient:
    def __init__(self, connection: ClientConnection, *, is_binary: bool) -> None:
        self.events: list[Event] = []
        self.frames: list[bytes] = []
        """Binary ones."""
        self._connection = connection
        self._is_binary = is_binary
        self._seen = 0
        self._news = asyncio.Event()
        self._is_over = False
        self._numbers = itertools.count(1)
        self._spoken: list[bytes] = []

    # --- out --------------------------------------------------------------------------------------

    async def send(self, kind: str, **fields: Any) -> str:
        """Returns the event_id it went out with."""
        event_id = fields.pop("event_id", f"client_{next(self._numbers)}")
        await self._connection.send(json.dumps({"type": kind, "event_id": event_id, **fields}))
        return str(event_id)

    async def update(self, **session: Any) -> Event:
        """Returns the effective session."""
        await self.send("session.update", session={"type": "realtime", **session})
        effective: Event = (await self.until("session.updated"))["session"]
        return effective

    async def create_item(self, text: str, **fields: Any) -> str:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        return await self.send("conversation.item.create", item=item, **fields)

    async def ask(self, text: str, **fields: Any) -> str:
        await self.create_item(text)
        return await self.send("response.create", **fields)

    def speak(self) -> None:
        """The microphone will carry it, in real time."""
        data = speech().tobytes()
        self._spoken += [data[at : at + FRAME_BYTES] for at in range(0, len(data), FRAME_BYTES)]

    async def append(self, pcm: bytes) -> None:
        if self._is_binary:
            await self._connection.send(pcm)
        else:
            audio = base64.b64encode(pcm).decode()
            await self._connection.send(
                json.dumps({"type": "input_audio_buffer.append", "audio": audio})
            )

    async def microphone(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.append(self._spoken.pop(0) if self._spoken else bytes(FRAME_BYTES))
            due += FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())

    # --- in ---------------------------------------------------------------------------------------

    async def read(self) -> None:
        try:
            async for frame in self._connection:
                if isinstance(frame, bytes):
                    self.frames.append(frame)
                else:
                    self.events.append(json.loads(frame))
                self._news.set()
        finally:
            self._is_over = True
            self._news.set()

    async def until(
        self, kind: str, fits: Callable[[Event], bool] = lambda event: True, limit_s: float = 30
    ) -> Event:
        """The next event of this type. An error that was not asked for fails the test."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._until(kind, fits)
        except TimeoutError:
            last = self.kinds()[-8:]
            raise AssertionError(f"no {kind} within {limit_s:g} s; last came {last}") from None

    async def _until(self, kind: str, fits: Callable[[Event], bool]) -> Event:
        while True:
            while self._seen < len(self.events):
                event = self.events[self._seen]
                self._seen += 1
                if event["type"] == kind and fits(event):
                    return event
                assert event["type"] != "error", event
            assert not self._is_over, "the server hung up"
            self._news.clear()
            await self._news.wait()

    async def error(self) -> Event:
        body: Event = (await self.until("error"))["error"]
        return body

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]


@asynccontextmanager
async def calling(
    url: str, *, microphone: bool = False, is_binary: bool = False
) -> AsyncIterator[WireClient]:
    """Leaves when the block is done; the client has seen session.created."""
    address = f"{url}&audio=binary" if is_binary else url
    async with connect(address, max_size=2**20) as connection:
        client = WireClient(connection, is_binary=is_binary)
        tasks = [asyncio.create_task(client.read())]
        if microphone:
            tasks.append(asyncio.create_task(client.microphone()))
        try:
            await client.until("session.created")
            yield client
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
