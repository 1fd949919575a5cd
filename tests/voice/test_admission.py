"""Who is let in: by the number of calls, and by how late the loop comes."""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from tests.served import (
    Answer,
    Caller,
    Hosted,
    Served,
    append,
    eventually,
    get,
    loud,
    request,
    upgrade,
)
from voice import metrics
from voice.load import FEW, Level

Serve = Callable[..., Served]
Host = Callable[..., Hosted]

SESSIONS = 20


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


@pytest.mark.real_time
def test_one_too_many_is_told_so_within_50_ms_while_all_others_speak(serving: Serve) -> None:
    server = serving(server={"max_sessions": SESSIONS})
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Caller(server.url)) for _ in range(SESSIONS)]
        times_ms = []
        for number in range(60):
            callers[number % SESSIONS].send(append(loud(0.3)))
            begun = time.monotonic()
            answer = request(server.url, upgrade(server.url))
            times_ms.append((time.monotonic() - begun) * 1000)
            assert refusal(answer) == (503, "server_busy")
            assert int(answer.headers["retry-after"]) >= 2
        assert statistics.median(times_ms) < 50, times_ms
    with Caller(server.url) as caller:
        caller.answers()


# --- by lateness ----------------------------------------------------------------------------------


@pytest.fixture
def hosted(hosting: Host) -> Iterator[Hosted]:
    """Its lateness is told by the test; nothing else tells it there."""
    one = hosting(load={"lag_ms": [5, 10, 15, 25]})
    yield one
    one.ask(lambda: setattr(one.desk.load, "level", Level.NORMAL))


def test_who_comes_too_late_already_takes_no_further_call_and_says_so(hosted: Hosted) -> None:
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(Caller(hosted.url)) for _ in range(FEW)]
        caller = callers[0]
        eventually(lambda: hosted.desk.sessions == FEW, "all have their lines")
        hosted.ask(lambda: setattr(hosted.desk.load, "level", Level.REFUSE))
        answer = request(hosted.url, upgrade(hosted.url))
        assert refusal(answer) == (503, "server_overloaded")
        asked = get(hosted.url, "/v1/realtime")
        assert refusal(asked) == (503, "server_overloaded")
        assert answer.headers["retry-after"] == asked.headers["retry-after"] == "2"
        health = get(hosted.url, "/health").json
        assert health["status"] == "degraded"
        told = [warning for warning in health["warnings"] if warning.startswith("load: ")]
        assert told == [
            "load: level 4: partials are fewer, no answer is begun early, frames are larger, "
            "further calls are refused"
        ]
        assert get(hosted.url, "/ready").status == 200, "it serves those it has"
        caller.answers()
    eventually(lambda: hosted.desk.sessions == 0, "the line is free")
    with Caller(hosted.url) as caller:
        caller.answers()


def test_a_new_level_is_told_as_a_gauge_with_the_lag_that_led_to_it(hosted: Hosted) -> None:
    def gauge(name: str) -> float:
        return metrics.REGISTRY.get_sample_value(name) or 0.0

    def late() -> bool:
        hosted.ask(lambda: hosted.desk.feel(0.02))
        return gauge("kaiwa_load_level") == 1

    eventually(late, "a lasting lag")
    assert gauge("kaiwa_load_lag_seconds") > 0.005


def test_sessions_are_told_the_level_of_their_server(hosted: Hosted) -> None:
    hosted.ask(lambda: setattr(hosted.desk.load, "level", Level.LARGE_FRAMES))
    with Caller(hosted.url, "?audio=binary") as caller:
        caller.until("session.created")
        caller.ask("hello there")
        frames = [event["data"] for event in caller.seen if event["type"] == "binary"]
    assert {len(frame) - 8 for frame in frames[:-1]} == {24 * 80 * 2}


def test_a_server_that_is_late_all_the_time_notices_by_itself(serving: Serve) -> None:
    """Thresholds so low that every loop is late."""
    server = serving(load={"lag_ms": [0.001, 0.002, 0.003, 0.004]})
    with contextlib.ExitStack() as stack:
        caller, *_ = [stack.enter_context(Caller(server.url)) for _ in range(FEW)]
        eventually(
            lambda: "kaiwa_load_level 4.0" in get(server.url, "/metrics").body.decode(),
            "four levels, one after the other",
        )
        assert refusal(request(server.url, upgrade(server.url)))[1] == "server_overloaded"
        caller.answers()
        levels = [line for line in server.lines if '"event": "load"' in line]
        assert [json.loads(line)["load_level"] for line in levels] == [1, 2, 3, 4]
