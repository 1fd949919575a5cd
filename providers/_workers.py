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
from collections.abc import Callable, Coroutine, Sequence
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
    Refused,
    Trying,
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
"""Pause before the restart of a worker that died young; doubled while it does not get ready."""
RESTART_MOST_S = 5.0
YOUNG_S = 5.0
EXIT_S = 0.5
"""For a worker to end by itself once it has closed its stdout."""
STDERR_LINES = 20
LOOKS = 4
"""How often a worker is looked after within its limit of silence; one look late proves nothing."""

Result = Partial | Final | Failed


class WorkersError(Exception):
    """No worker could be started; the text holds what the worker said last."""

    is_refusal = False
    """Whether the worker said itself that it cannot serve, and why."""


class Job:
    """One utterance on its way to a final."""

    def __init__(
        self,
        number: int,
        sink: Callable[[Result], None],
        language: str = "",
        memory: str = "",
        former: "Job | None" = None,
        hotwords: Sequence[str] = (),
    ) -> None:
        self.number = number
        self.sink = sink
        self.language = language
        self.memory = memory
        """What it began with; once it is done, what it hands on."""
        self.former = former
        """The one of the same call that comes before it."""
        self.hotwords = tuple(hotwords)
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
        self,
        module: str,
        *,
        arguments: Sequence[str] = (),
        count: int | None = None,
        places: int = 4,
        start_limit_s: float = 30,
        hang_limit_s: float | None = None,
    ) -> None:
        """Args:
        module: Run as `python -m module PLACES ARGUMENTS`; calls `providers._worker_child.serve`
            or `providers._worker_batch.serve`.
        count: Default: one less than there are cores, so that the event loop keeps its own.
        hang_limit_s: A worker that says nothing for so long is taken for dead; for those that
            send `Beat`. None: one may be silent for ever.
        """
        self.module = module
        self.arguments = tuple(arguments)
        self.hang_limit_s = hang_limit_s
        self.start_limit_s = start_limit_s
        self.count = count or max(1, (os.cpu_count() or 2) - 1)
        self.places = places
        self.restarts = 0
        self.dropped_bytes = 0
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
                async with asyncio.timeout(self.start_limit_s):
                    while first and not self.alive:
                        _, rest = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                        first = list(rest)
            except TimeoutError:
                pass
            finally:
                for waiter in first:
                    waiter.cancel()
            if not self.alive:
                refusal = next((w.refusal for w in self._workers if w.refusal), "")
                said = next((w.last_words for w in self._workers if w.last_words), "nothing")
                await self.aclose()
                error = WorkersError(refusal or f"{self.module} did not start; it said: {said}")
                error.is_refusal = bool(refusal)
                raise error

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
        hotwords: Sequence[str] = (),
    ) -> Job:
        """Args:
        former: Is waited for, and what it hands on goes before `memory`.
        """
        job = Job(self._next_number, sink, language, memory, former, hotwords)
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
        elif job in self._queue:
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

    def _lost(self, jobs: list[Job], tried: int) -> None:
        """Their worker died, while it tried this one if that is among them."""
        is_known = any(job.number == tried for job in jobs)
        for job in reversed(jobs):
            if job.number not in self._jobs:
                continue  # abandoned by the sink of one that was given up on just now
            job.rewind()
            if is_known and job.number != tried:
                job.attempts -= 1  # another one took it down
            if job.attempts >= ATTEMPTS:
                self._result(Failed(job.number, f"it took down {ATTEMPTS} workers"))
            else:
                self._queue.appendleft(job)
        self._assign()

    def _not_started(self, said: str) -> None:
        """A worker died before it was ready: with no other left, nobody waits for it in vain."""
        if not self.alive:
            waiting, self._queue = self._queue, deque()
            for job in waiting:
                self._result(Failed(job.number, f"the recogniser does not start; it said: {said}"))

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
        self.refusal = ""
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._draining = False
        self._tried = 0
        self._is_heard = False

    @property
    def last_words(self) -> str:
        return "\n".join(self._stderr)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = RESTART_S
        while True:
            began = loop.time()
            was_ready = await self._live()
            self.is_ready = False
            self.settled.set()
            jobs, self.jobs = list(self.jobs.values()), {}
            tried, self._tried = self._tried, 0
            self._pool.restarts += 1
            log.warning("worker_died", module=self._pool.module, jobs=len(jobs))
            self._pool._lost(jobs, tried)
            if was_ready:
                pause = RESTART_S
            else:
                self._pool._not_started(self.refusal or self.last_words)
            if loop.time() - began < YOUNG_S or not was_ready:
                await asyncio.sleep(pause)
                pause = RESTART_S if was_ready else min(2 * pause, RESTART_MOST_S)

    def stop(self) -> None:
        self.is_ready = False
        self.kill()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            # It holds nothing that would have to be saved. Not process.kill(): that polls, and may
            # so take the exit status away from asyncio's own watcher (seen on Python 3.11).
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def _live(self) -> bool:
        """From spawn to death of one process. Returns whether it got ready."""
        # One thread a process: the cores are shared out by the number of processes.
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._pool.module,
                str(self._pool.places),
                *self._pool.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environ,
                start_new_session=True,  # Ctrl-C is for the server, while this one still loads too
            )
        except OSError as error:
            self._stderr.append(str(error))
            return False
        self._pool._spawn(self._listen_to_stderr(self.process))
        watch = asyncio.create_task(self._watch())
        try:
            await self._receive(self.process)
            was_ready = self.is_ready
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_S):
                    await self.process.wait()
            return was_ready
        finally:
            watch.cancel()
            self.stop()
            with contextlib.suppress(Exception):
                if self.process.stdin is not None:
                    self.process.stdin.close()
            await self.process.wait()

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        unpacker = Unpacker()
        while piece := await process.stdout.read(1 << 16):
            self._is_heard = True
            try:
                messages = [from_worker.decode(body) for body in unpacker.feed(piece)]
            except (ValueError, msgspec.DecodeError):
                log.exception("worker_spoke_nonsense", module=self._pool.module)
                return
            for message in messages:
                match message:
                    case Ready():
                        self.is_ready = True
                        self.settled.set()
                        self._pool._assign()
                    case Refused(reason):
                        self.refusal = reason
                    case Trying(job):
                        self._tried = job
                    case Partial() | Final() | Failed():
                        self._pool._result(message)

    async def _watch(self) -> None:
        """Kill it once it has been silent for too long, as a stopped or stuck process is."""
        limit_s = self._pool.hang_limit_s
        if limit_s is None:
            return
        silent_s = 0.0
        while silent_s < (limit_s if self.is_ready else self._pool.start_limit_s):
            await asyncio.sleep(limit_s / LOOKS)
            silent_s = 0.0 if self._is_heard else silent_s + limit_s / LOOKS
            self._is_heard = False
        log.warning("worker_hangs", module=self._pool.module, silent_s=silent_s)
        self.kill()

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
        careful = job.attempts > 1
        self._write(pack(Begin(job.number, job.language, job.memory, careful, job.hotwords)))
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
