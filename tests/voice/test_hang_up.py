import pytest

from voice.hang_up import is_hang_up

PHRASES = (
    "goodbye",
    "Hang up, please.",
    "さようなら",
    "전화 끊어 주세요",
    "挂断电话",
    "再见",
    "끊어",
    "thank you bye",
)


@pytest.mark.parametrize(
    "text",
    [
        "goodbye",
        "Goodbye!",
        "okay goodbye",
        "okay, goodbye, thank you very much",
        "goodbye goodbye",
        "please hang up",
        "hang up",
        "thank you, bye",
        "okay, hang up, thank you, goodbye",
        "はい、さようなら、ありがとう、さようなら",
        "네, 끊어, 감사합니다, 전화 끊어 주세요",
        "好的，挂断电话，谢谢，再见",
        "さようなら",
        "はい、さようなら。",
        "ありがとうございました、さようなら",
        "네, 전화 끊어 주세요.",
        "전화 끊어주세요",
        "好的，挂断电话吧",
        "请挂断电话",
    ],
)
def test_the_whole_utterance_may_be_polite(text: str) -> None:
    assert is_hang_up(text, PHRASES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "please",
        "thank you",
        "he said goodbye",
        "goodbye is what he said",
        "okay, hang up what, thank you, goodbye",
        "thank you thank you",
        "don't hang up",
        "hang up the picture",
        "good",
        "さようならと言われました",
        "전화 끊지 마세요",
        "不要挂断电话",
        "goodbye " * 60,
    ],
)
def test_what_only_contains_the_phrase_does_not_end_the_call(text: str) -> None:
    assert not is_hang_up(text, PHRASES)


def test_without_phrases_nothing_ends_the_call() -> None:
    assert not is_hang_up("goodbye", ())
    assert not is_hang_up("goodbye", ("", "..."))


def test_a_phrase_of_mere_politeness_is_taken_as_it_stands() -> None:
    assert is_hang_up("Thank you.", ["thank you"])
    assert not is_hang_up("please", ["thank you"])
