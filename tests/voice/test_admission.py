"""Who is let in: by the number of calls, and by how late the loop comes."""

import contextlib
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mocks.audiosocket import CALL, HANG_UP, SLIN, frame
from tests.phones import PUBLIC, SETTINGS, TWILIO, form, post, ringing, twilio
from tests.served import (
    Answer,
    Caller,
    Hosted,
    Served,
    address,
    append,
    eventually,
    get,
    loud,
    request,
    upgrade,
)
from tests.softphone_calls import at, nobody, sip
from voice import metrics
from voice.load import FEW, Level

Serve = Callable[..., Served]
Host = Callable[..., Hosted]

SESSIONS = 20
OFFER = (Path(__file__).parent / "offers" / "chromium-microphone.sdp").read_bytes()
VOICE_URL = f"{PUBLIC}{TWILIO}/voice"


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


# --- one count for all doors ----------------------------------------------------------------------


@pytest.fixture
def small(hosting: Host) -> Hosted:
    """Room for one, by whatever door."""
    telephony = {**SETTINGS, "audiosocket_port": 0}
    return hosting(server={"max_sessions": 1}, sip=sip(), telephony=telephony)


def offer(server: Hosted) -> Answer:
    host, port = address(server.url)
    data = (
        f"POST /v1/realtime/calls HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(OFFER)}\r\n\r\n"
    )
    return request(server.url, data.encode() + OFFER)


def end(server: Hosted, place: str) -> None:
    assert get(server.url, place, method="DELETE").status == 200


@contextlib.contextmanager
def one_session(server: Hosted) -> Iterator[Callable[[bool], None]]:
    """Waits for the end of what came in."""
    closed, coming = server.desk.closed, list[bool]()
    yield coming.append
    if coming[-1]:
        eventually(lambda: server.desk.closed > closed, "it came in, and is gone")


def by_websocket(server: Hosted) -> bool:
    with one_session(server) as comes_in:
        answer = request(server.url, upgrade(server.url))
        assert answer.status in (101, 503)
        comes_in(answer.status == 101)
    return answer.status == 101


def by_twilio(server: Hosted) -> bool:
    fields = ringing("CA" + "d" * 32)
    answer = post(server.url, f"{TWILIO}/voice", form(fields), twilio(VOICE_URL, fields))
    assert answer.status == 200
    return b"<Reject" not in answer.body


def by_sip(server: Hosted) -> bool:
    with at(server) as phone:
        answer = phone.invite()
        assert answer.status in (200, 486)
        if answer.status == 200:
            phone.to = answer.header("To")
            phone.ack()
            phone.bye()
            nobody(server)
        return answer.status == 200


def by_audiosocket(server: Hosted) -> bool:
    port = next(port for port in server.ports if isinstance(port, int))
    with one_session(server) as comes_in:
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.settimeout(1.0)
            line.sendall(frame(CALL, bytes(15) + b"\x07") + frame(SLIN, bytes(320)))
            told = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                told = line.recv(3)
            is_in = told != frame(HANG_UP)
        comes_in(is_in)
    return is_in


def by_webrtc(server: Hosted) -> bool:
    answer = offer(server)
    assert answer.status in (201, 503)
    if answer.status == 201:
        end(server, answer.headers["location"])
    return answer.status == 201


DOORS = [by_websocket, by_twilio, by_sip, by_audiosocket, by_webrtc]


@pytest.mark.parametrize("door", DOORS)
def test_a_webrtc_call_on_its_way_takes_the_room_at_every_door(
    small: Hosted, door: Callable[[Hosted], bool]
) -> None:
    place = offer(small).headers["location"]
    assert small.desk.sessions == 0, "it has not connected"
    assert not door(small)
    end(small, place)
    assert door(small)


@pytest.mark.parametrize("door", DOORS)
def test_a_sip_call_that_has_not_begun_takes_it_too(
    small: Hosted, door: Callable[[Hosted], bool]
) -> None:
    with at(small) as phone:
        described = phone.invite("")  # the sound is agreed on with the ACK
        assert described.status == 200 and small.desk.sessions == 0
        assert not door(small)
        phone.to = described.header("To")
        phone.bye()
    nobody(small)
    assert door(small)
