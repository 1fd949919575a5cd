import random
import re
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.clauses import ClauseSplitter, pieces


def clauses(*tokens: str, **limits: int) -> list[str]:
    splitter = ClauseSplitter(**limits)
    found = [clause for token in tokens for clause in splitter.feed(token)]
    return found + splitter.flush()


def by_token(*tokens: str) -> list[list[str]]:
    splitter = ClauseSplitter()
    return [splitter.feed(token) for token in tokens]


@pytest.mark.parametrize(
    "expected",
    [
        ["We are open.", " Come in!", " Any questions?", " No."],
        ["はい、そうです。", "日曜日は休みです！", "よろしいですか？", "では。"],
        ["안녕하세요.", " 오늘은 월요일입니다.", " 감사합니다!"],
        ["您好，我们每天九点到五点营业。", "周日休息！"],
        ["It costs 3.14 or 1,000 dollars.", " Not 2.5."],
        ["Come at 9:30 on 2024.01.05.", " Bye."],
        ["See www.example.com,", " or http://a.b/c?d=1,2&e=3!f.", " Yes."],
        ["Mail me.too@example.co.jp.", " Thanks."],
        ["Dr. Smith and Mrs. J. Doe came.", " They left."],
        ["The U.S. army e.g. this one,", " i.e. that one vs. us.", " Right."],
        ["No.", " We are closed."],
        ["Take room No. 5.", " It is on p. 7."],
        ["We open at 9 a.m. on Monday.", " We close at 5 p.m.", " The end."],
        ["Apples, etc. are sold by Foo Inc. here.", " Pears, etc.", " The rest."],
        ["Well... let me see.", " It is..."],
        ['He said "Stop!"', " Then he left."],
        ["He asked (really?)", " about it."],
        ["「はい。」と言いました。", "本当です。"],
        ["What?!", " Yes!!", " No..."],
        ["1. Open the lid.", "\n2. Close it."],
        ["One thing", "\nanother thing", "\nthe last"],
        ["It is here.", "次です。", "終わり。"],
    ],
)
def test_clauses_end_where_a_reader_would_breathe(expected: list[str]) -> None:
    assert clauses("".join(expected)) == expected


def test_a_short_first_clause_ends_at_a_comma_later_ones_do_not() -> None:
    text = "We are open today, from nine, to five. Come to us by bus, by train, or on foot."
    assert clauses(text) == [
        "We are open today,",
        " from nine, to five.",
        " Come to us by bus, by train, or on foot.",
    ]


def test_a_first_clause_too_short_to_speak_alone_goes_on() -> None:
    assert clauses("Yes, we are open, from nine.") == ["Yes, we are open,", " from nine."]
    assert clauses("はい、営業しております、今日も。") == ["はい、営業しております、", "今日も。"]


def test_a_long_later_clause_ends_at_a_comma() -> None:
    text = (
        "Hello. "
        + "This sentence goes on for very much longer than anybody wants to listen, indeed."
    )
    assert clauses(text)[1:] == [
        " This sentence goes on for very much longer than anybody wants to listen,",
        " indeed.",
    ]


def test_a_clause_comes_with_its_mark_and_not_with_the_next_word() -> None:
    assert by_token("We", " are", " open", " today", "!")[-1] == ["We are open today!"]
    assert by_token("We", " are", " open", " today", ",")[-1] == ["We are open today,"]
    assert by_token("We", " are", " open", " today", ".")[-1] == ["We are open today."]
    assert by_token("はい", "、", "営業中です", "。")[-1] == ["はい、営業中です。"]
    assert by_token("오늘은", " 월요일입니다", ".")[-1] == ["오늘은 월요일입니다."]
    assert by_token("First line", "\n")[-1] == ["First line"]


