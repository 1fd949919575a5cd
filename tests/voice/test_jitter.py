"""Packets of a network that loses, delays, doubles and reorders, and the audio made of them.

sent(n)    n packets of 20 ms, one every 20 ms; payload: their number
Ear        the buffer, told packets as they arrive and asked every 20 ms; keeps what comes out
"""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice.jitter import MAX_HELD, MOST_HOLE_MS, JitterBuffer, Kind, Packet, Piece

HZ = 48_000
TICKS = 960
FRAME_S = 0.02
TICK_S = 0.02


def packet(number: int, *, sequence: int = 0, timestamp: int = 0, silent: bool = False) -> Packet:
    return Packet(
        (sequence + number) & 0xFFFF,
        (timestamp + number * TICKS) & 0xFFFFFFFF,
        TICKS,
        number.to_bytes(4, "big"),
        silent,
    )


class Ear:
    def __init__(self, **bounds: float) -> None:
        self.buffer = JitterBuffer(HZ, **bounds)
        self.pieces: list[Piece] = []
        self.heard_at: dict[int, float] = {}
        self._ticked = 0.0

    def arrive(self, what: Packet, at: float) -> list[Piece]:
        self.wait_until(at)
        return self._keep(self.buffer.receive(what, at), at)

    def wait_until(self, at: float) -> None:
        while self._ticked + TICK_S <= at:
            self._ticked += TICK_S
            self._keep(self.buffer.tick(self._ticked), self._ticked)

    def _keep(self, pieces: list[Piece], at: float) -> list[Piece]:
        for piece in pieces:
            if piece.kind is Kind.PLAYED:
                self.heard_at[int.from_bytes(piece.payload, "big")] = at
        self.pieces += pieces
        return pieces

    @property
    def played(self) -> list[int]:
        return [int.from_bytes(one.payload, "big") for one in self.pieces if one.kind is PLAYED]

    @property
    def kinds(self) -> str:
        return "".join(piece.kind.value[0] for piece in self.pieces)

    @property
    def ms(self) -> float:
        return sum(piece.ticks for piece in self.pieces) * 1000 / HZ


PLAYED = Kind.PLAYED


def test_packets_in_order_are_given_on_at_once_however_unevenly_they_come() -> None:
    ear = Ear()
    arrivals = [0.0, 0.02, 0.3, 0.3, 0.31, 0.32, 0.9]
    for number, at in enumerate(arrivals):
        ear.arrive(packet(number), at)
    assert [ear.heard_at[number] for number in range(7)] == arrivals
    assert ear.kinds == "p" * 7


def test_a_packet_that_was_overtaken_is_waited_for_and_heard_in_its_place() -> None:
    ear = Ear()
    for number, at in ((0, 0.0), (1, 0.02), (3, 0.06), (2, 0.07), (4, 0.08)):
        ear.arrive(packet(number), at)
    assert ear.played == [0, 1, 2, 3, 4]
    assert ear.heard_at[3] == 0.07
    assert ear.buffer.counts.lost == 0


def test_a_hole_is_filled_by_the_copy_in_the_packet_behind_it() -> None:
    ear = Ear()
    for number in (0, 1, 3, 4, 5, 6, 7):
        ear.arrive(packet(number), number * FRAME_S)
    ear.wait_until(0.3)
    assert ear.kinds == "pp" + "r" + "ppppp"
    assert ear.pieces[2] == Piece(
        Kind.RECOVERED, ear.pieces[3].at - TICKS, TICKS, packet(3).payload
    )
    assert ear.ms == 8 * 20
    assert ear.buffer.counts.lost == 1


