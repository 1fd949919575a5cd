"""A voice in a process of its own: the loop never waits for it, and its crash is survived.

job ─▶ pipe ─▶ one after another ─▶ pipe ─▶ the job's inbox
                └─ died ─▶ None in every inbox, and it is started again after a pause
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from providers import _child_process
from providers._child_process import ChildProcess
from providers._said import without
from providers._voice_wire import (
    OfJob,
    Ready,
    Refused,
    Speak,
    Stop,
    ToVoice,
    from_voice,
    pack,
)
from providers._worker import Pauses
from providers._worker_wire import Unpacker
from providers.base import Fault, ProviderError, Slot

log = structlog.get_logger(__name__)

PATIENCE_S = 2.0
"""For a process that is being started again, before a clause is given up."""
HANG_S = 20.0
"""In which one clause after another waited for a word, before the process is killed. Far longer
than a sentence takes: one that is only slow would take all other callers' clauses with it."""
EXIT_S = 0.5
"""For a process to end by itself once it has closed its stdout, and once it was killed."""
CLOSE_S = 2.0
KEPT_TEXTS = 50
"""Of clauses; what an engine printed before them is among its last lines no more."""
STOPPED_S = 5.0
"""So long it may stay stopped before it is killed: perhaps nobody asks it for a word meanwhile."""

Inbox = asyncio.Queue[OfJob | None]


