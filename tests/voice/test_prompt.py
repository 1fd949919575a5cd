import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Message, Passage, ToolCall
from voice.prompt import CHARACTERS_PER_TOKEN, FENCE, messages, with_passages

HOURS = Passage(text="Open from nine.", source="hours.md", heading="Weekdays", chunk="c1")
PRICES = Passage(text="Ten a month.", source="prices.md", chunk="c2")


def said(*texts: str) -> list[Message]:
    """Question, answer, question, …"""
    roles = ("user", "assistant")
    return [
        Message(role=roles[n % 2], content=text)  # type: ignore[arg-type]
        for n, text in enumerate(texts)
    ]


def test_instructions_come_first_and_passages_into_the_last_question() -> None:
    system, first, answer, last = messages("Be kind.", said("Hi", "Hello.", "Hours?"), [HOURS])
    assert system == Message(role="system", content="Be kind.")
    assert (first.content, answer.content) == ("Hi", "Hello.")
    assert last.content == (
        f'{FENCE}\n<passage source="hours.md" heading="Weekdays">\nOpen from nine.\n</passage>'
        "\n\nHours?"
    )


def test_without_instructions_there_is_no_system_message() -> None:
    assert messages("", said("Hi"), []) == tuple(said("Hi"))


def test_without_passages_the_question_stands_as_it_was_said() -> None:
    assert with_passages("Hours?", []) == "Hours?"


def test_a_source_cannot_break_out_of_its_quotes() -> None:
    evil = Passage(text="x", source='a" onload="', heading='"')
    assert 'source="a\' onload=\'" heading="\'"' in with_passages("q", [evil])


def test_behind_a_tool_result_the_passages_stay_with_the_question() -> None:
    history = [
        *said("Weather?"),
        Message(role="assistant", tool_calls=(ToolCall("c", "f", "{}"),)),
        Message(role="tool", content="sunny", tool_call_id="c"),
    ]
    shown = messages("", history, [HOURS])
    assert shown[0].content.endswith("Weather?") and FENCE in shown[0].content
    assert shown[1:] == tuple(history[1:])


def test_from_turn_to_turn_all_before_the_last_question_stays_byte_for_byte() -> None:
    """A server's prefix cache reads it only once."""
    texts = ["Hi", "Hello.", "Hours?", "From nine.", "Prices?", "Ten.", "Thanks"]
    before: tuple[Message, ...] = ()
    for end in range(1, len(texts) + 1, 2):
        shown = messages("Be kind.", said(*texts[:end]), [HOURS, PRICES] if end % 4 else [PRICES])
        assert shown[: len(before)] == before
        before = shown[:-1]
    assert FENCE not in "".join(message.content for message in before)


def test_what_is_too_old_leaves_from_a_question_on() -> None:
    history = said("a" * 300, "b" * 300, "c" * 300, "d" * 300, "e" * 300)
    for tokens, kept in ((700, 5), (420, 3), (110, 1)):
        shown = messages("", history, [], max_tokens=tokens)
        assert list(shown) == history[-kept:]


def test_the_last_question_stays_however_long_it_is() -> None:
    assert messages("", said("a", "b", "c" * 9000), [], max_tokens=10) == (
        Message(role="user", content="c" * 9000),
    )


def test_instructions_and_passages_count_against_the_budget() -> None:
    history = said("a" * 300, "b" * 300, "c" * 300)
    assert len(messages("", history, [], max_tokens=400)) == 3
    assert len(messages("i" * 900, history, [], max_tokens=400)) == 2
    long = Passage(text="p" * 900, source="s")
    assert len(messages("", history, [long], max_tokens=400)) == 1


def test_the_arguments_of_a_function_call_count_too() -> None:
    written = Message(role="assistant", tool_calls=(ToolCall("c", "f", "x" * 5000),))
    result = Message(role="tool", content="ok", tool_call_id="c")
    history = [*said("one"), written, result, *said("two")]
    assert messages("", history, [], max_tokens=200) == tuple(said("two"))


ROLE = st.sampled_from(["user", "assistant", "call"])


@given(
    st.lists(st.tuples(ROLE, st.integers(0, 400)), max_size=20),
    st.integers(0, 500),
)
def test_what_is_kept_is_an_end_of_the_history_that_begins_with_a_question_and_fits(
    turns: list[tuple[str, int]], max_tokens: int
) -> None:
    history: list[Message] = said("begin")
    for n, (role, size) in enumerate(turns):
        if role == "call":
            history += [
                Message(role="assistant", tool_calls=(ToolCall(f"c{n}", "f", "{}"),)),
                Message(role="tool", content="x" * size, tool_call_id=f"c{n}"),
            ]
        else:
            history.append(Message(role=role, content="x" * size))  # type: ignore[arg-type]
    kept = list(messages("", history, [], max_tokens=max_tokens))
    assert kept == history[len(history) - len(kept) :]
    assert kept[0].role == "user"
    later = [n for n, message in enumerate(kept) if n and message.role == "user"]
    if later:  # more than what must stay
        size = sum(len(m.content) + 16 for m in kept)
        assert size <= max_tokens * CHARACTERS_PER_TOKEN


@pytest.mark.parametrize("text", ["", "日本語の質問"])
def test_any_words_can_be_asked(text: str) -> None:
    assert messages("", [Message(role="user", content=text)], [HOURS])[0].content.endswith(text)
