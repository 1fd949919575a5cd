"""A client's budget of bytes, on a clock of the test's."""

from voice.transports.budget import READ_BURST_BYTES, READ_BYTES_S, Budget


def test_who_spent_it_all_reads_nothing_until_it_is_earned_again() -> None:
    budget = Budget(0.0)
    assert budget.spend(READ_BURST_BYTES, 0.0) == 0.0
    assert budget.spend(READ_BYTES_S, 0.0) == 1.0
    assert budget.at(1.0) == 0.0
    assert budget.at(3.0) == 2 * READ_BYTES_S
    assert budget.at(1000.0) == READ_BURST_BYTES


def test_what_is_earned_while_nobody_looked_counts() -> None:
    budget = Budget(0.0)
    looked: list[None] = []

    def now() -> float:
        looked.append(None)
        return 2.0

    assert budget.affords(1000, now) and not looked, "there is plenty"
    budget.spend(READ_BURST_BYTES - 2000, 0.0)
    assert budget.affords(2 * READ_BYTES_S, now) and looked


def test_what_it_does_not_hold_is_not_spent() -> None:
    budget = Budget(0.0)
    budget.spend(READ_BURST_BYTES - 100, 0.0)
    assert not budget.affords(101, lambda: 0.0)
    assert budget.bytes == 100 and budget.affords(100, lambda: 0.0)
