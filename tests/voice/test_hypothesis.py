import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.hypothesis import StablePrefix


def deltas(*partials: str) -> list[str]:
    prefix = StablePrefix()
    return [prefix.update(partial) for partial in partials]


def test_words_two_partials_agree_on_are_stable_but_for_the_newest() -> None:
    assert deltas(
        "what", "what are", "what are your", "what are your opening", "what are your op"
    ) == [*("", "what", " are", " your", "")]


def test_a_word_still_growing_is_held_back() -> None:
    assert deltas("what are you", "what are your", "what are your opening") == [
        "",
        "what are",
        " your",
    ]
    assert deltas("what are", "what are", "what are") == ["", "what", ""]


def test_characters_are_units_where_words_are_not_spaced() -> None:
    assert deltas("営業", "営業時間", "営業時間は") == ["", "営業", "時間"]


def test_korean_goes_by_its_spaced_words() -> None:
    assert deltas("오늘은 월", "오늘은 월요일", "오늘은 월요일 입니다") == ["", "오늘은", " 월요일"]


def test_the_final_completes_what_was_shown() -> None:
    prefix = StablePrefix()
    for partial in ("what are", "what are your", "what are your opening"):
        prefix.update(partial)
    assert prefix.finish("What are your opening hours?") == " opening hours?"
    assert prefix.stable == "what are your opening hours?"


def test_late_punctuation_is_added() -> None:
    prefix = StablePrefix()
    prefix.update("hi there you")
    prefix.update("hi there you")
    assert prefix.finish("hi there.") == "."


@pytest.mark.parametrize(
    ("final", "read"),
    [
        ("what were your opening hours", "what are your opening hours"),
        ("what your opening hours", "what are your opening hours"),
        ("so what are your opening hours", "what are your opening hours"),
        ("what are you", "what are your"),
        ("", "what are your"),
    ],
)
def test_where_the_final_differs_no_word_is_shown_twice(final: str, read: str) -> None:
    prefix = StablePrefix()
    prefix.update("what are your open")
    prefix.update("what are your open")
    assert prefix.stable == "what are your"
    prefix.finish(final)
    assert prefix.stable == read


def test_deltas_go_on_behind_a_revision_of_what_was_shown() -> None:
    prefix = StablePrefix()
    prefix.update("go for ward ten")
    prefix.update("go for ward ten")
    prefix.update("go forward ten metres please")
    assert prefix.update("go forward ten metres please") == " ten metres"
    assert prefix.stable == "go for ward ten metres"


def test_a_final_without_partials_is_one_delta() -> None:
    prefix = StablePrefix()
    assert prefix.finish(" seven of clubs ") == "seven of clubs"


def test_segments_of_one_turn_follow_each_other() -> None:
    prefix = StablePrefix()
    assert prefix.finish("i would like") == "i would like"
    prefix.update("two tickets to")
    assert prefix.update("two tickets to") == " two tickets"
    assert prefix.finish("two tickets to rome") == " to rome"
    assert prefix.stable == "i would like two tickets to rome"


def test_segments_of_unspaced_scripts_are_joined_without_a_space() -> None:
    prefix = StablePrefix()
    prefix.finish("明日の")
    assert prefix.finish("予定は") == "予定は"


def test_an_abandoned_segment_keeps_what_was_shown() -> None:
    prefix = StablePrefix()
    prefix.update("well i")
    prefix.update("well i")
    prefix.new_segment()
    prefix.new_segment()
    assert prefix.finish("tell me") == " tell me"
    assert prefix.stable == "well tell me"


def test_the_stable_part_of_the_last_partial_is_counted_in_its_own_characters() -> None:
    prefix = StablePrefix()
    prefix.finish("hello")
    prefix.update("what are your op")
    assert prefix.stable_chars == 0
    prefix.update("what are your opening")
    assert prefix.stable_chars == len("what are your")


def test_a_long_revised_utterance_goes_on_where_it_was() -> None:
    words = [f"word{n}" for n in range(150)]
    prefix = StablePrefix()
    prefix.update(" ".join(words))
    prefix.update(" ".join(words))
    revised = [*words[:3], "other", *words[4:], "and", "more"]
    prefix.update(" ".join(revised))
    assert prefix.update(" ".join(revised)) == " word149 and"


TEXT = st.lists(
    st.sampled_from(["a", "b", "c,", "Dd", "営", "業", "。", "x.", "오늘"]), max_size=40
).map(" ".join) | st.text(alphabet="ab 営業.", max_size=60)


@given(st.lists(st.tuples(st.sampled_from(["update", "finish", "new"]), TEXT)))
def test_deltas_never_retract(steps: list[tuple[str, str]]) -> None:
    prefix = StablePrefix()
    shown = ""
    for step, text in steps:
        if step == "new":
            prefix.new_segment()
        else:
            shown += prefix.update(text) if step == "update" else prefix.finish(text)
            assert 0 <= prefix.stable_chars <= len(text)
        assert prefix.stable == shown


@given(st.lists(TEXT.map(lambda text: " ".join(text.split())), min_size=1), TEXT)
def test_partials_that_only_grow_end_as_the_final(pieces: list[str], last: str) -> None:
    prefix = StablePrefix()
    text = ""
    for piece in pieces:
        text = f"{text} {piece}".strip()
        prefix.update(text)
        assert text.startswith(prefix.stable)
    prefix.finish(f"{text} {last}")
    assert prefix.stable == f"{text} {last}".strip()
