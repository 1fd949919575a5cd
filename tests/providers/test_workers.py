"""The pool of worker processes: it survives crashes, loses no audio and blocks nobody."""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import uvloop

from providers import _child_process, _worker
from providers._worker_job import Result
from providers._worker_process import MUTE_S
from providers._worker_wire import BEAT_S, Failed, Final
from providers._workers import (
    ATTEMPTS,
    GIVE_UP_S,
    GIVE_UP_STARTS,
    HANG_LIMIT_S,
    WorkerPool,
    WorkersError,
)
from tests.providers.batch_worker import POISON

MODULE = "providers._pocketsphinx_worker"
ECHO = "tests.providers.echo_worker"
BATCH = "tests.providers.batch_worker"
SCRIPTED = "tests.providers.scripted_worker"

LIMIT_S = 60.0
"""For whatever must come; short of it, nothing here is a matter of the machine's speed."""

Run = Callable[[Coroutine[Any, Any, Any]], Any]
on_both_loops = pytest.mark.parametrize("on_loop", [asyncio.run, uvloop.run])


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


async def until(is_it: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not is_it():  # noqa: ASYNC110  a process's state has no event
            await asyncio.sleep(0.005)


async def echoed(pool: WorkerPool) -> Result:
    """One job without audio, to its end."""
    sink = Sink()
    pool.end(pool.begin(sink))
    async with asyncio.timeout(LIMIT_S):
        await sink.done.wait()
    return sink.results[-1]


def scripted(folder: Path, *lives: str) -> dict[str, Any]:
    (folder / "lives").write_text(" ".join(lives))
    return {"module": SCRIPTED, "arguments": [str(folder)]}


def starts(folder: Path) -> list[float]:
    return [float(at) for at in (folder / "starts").read_text().split()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.real_time
def test_a_crash_in_mid_utterance_is_survived_in_a_pause_and_a_start() -> None:
    async def run() -> tuple[Result, float, float, int]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with running() as pool:
            start_s = loop.time() - began
            sink = Sink()
            job = pool.begin(sink)
            pool.feed(job, bytes(16_000))
            began = loop.time()
            os.kill(pool.pids[0], signal.SIGKILL)
            pool.feed(job, bytes(16_000))
            pool.end(job)
            async with asyncio.timeout(LIMIT_S):
                await sink.done.wait()
            return sink.results[-1], loop.time() - began, start_s, pool.restarts

    result, took_s, start_s, restarts = asyncio.run(run())
    assert isinstance(result, Final) and restarts == 1
    assert took_s < _worker.RESTART_S + 3 * start_s + 1.0


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
            crashing = pool.begin(sinks[0], memory=f"die {tmp_path} {at}")
            bystander = pool.begin(sinks[1])
            for start in range(0, len(pcm), 6400):
                pool.feed(crashing, pcm[start : start + 6400])
                pool.feed(bystander, other[start : start + 6400])
            if at == "end":
                pool.end(crashing)
            async with asyncio.timeout(LIMIT_S):
                await until(lambda: pool.restarts == 1)
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
            async with asyncio.timeout(LIMIT_S):
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
                async with asyncio.timeout(LIMIT_S):  # that the next worker has it
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
            async with asyncio.timeout(LIMIT_S):
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
            async with asyncio.timeout(LIMIT_S):
                for sink in sinks:
                    await sink.done.wait()
            return [sink.results[-1] for sink in sinks], pool.restarts

    results, restarts = asyncio.run(run())
    lost = [number for number, result in enumerate(results) if isinstance(result, Failed)]
    assert lost == [4] and restarts == ATTEMPTS
    heard = {result.text for result in results if isinstance(result, Final)}
    assert heard == {str(32_000 + len(POISON))}


@pytest.mark.parametrize("module", [ECHO, BATCH])
@pytest.mark.real_time
def test_a_stopped_worker_is_found_by_its_silence_and_its_jobs_go_on(module: str) -> None:
    async def run() -> tuple[Result, int]:
        async with running(module, hang_limit_s=1) as pool:
            sink = Sink()
            job = pool.begin(sink)
            pool.feed(job, bytes(16_000))
            os.kill(pool.pids[0], signal.SIGSTOP)
            pool.feed(job, bytes(16_000))
            pool.end(job)
            async with asyncio.timeout(LIMIT_S):
                await sink.done.wait()
            return sink.results[-1], pool.restarts

    result, restarts = asyncio.run(run())
    assert isinstance(result, Final) and result.text.split()[0] == "32000" and restarts == 1


@pytest.mark.parametrize("module", [ECHO, BATCH])
@pytest.mark.real_time
def test_one_with_nothing_to_do_is_not_taken_for_a_stopped_one(module: str) -> None:
    async def run() -> tuple[int, str]:
        async with running(module, hang_limit_s=1) as pool:
            await asyncio.sleep(2)
            return pool.restarts, pool.trouble

    assert asyncio.run(run()) == (0, "")


@pytest.mark.real_time
def test_closing_the_pool_leaves_no_process() -> None:
    async def run() -> list[int]:
        async with running() as pool:
            pids: list[int] = pool.pids
            assert not any(gone(pid) for pid in pids)
        return pids

    assert all(gone(pid) for pid in asyncio.run(run()))


@pytest.mark.parametrize("module", [MODULE, ECHO, BATCH])
def test_a_worker_ends_when_its_stdin_does(module: str) -> None:
    worker = subprocess.run(
        [sys.executable, "-m", module, "4"], input=b"", capture_output=True, timeout=LIMIT_S
    )
    assert worker.returncode == 0, worker.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_outlives_the_signals_that_stop_a_service(number: signal.Signals) -> None:
    async def run() -> None:
        async with running(ECHO) as pool:
            (pid,) = pool.pids
            os.kill(pid, number)
            sink = Sink()
            pool.end(pool.begin(sink))
            async with asyncio.timeout(LIMIT_S):
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


@pytest.mark.real_time
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


# --- starting, restarting, closing ---


@pytest.mark.real_time
def test_a_worker_that_hangs_while_it_starts_again_is_killed_and_the_next_one_serves(
    tmp_path: Path,
) -> None:
    """ready ─▶ killed ─▶ started, silent ── start_limit_s ──▶ killed ─▶ started ─▶ final"""

    async def run() -> tuple[Result, int]:
        script = scripted(tmp_path, "serve", "hang")
        async with running(**script, start_limit_s=4) as pool:
            os.kill(pool.pids[0], signal.SIGKILL)
            await until(lambda: len(starts(tmp_path)) >= 3)
            return await echoed(pool), pool.restarts

    result, restarts = asyncio.run(run())
    assert isinstance(result, Final) and restarts == 2


def test_a_worker_that_hangs_in_its_first_start_is_an_error_that_says_how_long(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        script = scripted(tmp_path, "hang")
        with pytest.raises(WorkersError, match=r"did not start within 1 s"):
            await WorkerPool(**script, count=1, start_limit_s=1).start()

    asyncio.run(run())


def test_a_worker_killed_from_outside_is_told_as_that(tmp_path: Path) -> None:
    async def run() -> None:
        await WorkerPool(**scripted(tmp_path, "killed"), count=1).start()

    with pytest.raises(WorkersError, match=r"ended by SIGKILL, as the system does when memory"):
        asyncio.run(run())


@pytest.mark.real_time
def test_a_machine_without_memory_is_not_asked_faster_and_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ready, killed at once ─▶ pause ─▶ ready, killed at once ─▶ pause … each time loaded anew

    Loading takes 0.3 s, longer than the life that counts as long here: it is no part of a life.
    """
    monkeypatch.setattr(_worker, "LONG_LIFE_S", 0.25)
    monkeypatch.setattr(_worker, "RESTART_S", 0.1)

    async def run() -> None:
        async with running(**scripted(tmp_path, *["brief"] * 5)) as pool:
            await until(lambda: pool.alive and pool.restarts == 5)
            assert isinstance(await echoed(pool), Final)

    asyncio.run(run())
    at = starts(tmp_path)
    gaps = [b - a for a, b in zip(at[:-1], at[1:], strict=True)]
    assert min(gaps) >= 0.39 and gaps[4] >= 0.3 + 0.1 * 4 - 0.01


def test_a_dead_worker_whose_output_somebody_else_holds_open_is_replaced(tmp_path: Path) -> None:
    async def run() -> Result:
        before = await settled_files()
        async with running(**scripted(tmp_path, "held"), hang_limit_s=1) as pool:
            try:
                os.kill(pool.pids[0], signal.SIGKILL)
                sink = Sink()
                pool.end(pool.begin(sink))
                async with asyncio.timeout(LIMIT_S):
                    await sink.done.wait()
            finally:
                os.kill(int((tmp_path / "holder").read_text()), signal.SIGKILL)
            result = sink.results[-1]
        await until(lambda: open_files() <= before)  # the pipe that was held is given back
        return result

    assert isinstance(asyncio.run(run()), Final)


@pytest.mark.parametrize("refused", [1, 3])
def test_a_machine_that_has_no_process_to_give_is_asked_again_before_and_after_jobs_fail(
    refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = _child_process._spawn
    refusals: list[Exception] = [
        *[BlockingIOError(11, "no more processes")] * (refused - 1),
        MemoryError("no more processes"),
    ]

    def refuse(*args: Any) -> Any:
        if refusals:
            raise refusals.pop(0)
        return spawn(*args)

    async def run() -> tuple[list[Result], int]:
        async with running(ECHO) as pool:
            monkeypatch.setattr(_child_process, "_spawn", refuse)
            waiting = Sink()
            job = pool.begin(waiting)
            os.kill(pool.pids[0], signal.SIGKILL)
            await until(lambda: pool.restarts)
            pool.end(job)
            async with asyncio.timeout(LIMIT_S):
                await waiting.done.wait()
            await until(lambda: pool.alive)
            return [waiting.results[-1], await echoed(pool)], pool.restarts

    (first, second), restarts = asyncio.run(run())
    if refused < GIVE_UP_STARTS:
        assert isinstance(first, Final)
    else:
        assert isinstance(first, Failed) and "no more processes" in first.reason
    assert isinstance(second, Final) and restarts == 1 + refused


def test_one_failed_start_takes_nothing_from_those_whom_another_worker_will_serve(
    tmp_path: Path,
) -> None:
    """both killed ─▶ one of the next two ends at once, the other loads for 2 s ─▶ final"""

    async def run() -> tuple[Result, int]:
        pool = WorkerPool(**scripted(tmp_path, "serve", "serve", "killed", "slow"), count=2)
        await pool.start()
        try:
            await until(lambda: pool.alive == 2)
            waiting = Sink()
            job = pool.begin(waiting)
            for pid in pool.pids:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: pool.restarts >= 2)
            pool.end(job)
            async with asyncio.timeout(LIMIT_S):
                await waiting.done.wait()
            return waiting.results[-1], pool.restarts
        finally:
            await pool.aclose()

    result, restarts = asyncio.run(run())
    assert isinstance(result, Final) and restarts == 3


@pytest.mark.real_time
def test_nobody_waits_longer_than_two_seconds_for_a_worker_that_is_not_even_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pause before the next start is long, as after many deaths."""
    monkeypatch.setattr(_worker, "RESTART_S", 8.0)

    async def run() -> tuple[Result, float]:
        async with running(ECHO) as pool:
            os.kill(pool.pids[0], signal.SIGKILL)
            await until(lambda: pool.restarts)
            loop = asyncio.get_running_loop()
            began = loop.time()
            return await echoed(pool), loop.time() - began

    result, took_s = asyncio.run(run())
    assert isinstance(result, Failed) and "SIGKILL" in result.reason
    assert GIVE_UP_S - 0.1 < took_s < GIVE_UP_S + 1


@on_both_loops
def test_a_loop_that_was_held_up_for_longer_starts_a_worker_before_it_gives_anybody_up(
    on_loop: Run,
) -> None:
    """killed ─▶ pause ─── the machine stands still, past both ───▶ started ─▶ final"""

    async def run() -> Result:
        async with running(ECHO) as pool:
            sink = Sink()
            job = pool.begin(sink)
            os.kill(pool.pids[0], signal.SIGKILL)
            await until(lambda: pool.restarts)
            time.sleep(GIVE_UP_S + 0.2)  # noqa: ASYNC251  # that is what is tried
            pool.end(job)
            async with asyncio.timeout(LIMIT_S):
                await sink.done.wait()
            return sink.results[-1]

    assert isinstance(on_loop(run()), Final)


@on_both_loops
def test_closed_at_any_moment_of_its_start_it_leaves_nothing(on_loop: Run) -> None:
    """start ─▶ 1, 2, 3 … turns of the loop ─▶ aclose: the start ends with an error, at once"""

    async def run() -> None:
        descriptors = open_files()
        for turns in range(1, 12):
            pool = WorkerPool(ECHO, count=2)
            start = asyncio.create_task(pool.start())
            for _ in range(turns):
                await asyncio.sleep(0.0 if turns < 6 else 0.004)
            await pool.aclose()
            async with asyncio.timeout(10):  # a start that is not ended waits for thrice as long
                try:
                    await start
                except WorkersError as error:
                    assert "closed while it started" in str(error)
                else:  # how many turns a start takes is the machine's affair; one is too few
                    assert turns > 1
            assert pool.pids == [] and not pool.is_open
            await until(lambda: len(asyncio.all_tasks()) == 1)
            await until(lambda: children() == [])  # uvloop reaps a moment later
        await until(lambda: open_files() <= descriptors + 2)  # the loop's own, once

    on_loop(run())


@on_both_loops
def test_a_start_that_is_cancelled_leaves_nothing_and_may_be_tried_again(
    on_loop: Run, tmp_path: Path
) -> None:
    async def run() -> None:
        pool = WorkerPool(**scripted(tmp_path, "hang"), count=1)
        starting = asyncio.create_task(pool.start())
        await until((tmp_path / "start-0").exists)  # the next life is the next process's
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled() and not pool.is_open
        await until(lambda: children() == [])
        await pool.start()
        assert isinstance(await echoed(pool), Final)
        await pool.aclose()

    on_loop(run())


def test_what_waits_for_a_final_when_the_pool_is_closed_is_told() -> None:
    async def run() -> list[list[Result]]:
        pool = WorkerPool(ECHO, count=1, places=1)
        await pool.start()
        served, waiting, late = Sink(), Sink(), Sink()
        pool.begin(served)
        pool.begin(waiting)
        await pool.aclose()
        pool.end(pool.begin(late))
        assert late.results == []  # not before begin() has returned
        await asyncio.sleep(0)
        return [sink.results for sink in (served, waiting, late)]

    served, waiting, late = asyncio.run(run())
    assert served == [Failed(1, "the recogniser was closed")]
    assert waiting == [Failed(2, "the recogniser was closed")]
    assert late == [Failed(3, "the recogniser is closed")]


def test_audio_that_is_lost_behind_a_slow_worker_is_told() -> None:
    async def run() -> None:
        async with running(ECHO, places=1) as pool:
            first, waiting = pool.begin(Sink()), pool.begin(Sink())
            pool.feed(waiting, bytes(70 * 32_000))
            for job in (waiting, first):
                pool.abandon(job)

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run())
    assert [entry["lost_s"] for entry in logs if entry["event"] == "recogniser_fell_behind"] == [10]


@on_both_loops
def test_deaths_leave_no_descriptor_no_task_and_no_zombie(
    on_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_worker, "RESTART_S", 0.01)

    async def run() -> None:
        async with running(ECHO) as pool:
            await echoed(pool)
            before = await settled_files(), len(asyncio.all_tasks())
            for deaths in range(1, 9):
                job = pool.begin(Sink())
                pool.feed(job, noise(20, 1))  # more than the pipe takes: somebody waits for it
                os.kill(pool.pids[0], signal.SIGKILL)
                await until(lambda deaths=deaths: pool.restarts == deaths and pool.alive)  # type: ignore[misc]
                pool.abandon(job)
            await echoed(pool)
            await until(lambda: (open_files(), len(asyncio.all_tasks())) == before)
            await until(lambda: children() == pool.pids)

    on_loop(run())


@on_both_loops
def test_a_worker_inherits_nothing_of_the_server(on_loop: Run, tmp_path: Path) -> None:
    """A pipe of another worker's in it, and that one would not notice that the server died."""

    async def run() -> None:
        with (tmp_path / "secret").open("w"):
            pool = WorkerPool(ECHO, count=2)
            await pool.start()
            await until(lambda: pool.alive == 2)
            held = [held_by(pid) for pid in pool.pids]
            await pool.aclose()
        assert not held[0] & held[1], held
        assert all(len(files) == 3 for files in held), held

    on_loop(run())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settled_files() -> int:
    """Their number once what others closed a moment ago is gone."""
    seen = [open_files()]
    while len(seen) < 3 or len(set(seen[-3:])) > 1:
        await asyncio.sleep(0.01)
        seen.append(open_files())
    return seen[-1]


def held_by(pid: int) -> set[str]:
    """What is open in a process, /dev/null and the like left out."""
    names = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return {name for name in names if not name.startswith("/dev/")} - handed_down()


def handed_down() -> set[str]:
    """What this process was itself given for its children, by whoever runs the tests."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # listdir's own
            if os.get_inheritable(int(fd)):
                found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


@pytest.fixture(autouse=True)
def _others() -> None:
    """Servers that other tests keep for the whole run."""
    OTHERS[:] = []
    OTHERS[:] = children()


OTHERS: list[int] = []


def children() -> list[int]:
    """Of this process since the test began, zombies too."""
    pid = os.getpid()
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError):  # it ended while we looked
            listed = Path(f"/proc/{pid}/task/{thread}/children")
            found += map(int, listed.read_text().split())
    return [pid for pid in found if pid not in OTHERS]


# --- whether one can serve ---


@pytest.mark.real_time
def test_an_idle_death_is_trouble_at_once_and_none_once_it_is_repaired() -> None:
    async def run() -> tuple[str, int]:
        async with running(ECHO) as pool:
            assert pool.trouble == ""
            os.kill(pool.pids[0], signal.SIGKILL)
            async with asyncio.timeout(1):
                await until(lambda: pool.trouble)
            trouble = str(pool.trouble)
            await until(lambda: not pool.trouble)
            return trouble, pool.restarts

    trouble, restarts = asyncio.run(run())
    assert "SIGKILL" in trouble or "being started" in trouble
    assert restarts == 1


async def time_to_trouble(pool: WorkerPool, limit_s: float) -> tuple[float, str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(limit_s):
        await until(lambda: pool.trouble)
    return loop.time() - began, pool.trouble


@pytest.mark.real_time
def test_a_stopped_worker_is_trouble_at_once() -> None:
    async def run() -> tuple[float, str]:
        async with running(ECHO) as pool:
            os.kill(pool.pids[0], signal.SIGSTOP)
            found = await time_to_trouble(pool, 5)
            assert pool.alive == 1
            os.kill(pool.pids[0], signal.SIGCONT)
            await until(lambda: not pool.trouble)
            assert not pool.restarts
            return found

    took_s, trouble = asyncio.run(run())
    assert took_s < 1 and "is stopped, as by SIGSTOP" in trouble


@pytest.mark.real_time
def test_one_that_waits_for_ever_in_its_work_is_trouble_before_it_is_killed(tmp_path: Path) -> None:
    async def run() -> tuple[float, str]:
        async with running(**scripted(tmp_path, "stuck"), hang_limit_s=HANG_LIMIT_S) as pool:
            pool.end(pool.begin(Sink()))
            found = await time_to_trouble(pool, 9)
            assert pool.alive == 1 and not pool.restarts
            return found

    took_s, trouble = asyncio.run(run())
    assert MUTE_S - BEAT_S < took_s < HANG_LIMIT_S / 2 and "has said nothing for" in trouble


@pytest.mark.real_time
def test_one_that_has_no_time_to_say_a_word_is_no_trouble_for_long(tmp_path: Path) -> None:
    """As on a machine that is busy: silent like the one above, but it computes."""

    async def run() -> str:
        async with running(**scripted(tmp_path, "busy"), hang_limit_s=HANG_LIMIT_S) as pool:
            pool.end(pool.begin(Sink()))
            with contextlib.suppress(TimeoutError):
                return (await time_to_trouble(pool, MUTE_S + 2 * BEAT_S))[1]
            return ""

    assert asyncio.run(run()) == ""


def test_one_of_two_workers_dead_is_no_trouble() -> None:
    async def run() -> str:
        pool = WorkerPool(ECHO, count=2)
        await pool.start()
        await until(lambda: pool.alive == 2)
        os.kill(pool.pids[0], signal.SIGKILL)
        await until(lambda: pool.restarts == 1)
        trouble = pool.trouble
        await pool.aclose()
        return trouble + pool.trouble

    assert asyncio.run(run()) == "it is not running"
