import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.clock import now, run_virtual
from providers._http import HttpFailure
from providers._retry import Retry, retried
from providers.base import Fault, Slot


def failure(
    fault: Fault = Fault.OVERLOADED, *, retry_after_s: float | None = None, is_cut: bool = False
) -> HttpFailure:
    error = HttpFailure(Slot.LLM, "openai", fault, "no")
    error.retry_after_s, error.is_cut = retry_after_s, is_cut
    return error


def begun_at(
    *outcomes: HttpFailure | float | str,
    limit_s: float = 10.0,
    retry: Retry | None = None,
    chance: Callable[[], float] = lambda: 1.0,
) -> tuple[list[float], object]:
    """When the attempts began, and what came of it all. A number: that attempt takes so long."""
    begun: list[float] = []

    async def attempt() -> str:
        begun.append(round(now(), 6))
        outcome = outcomes[min(len(begun), len(outcomes)) - 1]
        if isinstance(outcome, HttpFailure):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return "late"
        return outcome

    async def main() -> object:
        try:
            return await retried(attempt, retry=retry or Retry(), limit_s=limit_s, chance=chance)
        except (HttpFailure, TimeoutError) as error:
            return error

    return begun, run_virtual(main())


def test_pauses_double_and_a_success_ends_them() -> None:
    begun, outcome = begun_at(failure(), failure(), "yes")
    assert begun == [0.0, 0.1, 0.3] and outcome == "yes"


def test_jitter_takes_up_to_half_of_a_pause() -> None:
    begun, _ = begun_at(failure(), failure(), "yes", chance=lambda: 0.0)
    assert begun == [0.0, 0.05, 0.15]
    rolls = iter([0.0, 1.0])
    begun, _ = begun_at(failure(), failure(), "yes", chance=lambda: next(rolls))
    assert begun == [0.0, 0.05, 0.25]


def test_after_the_last_attempt_its_failure_is_raised() -> None:
    last = failure(Fault.UNREACHABLE)
    begun, outcome = begun_at(failure(), failure(), last)
    assert len(begun) == 3 and outcome is last


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BROKEN, Fault.TIMEOUT, Fault.CRASHED])
def test_what_would_only_fail_again_is_not_tried_again(fault: Fault) -> None:
    assert len(begun_at(failure(fault), "yes")[0]) == 1


def test_an_answer_cut_before_its_first_token_is_tried_again() -> None:
    assert begun_at(failure(Fault.BROKEN, is_cut=True), "yes")[1] == "yes"


@pytest.mark.parametrize(
    ("asked_s", "begun"),
    [(0.0, [0.0, 0.1]), (0.5, [0.0, 0.6]), (2.0, [0.0, 2.1]), (2.1, [0.0]), (float("inf"), [0.0])],
)
def test_what_the_server_asks_for_is_waited_for_up_to_two_seconds(
    asked_s: float, begun: list[float]
) -> None:
    assert begun_at(failure(retry_after_s=asked_s), "yes")[0] == begun


def test_a_pause_that_the_budget_does_not_hold_is_not_begun() -> None:
    first = failure(retry_after_s=0.5)
    assert begun_at(first, "yes", limit_s=0.55)[1] is first
    assert begun_at(first, "yes", limit_s=0.65)[1] == "yes"


def test_all_attempts_and_pauses_share_one_budget() -> None:
    begun, outcome = begun_at(failure(), failure(), 60.0, limit_s=1.0)
    assert begun == [0.0, 0.1, 0.3] and isinstance(outcome, TimeoutError)


@given(
    st.lists(st.sampled_from([*Fault]), min_size=1, max_size=8),
    st.integers(0, 5),
    st.floats(0.05, 3.0),
    st.floats(0, 1),
)
def test_there_are_never_more_attempts_or_seconds_than_allowed(
    faults: list[Fault], retries: int, limit_s: float, chance: float
) -> None:
    begun, _ = begun_at(
        *map(failure, faults),
        limit_s=limit_s,
        retry=Retry(retries=retries),
        chance=lambda: chance,
    )
    assert len(begun) <= retries + 1
    assert begun[-1] < limit_s + 1e-6
