import pytest

from voice.scripts import language_of, words


@pytest.mark.parametrize(
    ("text", "told", "rules"),
    [
        ("hello", "en-GB", "en"),
        ("hello", "", "en"),
        ("OK", "ja", "en"),
        ("guten Tag", "de", ""),
        ("これ", "en", "ja"),
        ("今日は", "zh", "ja"),
        ("東京", "ja-JP", "ja"),
        ("东京", "", "zh"),
        ("你好", "zh_Hant", "zh"),
        ("你好", "yue", "zh"),
        ("안녕", "", "ko"),
        ("привет", "ru", ""),
        ("привет", "en", "en"),
        ("123", "ko", "ko"),
        ("", "", ""),
    ],
)
def test_the_script_decides_where_the_told_language_cannot_be_right(
    text: str, told: str, rules: str
) -> None:
    assert language_of(text, told) == rules


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don’t, I said: 3.5!", ["don't", "i", "said", "3", "5"]),
        ("mm-hm", ["mm", "hm"]),
        ("ＯＫです。", ["ok", "で", "す"]),
        ("コーヒー", ["コ", "ー", "ヒ", "ー"]),
        ("네, 맞아요", ["네", "맞", "아", "요"]),
        ("  …", []),
    ],
)
def test_words_are_words_or_characters(text: str, found: list[str]) -> None:
    assert words(text) == found
