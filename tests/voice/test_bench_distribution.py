import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.bench.distribution import Tally, distribution, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([1.0], 0.99, 1.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 21)], 0.95, 19.0),
        ([float(n) for n in range(1, 11)], 0.99, 10.0),
    ],
)
def test_percentiles_are_the_nearest_rank(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_was_measured_and_enough_values_lie_at_or_below_it(
    values: list[float], share: float
) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    below = sum(value <= found for value in values)
    assert below >= math.floor(share * len(values))
    assert sum(value < found for value in values) <= share * len(values) + 1e-6


def test_values_that_are_missing_do_not_count() -> None:
    found = distribution([None, 3.0, 1.0, None, 2.0])
    assert found is not None
    assert (found.count, found.p50, found.max) == (3, 2.0, 3.0)
    assert distribution([None]) is None


def test_p999_is_told_apart_from_the_largest_once_there_are_enough_values() -> None:
    few, many = distribution(map(float, range(999))), distribution(map(float, range(2000)))
    assert few is not None and many is not None
    assert few.p999 == few.max == 998
    assert (many.p999, many.max) == (1997, 1999)


seconds = st.lists(st.floats(0, 10).map(lambda value: round(value, 5)), min_size=1)


@given(seconds, seconds)
def test_tallies_of_several_processes_merge_to_what_one_would_have_counted(
    first: list[float], second: list[float]
) -> None:
    merged, other = Tally(), Tally()
    merged.add_s(first)
    other.add_s(second)
    merged.merge(msgspec.json.decode(msgspec.json.encode(other), type=Tally))
    assert merged.distribution() == distribution(
        round(value * 100_000) / 100 for value in [*first, *second]
    )


def test_a_tally_of_nothing_has_no_distribution() -> None:
    assert Tally().distribution() is None
