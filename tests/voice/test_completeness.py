"""How often the score tells whole utterances from those that go on, by language.

The cases are ours, so what they show is that no rule broke; the ones that are held out were
written after the rules, and first tried on them once.

    right, of all   written with the rules   held out, tried once
    English         99 %   (170)             90 %   (30)
    Japanese        98 %   (165)             97 %   (30)
    Korean          100 %  (165)             97 %   (30)
    Chinese         99 %   (163)             87 %   (30)

Of 50 earlier held-out cases each, now among the former, 88, 86, 98 and 94 % were right at first.
Of the 246 English questions in tests/rag/questions.toml, most of them as a recogniser heard them,
99 % are judged whole. What words cannot tell is a sentence cut where it could have ended: of the
beginnings of those questions, cut behind any word, 56 % are judged open.
"""

import timeit
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.labelled import LANGUAGES, labelled
from voice.completeness import (
    completeness,
    is_backchannel,
    is_echo,
    is_hang_up,
    is_short_answer,
)

ROOT = Path(__file__).parents[2]
DONE = 0.6
"""From here on a text counts as judged whole."""
HELD_OUT = {"en": 0.9, "ja": 0.96, "ko": 0.96, "zh": 0.86}


def share_right(language: str, *, held_out: bool) -> float:
    judged = [
        (completeness(text, language) >= DONE) == label.endswith("complete")
        if not label.endswith("incomplete")
        else completeness(text, language) < DONE
        for label, texts in labelled(language).items()
        if label.startswith("held out") == held_out
        for text in texts
    ]
    assert len(judged) >= (30 if held_out else 60)
    return sum(judged) / len(judged)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nearly_all_of_the_labelled_utterances_are_told_apart(language: str) -> None:
    assert share_right(language, held_out=False) >= 0.97


