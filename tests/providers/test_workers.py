"""The pool of worker processes: it survives crashes, loses no audio and blocks nobody."""

import asyncio
import contextlib
import os
import signal

import pytest

from providers._worker_wire import (
    Begin,
    End,
    Failed,
    Feed,
    Final,
    ToWorker,
    Unpacker,
    pack,
    to_worker,
)
from providers._workers import ATTEMPTS, KEEP_S, Job, Result, WorkerPool, WorkersError

MODULE = "providers._pocketsphinx_worker"


class Sink:
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.done = asyncio.Event()

    def __call__(self, result: Result) -> None:
        self.results.append(result)
        if isinstance(result, (Final, Failed)):
            self.done.set()


@contextlib.asynccontextmanager
async def running(**options: int):  # type: ignore[no-untyped-def]
    pool = WorkerPool(MODULE, count=1, **options)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.aclose()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_messages_survive_any_cutting_of_the_pipe() -> None:
    sent: list[ToWorker] = [Begin(1, "en", "m"), Feed(1, bytes(range(256)) * 9), End(1)]
    stream = b"".join(pack(message) for message in sent)
    for size in (1, 3, 7, 1000, len(stream)):
        unpacker = Unpacker()
        got = [
            to_worker.decode(body)
            for start in range(0, len(stream), size)
            for body in unpacker.feed(stream[start : start + size])
        ]
        assert got == sent


def test_an_absurd_length_is_an_error_not_a_wait() -> None:
    with pytest.raises(ValueError, match="something else"):
        list(Unpacker().feed(b"\xff\xff\xff\xff"))


def test_a_crash_in_mid_utterance_is_survived_within_seconds() -> None:
    async def run() -> tuple[Result, float, int]:
        async with running() as pool:
            sink = Sink()
            job = pool.begin(sink)
            pool.feed(job, bytes(16_000))
            began = asyncio.get_running_loop().time()
            os.kill(pool.pids[0], signal.SIGKILL)
            pool.feed(job, bytes(16_000))
            pool.end(job)
            async with asyncio.timeout(20):
                await sink.done.wait()
            took = asyncio.get_running_loop().time() - began
            return sink.results[-1], took, pool.restarts

    result, took, restarts = asyncio.run(run())
    assert isinstance(result, Final) and restarts == 1
    assert took < 4  # RESTART_S and the model's loading, on a busy machine


def test_an_utterance_that_takes_down_every_worker_is_given_up_and_the_next_is_served() -> None:
    async def run() -> tuple[Result, list[Result]]:
        async with running() as pool:
            poison, probes = Sink(), [Sink() for _ in range(ATTEMPTS)]
            pool.begin(poison)
            for probe in probes:
                os.kill(pool.pids[0], signal.SIGKILL)
                pool.end(pool.begin(probe))  # behind the poison in the queue: its final says
                async with asyncio.timeout(20):  # that the next worker has it
                    await probe.done.wait()
            return poison.results[-1], [probe.results[-1] for probe in probes]

    given_up, served = asyncio.run(run())
    assert isinstance(given_up, Failed)
    assert all(isinstance(result, Final) for result in served)


def test_a_job_that_fails_inside_leaves_its_worker_alive() -> None:
    async def run() -> tuple[Result, int]:
        async with running() as pool:
            sink = Sink()
            pool.begin(sink, memory="no numbers")
            async with asyncio.timeout(10):
                await sink.done.wait()
            return sink.results[-1], pool.restarts

    result, restarts = asyncio.run(run())
    assert isinstance(result, Failed) and restarts == 0


def test_closing_the_pool_leaves_no_process() -> None:
    async def run() -> list[int]:
        async with running() as pool:
            pids: list[int] = pool.pids
            assert not any(gone(pid) for pid in pids)
        return pids

    assert all(gone(pid) for pid in asyncio.run(run()))


def test_a_worker_ends_when_its_stdin_does() -> None:
    async def run() -> int:
        async with running() as pool:
            process = pool._workers[0].process
            process.stdin.close()
            async with asyncio.timeout(5):
                return int(await process.wait())

    assert asyncio.run(run()) == 0


def test_a_worker_ignores_sigint_and_yields_to_the_loop() -> None:
    async def run() -> None:
        async with running() as pool:
            (pid,) = pool.pids
            assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
            os.kill(pid, signal.SIGINT)
            sink = Sink()
            job = pool.begin(sink)
            pool.end(job)
            async with asyncio.timeout(10):
                await sink.done.wait()
            assert pool.pids == [pid] and pool.restarts == 0

    asyncio.run(run())


def test_a_module_that_cannot_start_is_reported_with_its_own_words() -> None:
    async def run() -> None:
        await WorkerPool("providers.no_such_worker", count=1).start()

    with pytest.raises(WorkersError, match="no_such_worker"):
        asyncio.run(run())


def test_audio_beyond_the_limit_is_dropped_oldest_first_and_counted() -> None:
    job = Job(1, lambda result: None, "", "")
    assert job.keep(bytes(KEEP_S * 32_000)) == 0
    assert job.keep(b"\x01\x01" * 100) == 200
    pieces = []
    while (message := job.next_message()) is not None:
        pieces += [to_worker.decode(body) for body in Unpacker().feed(message)]
    pcm = b"".join(piece.pcm for piece in pieces if isinstance(piece, Feed))
    assert len(pcm) == KEEP_S * 32_000 and pcm.endswith(b"\x01\x01" * 100)
    assert job.keep(bytes(400)) == 0  # what was sent already is not lost


def test_feeding_a_minute_at_once_does_not_hold_the_loop() -> None:
    async def run() -> float:
        async with running() as pool:
            job = pool.begin(Sink())
            loop = asyncio.get_running_loop()
            began = loop.time()
            for _ in range(60):
                pool.feed(job, bytes(32_000))
            took = loop.time() - began
            pool.abandon(job)
            return took / 60

    assert asyncio.run(run()) < 0.002
