"""So many in a minute."""

from voice.allowance import Allowance


def test_no_more_than_so_many_in_any_minute() -> None:
    allowance = Allowance(2)
    assert [allowance.take(at) for at in (0.0, 10.0)] == [0.0, 0.0]
    assert allowance.take(30.0) == 30.0
    assert allowance.take(60.0) == 0.0
    assert allowance.take(65.0) == 5.0


def test_who_is_refused_takes_nothing() -> None:
    allowance = Allowance(1)
    allowance.take(0.0)
    for at in range(1, 60):
        allowance.take(float(at))
    assert allowance.take(60.0) == 0.0
