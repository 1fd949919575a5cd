"""Worker processes for recognisers that need a whole core: the loop never waits for one.

    begin ─▶ queue ─▶ the worker with most room ─▶ final
                          └─ died ─▶ back to the queue's head, replayed from its first sample

A job (one utterance) keeps its audio here until its final. That one buffer is what waits for a
free place, what is resent to a slow worker's pipe, and what is replayed after a crash. A call has
one place at most: its next job waits for the final of its former, and begins with its memory.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from providers._worker_wire import (
    Abandon,
    Begin,
    End,
    Failed,
    Feed,
    Final,
    Partial,
    Ready,
    Unpacker,
    from_worker,
    pack,
)

log = structlog.get_logger(__name__)

BYTES_S = 32_000
KEEP_S = 60
"""Audio of one job that is kept; beyond it the oldest is dropped and counted."""
PIPE_BYTES = 1 << 18
"""Above this a worker is behind, and what it does not get yet stays in the jobs' buffers."""
FEED_BYTES = 1 << 15
ATTEMPTS = 3
"""Workers one job may take down before it is taken for the cause."""
RESTART_S = 0.5
"""Pause before the restart of a worker that died young."""
YOUNG_S = 5.0
EXIT_S = 0.5
"""For a worker to end by itself once it has closed its stdout."""
STDERR_LINES = 20

Result = Partial | Final | Failed


class WorkersError(Exception):
    """No worker could be started; the text holds what the worker said last."""


class Job:
    """One utterance on its way to a final."""

    def __init__(
        self,
        number: int,
        sink: Callable[[Result], None],
        language: str = "",
        memory: str = "",
        former: "Job | None" = None,
    ) -> None:
        self.number = number
        self.sink = sink
        self.language = language
        self.memory = memory
        """What it began with; once it is done, what it hands on."""
        self.former = former
        """The one of the same call that comes before it."""
        self.worker: _Worker | None = None
        self.attempts = 0
        self.dropped_bytes = 0
        self.is_ended = False
        self._end_sent = False
        self._pcm = bytearray()
        self._sent = 0

    def keep(self, pcm: bytes) -> int:
        """Returns the bytes dropped for it."""
        self._pcm += pcm
        over = max(0, len(self._pcm) - KEEP_S * BYTES_S)
        over += over % 2
        del self._pcm[:over]
        self.dropped_bytes += max(0, over - self._sent)
        lost = max(0, over - self._sent)
        self._sent = max(0, self._sent - over)
        return lost

    def close(self) -> None:
        """Done; who keeps it keeps no audio."""
        self._pcm.clear()

    def rewind(self) -> None:
        """What was sent is lost with its worker."""
        self.worker = None
        self._sent = 0
        self._end_sent = False

    def next_message(self) -> bytes | None:
        """What the worker has not been sent yet, a piece at a time."""
        if self._sent < len(self._pcm):
            piece = bytes(self._pcm[self._sent : self._sent + FEED_BYTES])
            self._sent += len(piece)
            return pack(Feed(self.number, piece))
        if self.is_ended and not self._end_sent:
            self._end_sent = True
            return pack(End(self.number))
        return None


