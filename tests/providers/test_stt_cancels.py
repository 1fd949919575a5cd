"""Utterances begun, ended, given up and closed in any order leave nothing in a recogniser."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from providers._workers import WorkerPool
from providers.base import STT, SttStream
from providers.stt_pocketsphinx import PocketsphinxSTT
from providers.stt_sherpa import SherpaSTT
from tests.cancels import cancels
from tests.providers import tiny_models
from tests.providers.voices import open_files, until

CALLS = 10


@asynccontextmanager
async def sherpa(folder: Path) -> AsyncIterator[tuple[STT, WorkerPool]]:
    tiny_models.nemo_ctc(folder)
    stt = SherpaSTT(folder)
    await stt.start()
    try:
        assert stt.pool is not None
        yield stt, stt.pool
    finally:
        await stt.aclose()


@asynccontextmanager
async def pocketsphinx(_: Path) -> AsyncIterator[tuple[STT, WorkerPool]]:
    stt = PocketsphinxSTT(workers=1, decoders=2)
    await stt.start()
    try:
        yield stt, stt.pool
    finally:
        await stt.aclose()


@pytest.mark.cancels
@pytest.mark.parametrize(("of", "few"), [(sherpa, 2000), (pocketsphinx, 300)])
def test_a_recogniser_is_left_with_nothing(of: type, few: int, tmp_path: Path) -> None:
    """The whole alphabet of a stream, in any order, on ten calls at a time."""
    chance = random.Random(7)
    pcm = np.random.default_rng(1).normal(0, 3000, 4000).astype("<i2").tobytes()

    async def main() -> None:
        async with of(tmp_path) as (stt, pool):
            files, tasks = open_files(), len(asyncio.all_tasks())
            calls: list[SttStream] = [stt.open(lambda result: None) for _ in range(CALLS)]
            for number in range(cancels(few)):
                at = chance.randrange(CALLS)
                match chance.randrange(7):
                    case 0 | 1:
                        calls[at].begin(number)
                    case 2:
                        calls[at].feed(pcm[: 2 * chance.randrange(len(pcm) // 2)])
                    case 3:
                        calls[at].end()
                    case 4:
                        calls[at].abandon()
                    case 5:
                        calls[at].abandon(number - chance.randrange(5 * CALLS))
                    case 6:
                        calls[at].close()
                        calls[at] = stt.open(lambda result: None)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.choice((0, 0, 0.002)))
            for call in calls:
                call.close()
            await stt.check()
            assert pool._jobs == {} and not pool._queue
            assert all(not worker.jobs for worker in pool._workers)
            await until(lambda: open_files() <= files)
            assert len(asyncio.all_tasks()) == tasks and pool.restarts == 0

    asyncio.run(main())
