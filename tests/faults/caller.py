"""Somebody who asks, waits for the answer, and notes when what was heard."""

import asyncio

import msgspec
import numpy as np

from mocks.clock import now, until
from tests.driving import Client, SentEvent, SentFrame
from tests.faults.speech import FRAME_S, SILENT, Exchange, frames
from voice import wire
from voice.desk import Desk
from voice.session import Session

TURN_LIMIT_S = 30.0
AUDIBLE = 100
PAUSE_S = 1.0
"""Silence sent behind a question."""


class Turn(msgspec.Struct):
    """A question, and what came of it."""

    asked: Exchange
    began: float
    spoken: float = 0.0
    """When its last word was."""
    over: float | None = None
    """When the answer had been heard to its end; None: it never was."""
    cut: bool = False
    """Whether the caller meant to cut the answer."""


class Caller:
    def __init__(self, desk: Desk, name: str) -> None:
        client = Client()
        session = desk.new_session(client)
        session.open()
        self._begin(name, session, client)

    def _begin(self, name: str, session: Session, client: Client | None = None) -> None:
        self.name = name
        self.client = client or Client()
        self.session = session
        self.turns: list[Turn] = []
        update = {
            "type": "realtime",
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}},
            "include": ["kaiwa.turn.sources", "kaiwa.turn.timeline"],
        }
        event = {"type": "session.update", "session": update}
        self._post(msgspec.json.encode(event).decode())

    def _post(self, event: str) -> None:
        self.session.post(wire.decode(event))

    def _hear(self, frame: bytes) -> None:
        self.session.hear(frame)

    # --- asking -----------------------------------------------------------------------------------

    async def speak(self, exchange: Exchange) -> Turn:
        """Returns with the last word."""
        turn = Turn(exchange, now())
        self.turns.append(turn)
        for frame in frames(exchange.question):
            await asyncio.sleep(FRAME_S)
            self._hear(frame)
        turn.spoken = now()
        return turn

    async def hush(self, seconds: float = PAUSE_S) -> None:
        for _ in range(round(seconds / FRAME_S)):
            await asyncio.sleep(FRAME_S)
            self._hear(SILENT)

    async def hear_out(self, turn: Turn) -> None:
        """Silence, until the answer has been heard to its end."""
        await self.hush()
        if await until(lambda: self._is_answered(turn), TURN_LIMIT_S):
            turn.over = now()

    def _is_answered(self, turn: Turn) -> bool:
        return not self.session.busy and any(e.at > turn.spoken for e in self.responses())

    async def ask(self, exchange: Exchange) -> Turn:
        turn = await self.speak(exchange)
        await self.hear_out(turn)
        return turn

    # --- what came --------------------------------------------------------------------------------

    @property
    def events(self) -> list[SentEvent]:
        return [entry for entry in self.client.log if isinstance(entry, SentEvent)]

    def of(self, kind: str) -> list[SentEvent]:
        return [event for event in self.events if event.type == kind]

    def responses(self) -> list[SentEvent]:
        return self.of("response.done")

    def sounds(self) -> list[SentFrame]:
        """Frames that can be heard."""
        frames = [entry for entry in self.client.log if isinstance(entry, SentFrame)]
        return [f for f in frames if np.abs(np.frombuffer(f.frame.pcm, "<i2")).max() > AUDIBLE]

    def history(self) -> list[tuple[str, str]]:
        return [(entry.role, entry.content) for entry in self.session.conversation.messages()]

    async def hang_up(self) -> float:
        """Returns how long that took."""
        began = now()
        await self.session.close()
        return now() - began
