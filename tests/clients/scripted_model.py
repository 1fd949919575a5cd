"""A model that is told by the conversation what to do, so that no test has to script it."""

from collections.abc import AsyncGenerator

from mocks.llm import EchoLLM, ReasoningDelta, Reply
from providers.base import LLMEvent, LLMRequest, ToolCall

STORY = " ".join(f"Sentence number {n} of a long story." for n in range(1, 13))
"""About 28 s of speech: long enough to be cut."""

PREAMBLE = "Let me look. One moment please."
CALL = ToolCall("call_oslo", "get_weather", '{"city": "Oslo"}')


class ScriptedModel(EchoLLM):
    """What the last message holds decides:

    a tool's result    "The tool says <result>."
    "weather"          calls get_weather {"city": "Oslo"}
    "forecast"         says PREAMBLE, then calls get_weather
    "story"            STORY; also where the instructions speak of stories
    anything else      "You said: <it>."
    """

    async def play(self, request: LLMRequest) -> AsyncGenerator[LLMEvent | ReasoningDelta, None]:
        reply = _reply(request)
        if reply is not None:
            self.script(reply)
        async for event in super().play(request):
            yield event


def _reply(request: LLMRequest) -> Reply | None:
    last = request.messages[-1]
    instructions = " ".join(m.content for m in request.messages if m.role == "system")
    if last.role == "tool":
        return Reply(text=f"The tool says {last.content}.")
    if "forecast" in last.content:
        return Reply(text=PREAMBLE, tool_calls=(CALL,))
    if "weather" in last.content:
        return Reply(tool_calls=(CALL,))
    if "story" in last.content or "stories" in instructions:
        return Reply(text=STORY)
    return None
