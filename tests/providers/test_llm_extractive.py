import asyncio
from contextlib import aclosing

import pytest

from providers._extractive_quote import LONGEST_ANSWER, quote
from providers.base import Finish, LLMEvent, LLMRequest, Message, Passage, TextDelta
from providers.llm_extractive import ExtractiveLLM

PARKING = Passage(
    text="Parking is free for the first two hours. After that it costs two dollars an hour.\n\n"
    "The gate is locked at nine in the evening.",
    source="parking.txt",
    title="Parking",
    score=0.8,
)
HOURS = Passage(
    text="The library is open from nine until eight. On Sunday it is closed.",
    source="opening-hours.md",
    title="Opening hours",
    score=0.5,
)
JAPANESE = Passage(
    text="平日は午前九時から開いています。日曜日は休館です。本は四週間借りられます。",
    source="ja.md",
    score=0.6,
)


def _events(**request: object) -> list[LLMEvent]:
    async def scenario() -> list[LLMEvent]:
        stream = ExtractiveLLM().stream(LLMRequest(messages=(), **request))  # type: ignore[arg-type]
        async with aclosing(stream) as events:
            return [event async for event in events]

    return asyncio.run(scenario())


def _said(**request: object) -> str:
    return "".join(event.text for event in _events(**request) if isinstance(event, TextDelta))


def test_the_sentence_that_answers_is_quoted_as_it_stands() -> None:
    assert quote("when is the gate locked", [PARKING, HOURS]) == (
        "The gate is locked at nine in the evening."
    )


def test_a_sentence_that_points_back_is_not_left_alone() -> None:
    answer = "Parking is free for the first two hours. After that it costs two dollars an hour."
    assert quote("what does parking cost after two hours", [PARKING]) == answer


@pytest.mark.parametrize("heard", ["when is the gait locked", "when is the gate looked in"])
def test_misheard_words_still_choose_the_sentence(heard: str) -> None:
    assert quote(heard, [PARKING]).startswith("The gate is locked")


def test_japanese_is_quoted_without_spaces() -> None:
    assert _said(question="日曜日は開いていますか", passages=(JAPANESE,)) == "日曜日は休館です。"


def test_the_better_sentence_wins_over_the_better_passage() -> None:
    assert "closed" in quote("are you open on sunday", [PARKING, HOURS])


CARDS = Passage(
    text="A card costs twelve dollars a year. Students pay six dollars.",
    source="prices.md",
    title="Membership",
    heading="What a card costs",
    score=0.7,
)
LOST = Passage(
    text="If you lose your card, tell us. A new card costs three dollars.",
    source="prices.md",
    title="Membership",
    heading="Losing your card",
    score=0.75,
)


@pytest.mark.parametrize(
    "question", ["how much does membership cost", "cam much as membership cost"]
)
def test_the_rule_comes_before_its_exception(question: str) -> None:
    assert quote(question, [LOST, CARDS]).startswith("A card costs twelve dollars a year.")


def test_an_exception_that_is_asked_about_is_told() -> None:
    assert "three dollars" in quote("what does it cost if i lost my card", [CARDS, LOST])
    assert "three dollars" in quote("how much is a new card", [CARDS, LOST])


def test_of_two_sentences_the_one_that_holds_what_is_asked_for_wins() -> None:
    museum = Passage(
        text="The museum was founded by Ada Brown. The museum stands at nine Hill Street.",
        source="a",
        score=0.6,
    )
    assert quote("where is the museum", [museum]) == "The museum stands at nine Hill Street."
    assert quote("who made the museum", [museum]).startswith("The museum was founded by Ada")


def test_a_heading_speaks_for_its_sentences() -> None:
    fees = Passage(text="Adults pay nine euros.", source="a", heading="Swimming", score=0.5)
    other = Passage(text="The sauna costs ten euros.", source="b", heading="Sauna", score=0.5)
    assert quote("how much is swimming", [other, fees]) == "Adults pay nine euros."


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        ("얼마예요", "카드는 어른용입니다. 카드는 오천 원입니다.", "카드는"),
        ("图书馆在哪里", "图书馆有很多书。图书馆在三楼。", "图书馆在三楼。"),
        (
            "年会費はいくらですか",
            "会員は大人です。年会費は十二ドルです。",
            "年会費は十二ドルです。",
        ),
    ],
)
def test_other_scripts_are_answered(question: str, text: str, answer: str) -> None:
    assert answer in quote(question, [Passage(text=text, source="a")])


def test_answers_stay_short_enough_to_listen_to() -> None:
    wordy = Passage(
        text=" ".join(f"Parking is sentence number {n}." for n in range(60)), source="a"
    )
    answer = quote("parking", [wordy])
    assert len(answer) <= LONGEST_ANSWER and answer.count(".") == 3


def test_marks_of_lists_are_not_spoken() -> None:
    listed = Passage(text="Bring:\n- a library card\n- a letter", source="a")
    assert quote("library card", [listed]) == "a library card"


@pytest.mark.parametrize(
    ("language", "question", "start"),
    [
        ("", "who won the game", "I don't know that."),
        ("", "明日の天気は", "それは分かりません。"),
        ("", "내일 날씨는 어때요", "그건 모르겠습니다."),
        ("", "明天天气怎么样", "这个我不知道。"),
        ("ja-JP", "who won the game", "それは分かりません。"),
        ("en", "明日の天気は", "I don't know that."),
        ("tlh", "明日の天気は", "それは分かりません。"),
    ],
)
def test_without_passages_it_says_so_in_the_callers_language(
    language: str, question: str, start: str
) -> None:
    assert _said(question=question, language=language).startswith(start)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("hello", "Hello!"),
        ("Good morning, how are you?", "Hello!"),
        ("thank you very much", "You're welcome."),
        ("okay bye bye", "Goodbye!"),
        ("who are you", "I am a voice assistant."),
        ("こんにちは", "こんにちは。"),
        ("감사합니다!", "천만에요."),
        ("再见", "再见！"),
    ],
)
def test_small_talk_is_answered_whatever_was_found(question: str, answer: str) -> None:
    assert _said(question=question, passages=(HOURS,)).startswith(answer)


def test_a_greeting_before_a_question_does_not_hide_it() -> None:
    assert "nine until eight" in _said(question="hello, when is it open", passages=(HOURS,))


def test_without_a_question_the_last_words_of_the_user_count() -> None:
    async def scenario() -> str:
        messages = (
            Message(role="user", content="who are you"),
            Message(role="assistant", content="…"),
            Message(role="user", content="goodbye"),
        )
        stream = ExtractiveLLM().stream(LLMRequest(messages=messages))
        return "".join([event.text async for event in stream if isinstance(event, TextDelta)])

    assert asyncio.run(scenario()) == "Goodbye!"
    assert _said().startswith("Sorry, I did not catch that.")


def test_words_come_one_by_one_and_a_finish_last() -> None:
    events = _events(question="when is the gate locked", passages=(PARKING,))
    assert [e.text for e in events[:3] if isinstance(e, TextDelta)] == ["The", " gate", " is"]
    assert events[-1] == Finish("stop")
    assert sum(isinstance(event, Finish) for event in events) == 1


def test_max_tokens_cuts_the_answer() -> None:
    events = _events(question="when is the gate locked", passages=(PARKING,), max_tokens=2)
    assert events == [TextDelta("The"), TextDelta(" gate"), Finish("length")]
