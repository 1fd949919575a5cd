"""What `kaiwa bench-stt` says of a recogniser whose delays are known."""

import asyncio

import pytest

from mocks.clock import run_virtual
from mocks.faults import LAST, ScriptedFault
from mocks.stt import EchoSTT
from voice.bench.stt import IN_TIME_MS, Streams, measure, rows

SPEECH = bytes(2 * 16_000)


def measured(stt: EchoSTT, callers: int = 3) -> Streams:
    async def run() -> Streams:
        try:
            return await measure(stt, callers, 20.0, SPEECH)
        finally:
            assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []

    return run_virtual(run())


def test_finals_are_timed_from_the_end_of_speech() -> None:
    found = measured(EchoSTT(final_delay_ms=40))
    assert found.final.p50 == pytest.approx(40) and found.final.p99 == pytest.approx(40)
    assert found.held and found.lost == 0
    assert 3 * 12 < found.finals < 3 * 20


def test_a_recogniser_that_is_late_does_not_hold_so_many() -> None:
    assert not measured(EchoSTT(final_delay_ms=IN_TIME_MS + 1)).held


def test_what_is_lost_is_counted_and_not_held() -> None:
    found = measured(EchoSTT(faults=[ScriptedFault(kind="fail", request=2, item=LAST)]))
    assert found.lost == 1 and not found.held


def test_a_row_says_whether_so_many_are_held() -> None:
    (row,) = rows([measured(EchoSTT(final_delay_ms=40))])
    assert row[:2] == ("3", "yes") and row[4:7] == ("40.0", "40.0", "40.0")
