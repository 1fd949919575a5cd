import numpy as np

from rag.lexical import LexicalIndex, build

TEXTS = [
    "The library is open from nine until eight.",
    "Parking is free for two hours.",
    "To cancel a booking, call the front desk.",
    "本は一度に十五冊まで借りられます。",
]


def _index() -> LexicalIndex:
    return build(TEXTS, ["Opening hours", "Parking", "Cancelling", "貸し出し"])


def _best(question: str) -> int:
    return int(np.argmax(_index().scores(question)))


def test_rare_words_find_their_chunk() -> None:
    assert _best("is the parking free") == 1
    assert _best("何冊借りられますか") == 3


def test_misheard_words_find_it_too() -> None:
    assert _best("barking for two ours") == 1
    assert _best("what if i can sell my booking") == 2


def test_scores_are_shares_between_none_and_all() -> None:
    scores = _index().scores("when is the library open")
    assert scores.shape == (4,) and scores.min() >= 0 and 0.7 <= scores.max() <= 1


def test_a_question_about_something_else_scores_low_at_any_length() -> None:
    assert _index().scores("who won the football game last night").max() < 0.2
    assert _index().scores("what is the weather in paris tomorrow morning").max() < 0.2


def test_function_words_alone_find_nothing_worth_quoting() -> None:
    assert _index().scores("what is it for").max() < 0.3
    assert _index().scores("").max() == 0


def test_headings_count() -> None:
    assert _best("opening hours") == 0


def test_an_empty_index_has_no_scores() -> None:
    assert build([], []).scores("anything").shape == (0,)
