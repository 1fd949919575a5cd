"""A short walk over bad networks; the whole grid is `make networks`.

Each call is in real time, with the real voice activity detector, over two network namespaces.
"""

import socket
import statistics
import threading
from collections.abc import Iterator

import pytest

from tests.network import NEAR, Conditions, Counts, Network, network, run_inside
from tests.networks import (
    BURSTS,
    DELAY_MS,
    HUMAN,
    Call,
    calls_over,
    far_from_a_server,
    setups_over,
    spurts,
    words_over,
)
from tests.served import Served
from tests.webrtc.caller import Received

SENTENCES = 3
MORE_MISSING = 0.01
"""Than the network lost."""
MORE_LATENCY_MS = 120.0
"""Between the first answers of a call and its last ones, whatever jitter the network adds."""
SETUP_S = 3.0


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Network, Served]]:
    with far_from_a_server() as there:
        yield there


# --- the rig itself -------------------------------------------------------------------------------


def send(count: int) -> int:
    """Datagrams to the near end, slowly enough for any queue; returns how many."""
    pause = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(count):
            sender.sendto(b"x", (NEAR, 9))
            if number % 50 == 49:
                pause.wait(0.002)
    return count


@pytest.mark.parametrize(
    "conditions", [Conditions(loss=0.1), Conditions(loss=0.1, stay=0.7)], ids=["alone", "bursts"]
)
def test_the_network_loses_what_it_is_told_to(conditions: Conditions) -> None:
    with network(conditions, seed=3) as made:
        sent = run_inside(made.far, lambda: send(3000))
        counts: Counts = made.counts()
    # Answers that nothing listens come back, and are lost like the rest.
    assert counts.packets >= sent
    assert counts.lost / counts.packets == pytest.approx(0.1, abs=0.03)


def test_a_network_that_is_down_lets_nothing_pass() -> None:
    with network(Conditions(down=True)) as made:
        sent = run_inside(made.far, lambda: send(20))
        counts = made.counts()
    assert counts.lost == counts.packets >= sent


def test_a_spurt_is_told_by_timestamps() -> None:
    def packet(frame: int, at: float) -> Received:
        return Received(frame, frame * 960, b"", at)

    alone = [packet(0, 0.0), packet(20, 0.4), packet(34, 0.7)]
    answer = [packet(40 + frame, 0.8 + frame / 50) for frame in range(30) if frame not in (4, 9)]
    (found,) = spurts([*answer[::-1], *alone])
    assert (found.packets, found.missing) == (28, 2)
    assert found.begins == pytest.approx(0.8)
    assert found.ends == pytest.approx(0.8 + 29 / 50)


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.real_time
@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(delay_ms=DELAY_MS),
        Conditions(loss=0.05, jitter_ms=20.0, delay_ms=DELAY_MS),
        Conditions(loss=0.10, jitter_ms=50.0, delay_ms=DELAY_MS),
        BURSTS,
    ],
    ids=str,
)
def test_speech_comes_through(far: tuple[Network, Served], conditions: Conditions) -> None:
    made, served = far
    (call,) = calls_over(made, served, [conditions], sentences=SENTENCES)
    assert_it_was_heard(call)


def assert_it_was_heard(call: Call) -> None:
    assert call.talk.turns == SENTENCES, f"an end of turn that was none: {call}"
    assert call.talk.answers >= SENTENCES, call
    assert call.heard_loss <= call.network_loss + MORE_MISSING, call
    assert abs(call.network_loss - call.conditions.loss) < 0.06, f"another network: {call}"
    assert call.growth_ms < MORE_LATENCY_MS, call


@pytest.mark.real_time
def test_a_call_is_set_up_in_time_where_a_tenth_is_lost(far: tuple[Network, Served]) -> None:
    made, served = far
    took = setups_over(made, served.url, Conditions(loss=0.10, delay_ms=DELAY_MS), 5)
    assert statistics.median(took) <= SETUP_S, took


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.speech
@pytest.mark.real_time
def test_people_are_understood_at_five_percent_loss_as_without() -> None:
    clean, lossy = words_over(
        HUMAN,
        [
            Conditions(delay_ms=DELAY_MS, jitter_ms=20.0),
            Conditions(loss=0.05, delay_ms=DELAY_MS, jitter_ms=20.0),
        ],
    )
    assert lossy.rate <= clean.rate + 0.03, (clean, lossy)
    assert clean.rate < 0.40, clean
