import re

import pytest

from voice.completeness_scale import DICTATED, UNSURE
from voice.dictation import ENOUGH, WEAK, dictation

KINDS = tuple(
    (kind, re.compile(f"{kind}$"))
    for kind in ("phone", "card", "post", "pin", "id", "number", WEAK)
)


def judged(
    before: str, digits: str, language: str = "en", *, one_by_one: bool = True
) -> float | None:
    groups = len(digits) if one_by_one else 1
    return dictation(
        before, digits, groups=groups, one_by_one=one_by_one, kinds=KINDS, language=language
    )


@pytest.mark.parametrize(
    ("kind", "language", "digits"),
    [
        ("phone", "en", "5551234567"),
        ("phone", "en", "07911123456"),
        ("phone", "en", "15551234567"),
        ("phone", "ja", "09012345678"),
        ("phone", "ja", "0312345678"),
        ("phone", "ko", "01012345678"),
        ("phone", "ko", "15881234"),
        ("phone", "zh", "13812345678"),
        ("card", "en", "4242424242424242"),
        ("card", "zh", "371234567890123"),
        ("post", "ja", "1500001"),
        ("post", "zh", "100081"),
        ("id", "ko", "9001011234567"),
        ("pin", "en", "123456"),
    ],
)
def test_the_last_digit_makes_a_number_whole(kind: str, language: str, digits: str) -> None:
    assert judged(kind, digits, language) == ENOUGH
    assert all(judged(kind, digits[:n], language) != ENOUGH for n in range(1, len(digits)))
    assert judged(kind, digits[:2], language) == DICTATED


def test_a_length_that_some_numbers_have_is_left_open() -> None:
    assert judged("phone", "5551234") == UNSURE
    assert judged("pin", "1234") == UNSURE


def test_of_unknown_length_more_digits_are_more_complete_but_never_enough_by_themselves() -> None:
    found = [judged("number", "1" * n) or 0 for n in range(1, 10)]
    assert found == sorted(found)
    assert found[-1] <= UNSURE


def test_figures_in_passing_are_no_dictation() -> None:
    assert judged("room", "472", one_by_one=False) is None
    assert judged("table for", "4") is None
    assert judged(WEAK, "7") is None
    assert judged(WEAK, "4155550") is not None
