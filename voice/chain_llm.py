"""A language model with others that stand in for it, also in the middle of an answer.

tokens ──▶ first clause ──▶ the voice
   │ broke off                  │ broke off
   └─▶ begun anew by any        └─▶ gone on with, by one that can
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Protocol

import msgspec

from providers.base import (
    LLM,
    LLMEvent,
    LLMRequest,
    ProviderError,
    Slot,
    TextDelta,
    ToolCallDelta,
)
from voice.chain import Chain, Link
from voice.patience import Limit, Patience, within
from voice.prompt import Seam, continued

LIMIT = "llm.attempt_limit_s"


class Draft(Protocol):
    """What whoever asks has made of the tokens so far."""

    @property
    def is_open(self) -> bool:
        """Nobody has heard or read a word of it."""

    def discard(self) -> None:
        """Only while it is open: the answer begins anew."""


DRAFT: ContextVar[Draft | None] = ContextVar("draft", default=None)
"""Of the answer that is asked for; None: what was given is said."""


class ChainLLM(Chain[LLM]):
    """Args:
    patience: For one that nobody can take over from.
    attempt_s: How long one that others can take over from may keep us waiting for its first
        token, or for the next.
    continues: Which of them can go on where another broke off, rather than only begin anew.
    """

    def __init__(
        self,
        providers: Sequence[LLM],
        *,
        now: Callable[[], float],
        patience: Patience,
        attempt_s: float,
        continues: Callable[[LLM], bool],
    ) -> None:
        super().__init__(providers, now=now)
        self._patience, self._attempt_s = patience, attempt_s
        self._continues = continues

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        said, draft = "", DRAFT.get()
        tried: list[Link[LLM]] = []
        failure: ProviderError | None = None
        while (link := self.next_after(tried)) is not None:
            tried.append(link)
            if said and draft is not None and draft.is_open:
                said = ""
                draft.discard()
            if said and not self._continues(link.provider):
                continue
            events = self._attempt(link, request, said, tried)
            try:
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, ToolCallDelta):
                            tried[:] = self.links  # half a call cannot be gone on with
                        elif isinstance(event, TextDelta):
                            said += event.text
                        yield event
                return
            except ProviderError as error:
                failure = error
        raise failure or self.nobody()

    async def _attempt(
        self, link: Link[LLM], request: LLMRequest, said: str, tried: list[Link[LLM]]
    ) -> AsyncGenerator[LLMEvent, None]:
        seam = Seam(said) if said else None
        if seam is not None:
            request = msgspec.structs.replace(request, messages=continued(request.messages, said))
        begun, speaks, draft = False, bool(said), DRAFT.get()

        def limit() -> Limit:
            others = [one for one in self.order() if one not in tried]
            is_free = not speaks or (draft is not None and draft.is_open)
            if any(is_free or self._continues(one.provider) for one in others):
                return self._attempt_s, LIMIT
            return self._patience.limit(begun=begun)

        stream = link.provider.stream(request)
        events = within(stream, limit, Slot.LLM, "token", link.info.provider)
        with self.asking(link):
            async with aclosing(events):
                async for event in events:
                    if not begun:
                        begun = True
                        self.served_by(link)
                    speaks = speaks or isinstance(event, TextDelta)
                    if seam is not None and isinstance(event, TextDelta):
                        event = TextDelta(seam.feed(event.text))
                        if not event.text:
                            continue
                    elif seam is not None and (rest := seam.flush()):
                        yield TextDelta(rest)
                    yield event
