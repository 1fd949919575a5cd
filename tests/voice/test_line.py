"""The connection itself: who answers no ping, who is still sending when told why not."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.served import (
    SOON_S,
    Caller,
    Hosted,
    append,
    eventually,
    loud,
    masked,
    raw_call,
    read_until,
)

Host = Callable[..., Hosted]


@pytest.fixture(scope="module")
def hosted(hosting: Host) -> Hosted:
    return hosting(mock={"stt_text": "yes"})


@pytest.fixture(scope="module")
def pinging(hosting: Host) -> Hosted:
    """A server whose pings come and are to be answered within 0.2 s."""
    hosted = hosting(mock={"stt_text": "no"})
    hosted.server.config.ws_ping_interval = hosted.server.config.ws_ping_timeout = 0.2
    return hosted


@pytest.mark.real_time
def test_a_client_that_answers_no_ping_is_gone_whatever_is_unsent(pinging: Hosted) -> None:
    """A half-open connection: the cable is out, and nothing says so."""
    hosted = pinging
    raw = raw_call(hosted.url, rcvbuf=4096)
    update = {"type": "session.update", "session": {"instructions": "x" * 50_000}}
    raw.sendall(masked(1, json.dumps(update).encode()) * 4)
    eventually(lambda: hosted.desk.sessions == 1, "the call is open")
    eventually(lambda: hosted.desk.sessions == 0, "the session is closed", limit_s=SOON_S)
    eventually(lambda: not hosted.ask(lambda: len(hosted.server.server_state.connections)), "gone")
    raw.close()


@pytest.mark.real_time
def test_a_client_that_answers_pings_stays(pinging: Hosted) -> None:
    with Caller(pinging.url) as caller:
        caller.until("session.created")
        with pytest.raises(TimeoutError):
            caller.next(1.0)  # four pings long
        caller.answers()


def test_what_was_sent_before_the_call_was_attached_comes_first(hosted: Hosted) -> None:
    for _ in range(20):
        raw = raw_call(hosted.url)
        events = [
            {"type": "make.coffee", "event_id": "1"},
            append(loud(2.0), event_id="2"),
            {"type": "make.coffee", "event_id": "3"},
            {"type": "make.tea", "event_id": "4"},
        ]
        raw.sendall(b"".join(masked(1, json.dumps(event).encode()) for event in events))
        seen = read_until(raw, b'"event_id":"4"')
        order = [seen.index(f'"event_id":"{number}"'.encode()) for number in (1, 3, 4)]
        assert order == sorted(order)
        raw.close()


def test_who_is_told_1009_in_the_middle_of_sending_still_hears_it(hosted: Hosted) -> None:
    for _ in range(10):
        with Caller(hosted.url) as caller:
            caller.until("session.created")
            caller.send(b"x" * 8 * 2**20)
            assert caller.close_code() == 1009


def test_what_comes_together_with_the_goodbye_is_answered_by_nobody(hosted: Hosted) -> None:
    """A client's last event and its close in one packet: there is nobody left to complain to."""
    goodbye = masked(8, (1000).to_bytes(2, "big"))
    eventually(lambda: hosted.desk.sessions == 0, "those before are gone")
    for last in (b"no event", b'{"type": "response.cancel"}'):
        with capture_logs() as logs:
            raw = raw_call(hosted.url)
            raw.sendall(masked(1, last) + goodbye)
            eventually(lambda: "session_closed" in events(logs), "the call is over")
            raw.close()
        assert events(logs) == ["session_opened", "session_closed"]


def events(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs if "session" in line]
