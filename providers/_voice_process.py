"""A voice in a process of its own: the loop never waits for it, and its crash is survived.

speak ─▶ pipe ─▶ one job after another ─▶ pipe ─▶ checked ─▶ SpeechAudio
                  └─ died ─▶ CRASHED for its jobs, and it is started again at once
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence

import msgspec
import structlog

from providers._tts_http import CHECK_S, SpeechProbe
from providers._tts_sanity import AudioCheck, UnsoundError
from providers._voice_wire import (
    Audio,
    Done,
    Failed,
    OfJob,
    Ready,
    Refused,
    Speak,
    Stop,
    ToVoice,
    Word,
    from_voice,
    pack,
)
from providers._worker_wire import Unpacker
from providers.base import Fault, ProviderError, Slot, SpeechAudio, SpeechEvent, WordTiming

log = structlog.get_logger(__name__)

RESTART_S = 0.5
LONGEST_PAUSE_S = 8.0
"""Pause before the restart of a process that died young; it doubles each time."""
YOUNG_S = 5.0
PATIENCE_S = 2.0
"""For a process that is being started again, before a clause is given up."""
HANG_S = 20.0
"""Without a word from a process that has work, before it is killed."""
CLOSE_S = 2.0
STDERR_LINES = 20


class VoiceProcess:
    """Args:
    provider: Its name in errors.
    module: Run as `python -m module ARGS`; calls `providers._voice_child.serve`.
    remedy: What to do if it cannot be started.
    first_audio_s: From a job to its first audio, the jobs before it included.
    gap_s: From piece to piece.
    """

    def __init__(
        self,
        provider: str,
        module: str,
        args: Sequence[str] = (),
        *,
        remedy: str,
        start_limit_s: float = 60.0,
        first_audio_s: float = 5.0,
        gap_s: float = 5.0,
    ) -> None:
        self.ready: Ready | None = None
        """What it last told of itself; also while it is being started again."""
        self.restarts = 0
        self._provider = provider
        self._module = module
        self._args = tuple(args)
        self._remedy = remedy
        self._start_limit_s = start_limit_s
        self._first_audio_s = first_audio_s
        self._gap_s = gap_s
        self._process: asyncio.subprocess.Process | None = None
        self._is_up = asyncio.Event()
        self._is_down = asyncio.Event()
        self._refusal = ""
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._jobs: dict[int, asyncio.Queue[OfJob | None]] = {}
        self._next_job = 1
        self._heard_at = 0.0
        self._runner: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._probe = SpeechProbe()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Idempotent. Raises ProviderError if it does not come up."""
        async with self._starting:
            if self._runner is not None:
                return
            self._is_down.clear()
            self._runner = asyncio.create_task(self._run(), name=f"voice {self._provider}")
            waiters = [asyncio.ensure_future(e.wait()) for e in (self._is_up, self._is_down)]
            try:
                await asyncio.wait(
                    waiters, timeout=self._start_limit_s, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for waiter in waiters:
                    waiter.cancel()
            if not self._is_up.is_set():
                words = self._last_words()
                late = not self._is_down.is_set()
                await self.aclose()
                raise self._error(
                    Fault.TIMEOUT if late else Fault.BROKEN,
                    f"did not start: {words or 'it said nothing'}; {self._remedy}",
                )

    async def check(self) -> None:
        """One word, where no speech came lately."""
        loop = asyncio.get_running_loop()
        if not self._probe.is_due(loop.time()):
            return
        text = self.ready.check_text if self.ready is not None else "1"
        try:
            async with asyncio.timeout(CHECK_S):
                async with contextlib.aclosing(self.speak(text)) as events:
                    async for _ in events:
                        pass
        except TimeoutError:
            slow = self._error(Fault.TIMEOUT, f"no audio in {CHECK_S:g} s; the CPU is overloaded")
            self._probe.failed(loop.time(), slow)
            raise slow from None
        except ProviderError as error:
            self._probe.failed(loop.time(), error)
            raise

    async def aclose(self) -> None:
        runner, self._runner = self._runner, None
        self._is_up.clear()
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner], timeout=CLOSE_S)

    async def speak(
        self, text: str, voice: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """One clause, as in `providers.base.TTS.stream`."""
        loop = asyncio.get_running_loop()
        first_by = loop.time() + self._first_audio_s
        ready = await self._await_ready()
        job, self._next_job = self._next_job, self._next_job + 1
        inbox: asyncio.Queue[OfJob | None] = asyncio.Queue()
        self._jobs[job] = inbox
        self._send(Speak(job, text, voice, speed))
        check = AudioCheck(text, ready.rate_hz, speed=speed)
        try:
            by = first_by
            while (message := await self._receive(inbox, by)) is not None:
                match message:
                    case Audio(pcm=pcm):
                        pcm = check.feed(pcm)
                        self._probe.succeeded(loop.time())
                        yield SpeechAudio(pcm)
                    case Word(start=start, end=end, at=at):
                        yield WordTiming(start, end, at)
                    case Failed(reason=reason):
                        raise self._error(Fault.BROKEN, reason)
                    case Done():
                        check.end()
                        return
                by = loop.time() + self._gap_s
            raise self._error(Fault.CRASHED, f"its process died: {self._last_words()}")
        except UnsoundError as error:
            self._probe.doubted(loop.time())
            raise self._error(Fault.BROKEN, str(error)) from None
        except ProviderError:
            self._probe.doubted(loop.time())
            raise
        finally:
            del self._jobs[job]
            self._send(Stop(job))

    async def _await_ready(self) -> Ready:
        if self._runner is None:
            raise self._error(Fault.CRASHED, "not running; call start() before stream()")
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._is_up.wait()
        except TimeoutError:
            raise self._error(
                Fault.CRASHED, f"its process died and is not up again: {self._last_words()}"
            ) from None
        assert self.ready is not None
        return self.ready

    async def _receive(self, inbox: "asyncio.Queue[OfJob | None]", by: float) -> OfJob | None:
        try:
            async with asyncio.timeout_at(by):
                return await inbox.get()
        except TimeoutError:
            if asyncio.get_running_loop().time() - self._heard_at > HANG_S:
                log.warning("voice_hangs", provider=self._provider)
                self._kill()
            raise self._error(
                Fault.TIMEOUT, "no audio in time: it speaks one clause after another, and the CPU "
                "is too slow for so many callers",
            ) from None  # fmt: skip

    # --- the process ---

    async def _run(self) -> None:
        loop, pause_s = asyncio.get_running_loop(), RESTART_S
        while True:
            began = loop.time()
            try:
                await self._live()
            except OSError as error:  # no process to be had
                self._stderr.append(str(error))
            self._is_up.clear()
            self._is_down.set()
            for inbox in self._jobs.values():
                inbox.put_nowait(None)
            self.restarts += 1
            log.warning("voice_died", provider=self._provider, jobs=len(self._jobs))
            if loop.time() - began < YOUNG_S:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                pause_s = RESTART_S

    async def _live(self) -> None:
        """From spawn to death."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *self._args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server
        )
        stderr = asyncio.create_task(self._listen_to_stderr(process))
        try:
            await self._listen(process)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTART_S):
                    await process.wait()
                    await stderr
        finally:
            self._kill()
            if process.stdin is not None:
                process.stdin.close()
            stderr.cancel()
            await process.wait()
            self._process = None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        loop, unpacker = asyncio.get_running_loop(), Unpacker()
        while piece := await process.stdout.read(1 << 17):
            self._heard_at = loop.time()
            try:
                messages = [from_voice.decode(body) for body in unpacker.feed(piece)]
            except (ValueError, msgspec.DecodeError):
                log.exception("voice_spoke_nonsense", provider=self._provider)
                return
            for message in messages:
                if isinstance(message, Ready):
                    self.ready = message
                    self._is_up.set()
                elif isinstance(message, Refused):
                    self._refusal = message.reason
                elif (inbox := self._jobs.get(message.job)) is not None:
                    inbox.put_nowait(message)

    async def _listen_to_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(4096):
            self._stderr.extend(piece.decode(errors="replace").splitlines())

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            # Not process.kill(): that polls, and may take the exit status from asyncio's watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _send(self, message: ToVoice) -> None:
        process = self._process
        if process is not None and process.stdin is not None and self._is_up.is_set():
            with contextlib.suppress(OSError, RuntimeError):  # dying; _listen will see it
                process.stdin.write(pack(message))

    def _last_words(self) -> str:
        return self._refusal or " / ".join(list(self._stderr)[-3:])[-500:]

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.TTS, self._provider, fault, message)
