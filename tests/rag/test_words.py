import pytest

from rag.words import likeness, sound, static_weight, terms


def test_words_are_folded_to_one_form() -> None:
    assert terms("What's the Café's PRICES, on-line?") == [
        "what",
        "the",
        "cafe",
        "pric",
        "on",
        "line",
    ]


def test_endings_do_not_tell_words_apart() -> None:
    for forms in ("book books booking booked", "close closes closed closing", "cancel cancelling"):
        assert len(set(terms(forms))) == 1
    assert terms("bus dress string thing red") == ["bus", "dress", "string", "thing", "red"]


def test_scripts_without_spaces_become_pairs_and_characters() -> None:
    assert terms("開館は9時") == ["開館", "館は", "開", "館", "9", "時"]
    assert terms("도서관") == ["도서", "서관"]


@pytest.mark.parametrize(
    ("said", "heard"),
    [("hours", "ours"), ("cancel", "cansell"), ("colour", "color"), ("weather", "whether")],
)
def test_words_that_sound_alike_are_alike(said: str, heard: str) -> None:
    assert likeness(said, heard) >= 0.85


@pytest.mark.parametrize(
    ("one", "other"), [("book", "back"), ("dog", "junk"), ("parking", "paris"), ("bus", "best")]
)
def test_other_words_are_not(one: str, other: str) -> None:
    assert likeness(one, other) < 0.6


def test_inflections_are_more_alike_than_strangers() -> None:
    assert (
        likeness("founded", "found") > likeness("founded", "ground") > likeness("founded", "price")
    )


def test_numbers_are_never_merely_alike() -> None:
    assert likeness("1974", "1975") == 0.0
    assert likeness("12", "12") == 1.0


def test_sounds_merge_what_recognisers_confuse() -> None:
    assert sound("gold") == sound("cold")
    assert sound("phone") == sound("fone")


def test_function_words_weigh_next_to_nothing() -> None:
    assert static_weight("the") < 0.1 < static_weight("です") < static_weight("library")
    assert static_weight("何") < 0.1


@pytest.mark.parametrize("word", ["हिन्दी", "می\u200cخواهم", "ক্ষমা", "தமிழ்"])
def test_marks_and_joiners_do_not_part_a_word(word: str) -> None:
    assert len(terms(word)) == 1
