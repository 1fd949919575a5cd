"""Between the two delays, the shorter the more complete; learnt from each caller anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.completeness import completeness, is_short_answer
from voice.endpointing import EAGERNESS, Delays, Endpointing, complete_score

AUTO = EAGERNESS["auto"]
OPEN = "i'd like to book a table for"
WHOLE = "what time do you close"
TEXTS = ("", "yes", "um", OPEN, WHOLE, "i'd like a table", "好的", "予約したいんですけど", "그리고")

delays = st.tuples(st.integers(0, 5000), st.integers(0, 5000)).map(lambda d: Delays(*sorted(d)))
scores = st.floats(0, 1)
pauses = st.floats(0, 20_000)
lives = st.lists(st.tuples(st.booleans(), pauses), max_size=40)


def lived(endpointing: Endpointing, life: list[tuple[bool, float]]) -> Endpointing:
    """Of turns with one pause each, waited out or not."""
    for was_cut_off, pause_ms in life:
        (endpointing.cut_off if was_cut_off else endpointing.paused)(pause_ms)
        endpointing.ended()
    return endpointing


@given(delays, lives, st.sampled_from(TEXTS), st.booleans(), st.none() | scores, st.none() | delays)
def test_the_delay_is_always_between_the_two(
    between: Delays,
    life: list[tuple[bool, float]],
    text: str,
    is_final: bool,
    audio_score: float | None,
    changed: Delays | None,
) -> None:
    endpointing = lived(Endpointing(between), life)
    if changed is not None:
        endpointing.delays = between = changed
    delay_ms = endpointing.delay_ms(text, "", is_final=is_final, audio_score=audio_score)
    assert between.min_ms <= delay_ms <= between.max_ms


@given(delays, lives, scores, scores)
def test_more_complete_never_waits_longer(
    between: Delays, life: list[tuple[bool, float]], one: float, other: float
) -> None:
    endpointing = lived(Endpointing(between), life)
    assert endpointing.delay_at(max(one, other)) <= endpointing.delay_at(min(one, other))


@given(lives, st.booleans(), st.none() | scores)
def test_texts_wait_in_the_order_of_their_completeness(
    life: list[tuple[bool, float]], is_final: bool, audio_score: float | None
) -> None:
    def judged(text: str) -> float:
        return 1.0 if is_short_answer(text, "") else completeness(text, "")

    endpointing = lived(Endpointing(AUTO), life)
    ordered = sorted(TEXTS, key=judged)
    waits = [
        endpointing.delay_ms(text, "", is_final=is_final, audio_score=audio_score)
        for text in ordered
    ]
    assert waits == sorted(waits, reverse=True)


@given(st.sampled_from(TEXTS), st.booleans(), scores, scores)
def test_a_surer_sound_never_waits_longer(
    text: str, is_final: bool, one: float, other: float
) -> None:
    endpointing = Endpointing(AUTO)
    low, high = sorted((one, other))
    waits = [
        endpointing.delay_ms(text, "", is_final=is_final, audio_score=score)
        for score in (low, high)
    ]
    assert waits == sorted(waits, reverse=True)


@given(lives)
def test_what_one_caller_taught_does_not_reach_the_next(life: list[tuple[bool, float]]) -> None:
    before = [Endpointing(AUTO).delay_ms(text, "", is_final=True) for text in TEXTS]
    lived(Endpointing(AUTO), life)
    after = [Endpointing(AUTO).delay_ms(text, "", is_final=True) for text in TEXTS]
    assert after == before


@given(st.integers(0, 5000), lives, st.sampled_from(TEXTS), st.booleans(), st.none() | scores)
def test_a_silence_the_client_fixed_is_exact(
    fixed_ms: int,
    life: list[tuple[bool, float]],
    text: str,
    is_final: bool,
    audio_score: float | None,
) -> None:
    endpointing = lived(Endpointing(Delays(fixed_ms, fixed_ms)), life)
    waited = endpointing.delay_ms(text, "", is_final=is_final, audio_score=audio_score)
    assert waited == fixed_ms


@pytest.mark.parametrize(
    ("text", "delay_ms"),
    [
        (OPEN, 1200),
        ("my number is five five five", 1500),
        ("予約したいんですけど", 879),
        ("i'd like to book a table for two", 390),
        (WHOLE, 300),
        ("いくらですか", 300),
        ("yes", 300),
    ],
)
def test_a_call_begins_with_the_delays_of_the_table(text: str, delay_ms: int) -> None:
    assert Endpointing(AUTO).delay_ms(text, "", is_final=True) == delay_ms


def test_a_short_answer_ends_at_the_minimum_but_not_below_150_ms() -> None:
    assert Endpointing(Delays(50, 2000)).delay_ms("yes", "en", is_final=True) == 150
    assert Endpointing(Delays(400, 2000)).delay_ms("はい", "ja", is_final=True) == 400


def test_a_caller_who_was_cut_off_still_answers_yes_at_once() -> None:
    endpointing = Endpointing(AUTO)
    endpointing.cut_off(1400)
    assert endpointing.delay_ms(WHOLE, "en", is_final=True) > AUTO.min_ms
    assert endpointing.delay_ms("yes", "en", is_final=True) == AUTO.min_ms
    assert endpointing.delay_ms("yes", "en", is_final=False) > AUTO.min_ms, "…, I'd like to"


def test_a_partial_that_looks_done_waits_longer_than_the_final() -> None:
    endpointing = Endpointing(AUTO)
    partial = endpointing.delay_ms(WHOLE, "en", is_final=False)
    assert partial > endpointing.delay_ms(WHOLE, "en", is_final=True)
    assert endpointing.delay_ms(OPEN, "en", is_final=False) == endpointing.delay_ms(
        OPEN, "en", is_final=True
    )


def test_long_pauses_wait_longer_for_what_is_open_and_not_for_what_is_whole() -> None:
    slow = lived(Endpointing(AUTO), [(False, 1100.0)] * 15)
    assert slow.delay_ms(OPEN, "en", is_final=True) == AUTO.max_ms
    assert slow.delay_ms(WHOLE, "en", is_final=True) == AUTO.min_ms


def test_short_pauses_bring_it_down_to_four_tenths_of_the_way() -> None:
    quick = lived(Endpointing(AUTO), [(False, 200.0)] * 40)
    assert quick.delay_ms(OPEN, "en", is_final=True) == 780


def test_one_pause_moves_the_average_by_a_tenth() -> None:
    endpointing = Endpointing(AUTO)
    endpointing.paused(700)
    assert endpointing.longest_ms == pytest.approx(2 * (0.9 * 600 + 0.1 * 700))


def test_a_cut_off_teaches_more_than_a_pause_and_wears_off() -> None:
    waited, cut = Endpointing(AUTO), Endpointing(AUTO)
    lived(waited, [(False, 1000.0)])
    lived(cut, [(True, 1000.0)])
    assert cut.longest_ms > waited.longest_ms
    raised_ms = cut.shortest_ms
    assert raised_ms > AUTO.min_ms
    lived(cut, [(False, 200.0)] * 5)
    assert 0 < cut.shortest_ms - AUTO.min_ms < (raised_ms - AUTO.min_ms) / 2


def test_who_pauses_behind_whole_sentences_is_cut_off_twice_at_most() -> None:
    """760 ms of silence in every other turn, and VAD needs 64 ms to be sure of the end of one."""
    endpointing, cuts = Endpointing(AUTO), 0
    for _ in range(6):
        if endpointing.delay_ms(WHOLE, "en", is_final=True) < 760 + 64:
            cuts += 1
            endpointing.ended()
            endpointing.cut_off(760)
        else:
            endpointing.paused(760)
        endpointing.ended()
    assert cuts == 2


def test_a_pause_that_was_needed_is_not_unlearnt() -> None:
    endpointing = lived(Endpointing(AUTO), [(True, 760.0), (True, 760.0)])
    learnt_ms = endpointing.shortest_ms
    lived(endpointing, [(False, 760.0)] * 10)
    assert endpointing.shortest_ms == learnt_ms


def test_one_pause_within_an_open_sentence_does_not_make_whole_ones_wait() -> None:
    endpointing = lived(Endpointing(AUTO), [(False, 1400.0)])
    assert endpointing.shortest_ms == AUTO.min_ms


@pytest.mark.parametrize(
    ("text", "sound", "low", "high"),
    [
        ("i'd like to book a table for two", 0.9, 0.9, 1.0),
        (WHOLE, 0.5, 0.89, 0.91),
        ("my number is five five five", 0.9, 0.3, 0.4),
        (WHOLE, 0.1, 0.45, 0.55),
        ("", 0.9, 0.89, 0.91),
    ],
)
def test_words_and_sound_strengthen_each_other_or_meet_in_the_middle(
    text: str, sound: float, low: float, high: float
) -> None:
    assert low <= complete_score(text, "en", True, sound) <= high


def test_the_eager_wait_less_than_the_patient() -> None:
    for text in (OPEN, WHOLE, "i'd like a table"):
        high, medium, low = (
            Endpointing(EAGERNESS[name]).delay_ms(text, "en", is_final=True)
            for name in ("high", "medium", "low")
        )
        assert high < medium < low
    assert EAGERNESS["auto"] == EAGERNESS["medium"]


@pytest.mark.parametrize("wrong", [(-1, 5), (6, 5)])
def test_delays_that_cannot_be_are_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"min_ms <= max_ms"):
        Delays(*wrong)
