"""What a language model says to a question."""

from contextlib import aclosing

from providers.base import LLM, LLMEvent, LLMRequest, TextDelta


async def answer(llm: LLM, request: LLMRequest) -> list[LLMEvent]:
    async with aclosing(llm.stream(request)) as events:
        return [event async for event in events]


def text_of(events: list[LLMEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
