"""The data channel's ends: what waits for it, what it costs, and who takes nothing."""

import json
from typing import Any

from voice.transports.webrtc_events import (
    SEND_LIMIT_S,
    UNSENT_BYTES,
    WAITING_BYTES,
    EventChannel,
)


class Channel:
    """The part of aiortc's that is used: what is sent lies unsent until it is taken."""

    readyState = "open"

    def __init__(self, most_bytes: int = 262_144) -> None:
        self.sent: list[str] = []
        self.bufferedAmount = 0
        self._most_bytes = most_bytes

    def on(self, event: str, do: Any) -> None:
        self.closed = do

    def send(self, text: str) -> None:
        if len(text) > self._most_bytes:
            raise ValueError("too long")
        self.sent.append(text)
        self.bufferedAmount += len(text)


class Ended:
    def __init__(self) -> None:
        self.how: list[tuple[int, str]] = []
        self.now = 0.0
        self.events = EventChannel(lambda code, reason: self.how.append((code, reason)), self.time)

    def time(self) -> float:
        return self.now

    def put(self, number: int, size: int = 0) -> None:
        self.events.put(json.dumps({"n": number, "x": "x" * size}).encode())


def test_events_wait_for_the_channel_and_come_in_order() -> None:
    end, channel = Ended(), Channel()
    for number in range(10):
        end.put(number)
    end.events.open(channel)  # type: ignore[arg-type]  # of an RTCDataChannel, what is used
    end.put(10)
    assert [json.loads(text)["n"] for text in channel.sent] == list(range(11))


def test_without_a_channel_nothing_is_kept_for_ever() -> None:
    end, channel = Ended(), Channel()
    for number in range(20):
        end.put(number, WAITING_BYTES // 10)
    end.events.open(channel)  # type: ignore[arg-type]
    assert channel.sent == []
    assert end.how == []


def test_a_channel_that_is_opened_again_gets_nothing_since_nothing_of_it_is_taken() -> None:
    end, channel = Ended(), Channel()
    end.events.open(channel)  # type: ignore[arg-type]
    channel.closed()
    another = Channel()
    end.events.open(another)  # type: ignore[arg-type]
    end.put(1)
    assert not end.events.is_open and another.sent == []


def test_an_event_longer_than_the_client_takes_is_left_out() -> None:
    end, channel = Ended(), Channel(100)
    end.events.open(channel)  # type: ignore[arg-type]
    end.put(1, 1000)
    end.put(2)
    assert [json.loads(text)["n"] for text in channel.sent] == [2]


def test_a_client_that_takes_nothing_is_dropped_while_its_network_lives() -> None:
    end, channel = Ended(), Channel()
    end.events.open(channel)  # type: ignore[arg-type]
    end.put(1)
    end.events.watch(0.0, network_is_alive=True)
    end.events.watch(20.0, network_is_alive=False)
    assert end.how == []
    end.events.watch(20.0 + SEND_LIMIT_S - 0.1, network_is_alive=True)
    assert end.how == []
    end.events.watch(20.0 + SEND_LIMIT_S + 0.1, network_is_alive=True)
    assert end.how == [(1006, "it stopped reading")]


def test_a_client_that_is_slow_is_not_dropped() -> None:
    end, channel = Ended(), Channel()
    end.events.open(channel)  # type: ignore[arg-type]
    for second in range(60):
        end.put(second, 100)
        end.put(second, 100)
        channel.bufferedAmount -= 60
        end.events.watch(float(second), network_is_alive=True)
    assert end.how == []


def test_more_than_a_client_may_leave_unread_ends_the_call() -> None:
    end, channel = Ended(), Channel()
    end.events.open(channel)  # type: ignore[arg-type]
    for number in range(UNSENT_BYTES // 100_000 + 2):
        end.put(number, 100_000)
    assert end.how[0] == (1006, "it stopped reading")


def test_a_flood_of_events_ends_the_call() -> None:
    end = Ended()
    for _ in range(100):
        end.events.take("x" * 200_000)
    assert end.how[0] == (1008, "too many events at once")


def test_many_small_events_cost_more_than_their_bytes() -> None:
    end = Ended()
    for _ in range(40_000):
        end.events.take("{}")
    assert end.how == [(1008, "too many events at once")]