@pytest.mark.parametrize(
    "tokens",
    [
        ("Please visit us at example", ".", "com today."),
        ("You will find us on kaiwa", ".", "dev today."),
        ("Then you run main", ".", "py again."),
        ("Send it to info@example", ".", "com today."),
        ("Go to www.example", ".", "com now."),
        ("It is https://example", ".", "com now."),
        ("That was the U", ".", "S", ".", " army."),
        ("It costs about 3", ".", "14 dollars."),
        ("It costs about 1", ",", "000 dollars."),
        ("It opens about 9", ":", "30 today."),
        ("Example", ".", "com is down now."),
        ("Ask for doctor or dr", ".", " Smith now."),
        ("Ask in the dept", ".", " of physics now."),
        ("I use Node", ".", "js for this now."),
    ],
)
def test_a_mark_that_may_go_on_waits_for_the_next_token(tokens: tuple[str, ...]) -> None:
    assert clauses(*tokens) == ["".join(tokens)]


def test_behind_the_first_clause_a_dot_can_wait_because_nobody_does() -> None:
    tokens = ("Yes. ", "The page is called kaiwa", ".", "dev today.")
    assert by_token("Yes. ", "It is open today", ".")[-1] == []
    assert clauses(*tokens) == ["Yes.", " The page is called kaiwa.dev today."]


def test_the_price_of_not_waiting_is_an_unannounced_address_in_a_token_of_its_own() -> None:
    assert clauses("We own kaiwa", ".", "dev today.") == ["We own kaiwa.", "dev today."]
    assert clauses("We own kaiwa", ".dev", " today.") == ["We own kaiwa.dev today."]


def test_a_mark_within_quotes_waits_for_them_to_close() -> None:
    assert by_token('She shouted "Stop!', '"', " and")[0] == []
    assert clauses('She shouted "Stop!', '"', " and left.") == ['She shouted "Stop!"', " and left."]
    assert clauses('"Hello there. Come in!', '"', " she said.")[:2] == [
        '"Hello there.',
        ' Come in!"',
    ]


def test_a_clause_too_long_is_cut_at_its_last_comma_else_at_a_space() -> None:
    assert clauses("aaa bbb, ccc ddd eee", max_chars=15, first_min_chars=99) == [
        "aaa bbb,",
        " ccc ddd eee",
    ]
    assert clauses("aaa bbb ccc ddd eee", max_chars=12) == ["aaa bbb ccc", " ddd eee"]


def test_scripts_without_spaces_are_cut_anywhere_but_not_in_a_number_or_before_a_mark() -> None:
    assert clauses("あ" * 9 + "12345678" + "い" * 4, max_chars=20) == [
        "あ" * 9 + "12345678",
        "い" * 4,
    ]
    assert clauses("あ" * 11 + "。いい", max_chars=20) == ["あ" * 11 + "。", "いい"]
    assert clauses("あ" * 11 + "ってい", max_chars=20) == ["あ" * 11 + "って", "い"]


def test_an_address_is_longer_than_the_limit_rather_than_cut() -> None:
    address = "https://example.com/" + "a" * 60
    assert clauses(f"See {address} now", max_chars=30) == ["See", f" {address}", " now"]


def test_text_without_any_end_does_not_grow_without_bound() -> None:
    assert max(len(clause) for clause in clauses("a" * 10_000, max_chars=50)) <= 201


def test_marks_without_a_word_do_not_grow_without_bound() -> None:
    found = clauses("-(" * 5000 + " word", max_chars=50)
    assert found[0].endswith("word")
    assert len(found[0]) <= 205


def test_what_holds_no_word_is_no_clause() -> None:
    assert clauses("...") == []
    assert clauses("!? ", "👍", "\n\n") == []
    assert clauses("Really?", "!", " Yes.") == ["Really?", "! Yes."]
    assert clauses("Really?", "!") == ["Really?"]


def test_white_space_is_one_space_or_one_line_break() -> None:
    assert clauses("  One   two.  \n\n Three\tfour. ") == ["One two.", "\nThree four."]


def test_markup_is_neither_spoken_nor_written() -> None:
    text = "## Hours\n\n- **Mon** to `Fri`: 9:30\n- [Sat](http://a.b): closed 😀\n\n```\nx\n```\n"
    assert clauses(text) == ["Hours", "\nMon to Fri: 9:30", "\nSat: closed"]


