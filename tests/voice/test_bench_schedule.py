from itertools import pairwise
from statistics import mean

import pytest

from voice.bench.config import BenchConfig, BenchError
from voice.bench.schedule import Call, arriving, staying

TURN_S = 5.0


def calls_of(callers: int = 50, until_s: float = 2_000.0, **changes: object) -> list[Call]:
    config = BenchConfig(**{"churn": 4.0, "ramp_s": 1.0, **changes})  # type: ignore[arg-type]
    return list(arriving(config, callers, turn_s=TURN_S, until_s=until_s))


def load_at(calls: list[Call], at_s: float) -> int:
    return sum(call.at_s <= at_s < call.at_s + call.turns * TURN_S for call in calls)


def test_callers_who_stay_come_in_evenly() -> None:
    calls = staying(BenchConfig(ramp_s=2.0, barge_in_every=2), 4)
    assert [call.at_s for call in calls] == [0.0, 0.5, 1.0, 1.5]
    assert {(call.turns, call.is_rude, call.cuts) for call in calls} == {(0, False, (True, False))}


@pytest.mark.parametrize("arrivals", ["poisson", "even"])
def test_with_churn_the_load_is_what_was_asked_for_from_the_first_second_on(arrivals: str) -> None:
    calls = calls_of(arrivals=arrivals)
    for begin in (2, 20, 500, 1_500):
        load = mean(load_at(calls, begin + n) for n in range(0, 400, 5))
        assert load == pytest.approx(50, rel=0.15), begin


def test_calls_have_the_mean_number_of_turns_and_at_least_one() -> None:
    turns = [call.turns for call in calls_of()]
    assert min(turns) == 1
    assert mean(turns) == pytest.approx(4.0, rel=0.1)
    assert {call.turns for call in calls_of(churn=1.0)} == {1}


def test_arrivals_by_chance_come_in_bunches_and_even_ones_do_not() -> None:
    def gaps(arrivals: str) -> list[float]:
        due = [call.at_s for call in calls_of(arrivals=arrivals)][50:]
        return [after - before for before, after in pairwise(due)]

    assert max(gaps("even")) == pytest.approx(min(gaps("even")))
    # Exponential: the standard deviation is the mean.
    found = gaps("poisson")
    spread = mean((gap - mean(found)) ** 2 for gap in found) ** 0.5
    assert spread == pytest.approx(mean(found), rel=0.1)


def test_arrivals_do_not_ask_how_the_server_is_doing() -> None:
    """The plan is drawn up before the step, and the same for the same seed."""
    assert calls_of() == calls_of()
    assert calls_of() != calls_of(seed=2)


def test_shares_of_rude_callers_and_of_barge_ins_are_kept() -> None:
    calls = calls_of(rude_share=0.3, barge_in_share=0.2)
    assert mean(call.is_rude for call in calls) == pytest.approx(0.3, abs=0.05)
    assert mean(cut for call in calls for cut in call.cuts) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"churn": 0.5}, "churn"),
        ({"rude_share": 0.2}, "rude_share needs churn"),
        ({"rude_share": 1.2, "churn": 3}, "rude_share"),
        ({"barge_in_share": -0.1}, "barge_in_share"),
        ({"servers": 2}, "servers"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(changes: dict[str, float], named: str) -> None:
    with pytest.raises(BenchError, match=named):
        BenchConfig(**changes)  # type: ignore[arg-type]