class WorkerPool:
    """`count` processes of `module`, each with at most `places` jobs at a time."""

    def __init__(
        self, module: str, *, count: int | None = None, places: int = 4, start_limit_s: float = 30
    ) -> None:
        """Args:
        module: Run as `python -m module PLACES`; calls `providers._worker_child.serve`.
        count: Default: one less than there are cores, so that the event loop keeps its own.
        """
        self.module = module
        self.count = count or max(1, (os.cpu_count() or 2) - 1)
        self.places = places
        self.restarts = 0
        self.dropped_bytes = 0
        self._start_limit_s = start_limit_s
        self._workers: list[_Worker] = []
        self._jobs: dict[int, Job] = {}
        self._queue: deque[Job] = deque()
        self._next_number = 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    @property
    def alive(self) -> int:
        """Workers that are ready for jobs now."""
        return sum(worker.is_ready for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        return [w.process.pid for w in self._workers if w.process is not None]

    async def start(self) -> None:
        """Returns when the first worker is ready. Raises WorkersError if none gets there."""
        async with self._starting:
            if self._workers:
                return
            self._workers = [_Worker(self) for _ in range(self.count)]
            for worker in self._workers:
                self._spawn(worker.run())
            first = [asyncio.ensure_future(w.settled.wait()) for w in self._workers]
            try:
                async with asyncio.timeout(self._start_limit_s):
                    while first and not self.alive:
                        _, rest = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                        first = list(rest)
            except TimeoutError:
                pass
            finally:
                for waiter in first:
                    waiter.cancel()
            if not self.alive:
                said = next((w.last_words for w in self._workers if w.last_words), "nothing")
                await self.aclose()
                raise WorkersError(f"{self.module} did not start; it said: {said}")

    async def aclose(self) -> None:
        self._queue.clear()
        self._jobs.clear()
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)

    # --- jobs ---

    def begin(
        self,
        sink: Callable[[Result], None],
        *,
        language: str = "",
        memory: str = "",
        former: Job | None = None,
    ) -> Job:
        """Args:
        former: Is waited for, and what it hands on goes before `memory`.
        """
        job = Job(self._next_number, sink, language, memory, former)
        self._next_number += 1
        self._jobs[job.number] = job
        self._queue.append(job)
        self._assign()
        return job

    def feed(self, job: Job, pcm: bytes) -> None:
        if job.number in self._jobs and not job.is_ended:
            self.dropped_bytes += job.keep(pcm)
            if job.worker is not None:
                job.worker.send_from(job)

    def end(self, job: Job) -> None:
        if job.number in self._jobs:
            job.is_ended = True
            if job.worker is not None:
                job.worker.send_from(job)

    def abandon(self, job: Job) -> None:
        if self._jobs.pop(job.number, None) is None:
            return
        job.close()
        if job.worker is not None:
            job.worker.forget(job)
        else:
            self._queue.remove(job)
        self._assign()

    # --- called by the workers ---

    def _assign(self) -> None:
        for job in [job for job in self._queue if not self._waits_for_former(job)]:
            free = [w for w in self._workers if w.is_ready and len(w.jobs) < self.places]
            if not free:
                return
            self._queue.remove(job)
            min(free, key=lambda worker: len(worker.jobs)).take(job)

    def _waits_for_former(self, job: Job) -> bool:
        return job.former is not None and job.former.number in self._jobs

    def _result(self, message: Result) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            return  # abandoned while the answer was under way
        if not isinstance(message, Partial):
            del self._jobs[message.job]
            job.close()
            if isinstance(message, Final):
                job.memory = message.memory or job.memory
            if job.worker is not None:
                job.worker.jobs.pop(job.number, None)
            self._assign()
        try:
            job.sink(message)
        except Exception:
            log.exception("recogniser_sink_failed")  # one caller's fault must not stop the others

    def _lost(self, jobs: list[Job]) -> None:
        """Their worker died."""
        for job in reversed(jobs):
            if job.number not in self._jobs:
                continue  # abandoned by the sink of one that was given up on just now
            job.rewind()
            if job.attempts >= ATTEMPTS:
                self._result(Failed(job.number, f"it took down {ATTEMPTS} workers"))
            else:
                self._queue.appendleft(job)
        self._assign()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Worker:
    """One process, started again whenever it dies."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self.process: asyncio.subprocess.Process | None = None
        self.jobs: dict[int, Job] = {}
        self.is_ready = False
        self.settled = asyncio.Event()
        """Ready for the first time, or dead for the first time."""
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._draining = False

    @property
    def last_words(self) -> str:
        return "\n".join(self._stderr)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._live()
            self.is_ready = False
            self.settled.set()
            jobs, self.jobs = list(self.jobs.values()), {}
            self._pool.restarts += 1
            log.warning("worker_died", module=self._pool.module, jobs=len(jobs))
            self._pool._lost(jobs)
            if loop.time() - began < YOUNG_S:
                await asyncio.sleep(RESTART_S)

    def stop(self) -> None:
        self.is_ready = False
        if self.process is not None and self.process.returncode is None:
            # It holds nothing that would have to be saved. Not process.kill(): that polls, and may
            # so take the exit status away from asyncio's own watcher (seen on Python 3.11).
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def _live(self) -> None:
        """From spawn to death of one process."""
        # One thread a process: the cores are shared out by the number of processes.
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._pool.module,
                str(self._pool.places),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environ,
                start_new_session=True,  # Ctrl-C is for the server, while this one still loads too
            )
        except OSError as error:
            self._stderr.append(str(error))
            return
        self._pool._spawn(self._listen_to_stderr(self.process))
        try:
            await self._receive(self.process)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_S):
                    await self.process.wait()
        finally:
            self.stop()
            with contextlib.suppress(Exception):
                if self.process.stdin is not None:
                    self.process.stdin.close()
            await self.process.wait()

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        unpacker = Unpacker()
        while piece := await process.stdout.read(1 << 16):
            try:
                messages = [from_worker.decode(body) for body in unpacker.feed(piece)]
            except (ValueError, msgspec.DecodeError):
                log.exception("worker_spoke_nonsense", module=self._pool.module)
                return
            for message in messages:
                if isinstance(message, Ready):
                    self.is_ready = True
                    self.settled.set()
                    self._pool._assign()
                else:
                    self._pool._result(message)

    async def _listen_to_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(4096):
            self._stderr.extend(piece.decode(errors="replace").splitlines())

    # --- sending: never waits ---

    def take(self, job: Job) -> None:
        job.worker = self
        job.attempts += 1
        self.jobs[job.number] = job
        if job.former is not None:
            job.memory, job.former = job.former.memory or job.memory, None
        self._write(pack(Begin(job.number, job.language, job.memory)))
        self.send_from(job)

    def send_from(self, job: Job) -> None:
        """As much as the pipe takes; `_drain` sends the rest."""
        while not self._draining:
            if self._is_behind():
                self._draining = True
                self._pool._spawn(self._drain())
            elif (message := job.next_message()) is not None:
                self._write(message)
            else:
                return

    def forget(self, job: Job) -> None:
        if self.jobs.pop(job.number, None) is not None:
            self._write(pack(Abandon(job.number)))

    def _write(self, data: bytes) -> None:
        if self.process is not None and self.process.stdin is not None and self.is_ready:
            with contextlib.suppress(OSError, RuntimeError):  # dying; _receive will see it
                self.process.stdin.write(data)

    def _is_behind(self) -> bool:
        stdin = self.process.stdin if self.process is not None else None
        return stdin is not None and stdin.transport.get_write_buffer_size() > PIPE_BYTES

    async def _drain(self) -> None:
        try:
            assert self.process is not None and self.process.stdin is not None
            with contextlib.suppress(ConnectionError):
                await self.process.stdin.drain()
        finally:
            self._draining = False
        for job in list(self.jobs.values()):
            self.send_from(job)
