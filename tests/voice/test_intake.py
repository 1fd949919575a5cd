"""What a far end sends over TCP, in steps that others can wait for, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocks.clock import run_virtual
from voice.transports.telephony.adapter import Garbled
from voice.transports.telephony.audiosocket import CALL, KEY, frame
from voice.transports.telephony.intake import (
    MOST_AHEAD_S,
    MOST_BEHIND_S,
    STEP_FRAMES,
    STEP_S,
    Intake,
    sound_s,
)

SOUND = frame(0x10, bytes(320))
LONG = frame(0x10, bytes(range(256)) * 250)
"""Four seconds in one frame."""


class Connection:
    def __init__(self) -> None:
        self.reads, self.closing = True, False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert self.reads and not self.closing, "uvloop raises"
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads and not self.closing
        self.reads = True


class Bench:
    def __init__(self) -> None:
        self.connection = Connection()
        self.taken: list[bytes] = []
        self.refused: list[Garbled] = []
        self.intake = Intake(self.connection, take=self.taken.append, refused=self.refused.append)

    def take(self) -> list[bytes]:
        taken = self.taken[:]
        self.taken.clear()
        return taken


def bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Bench())

    run_virtual(run())


def test_a_frame_is_taken_as_it_comes() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(10):
            bench.intake.receive(SOUND)
            assert bench.take() == [SOUND] and bench.connection.reads
            await asyncio.sleep(0.02)

    bench(scenario)


@pytest.mark.parametrize("data", [SOUND * 200, LONG, frame(KEY, b"1") * 500], ids=len)
def test_a_flood_is_taken_in_steps_and_read_no_further_meanwhile(data: bytes) -> None:
    async def scenario(bench: Bench) -> None:
        bench.intake.receive(data)
        steps = [bench.take()]
        while not bench.connection.reads:
            await asyncio.sleep(0)
            steps.append(bench.take())
        assert len(steps) > 10
        assert all(sum(map(sound_s, step)) <= STEP_S + 1e-9 for step in steps)
        assert all(len(step) <= STEP_FRAMES for step in steps)
        assert b"".join(one[3:] for step in steps for one in step) == b"".join(
            data[at + 3 : at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")]
            for at in starts(data)
        ), "all of it, in order"
        assert bench.refused == []

    bench(scenario)


def starts(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        found.append(at)
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    return found


def test_sound_far_ahead_of_the_clock_is_no_callers() -> None:
    async def scenario(bench: Bench) -> None:
        while not bench.refused:
            bench.intake.receive(SOUND * 50)
            await asyncio.sleep(0.001)
        taken_s = sum(map(sound_s, bench.taken))
        assert MOST_AHEAD_S - 0.05 <= taken_s <= MOST_AHEAD_S + 0.5
        assert "before it can have been said" in str(bench.refused[0])
        bench.take()
        bench.intake.receive(SOUND * 50)
        await asyncio.sleep(1.0)
        assert bench.take() == [] and len(bench.refused) == 1

    bench(scenario)


def test_a_network_that_stood_still_may_bring_it_all_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(5):
            bench.intake.receive(SOUND * 50)
            await asyncio.sleep(1.0)
        await asyncio.sleep(20.0)
        bench.intake.receive(SOUND * 50 * 20)
        await asyncio.sleep(1.0)
        assert bench.refused == []

    bench(scenario)


def test_who_was_silent_for_an_hour_has_not_earned_an_hour_of_flood() -> None:
    async def scenario(bench: Bench) -> None:
        bench.intake.receive(SOUND)
        await asyncio.sleep(3600.0)
        bench.intake.receive(SOUND * 50 * int(MOST_BEHIND_S + MOST_AHEAD_S + 1))
        await asyncio.sleep(1.0)
        assert bench.refused

    bench(scenario)


def test_what_is_held_waits_and_is_read_no_further() -> None:
    async def scenario(bench: Bench) -> None:
        bench.intake.hold(held=True)
        bench.intake.receive(SOUND * 2)
        await asyncio.sleep(1.0)
        assert bench.take() == []
        bench.intake.hold(held=False)
        assert bench.take() == [SOUND] * 2 and bench.connection.reads

    bench(scenario)


def test_behind_what_closed_the_connection_nothing_is_taken() -> None:
    async def scenario(bench: Bench) -> None:
        bench.intake.receive(SOUND * 50)
        bench.connection.closing = True
        before = len(bench.taken)
        await asyncio.sleep(1.0)
        assert len(bench.taken) == before

    bench(scenario)


def test_what_is_no_frame_is_told_once_behind_those_before_it() -> None:
    async def scenario(bench: Bench) -> None:
        bench.intake.receive(SOUND + b"GET / HTTP/1.1\r\n" + SOUND)
        bench.intake.receive(SOUND)
        assert bench.take() == [SOUND] and len(bench.refused) == 1

    bench(scenario)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4000), max_size=12))
def test_wherever_the_network_cuts_no_frame_is_lost(cuts: list[int]) -> None:
    frames = [frame(CALL, bytes(16)), *[SOUND] * 8, frame(KEY, b"5"), SOUND]
    data = b"".join(frames)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    async def scenario(bench: Bench) -> None:
        for start, end in zip(places, places[1:], strict=False):
            bench.intake.receive(data[start:end])
        await asyncio.sleep(1.0)
        assert bench.take() == frames

    bench(scenario)
