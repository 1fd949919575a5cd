import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.plaintext import HOLD_CHARS, PlainText


def plain(*tokens: str) -> str:
    text = PlainText()
    return "".join(text.feed(token) for token in tokens) + text.flush()


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("# Opening hours\nNine to five", "Opening hours\nNine to five"),
        (
            "We are **always** *really* __very__ _open_ ~~not~~.",
            "We are always really very open not.",
        ),
        ("***Note***: `kaiwa serve` starts it", "Note: kaiwa serve starts it"),
        ("See [our page](https://a.b/c_(d)) or ![the map](m.png).", "See our page or the map."),
        ("[**Bold** link](x) here", "Bold link here"),
        ("<https://a.b/c> and <me@x.org>", "https://a.b/c and me@x.org"),
        ("- one\n* two\n+ three\n• four", "one\ntwo\nthree\nfour"),
        ("  - > ## deep", "deep"),
        ("1. first\n2. second", "1. first\n2. second"),
        ("> quoted", "quoted"),
        ("above\n\n---\n* * *\nbelow", "above\n\nbelow"),
        ("| Day | Hours |\n|:----|------:|\n| Mon | 9-5 |", "Day, Hours\nMon, 9-5"),
        ("Do:\n```python\nx = 1\n# y\n```\nDone", "Do:\nDone"),
        ("~~~\ncode\n~~~\nDone", "Done"),
        ("```never closed\nx", ""),
        ("one<br>two</p>three", "one\ntwo\nthree"),
        ('a <b class="x">bold</b> word<|im_end|><!-- no --> end', "a bold word end"),
        ("Great 😊👍🏽 job 👩‍💻!", "Great  job !"),
        (r"\*literal\* and 2\_3", "*literal* and 2_3"),
        ("note[^1] here", "note here"),
    ],
)
def test_markup_goes_and_words_stay(markdown: str, words: str) -> None:
    assert plain(markdown) == words


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4 = 24 and 2**3",
        "snake_case_name",
        "x < y and z > w, I <3 you",
        "#1 in town, C# too",
        "-5 degrees, +81 3 1234",
        "as shown [1] and [sic]",
        "~5 minutes",
        "a | b",
        "an open [bracket and no end",
        "Wow! [really]",
        "営業時間は九時から、五時までです。",
        "100 % of AT&T",
        "C:\\Users\\me",
        "ന്\u200d",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert plain(text) == text


def test_a_bracket_that_a_line_break_ends_is_no_tag_however_it_comes() -> None:
    at_once, by_letters = PlainText(), PlainText()
    text = "see <a\n> there"
    said = at_once.feed(text) + at_once.flush()
    assert said == "".join(by_letters.feed(letter) for letter in text) + by_letters.flush()


def test_a_bare_word_and_its_mark_are_never_held_back() -> None:
    text = PlainText()
    assert [text.feed(token) for token in ("Yes", ", we", " are", " open", "!")] == [
        *("Yes", ", we", " are", " open", "!")
    ]


def test_only_what_may_be_markup_is_held_back() -> None:
    text = PlainText()
    assert text.feed("see [our") == "see "
    assert text.feed(" page](http://a") == ""
    assert text.feed("/b) now") == "our page now"


def test_a_bracket_that_never_closes_is_given_up() -> None:
    text = PlainText()
    out = "".join(text.feed("[word ") + text.feed("more " * 5) for _ in range(40))
    assert len(out) > 500


PIECES = st.lists(
    st.sampled_from(
        [
            "**",
            "*",
            "_",
            "`",
            "```\n",
            "```",
            "~~~",
            "[",
            "]",
            "(",
            ")",
            "](",
            "!",
            "![",
            "<",
            "<b>",
        ]
        + [
            "</p>",
            "<|x|>",
            "|",
            "\n",
            "- ",
            "# ",
            " ",
            "word",
            "5",
            ".",
            "\\",
            "😀",
            "|---|",
            "---",
        ]
        + ["日本", "<!--", "-->", "http://a.b", "x@y.z", "> ", "~", "\t", "[^1]"]
    ),
    max_size=25,
).map("".join)


@given(PIECES, st.randoms(use_true_random=False))
def test_the_words_do_not_depend_on_the_tokens(text: str, where: random.Random) -> None:
    assert plain(*_cut(text, where, [1, 1, 2, 3, 7])) == plain(text)


def _cut(text: str, where: random.Random, sizes: list[int]) -> list[str]:
    tokens = []
    while text:
        size = where.choice(sizes)
        tokens.append(text[:size])
        text = text[size:]
    return tokens


@given(PIECES, PIECES.filter(bool), st.randoms(use_true_random=False))
def test_nor_where_more_is_undecided_than_is_held_back(
    before: str, unit: str, where: random.Random
) -> None:
    text = before + (unit * HOLD_CHARS)[: 2 * HOLD_CHARS + 50] + before
    once = plain(text)
    assert plain(*text) == once
    assert plain(*_cut(text, where, [7, 130, 399, 700])) == once


@pytest.mark.parametrize("unit", ["*", "_", "[", "<!-- ", "- ", "`", "~", "| ", "|-", " ", "\\"])
def test_never_more_is_held_back_than_may_be_markup(unit: str) -> None:
    text = PlainText()
    text.feed("| a |" + unit * 5000)
    last = text.feed("b") + text.flush()
    assert len(last) <= HOLD_CHARS + 1


def test_a_cells_padding_may_come_in_a_token_of_its_own() -> None:
    assert plain("| a | ", "**** |") == plain("| a | **** |") == "a, ****"


def test_a_run_of_marks_too_long_for_emphasis_is_not_spoken() -> None:
    assert plain("a " + "*" * 5000 + " b") == "a  b"


def test_a_long_line_of_code_does_not_end_the_code() -> None:
    assert plain("```\n" + "x" * 5000 + "```\n```\nDone") == "Done"
