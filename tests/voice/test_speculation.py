"""When an answer is begun before it is asked for: the policy alone, on timelines."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.speculation import (
    FEW,
    WINDOW,
    Begin,
    Cancel,
    Hearing,
    HitRate,
    Order,
    Search,
    Speculation,
    SpeculationRules,
    Stage,
    Verdict,
    normalised,
)

RULES = SpeculationRules(search=False)


def heard(text: str, stage: Stage = Stage.PAUSED, **more: Any) -> Hearing:
    given = {"turn": 1, "is_asked": True, "is_final": True, "spoken_s": 1.0, **more}
    return Hearing(text=text, stage=stage, **given)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What are your hours?", "what are your hours"),
        ("ice cream", "icecream"),
        ("it's, well, ten", "its well ten"),
        ("土曜日は何時からですか？", "土曜日は 何時からですか"),
        ("ＡＢＣ", "abc"),
        ("STRASSE", "straße"),
        ("room 12.", "room 12"),
        ("12, please", "12 please"),
    ],
)
def test_the_same_words(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5", "35"),
        ("10:30", "1030"),
        ("20 5", "205"),
        ("20 5", "20.5"),
        ("50%", "50"),
        ("$5", "5"),
        ("c++", "c"),
        ("on monday", "on sunday"),
        ("はい", "いいえ"),
    ],
)
def test_other_words(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text())
def test_marks_and_spaces_round_it_change_nothing(text: str) -> None:
    assert normalised(f" {text} ?! ") == normalised(text)


def test_a_final_begins_it_at_once_and_a_late_one_after_a_while() -> None:
    policy = Speculation(RULES)
    early = heard("hours", is_asked=False, is_final=False)
    assert policy.hear(early, 1.0) == []
    assert policy.due() is None, "the final is asked for soon"
    assert policy.hear(heard("hours", is_final=False), 1.2) == []
    assert policy.due() == pytest.approx(1.35)
    assert policy.hear(heard("your hours", is_final=False), 1.3) == []
    assert policy.due() == pytest.approx(1.45)
    assert policy.tick(1.44) == []
    assert policy.tick(1.45) == [Begin(1, "your hours")]
    assert policy.hear(heard("Your hours?"), 1.5) == []
    other = Speculation(RULES)
    assert other.hear(heard("hours"), 1.2) == [Begin(1, "hours")]


def test_in_a_long_silence_it_begins_so_late_that_it_is_rarely_in_vain() -> None:
    policy = Speculation(RULES)
    assert policy.hear(heard("on monday and", ends_at=3.0), 1.2) == []
    assert policy.due() == pytest.approx(2.4)
    assert policy.hear(heard("on monday and", Stage.SPEAKING), 1.8) == []
    assert policy.hear(heard("on monday and sunday", ends_at=3.5), 3.2) == [
        Begin(1, "on monday and sunday")
    ]


def test_other_words_cancel_it_and_begin_the_last() -> None:
    policy = Speculation(RULES)
    policy.hear(heard("a"), 0.0)
    assert policy.hear(heard("b"), 0.1) == [Cancel(Verdict.CHANGED), Begin(1, "b")]
    assert policy.hear(heard("c"), 0.2) == [Cancel(Verdict.CHANGED)], "two were enough"
    assert policy.hear(heard("c", turn=2), 0.3) == [Begin(2, "c")]


def test_whoever_goes_on_ends_it() -> None:
    policy = Speculation(RULES)
    policy.hear(heard("a"), 0.0)
    assert policy.hear(heard("a", Stage.SPEAKING), 0.1) == [Cancel(Verdict.WENT_ON)]
    assert policy.hear(heard("a"), 0.2) == [Begin(1, "a")]
    assert policy.hear(heard("", Stage.SPEAKING, turn=2), 0.3) == [Cancel(Verdict.WENT_ON)]


def test_it_outlives_the_commit_while_its_words_stand() -> None:
    policy = Speculation(RULES)
    policy.hear(heard("a"), 0.0)
    assert policy.hear(heard("A.", Stage.COMMITTED), 0.1) == []
    assert policy.trying == 1
    assert policy.hear(heard("b", Stage.COMMITTED), 0.2) == [Cancel(Verdict.CHANGED)]


def test_after_a_failure_the_turn_waits_for_its_end() -> None:
    policy = Speculation(RULES)
    policy.hear(heard("a"), 0.0)
    policy.failed()
    assert policy.hear(heard("b"), 0.1) == []
    assert policy.hear(None, 0.2) == []


def test_what_rests_on_something_else_by_now_is_cancelled_and_begun_anew() -> None:
    policy = Speculation(RULES)
    assert policy.outdated() == []
    policy.hear(heard("a"), 0.0)
    assert policy.outdated() == [Cancel(Verdict.REQUEST)]
    assert policy.hear(heard("a"), 0.1) == [Begin(1, "a")]
    assert policy.outdated() == [Cancel(Verdict.REQUEST)]
    assert policy.hear(heard("a"), 0.2) == [], "two were enough"


def test_long_speech_and_silence_begin_nothing() -> None:
    policy = Speculation(RULES)
    assert policy.hear(heard("a", spoken_s=10.1), 0.0) == []
    assert policy.hear(heard("", turn=2), 0.0) == []
    assert policy.hear(heard(" …?", turn=3), 0.0) == []


def test_passages_are_looked_for_when_what_stands_has_grown() -> None:
    policy = Speculation(SpeculationRules())
    texts = ["what", "what are", "what are your", "what are you", "what are your opening"]
    found: list[str] = []
    for number, text in enumerate(texts):
        speaking = heard(text, Stage.SPEAKING, is_asked=False, is_final=False)
        orders = policy.hear(speaking, number * 0.3)
        found += [order.text for order in orders if isinstance(order, Search)]
    assert found == ["what are", "what are your"]


HEARINGS = st.one_of(
    st.none(),
    st.builds(
        Hearing,
        turn=st.integers(1, 3),
        text=st.sampled_from(["", "a", "A.", "a b", "c"]),
        stage=st.sampled_from(Stage),
        is_asked=st.booleans(),
        is_final=st.booleans(),
        spoken_s=st.sampled_from([1.0, 11.0]),
    ),
)


@given(st.lists(st.tuples(HEARINGS, st.floats(0, 0.5)), max_size=40), st.integers(1, 3))
def test_one_at_a_time_never_too_many_and_only_of_words_in_a_pause(
    steps: list[tuple[Hearing | None, float]], most: int
) -> None:
    policy = Speculation(msgspec.structs.replace(RULES, attempts=most))
    now, begun, under_way, turn = 0.0, 0, "", 0

    def see(orders: list[Order]) -> None:
        nonlocal begun, under_way
        for order in orders:
            if isinstance(order, Cancel):
                assert under_way
                under_way = ""
            elif isinstance(order, Begin):
                assert not under_way, "one at a time"
                begun, under_way = begun + 1, normalised(order.text)
                assert under_way and begun <= most and order.turn == turn

    for hearing, later in steps:
        due = policy.due()
        now += later
        if due is not None and due <= now:
            see(policy.tick(due))
            assert under_way
        if hearing is not None and hearing.turn != turn:
            turn, begun = hearing.turn, 0
        see(policy.hear(hearing, now))
        if under_way:
            assert policy.trying == turn and policy.due() is None
            assert hearing is not None and hearing.stage is not Stage.SPEAKING
            assert normalised(hearing.text) == under_way
        else:
            assert policy.trying == 0


def test_the_hit_rate_is_of_the_last_attempts_and_of_enough_of_them() -> None:
    hits = HitRate()
    assert hits.rate is None
    for _ in range(FEW - 1):
        hits.count(Verdict.WENT_ON)
    assert not hits.is_below(0.5)
    hits.count(Verdict.CHANGED)
    assert hits.is_below(0.5)
    hits.count(Verdict.FAILED)
    hits.count(Verdict.UNASKED)
    assert hits.rate == 0.0
    for _ in range(WINDOW):
        hits.count(Verdict.ADOPTED)
    assert hits.rate == 1.0 and not hits.is_below(1.0)