def test_a_longer_hole_is_concealed_first_and_then_silent() -> None:
    ear = Ear()
    for number in (0, 9, 10):
        ear.arrive(packet(number), number * FRAME_S)
    ear.wait_until(1.0)
    assert [(one.kind.value, one.ticks * 1000 // HZ) for one in ear.pieces] == [
        ("played", 20),
        ("concealed", 100),
        ("silent", 40),
        ("recovered", 20),
        ("played", 20),
        ("played", 20),
    ]


def test_what_is_lost_for_long_is_left_out_since_silence_would_end_the_turn() -> None:
    ear = Ear()
    for number in (0, 51, 52):
        ear.arrive(packet(number), number * FRAME_S)
    ear.wait_until(2.0)
    assert ear.ms == 60 + MOST_HOLE_MS
    assert ear.buffer.counts.skipped_ticks == (50 * 20 - MOST_HOLE_MS) * HZ // 1000
    assert ear.buffer.counts.lost == 50


def test_on_an_even_network_a_hole_is_waited_for_no_longer_than_the_next_packet() -> None:
    ear = Ear()
    for number in range(100):
        ear.arrive(packet(number), number * FRAME_S)
    assert ear.buffer.wait_ms == 20
    ear.arrive(packet(101), 101 * FRAME_S)
    assert ear.played[-1] == 101


def test_the_wait_follows_the_jitter_and_comes_back_down() -> None:
    rng = random.Random(7)
    ear = Ear()

    def through(first: int, last: int, jitter_s: float) -> float:
        sent = [(n * FRAME_S + rng.uniform(0, jitter_s), n) for n in range(first, last)]
        for at, number in sorted(sent):
            ear.arrive(packet(number), at)
        return ear.buffer.wait_ms

    assert through(0, 200, 0.002) < 25
    shaken = through(200, 400, 0.1)
    assert 80 < shaken < 130
    assert through(400, 800, 0.002) < 25


def test_a_stall_is_no_silence_and_costs_nothing_when_its_packets_come_after_all() -> None:
    ear = Ear()
    for number in range(10):
        ear.arrive(packet(number), number * FRAME_S)
    ear.wait_until(1.5)
    assert ear.kinds == "p" * 10
    for number in range(10, 76):
        ear.arrive(packet(number), 1.5 + number * 1e-4)
    assert ear.played == list(range(76))
    assert ear.buffer.counts.lost == ear.buffer.counts.late == 0


def test_a_sender_that_says_it_sends_silence_is_silent_by_the_clock() -> None:
    ear = Ear()
    for number in range(50):
        ear.arrive(packet(number, silent=number == 49), number * FRAME_S)
    ear.wait_until(1.38)
    assert 340 <= ear.ms - 50 * 20 <= 400
    assert ear.kinds == "p" * 50 + "s" * (len(ear.kinds) - 50)
    after = Packet(50, (50 + 20) * TICKS, TICKS, (50).to_bytes(4, "big"))
    ear.arrive(after, 1.4)
    assert ear.played[-1] == 50
    assert ear.ms == 71 * 20
    assert ear.buffer.counts.lost == 0


def test_silence_that_is_not_even_kept_up_is_a_stall() -> None:
    ear = Ear()
    ear.arrive(packet(0, silent=True), 0.0)
    ear.wait_until(5.0)
    assert ear.ms < 1300


def test_a_word_that_comes_after_its_silence_has_gone_on_is_not_heard_behind_it() -> None:
    ear = Ear()
    for number in range(50):
        ear.arrive(packet(number, silent=number == 49), number * FRAME_S)
    ear.arrive(packet(50), 1.3)
    ear.arrive(packet(65), 1.31)
    assert ear.played == [*range(50), 65]
    assert ear.buffer.counts.late == 1


def test_silence_goes_on_no_faster_than_time_however_late_the_word_for_it_was() -> None:
    ear = Ear()
    for number in range(10):
        ear.arrive(packet(number), number * FRAME_S)
    ear.arrive(packet(10, silent=True), 4.2)
    ear.wait_until(4.3)
    assert ear.ms - 220 <= 100
    for number in range(11, 60):
        ear.arrive(packet(number), 4.3 + number / 1000)
    assert len(ear.played) >= 50


def test_a_late_packet_from_the_future_brings_no_hours_of_silence() -> None:
    ear = Ear()
    for number in range(1, 10):
        ear.arrive(packet(number), number * FRAME_S)
    ear.arrive(packet(0, timestamp=3600 * HZ), 0.2)
    ear.arrive(packet(10, silent=True), 0.2)
    ear.wait_until(0.3)
    assert ear.ms <= 300


@pytest.mark.parametrize("drift", [-300e-6, 300e-6])
def test_a_sender_whose_clock_drifts_is_followed(drift: float) -> None:
    ear = Ear()
    for number in range(15_000):
        ear.arrive(packet(number), number * FRAME_S * (1 + drift))
    assert ear.buffer.wait_ms < 25
    assert ear.kinds == "p" * 15_000


def test_a_pause_without_loss_is_silence_of_its_length() -> None:
    ear = Ear()
    ear.arrive(packet(0), 0.0)
    ear.arrive(Packet(1, 16 * TICKS, TICKS, b"\0\0\0\1"), 0.32)
    assert [(one.kind.value, one.ticks // TICKS) for one in ear.pieces] == [
        ("played", 1),
        ("silent", 15),
        ("played", 1),
    ]
    assert ear.buffer.counts.lost == 0


def test_duplicates_are_heard_once() -> None:
    ear = Ear()
    for number in range(5):
        ear.arrive(packet(number), number * FRAME_S)
        ear.arrive(packet(number), number * FRAME_S + 0.001)
    ear.arrive(packet(1), 0.11)
    assert ear.played == [0, 1, 2, 3, 4]
    assert ear.buffer.counts.duplicates == 6


def test_who_comes_too_late_is_counted_and_not_heard() -> None:
    ear = Ear()
    for number in (0, 1, 3, 4, 5, 6, 7, 8):
        ear.arrive(packet(number), number * FRAME_S)
    ear.arrive(packet(2), 0.2)
    assert 2 not in ear.played
    assert ear.buffer.counts.late == 1


def test_one_packet_far_off_is_a_stray_and_two_in_a_row_are_a_new_stream() -> None:
    ear = Ear()
    ear.arrive(packet(0), 0.0)
    ear.arrive(packet(0, sequence=30_000, timestamp=5), 0.01)
    ear.arrive(packet(1), 0.02)
    assert ear.played == [0, 1]
    assert ear.buffer.counts.strays == 1
    ear.arrive(packet(10, sequence=30_000, timestamp=5), 0.03)
    ear.arrive(packet(11, sequence=30_000, timestamp=5), 0.05)
    ear.arrive(packet(12, sequence=30_000, timestamp=5), 0.07)
    assert ear.played == [0, 1, 11, 12]
    assert ear.buffer.counts.restarts == 1


def test_another_sender_begins_at_once_behind_what_was_held() -> None:
    ear = Ear()
    for number in (0, 2):
        ear.arrive(packet(number), 0.0)
    ear.pieces += ear.buffer.restart(packet(7, sequence=999, timestamp=77), 0.01)
    assert ear.played == [0, 2, 7]
    ear.arrive(packet(8, sequence=999, timestamp=77), 0.02)
    assert ear.played[-1] == 8


def test_the_ten_thousandth_sender_costs_no_more_than_the_second() -> None:
    ear = Ear()
    ear.arrive(packet(0), 0.0)
    for number in range(10_000):
        ear.buffer.restart(packet(0, timestamp=-number), 0.0)
    began = time.process_time()
    for number in range(10_000, 10_100):
        ear.buffer.restart(packet(0, timestamp=-number), 0.0)
    assert time.process_time() - began < 0.01


def test_a_sender_that_sets_its_clock_back_is_heard_on() -> None:
    ear = Ear()
    ear.arrive(packet(0, timestamp=900_000), 0.0)
    ear.arrive(packet(1, timestamp=0), 0.02)
    ear.arrive(packet(2, timestamp=0), 0.04)
    assert ear.played == [0, 1, 2]


def test_a_jump_of_the_timestamp_is_not_filled_for_ever() -> None:
    ear = Ear()
    ear.arrive(packet(0), 0.0)
    ear.arrive(packet(1, timestamp=2**31 - 5 * TICKS), 0.02)
    assert ear.played == [0, 1]
    assert ear.ms <= 1040


def test_it_holds_no_more_than_so_many_packets() -> None:
    ear = Ear()
    ear.arrive(packet(0), 0.0)
    for number in range(2, 500, 2):
        ear.arrive(packet(number), 0.0)
        assert ear.buffer.held <= MAX_HELD


def test_it_says_when_it_wants_to_be_asked() -> None:
    buffer = JitterBuffer(HZ)
    assert buffer.deadline() is None
    buffer.receive(packet(0), 0.0)
    assert buffer.deadline() is None
    buffer.receive(packet(2), 0.04)
    due = buffer.deadline()
    assert due is not None and 0.04 < due <= 0.24
    assert buffer.tick(due - 0.001) == []
    assert [one.kind for one in buffer.tick(due)] == [Kind.RECOVERED, Kind.PLAYED]


@st.composite
def journeys(draw: st.DrawFn) -> tuple[int, int, list[tuple[float, int]], set[int]]:
    """Where the numbers begin; (arrival, number) of what came, in the order of arrival; and behind
    which packets the sender said that there is silence."""
    sequence = draw(st.sampled_from((0, 17, 65_500, 65_535)))
    timestamp = draw(st.sampled_from((0, 2**32 - 20_000, 2**31, 123_456)))
    came = []
    for number in range(draw(st.integers(1, 80))):
        fate = draw(st.sampled_from("oooooo-d"))
        late_s = draw(st.floats(0, 0.25))
        if fate != "-" or number == 0:
            came.append((number * FRAME_S + (0.0 if number == 0 else late_s), number))
        if fate == "d":
            came.append((number * FRAME_S + draw(st.floats(0.0, 0.5)), number))
    first, *rest = came
    silent = draw(st.sets(st.integers(0, 80), max_size=20))
    return sequence, timestamp, [first, *sorted(rest)], silent


@settings(max_examples=200, deadline=None)
@given(journeys())
def test_whatever_the_network_does(
    journey: tuple[int, int, list[tuple[float, int]], set[int]],
) -> None:
    """Every timestamp at most once and in order, at its true place; no packet waits for long."""
    sequence, timestamp, came, silent = journey
    ear = Ear()
    arrived: dict[int, float] = {}
    for at, number in came:
        arrived.setdefault(number, at)
        said = number in silent
        ear.arrive(packet(number, sequence=sequence, timestamp=timestamp, silent=said), at)
    ear.wait_until(came[-1][0] + 1.0)

    counts, pieces = ear.buffer.counts, ear.pieces
    assert ear.buffer.held == 0
    assert ear.played == sorted(set(ear.played))
    origin = pieces[0].at
    end = origin
    skipped = 0
    for piece in pieces:
        assert piece.ticks > 0
        assert piece.at >= end
        skipped += piece.at - end
        end = piece.at + piece.ticks
        if piece.kind is Kind.PLAYED:
            number = int.from_bytes(piece.payload, "big")
            assert piece.at - origin == number * TICKS
    assert skipped == counts.skipped_ticks
    assert counts.received == len(came) == len(ear.played) + counts.late + counts.duplicates
    if not silent:
        assert counts.lost == ear.played[-1] + 1 - len(ear.played)
    for number, at in ear.heard_at.items():
        assert at - arrived[number] <= 0.2 + TICK_S + 1e-9


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
def test_missing_frames_are_no_more_than_the_network_lost_and_delay_does_not_grow(
    loss: float,
) -> None:
    rng = random.Random(3)
    sent = [(n * FRAME_S + rng.uniform(0, 0.05), n) for n in range(3000) if rng.random() >= loss]
    ear = Ear()
    came = sorted(sent)
    for at, number in came:
        ear.arrive(packet(number), at)
    ear.wait_until(61)
    lost = 3000 - len(came)
    missing = 3000 - len(ear.played)
    assert missing <= lost + 0.01 * 3000
    delays = [at - number * FRAME_S for number, at in sorted(ear.heard_at.items())]
    first, last = delays[100:600], delays[-500:]
    assert sum(last) / 500 <= sum(first) / 500 + 0.01
