"""A server that is told to stop while all speak, as callers, balancer and operator see it."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from voice.bench.config import BenchConfig
from voice.bench.draining import Drain, drained
from voice.bench.table import render_drain

GOOD = Drain(
    callers=3,
    heard=3,
    answered=3,
    codes={"1001": 3},
    ready_off_ms=4.0,
    refused_ms=3.0,
    refused_with=503,
    retry_s="10",
    last_call_s=4.0,
    exit_s=4.5,
    exit_status=0,
    second_exit_s=0.2,
    load_average=0.5,
)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"heard": 1}, "2 utterances were cut"),
        ({"answered": 2}, "1 answers were cut"),
        ({"codes": {"1001": 2, "1006": 1}}, "calls were closed with {'1001': 2, '1006': 1}"),
        ({"refused_with": 101}, "a new call got 101, not 503"),
        ({"retry_s": ""}, "a refused call was not told when to come again"),
        ({"exit_status": -15}, "the process ended with -15"),
        ({"second_exit_s": 9.0}, "a second signal took 9.0 s"),
    ],
)
def test_each_promise_that_is_not_kept_is_told(changed: dict[str, object], told: str) -> None:
    drain = msgspec.structs.replace(GOOD, **changed)
    assert drain.broken == [told]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_drain(drain))
    assert told in capture.get()
    assert GOOD.broken == []


def config(**changes: object) -> BenchConfig:
    return BenchConfig(spawn=True, callers=(3,), **changes)  # type: ignore[arg-type]


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="servers are pinned to cores")
def test_of_those_who_speak_nobody_is_cut_and_all_others_are_told() -> None:
    drain = asyncio.run(drained(config(), 3))
    assert drain.broken == []
    assert 2 <= int(drain.retry_s) <= 30
    assert drain.second_exit_s < drain.last_call_s < drain.exit_s


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="servers are pinned to cores")
def test_a_server_that_does_not_wait_is_found_out(tmp_path: Path) -> None:
    settings = tmp_path / "kaiwa.yaml"
    settings.write_text("server: {drain_s: 0}")
    drain = asyncio.run(drained(config(settings=str(settings)), 3))
    assert "3 utterances were cut" in drain.broken
    assert "3 answers were cut" in drain.broken
