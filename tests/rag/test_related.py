from rag.related import asked_weight, related
from rag.words import FUNCTION_WEIGHT, static_weight, terms


def test_another_word_for_a_thing_stands_for_it_both_ways() -> None:
    (restroom,), (toilet,) = terms("restrooms"), terms("toilet")
    assert related(restroom)[toilet] == related(toilet)[restroom] > 0.8


def test_a_question_word_points_to_what_its_answers_hold_but_not_back() -> None:
    assert related("where")["street"] > 0.8
    assert "where" not in related("street")


def test_words_that_say_what_is_asked_weigh_more_than_function_words() -> None:
    assert static_weight("where") == FUNCTION_WEIGHT < asked_weight("where") < 1
    assert asked_weight("the") == FUNCTION_WEIGHT
    assert asked_weight("umbrella") == 1.0
