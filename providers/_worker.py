"""One worker of a pool: a process that is started again whenever it dies, and the jobs it has.

took its jobs ─▶ died ─▶ jobs go back to the pool ─▶ pause ─▶ another process ─▶ ready ─▶ …
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import structlog

from providers._worker_job import Job, Result
from providers._worker_process import Command, WorkerProcess
from providers._worker_wire import Abandon, Failed, Final, FromWorker, Partial, Ready, Trying, pack

log = structlog.get_logger(__name__)

RESTART_S = 0.5
RESTART_MOST_S = 10.0
SAME_PAUSES = 3
"""So often the pause stays the same: an utterance may take down as many before it is given up, and
those who speak at the same time should not wait longer for that."""
LONG_LIFE_S = 30.0
TRACE = ("Traceback (most recent call last)", '  File "')
"""How one begins; of a long one, which is cut to its last lines, the second."""
SAID_CHARS = 500
"""Of its last words in the log."""


class Pauses:
    """How long to wait before a worker is started again.

        lived     40 s   0.2 s   1 s    2 s    1 s   never ready …   31 s
        pause     0      0.5     0.5    0.5    1     2  4  8  10 …   0

    A life counts from when it was ready, so that neither a model that takes long to load nor a
    machine without memory, which kills it as soon as it works, is met by one start after another.
    """

    def __init__(self) -> None:
        self._short_lives = 0

    def after(self, lived_s: float) -> float:
        """Args:
        lived_s: Since it was ready; 0: it never was.
        """
        if lived_s >= LONG_LIFE_S:
            self._short_lives = 0
            return 0.0
        self._short_lives += 1
        doublings = max(0, self._short_lives - SAME_PAUSES)
        return float(min(RESTART_MOST_S, RESTART_S * 2 ** min(doublings, 10)))


def without_traces(words: str) -> str:
    """Of each traceback only its last line, which is what was wrong."""
    kept: list[str] = []
    in_trace = False
    for line in words.split("\n"):
        in_trace = line.startswith(TRACE) or (in_trace and (line.startswith(" ") or not line))
        if not in_trace:
            kept.append(line)
    return "\n".join(kept)


class Deaths:
    """One that cannot live, as without the GPU it was asked for, dies every few seconds."""

    def __init__(self) -> None:
        self._said, self._times = "", 0

    def tells(self, said: str, *, lived: bool) -> int:
        """How often in a row it has died so, the 1st, 2nd, 4th … time; 0: told often enough."""
        again = said == self._said and not lived
        self._said, self._times = said, self._times + 1 if again else 1
        return self._times if self._times & (self._times - 1) == 0 else 0


class Owner(Protocol):
    """What a worker tells its pool."""

    def worker_ready(self) -> None: ...

    def worker_said(self, worker: "Worker", message: Result) -> None: ...

    def worker_died(self, jobs: list[Job], tried: int) -> None:
        """Args:
        tried: The job that it had named before, if it had.
        """

    def worker_not_started(self) -> None: ...

    def keep_task(self, coroutine: Coroutine[Any, Any, None]) -> None: ...


class Worker:
    """See the module."""

    def __init__(self, command: Command, owner: Owner) -> None:
        self._command = command
        self._owner = owner
        self._process = WorkerProcess(command, self._receive)
        self._drained: WorkerProcess | None = None
        """The process that is behind, and waited for."""
        self.jobs: dict[int, Job] = {}
        self._tried = 0
        self.settled = asyncio.Event()
        """Ready for the first time, or dead for the first time."""
        self.last_words = ""
        """Of the last process that died."""
        self.refusal = ""

    @property
    def is_ready(self) -> bool:
        return self._process.is_ready

    @property
    def is_starting(self) -> bool:
        """Its process is loading; False in the pause before."""
        return self._process.is_starting

    @property
    def is_well(self) -> bool:
        return self._process.is_well

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def trouble(self) -> str:
        """Why it cannot serve now."""
        if self._process.is_stopped:
            return f"its process {self.pid} is stopped, as by SIGSTOP; resume it (kill -CONT)"
        if self._process.is_ready:
            return f"its process has said nothing for {self._process.silent_s:g} s"
        if not self.last_words:
            return "its process is being started"
        return f"its process died and is being started again; it said: {self.last_words}"

    async def run(self) -> None:
        pauses, deaths = Pauses(), Deaths()
        while True:
            process = self._process = WorkerProcess(self._command, self._receive)
            try:
                await process.live()
            except Exception:  # whatever it was, the next one may live
                log.exception("worker_watch_broke", module=self._command.module)
            now = asyncio.get_running_loop().time()
            jobs, self.jobs = list(self.jobs.values()), {}
            tried, self._tried = self._tried, 0
            self.last_words, self.refusal = without_traces(process.last_words), process.refusal
            said = process.last_words[-SAID_CHARS:]
            if times := deaths.tells(said, lived=process.ready_at is not None):
                told = {"module": self._command.module, "jobs": len(jobs), "said": said}
                log.warning("worker_died", **told, times=times)
            self.settled.set()
            if process.ready_at is None:
                self._owner.worker_not_started()
            else:
                self._owner.worker_died(jobs, tried)
            lived_s = 0.0 if process.ready_at is None else now - process.ready_at
            await asyncio.sleep(pauses.after(lived_s))

    def stop(self) -> None:
        """At once; `run` is to be cancelled besides."""
        self.settled.set()
        self._process.kill()

    def _receive(self, message: FromWorker) -> None:
        match message:
            case Ready():
                self.settled.set()
                self._owner.worker_ready()
            case Trying(job):
                self._tried = job
            case Partial() | Final() | Failed():
                self._owner.worker_said(self, message)

    # --- sending: never waits ---

    def take(self, job: Job) -> None:
        self.jobs[job.number] = job
        self._process.write(job.begin_message())
        self.send_from(job)

    def send_from(self, job: Job) -> None:
        """As much as the pipe takes; `_drain` sends the rest."""
        while self._drained is not self._process:
            if self._process.is_behind:
                self._drained = self._process
                self._owner.keep_task(self._drain(self._process))
            elif (message := job.next_message()) is not None:
                self._process.write(message)
            else:
                return

    def forget(self, job: Job) -> None:
        if self.jobs.pop(job.number, None) is not None:
            self._process.write(pack(Abandon(job.number)))

    async def _drain(self, process: WorkerProcess) -> None:
        try:
            await process.drain()
        finally:
            if self._drained is process:
                self._drained = None
        for job in list(self.jobs.values()):
            self.send_from(job)
