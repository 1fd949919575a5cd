"""What the model is shown: instructions and history unchanged from turn to turn, news at the end.

A server's prefix cache keeps what it has read only while the bytes before it are the same. So the
passages, which change with every question, go into the last user message and are not kept in the
history; everything before only ever grows.
"""

from collections.abc import Sequence

from providers.base import Message, Passage

CHARACTERS_PER_TOKEN = 3.2
"""A cautious mean over English and Japanese, for the budget only."""

TURNS_AT_ONCE = 8
"""So many leave together."""

FENCE = "Passages from the operator's documents; quote facts only from them:"


def messages(
    instructions: str,
    history: Sequence[Message],
    passages: Sequence[Passage],
    *,
    max_tokens: int = 4000,
) -> tuple[Message, ...]:
    """System prompt, as much of the end of the history as fits, passages in the last question.

    What is too old leaves in whole turns, from a question on, so that no answer stands without
    its question and no tool result without its call; and many turns at a time, so that the server's
    cache is lost once in a while and not with every question.
    """
    budget = max_tokens * CHARACTERS_PER_TOKEN - len(instructions)
    budget -= sum(len(passage.text) for passage in passages)
    kept = list(history[_first_that_fits(history, budget) :])
    for index in range(len(kept) - 1, -1, -1):
        if kept[index].role == "user":
            kept[index] = Message(role="user", content=with_passages(kept[index].content, passages))
            break
    system = [Message(role="system", content=instructions)] if instructions else []
    return (*system, *kept)


def _first_that_fits(history: Sequence[Message], budget: float) -> int:
    start = len(history)
    used = 0
    for index in range(len(history) - 1, -1, -1):
        used += _characters(history[index])
        if used > budget and start < len(history):
            break
        if history[index].role == "user":
            start = index
    else:
        return 0
    return _in_steps(history, start)


def _in_steps(history: Sequence[Message], start: int) -> int:
    """The next turn from `start` on that is a step; `start` where there is none."""
    turns = [index for index, message in enumerate(history) if message.role == "user"]
    later = [index for number, index in enumerate(turns) if number % TURNS_AT_ONCE == 0]
    return next((index for index in later if index >= start), start)


def _characters(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + calls + 16


def with_passages(question: str, passages: Sequence[Passage]) -> str:
    """The question with what was found for it, fenced off as data."""
    if not passages:
        return question
    quoted = "\n".join(_quoted(passage) for passage in passages)
    return f"{FENCE}\n{quoted}\n\n{question}"


def _quoted(passage: Passage) -> str:
    source, heading = (value.replace('"', "'") for value in (passage.source, passage.heading))
    return f'<passage source="{source}" heading="{heading}">\n{passage.text}\n</passage>'
