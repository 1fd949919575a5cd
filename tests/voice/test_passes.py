"""UUIDs that are good once."""

from uuid import UUID

from voice.transports.telephony.passes import LIFE_S, MOST, Passes


def test_one_is_good_once() -> None:
    passes = Passes()
    name = passes.issue(0.0)
    assert UUID(name).version == 4
    assert passes.redeem(name, 1.0)
    assert not passes.redeem(name, 1.0)


def test_one_is_good_for_a_minute_and_an_invented_one_never() -> None:
    passes = Passes()
    name = passes.issue(0.0)
    assert not passes.redeem(str(UUID(int=7)), 1.0)
    assert not passes.redeem(name, LIFE_S + 1)


def test_who_asks_for_many_makes_the_oldest_worthless() -> None:
    passes = Passes()
    first = passes.issue(0.0)
    for _ in range(MOST):
        last = passes.issue(0.0)
    assert not passes.redeem(first, 1.0) and passes.redeem(last, 1.0)
