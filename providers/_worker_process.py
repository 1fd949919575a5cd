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
from collections.abc import Callable

import msgspec
import structlog

from providers import _child_process
from providers._child_process import ChildProcess
from providers._worker_wire import (
    BEAT_S,
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
LOOKS = 4
"""How often a worker is looked after within its limit of silence, at least; one look late proves
nothing."""
MUTE_S = 3 * BEAT_S
"""One that is silent for so long, and not for want of a core, is not well: twice what may lie
between two words of one with nothing to do."""


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
        self._child: ChildProcess | None = None
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
        self._end = ""

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        is_running = self._child is not None and self._child.returncode is None
        return self._child.pid if self._child is not None and is_running else None

    @property
    def is_stopped(self) -> bool:
        return self._child is not None and self._child.is_stopped

    @property
    def is_well(self) -> bool:
        """Ready, and heard of lately, unless it only has no time."""
        child = self._child
        if child is None or not self.is_ready or self.is_stopped:
            return False
        if self.silent_s < MUTE_S:
            return True
        return self.silent_s < self._command.hang_limit_s / 2 and not child.is_at_rest

    @property
    def last_words(self) -> str:
        lines = self._child.last_lines if self._child is not None else ()
        return self.refusal or "\n".join(filter(None, (*lines, self._end))) or "nothing"

    async def live(self) -> None:
        """Returns when it is dead. Cancelled, it kills it."""
        self.is_starting = True
        try:
            await self._live()
        finally:
            self.is_starting = False

    async def _live(self) -> None:
        command = (sys.executable, "-m", self._command.module, str(self._command.places))
        # One thread a process: the cores are shared out by the number of processes.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            child = self._child = await _child_process.start(
                (*command, *self._command.arguments), environment
            )
        except (OSError, MemoryError, RuntimeError) as error:
            self._end = f"no process can be started: {error!r}"
            return
        reading = asyncio.create_task(self._read(child.stdout))
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((reading, watch), return_when=asyncio.FIRST_COMPLETED)
            self.is_ready = False
            if reading.done():
                reading.result()
                await child.wait(EXIT_S)
        finally:
            self.is_ready = False
            watch.cancel()
            reading.cancel()
            self.kill()
            try:
                await child.wait(EXIT_S)
            finally:
                child.close()
            self._end = self._end or _end_of(child.returncode, self._is_killed)

    def kill(self) -> None:
        self.is_ready = self.is_starting = False
        if self._child is not None and self._child.returncode is None:
            self._is_killed = True
            self._child.kill()

    # --- what it says ---

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        unpacker = Unpacker()
        while piece := await stdout.read(1 << 16):
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
        look_s = min(BEAT_S, command.start_limit_s / LOOKS, command.hang_limit_s / LOOKS)
        while self.silent_s < (command.hang_limit_s if self.is_ready else command.start_limit_s):
            await asyncio.sleep(look_s)
            self.silent_s = 0.0 if self._is_heard else self.silent_s + look_s
            self._is_heard = False
        log.warning("worker_hangs", module=command.module, silent_s=self.silent_s)
        self._end = f"it said nothing for {self.silent_s:g} s and was killed"

    # --- what it is told ---

    def write(self, data: bytes) -> None:
        """Never waits."""
        if self._child is not None and self.is_ready:
            with contextlib.suppress(OSError, RuntimeError):  # dying; `_read` will see it
                self._child.stdin.write(data)

    @property
    def is_behind(self) -> bool:
        child = self._child
        return child is not None and child.stdin.transport.get_write_buffer_size() > PIPE_BYTES

    async def drain(self) -> None:
        """Returns when it can be told more, or is dead."""
        if self._child is not None:
            with contextlib.suppress(ConnectionError):
                await self._child.stdin.drain()


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