WORDS = ["we", "open", "Tokyo", "3.14", "1,000", "9:30", "e.g.", "Dr.", "U.S.", "営業時間", "です"]
WORDS += ["あいうえおかきくけこさしすせそたちつてと" * 3, "a" * 70]
WORDS += ["https://a.b/c?d=1", "me@x.org", "www.x.org", "오늘은", "2024", "well", "今日"]
ENDS = [" ", " ", " ", ", ", ". ", "! ", "? ", "。", "、", "; ", ": ", "\n"]
TEXT = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(ENDS)), max_size=40).map(
    lambda pairs: "".join(word + end for word, end in pairs)
)
LIMITS = st.fixed_dictionaries(
    {"first_min_chars": st.integers(1, 30), "min_chars": st.integers(1, 80)},
    optional={"max_chars": st.integers(40, 220)},
)


def cut(text: str, where: random.Random) -> list[str]:
    tokens = []
    while text:
        size = where.choice([1, 2, 3, 5, 11])
        tokens.append(text[:size])
        text = text[size:]
    return tokens


def letters(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(TEXT, LIMITS, st.randoms(use_true_random=False))
def test_no_character_is_lost_none_is_twice_and_no_clause_is_empty(
    text: str, limits: dict[str, int], where: random.Random
) -> None:
    for tokens in ([text], list(text), cut(text, where)):
        found = clauses(*tokens, **limits)
        assert letters("".join(found)) == letters(text)
        assert all(any(char.isalnum() for char in clause) for clause in found)


@given(TEXT, LIMITS, st.randoms(use_true_random=False))
def test_numbers_and_addresses_are_never_cut(
    text: str, limits: dict[str, int], where: random.Random
) -> None:
    whole = [word for word in WORDS if re.search(r"\d|[@/]|www", word)]
    joined = "\x00".join(clauses(*cut(text, where), **limits))
    for word in whole:
        assert joined.count(word) == text.count(word), word


@given(TEXT, LIMITS, st.randoms(use_true_random=False))
def test_clauses_do_not_depend_on_the_tokens_where_no_mark_runs_into_another(
    text: str, limits: dict[str, int], where: random.Random
) -> None:
    # "e.g.! " is the case left out: a token may end between its two marks.
    text = re.sub(r"([.,!?;:。、])(\s*)(?=[.,!?;:。、])", " ", text)
    assert clauses(*cut(text, where), **limits) == clauses(text, **limits)


@given(st.text(max_size=200), st.randoms(use_true_random=False))
def test_no_text_breaks_it(text: str, where: random.Random) -> None:
    found = clauses(*cut(text, where), max_chars=40)
    assert all(any(char.isalnum() for char in clause) for clause in found)
    assert sum(map(len, found)) <= len(text) * 2 + 2


@given(TEXT, LIMITS)
def test_a_long_text_gives_the_same_clauses_in_pieces_as_at_once(
    text: str, limits: dict[str, int]
) -> None:
    assert "".join(pieces(text)) == text
    assert clauses(*pieces(text), **limits) == clauses(text, **limits)


HOSTILE = [
    "**",
    "[",
    "(",
    "a",
    "<!-- ",
    "|-",
    "- ",
    "`",
    "~~~",
    "[a](",
    "<a:",
    "!",
    "a.",
    "「a。",
    "“a. ",
]
HOSTILE += [
    "\\",
    "\u200d",
    "https://example.com/a/b?c=d,",
    "a, ",
    "<!--<!--\u200d<!--!<!--)a.m<!--“",
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.real_time
def test_the_work_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    def least(size: int) -> float:
        text = (unit * size)[:size]
        took = []
        for _ in range(4):
            begun = time.thread_time()
            clauses(text)
            took.append(time.thread_time() - begun)
        return min(took)

    assert least(8000) < 3 * least(4000) + 0.001


@pytest.mark.parametrize("unit", HOSTILE)
def test_no_piece_of_a_long_text_is_more_work_than_those_of_a_short_one(unit: str) -> None:
    def busiest(size: int) -> int:
        splitter = ClauseSplitter()
        return max(_calls(splitter, piece) for piece in pieces((unit * size)[:size]))

    assert busiest(20_000) <= busiest(4000) * 1.2


def _calls(splitter: ClauseSplitter, piece: str) -> int:
    """How many functions are called, generators resumed included."""
    count = 0

    def called(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        splitter.feed(piece)
    finally:
        sys.setprofile(before)
    return count
