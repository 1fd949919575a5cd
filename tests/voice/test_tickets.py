"""One-time tickets for a call's media."""

import pytest

from voice.transports.telephony import tickets
from voice.transports.telephony.tickets import LIFE_S, Tickets

NOW = 1_800_000_000.0


def test_a_ticket_is_good_once_for_its_own_call_and_in_time() -> None:
    board = Tickets(b"secret")
    ticket = board.issue("CA1", NOW, "aa", "request 1")
    assert not board.redeem(ticket, "CA2", NOW), "another call's"
    assert board.redeem(ticket, "CA1", NOW + LIFE_S - 0.01)
    assert not board.redeem(ticket, "CA1", NOW + 1), "used"


def test_a_ticket_that_is_too_old_is_none() -> None:
    board = Tickets(b"secret")
    ticket = board.issue("CA1", NOW, "aa", "request 1")
    assert not board.redeem(ticket, "CA1", NOW + LIFE_S)


def test_another_process_with_the_same_secret_takes_it() -> None:
    ticket = Tickets(b"secret").issue("CA1", NOW, "aa", "request 1")
    assert Tickets(b"secret").redeem(ticket, "CA1", NOW)
    assert not Tickets(b"other").redeem(ticket, "CA1", NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "",
        lambda t: t[:-1],
        lambda t: t + "0",
        lambda t: t.replace(".", ",", 1),
        lambda t: "9" + t,
        lambda t: t.replace(".aa.", ".ab."),
        lambda t: ".".join(["9999999999999", *t.split(".")[1:]]),
        lambda t: ".".join(t.split(".")[:2]),
        lambda t: t + ".x",
        lambda t: "..",
        lambda t: "\ud800." + t,
        lambda t: "x" * 10_000,
        lambda t: t.upper(),
    ],
)
def test_what_was_changed_is_none(change: object) -> None:
    board = Tickets(b"secret")
    ticket = board.issue("CA1", NOW, "aa", "request 1")
    assert not board.redeem(change(ticket), "CA1", NOW)  # type: ignore[operator]  # a lambda
    assert board.redeem(ticket, "CA1", NOW), "and the right one still is"


def test_a_request_that_comes_again_gets_the_same_ticket_until_that_is_used_or_old() -> None:
    board = Tickets(b"secret")
    first = board.issue("CA1", NOW, "aa", "request 1")
    assert board.issue("CA1", NOW + 1, "bb", "request 1") == first, "a second try"
    assert board.issue("CA1", NOW + LIFE_S, "bb", "request 1") == "", "a replay"
    second = board.issue("CA2", NOW, "bb", "request 2")
    assert board.redeem(second, "CA2", NOW)
    assert board.issue("CA2", NOW + 1, "cc", "request 2") == "", "a replay"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MOST_KEPT", 50)
    board = Tickets(b"secret")
    for number in range(500):
        ticket = board.issue(f"CA{number}", NOW, "aa", f"request {number}")
        assert board.redeem(ticket, f"CA{number}", NOW)
    assert len(board._used) == len(board._issued) == 50
