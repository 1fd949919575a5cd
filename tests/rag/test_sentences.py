import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.sentences import sentences, spoken_length, table_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We open at nine. We close at eight.", ["We open at nine.", "We close at eight."]),
        ("It costs 3.50 dollars! Really?", ["It costs 3.50 dollars!", "Really?"]),
        (
            "See www.example.org/a.html for more. Bye.",
            ["See www.example.org/a.html for more.", "Bye."],
        ),
        ("Ask Dr. Smith, e.g. today. He knows.", ["Ask Dr. Smith, e.g. today.", "He knows."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "九時に開きます。「はい。」八時に閉まります！",
            ["九時に開きます。", "「はい。」", "八時に閉まります！"],
        ),
        ("아홉 시에 엽니다. 여덟 시에 닫습니다.", ["아홉 시에 엽니다.", "여덟 시에 닫습니다."]),
        ("A heading\n\nA paragraph", ["A heading", "A paragraph"]),
        ("Bring:\n- a card\n- a letter", ["Bring:", "- a card", "- a letter"]),
        ("  ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(st.text(alphabet="ab. !?。\n-A1"))
def test_no_letter_is_lost_or_said_twice(text: str) -> None:
    spans = sentences(text)
    assert "".join("".join(text[s:e].split()) for s, e in spans) == "".join(text.split())
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


def test_a_cjk_character_takes_two_letters_time() -> None:
    assert spoken_length("開館ok") == 6


def test_a_row_of_a_table_is_said_with_its_headers() -> None:
    rows = [
        ["Animal", "Price per night", "VAT"],
        ["Ferret", "18", ""],
        ["Cat", "12 euros", "7", "x"],
    ]
    assert table_sentences(rows) == [
        "Ferret: price per night 18.",
        "Cat: price per night 12 euros, VAT 7, x.",
    ]
    assert table_sentences([["動物", "料金"], ["猫", "千円"]]) == ["猫: 料金 千円。"]
    assert table_sentences([["only", "headers"]]) == ["only, headers"]
    assert table_sentences([["a", "b"], ["", ""]]) == [""]