@pytest.mark.parametrize("language", LANGUAGES)
def test_so_are_most_of_those_the_rules_were_not_written_with(language: str) -> None:
    assert share_right(language, held_out=True) >= HELD_OUT[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_surely_open_scores_below_what_is_surely_done(language: str) -> None:
    cases = labelled(language)
    scores = {
        label: sorted(completeness(text, language) for text in texts)
        for label, texts in cases.items()
    }
    assert scores["digits"][-1] <= 0.5
    middle = {label: found[len(found) // 2] for label, found in scores.items()}
    assert middle["incomplete"] <= 0.1 < 0.7 <= middle["complete"]


@pytest.mark.parametrize(
    ("text", "language"),
    [("", "en"), ("  ", "ja"), ("...", ""), ("Я хочу", "ru"), ("ich möchte einen Tisch", "de")],
)
def test_where_nothing_is_known_it_says_neither(text: str, language: str) -> None:
    assert completeness(text, language) == 0.5 or text == "..."


@pytest.mark.parametrize(
    ("text", "language", "low", "high"),
    [
        ("Wo ist der Bahnhof?", "de", 0.9, 1),
        ("Ich komme morgen.", "de", 0.7, 1),
        ("Ich komme morgen,", "de", 0, 0.15),
        ("I want to.", "en", 0, 0.5),
        ("I want to...", "en", 0, 0.15),
        ("I want a table.", "en", 0.9, 1),
        ("Your name?", "en", 0.9, 1),
        ("お名前は？", "ja", 0.4, 1),
        ("お名前は", "ja", 0, 0.15),
        ("名前は「田中", "ja", 0, 0.15),
        ("the room (the large one", "en", 0, 0.15),
        ("I came yesterday. And then I", "en", 0, 0.15),
        ("And then I left. Do you have my bag", "en", 0.8, 1),
        ("at 3.5 percent", "en", 0.6, 1),
    ],
)
def test_punctuation_counts_where_it_is_there(
    text: str, language: str, low: float, high: float
) -> None:
    assert low <= completeness(text, language) <= high


@pytest.mark.parametrize(
    ("text", "script_of"),
    [("営業時間は", "ja"), ("예약하고 싶은데", "ko"), ("因为", "zh"), ("i want to", "en")],
)
def test_an_untold_language_is_told_by_its_script(text: str, script_of: str) -> None:
    assert completeness(text, "") == completeness(text, script_of)


def test_a_whole_phone_number_is_enough_and_one_digit_less_is_not() -> None:
    number = "my phone number is five five five one two three four five six seven"
    assert completeness(number, "en") >= 0.85
    assert completeness(number.rsplit(" ", 1)[0], "en") <= 0.05
    assert completeness("電話番号は09012345678", "ja") >= 0.85
    assert completeness("電話番号は0901234567", "ja") <= 0.05
    assert completeness("전화번호는 01012345678", "ko") >= 0.85
    assert completeness("전화번호는 0101234567", "ko") <= 0.05
    assert completeness("我的电话是13812345678", "zh") >= 0.85
    assert completeness("我的电话是1381234567", "zh") <= 0.05


@pytest.mark.parametrize(
    "text", ["a table for four", "see you at seven", "room 472", "it was in 2024", "that one"]
)
def test_a_figure_is_no_dictation(text: str) -> None:
    assert completeness(text, "en") >= 0.6


@given(text=st.text(max_size=80), language=st.sampled_from(["", "en", "ja", "ko", "zh", "de"]))
def test_any_text_has_a_score(text: str, language: str) -> None:
    assert 0 <= completeness(text, language) <= 1
    assert is_short_answer(text, language) in (True, False)
    assert is_backchannel(text, language) in (True, False)
    assert not is_echo(text, "")
    assert not is_hang_up(text, [])


pieces = st.sampled_from(
    "four seven oh double twenty um 42 090 0 の にご 三 ゼロ 공 일이 에 一 幺 番号は 번호는"
    " 电话是 my number is"
    " the ' \" ( . ? , s m".split()
)


@given(words=st.lists(pieces, max_size=12), language=st.sampled_from(LANGUAGES))
def test_any_mixture_of_numbers_has_a_score(words: list[str], language: str) -> None:
    assert 0 <= completeness(" ".join(words), language) <= 1
    assert 0 <= completeness("".join(words), language) <= 1


LONG = {
    "en": "i was calling because my order has not been delivered and i would like to know when "
    * 4,
    "ja": "昨日そちらのお店で買った商品がまだ届いていないのでいつ届くのか知りたいんですけど" * 3,
    "ko": "어제 주문한 상품이 아직 도착하지 않아서 언제쯤 받을 수 있는지 알고 싶은데요 " * 6,
    "zh": "我昨天在你们店里买的东西到现在还没有送到所以我想问一下大概什么时候能到" * 3,
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_sixty_words_are_judged_in_far_less_than_a_frame(language: str) -> None:
    """Measured: 16 µs for the score, 40 for an echo; the limit leaves room for a busy machine."""
    text = LONG[language]
    spoken = text[:130] if language == "en" else text[:50]
    for judge in (
        lambda: completeness(text, language),
        lambda: is_short_answer(text, language),
        lambda: is_backchannel(text, language),
        lambda: is_echo(text, spoken),
        lambda: is_echo(spoken, spoken),
        lambda: is_hang_up(text, ["goodbye"]),
    ):
        assert min(timeit.repeat(judge, number=10, repeat=20)) / 10 < 200e-6


def test_real_questions_are_whole() -> None:
    text = (ROOT / "tests" / "rag" / "questions.toml").read_text("utf-8")
    tables = [table for tables in tomllib.loads(text).values() for table in tables]
    questions = [table["question"] for table in tables if table["question"].isascii()]
    assert len(questions) >= 30
    whole = sum(completeness(question, "en") >= DONE for question in questions)
    assert whole >= 0.97 * len(questions)


@pytest.mark.parametrize("text", ["i would like to know when you are", "i wonder why they are"])
def test_a_bare_be_behind_when_or_why_wants_more(text: str) -> None:
    """It ended a turn after 493 ms."""
    assert completeness(text, "en") < 0.2


@pytest.mark.parametrize("text", ["i would like to know where you are", "tell me who they are"])
def test_a_bare_be_behind_where_or_who_may_be_the_end(text: str) -> None:
    assert completeness(text, "en") >= DONE
