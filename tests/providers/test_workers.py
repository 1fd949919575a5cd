"""The pool of worker processes: it survives crashes, loses no audio and blocks nobody."""

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from providers._worker_child import NEARLY_BYTES, STEP_BYTES, _Worker
from providers._worker_wire import (
    Begin,
    End,
    Failed,
    Feed,
    Final,
    Partial,
    ToWorker,
    Unpacker,
    from_worker,
    pack,
    to_worker,
)
from providers._workers import ATTEMPTS, KEEP_S, Job, Result, WorkerPool, WorkersError
from tests.providers.batch_worker import POISON
from tests.providers.echo_worker import Echo

MODULE = "providers._pocketsphinx_worker"
ECHO = "tests.providers.echo_worker"
BATCH = "tests.providers.batch_worker"


class Sink:
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.done = asyncio.Event()

    def __call__(self, result: Result) -> None:
        self.results.append(result)
        if isinstance(result, (Final, Failed)):
            self.done.set()


@contextlib.asynccontextmanager
async def running(module: str = MODULE, **options: Any):  # type: ignore[no-untyped-def]
    pool = WorkerPool(module, count=1, **options)
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


def noise(seconds: float, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(round(seconds * 16_000) * 2)


def echo_of(pcm: bytes) -> str:
    return f"{len(pcm)} {hashlib.sha256(pcm).hexdigest()}"


@pytest.mark.parametrize("at", ["0", "3200", "32000", "end"])
@pytest.mark.parametrize("seconds", [1.5, 40.0])  # 40 s: more than a pipe and its buffer hold
def test_after_a_crash_every_byte_is_heard_once_and_in_order(
    tmp_path: Path, at: str, seconds: float
) -> None:
    pcm, after, other = noise(seconds, 1), noise(0.5, 2), noise(seconds, 3)

    async def run() -> tuple[list[Result], int]:
        async with running(ECHO) as pool:
            sinks = [Sink(), Sink()]
            process = pool._workers[0].process
            crashing = pool.begin(sinks[0], memory=f"die {tmp_path} {at}")
            bystander = pool.begin(sinks[1])
            for start in range(0, len(pcm), 6400):
                pool.feed(crashing, pcm[start : start + 6400])
                pool.feed(bystander, other[start : start + 6400])
            if at == "end":
                pool.end(crashing)
            async with asyncio.timeout(20):
                await process.wait()
                pool.feed(crashing, after)  # while there is no worker
                pool.end(crashing)
                pool.end(bystander)
                for sink in sinks:
                    await sink.done.wait()
            return [sink.results[-1] for sink in sinks], pool.restarts

    results, restarts = asyncio.run(run())
    assert restarts == 1
    heard = [" ".join(result.text.split()[:2]) for result in results if isinstance(result, Final)]
    assert heard == [echo_of(pcm if at == "end" else pcm + after), echo_of(other)]


def test_a_call_takes_one_place_however_many_utterances_it_sends_at_once() -> None:
    async def run() -> tuple[list[int], list[Sink]]:
        async with running(ECHO, places=2) as pool:
            order: list[int] = []
            sinks = [Sink() for _ in range(7)]

            def sink_of(number: int) -> Callable[[Result], None]:
                def receive(result: Result) -> None:
                    sinks[number](result)
                    if isinstance(result, Final):
                        order.append(number)

                return receive

            former = None
            for number in range(6):
                former = pool.begin(sink_of(number), former=former)
                pool.feed(former, noise(20, number))
                pool.end(former)
            other = pool.begin(sink_of(6))
            pool.end(other)
            async with asyncio.timeout(20):
                for sink in sinks:
                    await sink.done.wait()
            return order, sinks

    order, sinks = asyncio.run(run())
    assert [number for number in order if number != 6] == list(range(6))
    assert order.index(6) <= 1
    finals = [sink.results[-1] for sink in sinks]
    for number in range(1, 6):
        former, own = finals[number - 1], finals[number]
        assert isinstance(former, Final) and isinstance(own, Final)
        assert own.text.split()[2] == former.memory


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
            pool.end(pool.begin(sink, memory="no numbers"))
            async with asyncio.timeout(10):
                await sink.done.wait()
            return sink.results[-1], pool.restarts

    result, restarts = asyncio.run(run())
    assert isinstance(result, Failed) and restarts == 0


def test_one_utterance_that_kills_its_worker_takes_no_other_with_it() -> None:
    """Ten callers in one process; one of them says what brings it down, each time."""

    async def run() -> tuple[list[Result], int]:
        async with running(BATCH, places=64) as pool:
            sinks = [Sink() for _ in range(10)]
            jobs = [pool.begin(sink) for sink in sinks]
            for number, job in enumerate(jobs):
                for _ in range(10):
                    pool.feed(job, bytes(3200))
                pool.feed(job, POISON if number == 4 else bytes(len(POISON)))
                pool.end(job)
            async with asyncio.timeout(20):
                for sink in sinks:
                    await sink.done.wait()
            return [sink.results[-1] for sink in sinks], pool.restarts

    results, restarts = asyncio.run(run())
    lost = [number for number, result in enumerate(results) if isinstance(result, Failed)]
    assert lost == [4] and restarts == ATTEMPTS
    heard = {result.text for result in results if isinstance(result, Final)}
    assert heard == {str(32_000 + len(POISON))}


def test_a_stopped_worker_is_found_by_its_silence_and_its_jobs_go_on() -> None:
    async def run() -> tuple[Result, int]:
        async with running(BATCH, hang_limit_s=1) as pool:
            sink = Sink()
            job = pool.begin(sink)
            pool.feed(job, bytes(16_000))
            os.kill(pool.pids[0], signal.SIGSTOP)
            pool.feed(job, bytes(16_000))
            pool.end(job)
            async with asyncio.timeout(20):
                await sink.done.wait()
            return sink.results[-1], pool.restarts

    assert asyncio.run(run()) == (Final(1, "32000"), 1)


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


def test_audio_sent_at_once_takes_turns_with_speech_and_what_is_nearly_through_goes_first() -> None:
    minute, spoken, nearly = 1, 2, 3
    reader, writer = os.pipe()
    worker = _Worker(Echo(), writer)
    messages: list[ToWorker] = [
        *(Begin(minute), Feed(minute, bytes(60 * 32_000)), End(minute)),
        *(Begin(spoken), Feed(spoken, bytes(STEP_BYTES))),
        *(Begin(nearly), Feed(nearly, bytes(NEARLY_BYTES)), End(nearly)),
    ]
    for message in messages:
        worker._receive(pack(message)[4:])
    for _ in range(NEARLY_BYTES // STEP_BYTES + 2):
        worker._step()
    os.close(writer)
    with open(reader, "rb") as stream:
        sent = [from_worker.decode(body) for body in Unpacker().feed(stream.read())]
    assert Partial(spoken, str(STEP_BYTES)) in sent
    finals = [at for at, message in enumerate(sent) if isinstance(message, Final)]
    early = [message for message in sent[: finals[0]] if isinstance(message, Partial)]
    assert {message.job for message in early} == {nearly}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_outlives_the_signals_that_stop_a_service(number: signal.Signals) -> None:
    async def run() -> None:
        async with running(ECHO) as pool:
            (pid,) = pool.pids
            os.kill(pid, number)
            sink = Sink()
            pool.end(pool.begin(sink))
            async with asyncio.timeout(10):
                await sink.done.wait()
            assert pool.pids == [pid] and pool.restarts == 0

    asyncio.run(run())


def test_a_worker_gets_no_signals_of_the_terminal_and_yields_to_the_loop() -> None:
    async def run() -> None:
        async with running(ECHO) as pool:
            (pid,) = pool.pids
            assert os.getpgid(pid) != os.getpgid(0)
            assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)

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
