import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import LLMRequest, Message, Passage, Tool, ToolCall
from voice.prompt import (
    CHARACTERS_PER_TOKEN,
    ECHO_WORDS,
    FENCE,
    GO_ON,
    Seam,
    continued,
    messages,
    tokens_of,
    with_passages,
)

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


def test_tools_and_calls_count_as_what_the_model_reads() -> None:
    question = Message(role="user", content="Hi")
    call = Message(role="assistant", tool_calls=(ToolCall("c", "look_up", "x" * 320),))
    tool = Tool(name="look_up", description="y" * 320, parameters={"type": "object"})
    bare = tokens_of(LLMRequest(messages=(question,)))
    assert tokens_of(LLMRequest(messages=(question, call))) >= bare + 100
    assert tokens_of(LLMRequest(messages=(question,), tools=(tool,))) >= bare + 100


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


# --- going on where another model broke off -------------------------------------------------------


def heard(said: str, *pieces: str) -> str:
    """What the caller hears in all."""
    seam = Seam(said)
    return said + "".join(seam.feed(piece) for piece in pieces) + seam.flush()


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w'’]+", text.casefold())


def test_another_model_is_shown_the_same_then_what_was_said_then_the_request_to_go_on() -> None:
    shown = tuple(said("Hi", "Hello.", "Hours?"))
    assert continued(shown, "We open at ") == (
        *shown,
        Message(role="assistant", content="We open at"),
        Message(role="user", content=GO_ON),
    )


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_where_nothing_was_said_there_is_nothing_to_go_on_from(blank: str) -> None:
    shown = tuple(said("Hi"))
    assert continued(shown, blank) == shown


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("We open at nine", "and close at five.", "We open at nine and close at five."),
        ("We open at nine and", "at nine and close.", "We open at nine and close."),
        ("We open at nine.", "We open at nine. We close at five.", None),
        ("We open at nine.", "AT NINE! We close at five.", None),
        ("We open at nine. ", "We close at five.", None),
        ("We open at nine.", " We close at five.", None),
        ("We open at nine.", "…\n\nWe open at nine. We close at five.", None),
        ("We open at nine", ". We close at five.", None),
        ("We open at nine", "nine. We close at five.", None),
        ("We open at nine,", "at nine, not ten.", "We open at nine, not ten."),
        ("He said:", '"No."', 'He said: "No."'),
        ("He said: “", "No.”", "He said: “No.”"),
        ("営業時間は九時から", "九時から五時までです。", "営業時間は九時から五時までです。"),
        ("はい。", "九時です。", "はい。九時です。"),
        ("It is unbel", "is unbelievable.", "It is unbelievable."),
        ("It is unbel", "unbelievable.", "It is unbelievable."),
        ("It is open for", "forty minutes.", "It is open for forty minutes."),
        ("We don't", "don't know.", "We don't know."),
        ("We open at nine on", "We open at nine every day.", "We open at nine on every day."),
        (
            "On Monday we open from nine to five. On Friday",
            "we open from nine to six.",
            "On Monday we open from nine to five. On Friday we open from nine to six.",
        ),
        ("That is all.", "That is all.", "That is all."),
        ("Is it Monday or Friday? It is", "Monday.", "Is it Monday or Friday? It is Monday."),
        ("We open", "", "We open"),
        ("We open", " \n", "We open"),
        ("", "Hello.", "Hello."),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_seam_cannot_be_heard(before: str, after: str, whole: str | None, size: int) -> None:
    pieces = [after[at : at + size] for at in range(0, len(after), size)]
    assert heard(before, *pieces) == (whole or "We open at nine. We close at five.")


def test_what_is_new_is_given_with_its_first_letters() -> None:
    seam = Seam("We open at nine.")
    assert seam.feed("C") == " C"
    assert seam.feed("losed on Friday: we open") == "losed on Friday: we open"


def test_what_may_be_a_repetition_is_held_until_it_is_known() -> None:
    seam = Seam("We open at nine")
    assert [seam.feed(piece) for piece in ("at", " nine", " o'clock")] == ["", "", " o'clock"]
    seam = Seam("We open at nine")
    assert [seam.feed(piece) for piece in ("at", " least", " today")] == ["", " at least", " today"]


WORDS = st.lists(st.sampled_from("alpha Bravo charlie delta echo it's on 42 naïve".split()))
MARKS = st.sampled_from([" ", ", ", ". ", " – ", "\n"])


@given(
    st.lists(st.integers(0, 999), unique=True, min_size=1, max_size=30),
    st.data(),
)
def test_whatever_is_repeated_each_word_is_spoken_once(
    numbers: list[int], data: st.DataObject
) -> None:
    answer = [f"word{number:03}" for number in numbers]
    broke = data.draw(st.integers(0, len(answer)))
    again = data.draw(st.integers(0, broke))
    mark = data.draw(MARKS)
    before = mark.join(answer[:broke])
    after = data.draw(MARKS).join(answer[again:]).upper()
    size = data.draw(st.integers(1, 9))
    pieces = [after[at : at + size] for at in range(0, len(after), size)]
    assert words_of(heard(before, *pieces)) == answer


@given(WORDS, WORDS, MARKS, MARKS, st.integers(1, 9))
def test_only_a_beginning_that_was_said_is_taken_out_and_none_that_was_is_left(
    before: list[str], after: list[str], mark: str, other: str, size: int
) -> None:
    text = other.join(after)
    spoken = mark.join(before) + mark
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    left = words_of(heard(spoken, *pieces)[len(spoken) :])
    was, new = words_of(spoken), words_of(text)
    taken = len(new) - len(left)
    assert new[taken:] == left
    longest = max(
        (n for n in range(len(new) + 1) if n <= len(was) and was[len(was) - n :] == new[:n]),
        default=0,
    )
    assert taken >= longest
    if taken > longest:  # a sentence said again
        assert taken >= ECHO_WORDS
        assert any(was[at : at + taken] == new[:taken] for at in range(len(was)))


@given(st.text(max_size=40), st.text(max_size=40), st.integers(1, 7))
def test_it_makes_no_difference_to_the_seam_how_the_text_is_split(
    before: str, after: str, size: int
) -> None:
    pieces = [after[at : at + size] for at in range(0, len(after), size)]
    assert heard(before, *pieces) == heard(before, after)
