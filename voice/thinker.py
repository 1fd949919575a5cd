"""The language model's side of a reply: tokens in, clauses out."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from providers.base import (
    LLM,
    Fault,
    Finish,
    LLMRequest,
    ProviderError,
    Slot,
    TextDelta,
    ToolCallDelta,
)
from voice.chain_llm import DRAFT
from voice.clauses import ClauseSplitter, pieces
from voice.patience import timed
from voice.phrases import apology
from voice.reply_facts import Called, Fact, Failed, Phrased, Task, Thought


class Thinker:
    """Implements `voice.chain_llm.Draft`.

    Args:
        post: Takes the facts, in order.
    """

    def __init__(self, task: Task, llm: LLM, post: Callable[[Fact], None]) -> None:
        self._task, self._llm, self._post = task, llm, post
        self._turn = task.turn
        self._called = self._phrased = False
        self._splitter = ClauseSplitter()
        self.clauses: asyncio.Queue[str | None] = asyncio.Queue()
        """None behind the last."""
        self.finish = Finish()
        self.asked: LLMRequest | None = None
        self.written_chars = 0

    @property
    def is_open(self) -> bool:
        """No clause has gone to the voice."""
        return not self._phrased

    def discard(self) -> None:
        self._splitter = ClauseSplitter()

    async def tokens(self, request: LLMRequest) -> AsyncGenerator[str, None]:
        """The words as the model gives them; whatever else it gives is posted or kept."""
        thought = False
        self.asked = request
        stream = timed(self._llm, self._llm.stream(request), self._task.tokens)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if not thought:
                    thought = True
                    self._post(Thought(self._turn))
                match event:
                    case TextDelta():
                        self.written_chars += len(event.text)
                        yield event.text
                    case ToolCallDelta():
                        self._called = True
                        self.written_chars += len(event.arguments)
                        self._post(Called(self._turn, event))
                    case Finish():
                        self.finish = event

    def nothing_said(self) -> str:
        """What to say where the model gave no words: nothing if it called a function.

        Raises:
            ProviderError: It gave neither, and no reason.
        """
        if self._called:
            return ""
        if self.finish.reason == "content_filter":
            return apology(self._task.language)
        why = f"answered without a word (finish_reason {self.finish.reason})"
        raise ProviderError(Slot.LLM, self._llm.info.provider, Fault.BROKEN, why)

    async def think(self, request: LLMRequest) -> None:
        """Fills `clauses`."""
        DRAFT.set(self)  # in this task's own context
        try:
            async with contextlib.aclosing(self.tokens(request)) as tokens:
                async for text in tokens:
                    for number, piece in enumerate(pieces(text)):
                        if number:  # others have their turn
                            await asyncio.sleep(0)
                        self._phrase(self._splitter.feed(piece))
            self._phrase(self._splitter.flush())
            if not self._phrased and (words := self.nothing_said()):
                self._phrase([words])
        except ProviderError as error:
            # What was said so far stands; half a clause is not worth saying.
            self._post(Failed(self._turn, error))
            self._phrase([(" " if self._phrased else "") + apology(self._task.language)])
        finally:
            self.clauses.put_nowait(None)

    def recite(self, text: str) -> None:
        """Instead of thinking."""
        self._phrase([text])
        self.clauses.put_nowait(None)

    def _phrase(self, clauses: list[str]) -> None:
        if clauses and not self._phrased:
            self._phrased = True
            self._post(Phrased(self._turn))
        for clause in clauses:
            self.clauses.put_nowait(clause)
