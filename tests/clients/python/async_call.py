"""A call through an unmodified `AsyncOpenAI().realtime`, and what is heard in it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI  # type: ignore[import-not-found]  # in .venv-clients only
from scenarios import (  # type: ignore[import-not-found]  # beside this script
    FRAME_MS,
    quiet_frame,
    speech_frames,
    user_text,
)


class Call:
    """A connection whose events are kept, and a microphone that is always on."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self._seen = 0
        self._news = asyncio.Event()
        self._wanted: list[str] = []
        self._is_over = False

    async def read(self) -> None:
        try:
            async for event in self.connection:
                self.events.append(event)
                self._news.set()
        finally:
            self._is_over = True
            self._news.set()

    async def until(
        self, kind: str, fits: Callable[[Any], bool] = lambda event: True, limit_s: float = 30
    ) -> Any:
        """The next event of this type; an error that nobody waited for ends the scenario."""
        async with asyncio.timeout(limit_s):
            while True:
                while self._seen < len(self.events):
                    event = self.events[self._seen]
                    self._seen += 1
                    if event.type == kind and fits(event):
                        return event
                    assert event.type != "error", event.error
                assert not self._is_over, "the server hung up"
                self._news.clear()
                await self._news.wait()

    async def microphone(self, form: str = "pcm") -> None:
        """Frames in real time: what `speak` brought, else silence."""
        loop, quiet = asyncio.get_running_loop(), quiet_frame(form)
        due = loop.time()
        while True:
            audio = self._wanted.pop(0) if self._wanted else quiet
            await self.connection.input_audio_buffer.append(audio=audio)
            due += FRAME_MS / 1000
            await asyncio.sleep(due - loop.time())

    def speak(self, form: str = "pcm") -> None:
        self._wanted += speech_frames(form)

    def since(self, mark: int) -> list[Any]:
        return self.events[mark:]

    async def configure(self, chosen: dict[str, Any]) -> Any:
        await self.connection.session.update(session=chosen)
        return (await self.until("session.updated")).session

    async def ask(self, text: str, **response: Any) -> None:
        await self.connection.conversation.item.create(item=user_text(text))
        if response:
            await self.connection.response.create(response=response)
        else:
            await self.connection.response.create()


@asynccontextmanager
async def calling(url: str, *, form: str = "") -> AsyncIterator[Call]:
    """Args:
    form: Of the microphone: pcm, ulaw, alaw; none is switched on without it.
    """
    async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
        async with client.realtime.connect(model="kaiwa") as connection:
            call = Call(connection)
            tasks = [asyncio.create_task(call.read())]
            if form:
                tasks.append(asyncio.create_task(call.microphone(form)))
            try:
                assert (await call.until("session.created")).session.type == "realtime"
                yield call
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
