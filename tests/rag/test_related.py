from rag.related import asked_weight, related, telling_weight
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


def test_what_a_question_is_about_is_not_told_by_numbers_or_the_kind_of_answer() -> None:
    (gold,) = terms("gold")
    assert telling_weight(gold) == 1.0 > telling_weight("pric") > telling_weight("thirty") == 0.0
    assert telling_weight("the") == telling_weight("12") == 0.0 < telling_weight("1974")
