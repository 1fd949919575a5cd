"""When closed calls are collected; and that a real server does, and the interpreter does not."""

import re
from collections.abc import Callable

from tests.served import Caller, Served, eventually, get
from voice.garbage import EVERY_S, MANY, SOME, Garbage


def test_with_callers_on_the_line_it_waits_for_many_and_without_for_some() -> None:
    garbage = Garbage(0.0)
    assert not garbage.due(MANY - 1, 5, 1.0)
    assert garbage.due(MANY, 5, 2.0)
    assert not garbage.due(MANY + SOME - 1, 0, 3.0)
    assert garbage.due(MANY + SOME, 0, 4.0)


def test_what_was_collected_is_not_collected_again() -> None:
    garbage = Garbage(0.0)
    assert garbage.due(MANY, 5, 1.0)
    assert not garbage.due(MANY, 0, 2.0)


def test_every_ten_minutes_it_looks_for_what_is_no_calls() -> None:
    garbage = Garbage(0.0)
    assert not garbage.due(0, 5, EVERY_S - 1)
    assert garbage.due(0, 5, EVERY_S)
    assert not garbage.due(0, 5, 2 * EVERY_S - 1)


def test_a_server_collects_some_closed_calls_when_the_last_has_gone(
    serving: Callable[..., Served],
) -> None:
    def full_collections(served: Served) -> float:
        page = get(served.url, "/metrics").body.decode()
        found = re.search(r'^python_gc_collections_total\{generation="2"\} (\S+)$', page, re.M)
        assert found is not None
        return float(found[1])

    server = serving(fresh=True)
    before = full_collections(server)
    for _ in range(SOME):
        with Caller(server.url) as caller:
            caller.until("session.created")
    eventually(lambda: full_collections(server) == before + 1, "one for all")
