"""One clock for many: each every 20 ms, not all at once, and only while somebody is there."""

import asyncio
from collections.abc import Callable

import pytest

from mocks.clock import now, run_virtual
from voice.transports.metronome import PLACES, Metronome, metronome


def counting(beats: dict[str, list[float]], name: str) -> Callable[[float], None]:
    return lambda at: beats.setdefault(name, []).append(now())


def test_everybody_is_asked_every_20_ms_and_a_quarter_of_them_at_a_time() -> None:
    beats: dict[str, list[float]] = {}

    async def run() -> None:
        clock = Metronome(asyncio.get_running_loop())
        for number in range(2 * PLACES):
            clock.join(number, counting(beats, str(number)))
        await asyncio.sleep(1.0)
        for number in range(2 * PLACES):
            clock.leave(number)

    run_virtual(run())
    for times in beats.values():
        assert len(times) == pytest.approx(50, abs=1)
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        assert gaps == pytest.approx([0.02] * len(gaps), abs=0.001)
    at_once = [time for times in beats.values() for time in times]
    assert max(at_once.count(time) for time in at_once) == 2


def test_it_stands_still_while_nobody_is_there() -> None:
    async def run() -> None:
        clock = Metronome(asyncio.get_running_loop())
        clock.join("a", lambda at: None)
        await asyncio.sleep(0.1)
        clock.leave("a")
        assert len(clock) == 0
        await asyncio.sleep(10)

    run_virtual(run())


@pytest.mark.parametrize("after_s", [0.0211, 0.0261, 0.0311, 0.0361])
def test_who_is_in_haste_is_asked_within_5_ms_and_then_every_20(after_s: float) -> None:
    beats: dict[str, list[float]] = {}

    async def run() -> None:
        clock = Metronome(asyncio.get_running_loop())
        clock.join("a", counting(beats, "a"))
        await asyncio.sleep(after_s)
        beats.clear()
        clock.hasten("a")
        await asyncio.sleep(0.1)
        clock.leave("a")

    run_virtual(run())
    times = beats["a"]
    assert times[0] - after_s <= 0.0055
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == pytest.approx(
        [0.02] * (len(times) - 1), abs=0.001
    )


def test_one_that_breaks_does_not_stop_the_others() -> None:
    beats: dict[str, list[float]] = {}

    def broken(at: float) -> None:
        raise RuntimeError("ours")

    async def run() -> None:
        clock = Metronome(asyncio.get_running_loop())
        for _ in range(PLACES):
            clock.join(object(), broken)
        clock.join("a", counting(beats, "a"))
        await asyncio.sleep(0.5)
        clock.leave("a")

    run_virtual(run())
    assert len(beats["a"]) >= 24


def test_there_is_one_for_each_loop() -> None:
    async def same() -> bool:
        return metronome() is metronome()

    assert run_virtual(same())