class VoiceProcess:
    """Args:
    provider: Its name in errors.
    module: Run as `python -m module ARGS`; calls `providers._voice_child.serve`.
    remedy: What to do if it cannot be started.
    """

    def __init__(
        self, provider: str, module: str, *, remedy: str, start_limit_s: float = 60.0
    ) -> None:
        self.ready: Ready | None = None
        """What it last told of itself; also while it is being started again."""
        self.restarts = 0
        self._provider = provider
        self._module = module
        self._args: tuple[str, ...] = ()
        self._remedy = remedy
        self._start_limit_s = start_limit_s
        self._child: ChildProcess | None = None
        self._is_up = asyncio.Event()
        self._is_down = asyncio.Event()
        self._refusal = ""
        self._no_start = ""
        """Why there was no process to be had."""
        self._jobs: dict[int, Inbox] = {}
        self._texts: deque[str] = deque(maxlen=KEPT_TEXTS)
        """Of the latest, so that none of them gets into an error."""
        self._next_job = 1
        self._heard_at = 0.0
        self._mute_since = 0.0
        """When the first began of the clauses that were late one after another."""
        self._late_at = 0.0
        self._stopped_at: float | None = None
        self._ready_at: float | None = None
        """Of the process that runs."""
        self._reading: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        is_running = self._child is not None and self._child.returncode is None
        return self._child.pid if self._child is not None and is_running else None

    @property
    def is_started(self) -> bool:
        """Between start() and aclose(), whether it lives or is being started again."""
        return self._runner is not None

    async def start(self, args: Sequence[str] = ()) -> None:
        """Idempotent. Raises ProviderError if it does not come up."""
        async with self._starting:
            if self._runner is not None:
                return
            self._args = tuple(args)
            self._is_down.clear()
            self._runner = asyncio.create_task(self._run(), name=f"voice {self._provider}")
            try:
                await self._first_sign()
                if not self._is_up.is_set():
                    raise self.error(
                        Fault.BROKEN if self._is_down.is_set() else Fault.TIMEOUT,
                        f"did not start: {self._last_words() or 'it said nothing'}; {self._remedy}",
                    )
            except BaseException:
                await self.aclose()
                raise

    async def _first_sign(self) -> None:
        waiters = [asyncio.ensure_future(e.wait()) for e in (self._is_up, self._is_down)]
        try:
            await asyncio.wait(
                waiters, timeout=self._start_limit_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def aclose(self) -> None:
        runner, self._runner = self._runner, None
        self._is_up.clear()
        if runner is not None:
            runner.cancel()
            self._end_jobs()
            await asyncio.wait([runner], timeout=CLOSE_S)

    def ping(self) -> None:
        """Raises ProviderError while there is none that could speak, or it is stopped."""
        self.expect_up()
        child, now = self._child, asyncio.get_running_loop().time()
        if child is None or not child.is_stopped:
            self._stopped_at = None
            return
        if self._stopped_at is None:
            self._stopped_at = now
        if now - self._stopped_at > STOPPED_S:
            log.warning("voice_stays_stopped", provider=self._provider)
            self._kill()
        raise self.error(
            Fault.CRASHED,
            f"its process {child.pid} is stopped, as by SIGSTOP: resume it (kill -CONT), or wait "
            f"until it is replaced in {STOPPED_S:g} s",
        )

    def expect_up(self) -> None:
        """Raises ProviderError while there is no process that could speak."""
        if self._runner is None:
            raise self.error(Fault.CRASHED, "not running; call start() before stream()")
        if not self._is_up.is_set():
            raise self.error(
                Fault.CRASHED, f"its process died and is not up again: {self._last_words()}"
            )

    async def await_ready(self) -> Ready:
        """Raises ProviderError as above, after a moment's patience with one that was restarted."""
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await self._is_up.wait()
        self.expect_up()
        assert self.ready is not None
        return self.ready

    @contextlib.contextmanager
    def job(self, text: str, voice: str, speed: float) -> Iterator[Inbox]:
        """Gets what the voice makes of a clause, None if its process died; leaving it stops it."""
        job, self._next_job = self._next_job, self._next_job + 1
        inbox = self._jobs[job] = Inbox()
        self._texts.append(text)
        self._send(Speak(job, text, voice, speed))
        try:
            yield inbox
        finally:
            del self._jobs[job]
            self._send(Stop(job))

    def late(self, began: float) -> ProviderError:
        """For a job that is; a process that says nothing at all any more is ended.

        Args:
            began: The job, by the loop's time. What it was silent before, it had nothing to say.
        """
        now = asyncio.get_running_loop().time()
        if self._heard_at > self._mute_since or now - self._late_at > HANG_S:
            self._mute_since = max(began, self._heard_at)
        self._late_at = now
        if now - self._mute_since > HANG_S:
            log.warning("voice_hangs", provider=self._provider)
            self._kill()
        return self.error(
            Fault.TIMEOUT,
            "no audio in time: it speaks one clause after another, and the CPU is too slow for so "
            "many callers",
        )

    def died(self) -> ProviderError:
        """For a job whose inbox says so."""
        return self.error(Fault.CRASHED, f"its process died: {self._last_words()}")

    def error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.TTS, self._provider, fault, message)

    # --- the process ---

    async def _run(self) -> None:
        loop, pauses = asyncio.get_running_loop(), Pauses()
        while True:
            self._ready_at = None
            try:
                await self._live()
            except (OSError, MemoryError, RuntimeError) as error:
                self._no_start = f"no process can be started: {error!r}"
            except Exception:  # whatever it was, the next one may live
                log.exception("voice_watch_broke", provider=self._provider)
            self._is_up.clear()
            self._is_down.set()
            self._end_jobs()
            self.restarts += 1
            log.warning("voice_died", provider=self._provider, jobs=len(self._jobs))
            lived_s = 0.0 if self._ready_at is None else loop.time() - self._ready_at
            await asyncio.sleep(pauses.after(lived_s))

    def _end_jobs(self) -> None:
        for inbox in self._jobs.values():
            inbox.put_nowait(None)

    async def _live(self) -> None:
        """From start to death."""
        child = self._child = await _child_process.start(
            (sys.executable, "-m", self._module, *self._args), os.environ
        )
        self._no_start, self._stopped_at = "", None
        reading = self._reading = asyncio.create_task(self._listen(child.stdout))
        try:
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()
                await child.wait(EXIT_S)
        finally:
            self._kill()
            try:
                await child.wait(EXIT_S)
            finally:
                child.close()

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        loop, unpacker = asyncio.get_running_loop(), Unpacker()
        while piece := await stdout.read(1 << 17):
            self._heard_at = loop.time()
            try:
                messages = [from_voice.decode(body) for body in unpacker.feed(piece)]
            except (ValueError, msgspec.DecodeError):
                log.exception("voice_spoke_nonsense", provider=self._provider)
                return
            for message in messages:
                if isinstance(message, Ready):
                    self.ready, self._ready_at = message, loop.time()
                    self._is_up.set()
                elif isinstance(message, Refused):
                    self._refusal = message.reason
                elif (inbox := self._jobs.get(message.job)) is not None:
                    inbox.put_nowait(message)

    def _kill(self) -> None:
        """And reads it no more: somebody else may hold its output open."""
        if self._reading is not None:
            self._reading.cancel()
        if self._child is not None:
            self._child.kill()

    def _send(self, message: ToVoice) -> None:
        if self._child is not None and self._is_up.is_set():
            with contextlib.suppress(OSError, RuntimeError):  # dying; _listen will see it
                self._child.stdin.write(pack(message))

    def _last_words(self) -> str:
        """Without those it was to say, which engines print where they cannot."""
        lines = self._child.last_lines if self._child is not None else ()
        words = self._no_start or self._refusal or " / ".join(list(lines)[-3:])[-500:]
        return without(words, "\n".join(self._texts))
