"""A reply that was begun before it was asked for: what it tells is held back until it is adopted.

begun ──facts, held──▶ adopted: they are dealt with in their order, each as of its own time
                   └─▶ cancelled: down to the HTTP responses, and counted
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

import msgspec
from msgspec import Struct

from providers.base import LLMRequest, Message
from voice.audio import duration_ms
from voice.prompt import CHARACTERS_PER_TOKEN, tokens_of
from voice.replies import Working
from voice.reply_facts import Broke, Fact, Failed, Foreseen, Said, Sounded, Task
from voice.speculation import normalised

MOST_HELD_MS = 3000
"""Sound made ahead; it lasts until the voice goes on, and more of it may be in vain."""


class Cost(Struct, frozen=True):
    """Tokens, as the server counted them, or estimated from characters."""

    prompt: int
    completion: int
    counted: bool


class Attempt:
    """Args:
    post: Takes facts into the session's inbox.
    room: Waits until the session wants more sound of the answer in hand.
    """

    def __init__(
        self,
        number: int,
        task: Task,
        begun_at: float,
        *,
        post: Callable[[object], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self.number, self.task, self.begun_at = number, task, begun_at
        self._post, self._room = post, room
        self._adopted = asyncio.Event()
        self._held: list[tuple[float, Fact]] = []
        self._held_ms = 0.0
        self._ready_at = inf
        """When there was something to be heard, or read."""
        self.working: Working | None = None

    # --- the reply's ------------------------------------------------------------------------------

    def post(self, fact: Fact) -> None:
        self._post(fact if self._adopted.is_set() else Foreseen(self.number, fact))

    async def room(self) -> None:
        if self._held_ms >= MOST_HELD_MS:
            await self._adopted.wait()
        if self._adopted.is_set():
            await self._room()

    # --- the session's ----------------------------------------------------------------------------

    def hold(self, fact: Fact, at: float) -> bool:
        """Returns:
        Whether it goes well; if not, the attempt is of no use.
        """
        spoken = self.task.settings.spoken
        before = self._held[-1][1] if self._held else None
        if not spoken and isinstance(fact, Said) and isinstance(before, Said):
            # As one event: hundreds of tokens at once would hold the loop up.
            self._held[-1] = at, Said(fact.turn, before.text + fact.text)
        else:
            self._held.append((at, fact))
        if isinstance(fact, Sounded):
            rate_hz = self.task.settings.audio.output.format.rate_hz
            self._held_ms += duration_ms(fact.pcm, rate_hz)
        if isinstance(fact, Sounded if spoken else Said):
            self._ready_at = min(self._ready_at, at)
        return not isinstance(fact, Failed | Broke)

    def adopt(self, quiet_since: float) -> list[tuple[float, Fact]]:
        """From now on it is the answer.

        Returns:
            What it has told so far, and when.
        """
        self._adopted.set()
        if self.working is not None:
            self.working.reply.speaker.caller_waits(quiet_since)
        held, self._held = self._held, []
        return held

    def lead_ms(self, at: float) -> float:
        """By how much sooner the answer came than if it had been begun at `at`."""
        return max(0.0, min(self._ready_at, at) - self.begun_at) * 1000

    def cancel(self) -> None:
        if self.working is not None:
            self.working.task.cancel()

    def cost(self) -> Cost:
        thinker = self.working.reply.thinker if self.working is not None else None
        if thinker is None or thinker.asked is None:
            return Cost(0, 0, counted=False)
        usage = thinker.finish.usage
        if usage.input_tokens:
            return Cost(usage.input_tokens, usage.output_tokens, counted=True)
        written = round(thinker.written_chars / CHARACTERS_PER_TOKEN)
        return Cost(tokens_of(thinker.asked), written, counted=False)


def alike(one: Task, other: Task) -> bool:
    """Whether both ask the same, but for case, marks and spaces of the caller's last words."""
    return _bare(one) == _bare(other)


def _bare(task: Task) -> Task:
    request: LLMRequest = task.request
    messages = list(request.messages)
    if messages and messages[-1].role == "user":
        messages[-1] = Message(role="user", content=normalised(messages[-1].content))
    request = msgspec.structs.replace(
        request, messages=tuple(messages), question=normalised(request.question)
    )
    return msgspec.structs.replace(task, request=request, quiet_since=0.0)
