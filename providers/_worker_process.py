"""One worker process, from its start to its death.

start ─▶ Ready ─▶ messages … ─▶ its stdout ends ─▶ killed if need be, its last words read
  │                  └─ silent for hang_limit_s ──▶ killed ─▶ …
  └─ not ready within start_limit_s ──────────────▶ killed ─▶ …
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable

import msgspec
import structlog

from providers._worker_wire import (
    Beat,
    FromWorker,
    Ready,
    Refused,
    Unpacker,
    from_worker,
)

log = structlog.get_logger(__name__)

PIPE_BYTES = 1 << 18
"""Above this a worker is behind, and what it does not get yet stays in the jobs' buffers."""
EXIT_S = 0.5
"""For a worker to end by itself once it has closed its stdout, and once it was killed."""
STDERR_LINES = 20
LOOKS = 4
"""How often a worker is looked after within its limit of silence; one look late proves nothing."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker is started, and how long it may be silent."""

    module: str
    places: int
    arguments: tuple[str, ...] = ()
    start_limit_s: float
    """Until it is ready."""
    hang_limit_s: float
    """From then on, between two words; it sends `Beat` where it has nothing to say."""


class WorkerProcess:
    """Lives once; a worker that is started again is another one."""

    def __init__(self, command: Command, receive: Callable[[FromWorker], None]) -> None:
        """Args:
        receive: Is given every message but Refused and Beat, on the event loop.
        """
        self._command = command
        self._deliver = receive
        self._process: asyncio.subprocess.Process | None = None
        self.is_ready = False
        """For jobs, now."""
        self.is_starting = False
        """It may yet become so."""
        self.ready_at: float | None = None
        self.refusal = ""
        """Why it cannot serve as it was started, in its own words."""
        self.silent_s = 0.0
        self._is_heard = False
        self._is_killed = False
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._end = ""

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        is_running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and is_running else None

    @property
    def is_well(self) -> bool:
        """Ready, and heard of lately."""
        return self.is_ready and self.silent_s < self._command.hang_limit_s / 2

    @property
    def last_words(self) -> str:
        return self.refusal or "\n".join(filter(None, (*self._stderr, self._end))) or "nothing"

    async def live(self) -> None:
        """Returns when it is dead. Cancelled, it kills it."""
        self.is_starting = True
        try:
            await self._live()
        finally:
            self.is_starting = False

    async def _live(self) -> None:
        try:
            process = self._process = await self._start()
        except (OSError, MemoryError) as error:
            self._end = f"no process can be started: {error!r}"
            return
        stderr = asyncio.create_task(self._listen_to_stderr(process))
        reading = asyncio.create_task(self._read(process))
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((reading, watch), return_when=asyncio.FIRST_COMPLETED)
            self.is_ready = False
            if reading.done():
                reading.result()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EXIT_S):
                        await process.wait()
        finally:
            self.is_ready = False
            watch.cancel()
            reading.cancel()
            await self._bury(process, stderr)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._command.module,
            str(self._command.places),
            *self._command.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # One thread a process: the cores are shared out by the number of processes.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the server, while this one still loads too
        )

    async def _bury(
        self, process: asyncio.subprocess.Process, stderr: "asyncio.Task[None]"
    ) -> None:
        """A process that the kernel does not let go (a driver hangs) is waited for no longer."""
        self.kill()
        if process.stdin is not None:
            with contextlib.suppress(Exception):
                process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_S):
                await process.wait()
                await stderr
        stderr.cancel()
        self._end = self._end or _end_of(process.returncode, self._is_killed)

    def kill(self) -> None:
        self.is_ready = self.is_starting = False
        if self._process is not None and self._process.returncode is None:
            self._is_killed = True
            # It holds nothing that would have to be saved. Not process.kill(): that polls, and may
            # so take the exit status away from asyncio's own watcher (seen on Python 3.11).
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    # --- what it says ---

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        unpacker = Unpacker()
        while piece := await process.stdout.read(1 << 16):
            self._is_heard = True
            self.silent_s = 0.0
            try:
                messages = [from_worker.decode(body) for body in unpacker.feed(piece)]
            except (ValueError, msgspec.DecodeError) as error:
                self._end = f"it spoke nonsense: {error}"
                return
            for message in messages:
                self._receive(message)

    def _receive(self, message: FromWorker) -> None:
        match message:
            case Ready():
                self.is_ready, self.is_starting = True, False
                self.ready_at = asyncio.get_running_loop().time()
                self._deliver(message)
            case Refused(reason):
                self.refusal = reason
            case Beat():
                pass
            case _:
                self._deliver(message)

    async def _watch(self) -> None:
        """Returns once it has been silent for too long, as a stopped or stuck process is."""
        command = self._command
        look_s = min(command.start_limit_s, command.hang_limit_s) / LOOKS
        while self.silent_s < (command.hang_limit_s if self.is_ready else command.start_limit_s):
            await asyncio.sleep(look_s)
            self.silent_s = 0.0 if self._is_heard else self.silent_s + look_s
            self._is_heard = False
        log.warning("worker_hangs", module=command.module, silent_s=self.silent_s)
        self._end = f"it said nothing for {self.silent_s:g} s and was killed"

    async def _listen_to_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(4096):
            self._stderr.extend(piece.decode(errors="replace").splitlines())

    # --- what it is told ---

    def write(self, data: bytes) -> None:
        """Never waits."""
        if self._process is not None and self._process.stdin is not None and self.is_ready:
            with contextlib.suppress(OSError, RuntimeError):  # dying; `_read` will see it
                self._process.stdin.write(data)

    @property
    def is_behind(self) -> bool:
        stdin = self._process.stdin if self._process is not None else None
        return stdin is not None and stdin.transport.get_write_buffer_size() > PIPE_BYTES

    async def drain(self) -> None:
        """Returns when it can be told more, or is dead."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()


def _end_of(status: int | None, is_killed: bool) -> str:
    if status is None:
        return "it was killed and does not go; a driver may hang"
    if status >= 0:
        return f"it ended with status {status}"
    if is_killed:
        return "it closed its output and was killed"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    hint = ", as the system does when memory runs out" if status == -signal.SIGKILL else ""
    return f"it was ended by {name}{hint}"
