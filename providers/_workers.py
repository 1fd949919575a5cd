"""Worker processes for recognisers that need a whole core: the loop never waits for one.

    begin ─▶ queue ─▶ the worker with most room ─▶ final
                 │        └─ died ─▶ back to the queue's head, replayed from its first sample
                 └─ no worker, and none about to be one ─▶ failed, see `_give_up`

    _worker_job      one utterance and its audio
    _worker_process  one process, from start to death
    _worker          a process started again, and the jobs it has
    _workers         all of them, and the jobs that wait

A call has one place at most: its next job waits for the final of its former.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import structlog

from providers._worker import Worker
from providers._worker_job import BYTES_S, Job, Result
from providers._worker_process import Command
from providers._worker_wire import BEAT_S, Failed, Final, Partial

log = structlog.get_logger(__name__)

ATTEMPTS = 3
"""Workers one job may take down before it is taken for the cause."""
GIVE_UP_STARTS = 3
GIVE_UP_S = 2.0
"""A job waits for no worker any more when so many starts in a row failed, or it has waited so long:
one start may fail by itself, and a caller is about to ask whether anybody is there."""
HANG_LIMIT_S = 20 * BEAT_S
CLOSE_S = 2.0


class WorkersError(Exception):
    """No worker could be started; the text holds what the worker said last."""

    is_refusal = False
    """Whether the worker said itself that it cannot serve, and why."""


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
        hang_limit_s: float = HANG_LIMIT_S,
    ) -> None:
        """Args:
        module: Run as `python -m module PLACES ARGUMENTS`; calls `providers._worker_child.serve`
            or `providers._worker_batch.serve`.
        count: Default: one less than there are cores, so that the event loop keeps its own.
        start_limit_s: A worker that is not ready by then is killed and started again.
        hang_limit_s: Likewise one that says nothing for so long, not even that it is alive.
        """
        self._command = Command(
            module=module,
            places=places,
            arguments=tuple(arguments),
            start_limit_s=start_limit_s,
            hang_limit_s=hang_limit_s,
        )
        self.count = count or max(1, (os.cpu_count() or 2) - 1)
        self.restarts = 0
        self._failed_starts = 0
        """In a row."""
        self._workers: list[Worker] = []
        self._jobs: dict[int, Job] = {}
        self._places: dict[int, Worker] = {}
        """Which worker has which job."""
        self._queue: deque[Job] = deque()
        self._next_number = 1
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """From start to close, whatever becomes of the processes."""
        return bool(self._workers)

    @property
    def alive(self) -> int:
        """Workers that are ready for jobs now."""
        return sum(worker.is_ready for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def trouble(self) -> str:
        """Why none of them can serve now; empty: one can. Costs nothing."""
        if any(worker.is_well for worker in self._workers):
            return ""
        return next((worker.trouble for worker in self._workers), "it is not running")

    # --- from start to close ---

    async def start(self) -> None:
        """Returns when the first worker is ready. Raises WorkersError if none gets there."""
        async with self._starting:
            if self._workers:
                return
            workers = self._workers = [Worker(self._command, self) for _ in range(self.count)]
            try:
                for worker in workers:
                    self.keep_task(worker.run())
                await self._first_settled(workers)
            except BaseException:
                await self.aclose()
                raise

    async def _first_settled(self, workers: Sequence[Worker]) -> None:
        waiting = {asyncio.create_task(worker.settled.wait()) for worker in workers}
        late = ""
        try:
            async with asyncio.timeout(self._command.start_limit_s):
                while waiting and not self.alive:
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            late = f" within {self._command.start_limit_s:g} s"
        finally:
            for waiter in waiting:
                waiter.cancel()
        if self.alive:
            return
        if self._workers is not workers:
            raise WorkersError(f"{self._command.module} was closed while it started")
        refusal = next((worker.refusal for worker in workers if worker.refusal), "")
        said = next((worker.last_words for worker in workers if worker.last_words), "nothing")
        error = WorkersError(
            refusal or f"{self._command.module} did not start{late}; it said: {said}"
        )
        error.is_refusal = bool(refusal)
        raise error

    async def aclose(self) -> None:
        """Jobs that still wait for their final fail."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        # Each is cancelled once: a second time would tear it from the burial of its process.
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        self._fail([*self._jobs.values()], "the recogniser was closed")
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    def keep_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._tasks.discard(task))

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
        sink: Never called before this returns.
        former: Is waited for, and what it hands on goes before `memory`.
        """
        job = Job(self._next_number, sink, language, memory, former, hotwords)
        self._next_number += 1
        self._jobs[job.number] = job
        if self.is_open:
            self._queue.append(job)
            self._be_patient_with([job])
            self._assign()
        else:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._fail, [job], "the recogniser is closed")
        return job

    def feed(self, job: Job, pcm: bytes) -> None:
        if job.number in self._jobs and not job.is_ended:
            job.keep(pcm)
            self._send(job)

    def end(self, job: Job) -> None:
        if job.number in self._jobs:
            job.is_ended = True
            self._send(job)

    def abandon(self, job: Job) -> None:
        if self._jobs.pop(job.number, None) is None:
            return
        self._close(job)
        if (worker := self._places.pop(job.number, None)) is not None:
            worker.forget(job)
        elif job in self._queue:
            self._queue.remove(job)
        self._assign()

    def _close(self, job: Job, memory: str = "") -> None:
        job.close(memory)
        if job.lost_bytes:
            lost_s = round(job.lost_bytes / BYTES_S, 1)
            log.warning("recogniser_fell_behind", module=self._command.module, lost_s=lost_s)

    def _send(self, job: Job) -> None:
        if (worker := self._places.get(job.number)) is not None:
            worker.send_from(job)

    def _assign(self) -> None:
        for job in [job for job in self._queue if not self._waits_for_former(job)]:
            free = [w for w in self._workers if w.is_ready and len(w.jobs) < self._command.places]
            if not free:
                return
            self._queue.remove(job)
            worker = self._places[job.number] = min(free, key=lambda worker: len(worker.jobs))
            worker.take(job)

    def _waits_for_former(self, job: Job) -> bool:
        return job.former is not None and job.former.number in self._jobs

    def _fail(self, jobs: Sequence[Job], reason: str) -> None:
        for job in jobs:
            if job in self._queue:
                self._queue.remove(job)
            self._result(Failed(job.number, reason))

    def _result(self, message: Result) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            return  # abandoned while the answer was under way
        if not isinstance(message, Partial):
            del self._jobs[job.number]
            self._close(job, message.memory if isinstance(message, Final) else "")
            if (worker := self._places.pop(job.number, None)) is not None:
                worker.jobs.pop(job.number, None)
            self._assign()
        try:
            job.sink(message)
        except Exception:
            log.exception("recogniser_sink_failed")  # one caller's fault must not stop the others

    # --- told by the workers ---

    def worker_ready(self) -> None:
        self._failed_starts = 0
        self._assign()

    def worker_said(self, worker: Worker, message: Result) -> None:
        if self._places.get(message.job) is worker:
            self._result(message)

    def worker_died(self, jobs: list[Job], tried: int) -> None:
        self.restarts += 1
        is_known = any(job.number == tried for job in jobs)
        for job in reversed(jobs):
            if job.number not in self._jobs:
                continue  # abandoned by the sink of one that was given up on just now
            del self._places[job.number]
            job.rewind()
            if is_known and job.number != tried:
                job.attempts -= 1  # another one took it down
            if job.attempts >= ATTEMPTS:
                self._result(Failed(job.number, f"it took down {ATTEMPTS} workers"))
            else:
                self._queue.appendleft(job)
        self._be_patient_with(self._queue)
        self._assign()

    def worker_not_started(self) -> None:
        self.restarts += 1
        self._failed_starts += 1
        self._give_up()

    # --- without a worker ---

    def _be_patient_with(self, jobs: Collection[Job]) -> None:
        if jobs and not self.alive:
            loop = asyncio.get_running_loop()
            for job in jobs:
                job.waits_since = loop.time()
            # A turn later: where the loop itself was held up, a start is due in this turn, too.
            loop.call_later(GIVE_UP_S, loop.call_soon, self._give_up)

    def _give_up(self) -> None:
        """Nobody waits in vain: jobs fail where there is no worker, nor one being started.

        Called when a start failed, and when a job has waited for long.
        """
        if any(worker.is_ready or worker.is_starting for worker in self._workers):
            return
        latest = asyncio.get_running_loop().time() - GIVE_UP_S + 0.01  # timers come early, too
        is_hopeless = self._failed_starts >= GIVE_UP_STARTS
        lost = [job for job in self._queue if is_hopeless or job.waits_since <= latest]
        self._fail(lost, f"the recogniser does not start: {self.trouble}")
