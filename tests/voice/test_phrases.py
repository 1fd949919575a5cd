import pytest

from voice.phrases import APOLOGY, apology


@pytest.mark.parametrize(
    ("language", "known"),
    [("ja", "ja"), ("ja-JP", "ja"), ("JA", "ja"), ("zh-Hant-TW", "zh"), ("ko", "ko"), ("en", "en")],
)
def test_the_caller_is_apologised_to_in_the_language_of_the_call(language: str, known: str) -> None:
    assert apology(language) == APOLOGY[known]


@pytest.mark.parametrize("language", ["", "fr", "-", "xx-YY"])
def test_any_other_language_is_apologised_to_in_english(language: str) -> None:
    assert apology(language) == APOLOGY["en"]


def test_an_apology_can_be_spoken() -> None:
    assert all(text.strip() and text[-1] in ".。" for text in APOLOGY.values())
