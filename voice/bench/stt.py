"""How many callers a recogniser follows: streams in real time, no server in between.

each caller   20 ms frames, due every 20 ms: speech, end, wait for the final, a pause, again
final         from the end of the speech to the final transcript
lag           how late this process's event loop comes to a 10 ms timer meanwhile
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence

import msgspec

from providers.base import LISTEN_RATE_HZ, STT, Hypothesis, SttFailure
from voice.bench.weight import weigh
from voice.timeline import Percentiles, Summary

FRAME_S = 0.02
_FRAME_BYTES = int(LISTEN_RATE_HZ * FRAME_S) * 2
PROBE_S = 0.01
IN_TIME_MS = 150.0
"""A final later than this behind the speech would hold an answer up."""


class Streams(msgspec.Struct, frozen=True):
    """What so many callers at a time found; times in ms."""

    callers: int
    finals: int
    lost: int
    final: Summary
    lag: Summary
    cores: float
    """Of this process and its workers."""

    @property
    def held(self) -> bool:
        return not self.lost and self.final.p95 is not None and self.final.p95 <= IN_TIME_MS


async def measure(stt: STT, callers: int, seconds: float, pcm: bytes, *, seed: int = 1) -> Streams:
    """Args:
    pcm: What each caller says, s16le mono at 16 kHz.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    finals, lags = Percentiles(100_000), Percentiles(1_000_000)
    lost = 0
    before = weigh(os.getpid())
    async with asyncio.TaskGroup() as group:
        probe = group.create_task(_probe(lags))
        chance = random.Random(seed)
        calls = [
            group.create_task(_call(stt, pcm, until, finals, random.Random(chance.random())))
            for _ in range(callers)
        ]
        for call in calls:
            lost += await call
        probe.cancel()
    after = weigh(os.getpid())
    cores = (after.cpu - before.cpu) / (after.at - before.at) if before and after else 0.0
    now = loop.time()
    final = finals.summary(now)
    return Streams(callers, final.count, lost, final, lags.summary(now), cores)


async def _call(
    stt: STT, pcm: bytes, until: float, finals: Percentiles, chance: random.Random
) -> int:
    """Returns how many utterances were lost."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    lost = 0

    def sink(fact: Hypothesis | SttFailure) -> None:
        nonlocal lost
        lost += isinstance(fact, SttFailure)
        if isinstance(fact, SttFailure) or fact.is_final:
            over.set()

    stream = stt.open(sink)
    with contextlib.closing(stream):
        await asyncio.sleep(chance.random() * 2)
        utterance = 0
        while loop.time() < until:
            utterance += 1
            over.clear()
            stream.begin(utterance)
            began = loop.time()
            for number, start in enumerate(range(0, len(pcm), _FRAME_BYTES), 1):
                stream.feed(pcm[start : start + _FRAME_BYTES])
                await asyncio.sleep(max(0.0, began + number * FRAME_S - loop.time()))
            stream.end()
            ended = loop.time()
            await over.wait()
            finals.add((loop.time() - ended) * 1000, loop.time())
            await asyncio.sleep(chance.random() * 0.3)
    return lost


async def _probe(lags: Percentiles) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            due = loop.time() + PROBE_S
            await asyncio.sleep(PROBE_S)
            lags.add(max(0.0, loop.time() - due) * 1000, loop.time())


def rows(found: Sequence[Streams]) -> list[tuple[str, ...]]:
    """For a table, a row a step."""
    return [
        (
            str(one.callers),
            "yes" if one.held else "no",
            str(one.finals),
            str(one.lost),
            *(_ms(value) for value in (one.final.p50, one.final.p95, one.final.p99)),
            *(_ms(value) for value in (one.lag.p50, one.lag.p99)),
            f"{one.cores:.2f}",
        )
        for one in found
    ]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
