"""A language model with others that stand in for it, also in the middle of an answer."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

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
        said = ""
        tried: list[Link[LLM]] = []
        failure: ProviderError | None = None
        while (link := self.next_after(tried)) is not None:
            tried.append(link)
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
        begun, speaks = False, bool(said)

        def limit() -> Limit:
            others = [one for one in self.order() if one not in tried]
            if any(self._continues(one.provider) or not speaks for one in others):
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
