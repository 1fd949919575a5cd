"""A process of ours on three pipes: threads start it and wait for its end, the loop never does.

    loop      start ─▶ … its pipes are connected … ─▶ kill ─▶ wait ─▶ close
    starter       Popen, which uses vfork
    its own           └─▶ waitpid ────────────────────────────▶ exit status

The loop's own way holds the loop until the new process runs another program: 9 ms with uvloop 0.21
on two busy cores. Popen holds everybody for 0.2 ms (both medians of 40).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO

STDERR_LINES = 20
LINE_BYTES = 4096
_STARTER = ThreadPoolExecutor(1, "process starter")


class ChildProcess:
    """One that was started by `start`."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: asyncio.Event) -> None:
        self._popen = popen
        self._ended = ended
        assert popen.stdin and popen.stdout and popen.stderr
        self._unconnected = [popen.stdin, popen.stdout, popen.stderr]
        self._transports: list[asyncio.BaseTransport] = []
        self._listening: asyncio.Task[None] | None = None
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.last_lines: deque[str] = deque(maxlen=STDERR_LINES)
        """Of its stderr."""

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it. None: it runs, or the kernel does not let it go."""
        return self._popen.returncode

    @property
    def is_stopped(self) -> bool:
        """As by SIGSTOP. False where the system does not tell."""
        return self.returncode is None and _states(self.pid)[:1] in ("T", "t")

    @property
    def is_at_rest(self) -> bool:
        """None of its threads computes, waits for a core, or for the disk: what it does not do now,
        it does not do for want of them. False where the system does not tell.
        """
        states = "" if self.returncode is not None else _states(self.pid)
        return bool(states) and not set(states) & set("RD")

    def kill(self) -> None:
        """It holds nothing that would have to be saved."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self, limit_s: float) -> None:
        """Until it has ended and its last lines are read, no longer than the limit: the kernel may
        keep it (a driver hangs), and somebody else may hold its output open.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
                if self._listening is not None:
                    await asyncio.wait([self._listening])

    def close(self) -> None:
        """Its pipes, whoever else holds their other ends."""
        if self._listening is not None:
            self._listening.cancel()
        for transport in self._transports:
            transport.close()
        for pipe in self._unconnected:
            pipe.close()

    async def connect(self) -> None:
        """Its pipes to the loop; not to be cancelled, which uvloop 0.21 answers by closing a pipe
        that Python closes once more.
        """
        loop = asyncio.get_running_loop()
        stdin, stdout, stderr = self._unconnected
        readers = {stdout: asyncio.StreamReader(), stderr: asyncio.StreamReader()}
        for pipe, reader in readers.items():
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_read_pipe(lambda it=protocol: it, pipe)  # type: ignore[misc]
            self._connected(pipe, transport)
        # A reader's, too: it is the one protocol of asyncio's that knows flow control.
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        writing, _ = await loop.connect_write_pipe(lambda: protocol, stdin)
        self._connected(stdin, writing)
        self.stdin = asyncio.StreamWriter(writing, protocol, None, loop)
        self.stdout = readers[stdout]
        self._listening = asyncio.create_task(self._listen(readers[stderr]))

    def _connected(self, pipe: IO[bytes], transport: asyncio.BaseTransport) -> None:
        self._unconnected.remove(pipe)
        self._transports.append(transport)

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        line = b""
        try:
            while piece := await stderr.read(LINE_BYTES):
                *lines, line = (line + piece).split(b"\n")
                line = line[-LINE_BYTES:]
                self._keep(*lines)
        finally:
            self._keep(line)

    def _keep(self, *lines: bytes) -> None:
        self.last_lines += [text for one in lines if (text := one.decode(errors="replace").strip())]


async def start(arguments: Sequence[str], environment: Mapping[str, str]) -> ChildProcess:
    """Cancelled, it leaves nothing.

    Raises:
        OSError, MemoryError, RuntimeError: There is no process to be had, or no thread.
    """
    starting = asyncio.create_task(_start(arguments, environment))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_discard)
        await asyncio.wait([starting])
        raise


async def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> ChildProcess:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    tell = partial(loop.call_soon_threadsafe, ended.set)
    popen = await loop.run_in_executor(_STARTER, _spawn, arguments, environment, tell)
    child = ChildProcess(popen, ended)
    try:
        await child.connect()
    except BaseException:
        child.kill()
        child.close()
        raise
    return child


def _discard(starting: "asyncio.Task[ChildProcess]") -> None:
    """Nobody wants it any more."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().kill()
        starting.result().close()


def _spawn(
    arguments: Sequence[str], environment: Mapping[str, str], tell: Callable[[], object]
) -> subprocess.Popen[bytes]:
    """Args:
    tell: Called in a thread of its own, when it has ended.
    """
    popen = subprocess.Popen(
        arguments,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the server, while this one still loads too
    )

    def wait() -> None:
        popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed; nobody waits
            tell()

    try:
        threading.Thread(target=wait, name=f"waits for {popen.pid}", daemon=True).start()
    except RuntimeError:
        popen.kill()
        popen.communicate()
        raise
    return popen


def _states(pid: int) -> str:
    """A letter for each thread, as proc(5) has them; the first one's first. Empty: not told."""
    states = ""
    with contextlib.suppress(OSError):  # it has ended, or there is no /proc
        threads = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
        for thread in threads:
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                # Its name stands before in brackets, and may hold some.
                states += file.read(512).rpartition(b") ")[2][:1].decode()
    return states
