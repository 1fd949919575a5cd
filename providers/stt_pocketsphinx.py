"""pocketsphinx: English, streaming, its model in its wheel. In worker processes of its own."""

import asyncio

from providers._worker_wire import Failed, Final, Partial
from providers._workers import Job, Result, WorkerPool, WorkersError
from providers.base import (
    Fault,
    Hypothesis,
    ProviderError,
    ProviderInfo,
    Slot,
    SttFailure,
    SttSink,
)

MODULE = "providers._pocketsphinx_worker"
SPEAKS = frozenset({"en"})
"""Primary language tags; whatever else is asked for, it hears English."""


class PocketsphinxSTT:
    """Implements `providers.base.STT`."""

    def __init__(self, *, workers: int | None = None, decoders: int = 4) -> None:
        """Args:
        workers: Processes; default: one less than there are cores.
        decoders: Utterances one process decodes in turns; 95 MB each once it was needed.
            Further utterances wait, their audio kept, and so does a call's next for its last.
        """
        self.pool = WorkerPool(MODULE, count=workers, places=decoders)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.STT, provider="pocketsphinx", model="en-us")

    async def start(self) -> None:
        try:
            await self.pool.start()
        except WorkersError as error:
            raise _error(Fault.CRASHED, f"{error}; reinstall pocketsphinx") from error

    async def check(self) -> None:
        done: asyncio.Future[Hypothesis | SttFailure] = asyncio.get_running_loop().create_future()

        def sink(result: Hypothesis | SttFailure) -> None:
            if not done.done() and (isinstance(result, SttFailure) or result.is_final):
                done.set_result(result)

        stream = self.open(sink)
        try:
            stream.begin(1)
            stream.feed(bytes(6400))
            stream.end()
            async with asyncio.timeout(5):
                result = await done
        except TimeoutError:
            raise _error(
                Fault.TIMEOUT, "no answer within 5 s; more callers than the CPU can follow"
            ) from None
        finally:
            stream.close()
        if isinstance(result, SttFailure):
            raise result.error

    async def aclose(self) -> None:
        await self.pool.aclose()

    def open(self, sink: SttSink, *, language: str = "") -> "_Stream":
        if not self.pool.pids:
            raise _error(Fault.CRASHED, "not running; call start() before open()")
        return _Stream(self.pool, sink, language)


class _Stream:
    """Implements `providers.base.SttStream`."""

    def __init__(self, pool: WorkerPool, sink: SttSink, language: str) -> None:
        self._pool = pool
        self._sink: SttSink | None = sink
        self._language = language
        self._former: Job | None = None
        """The last utterance that was not abandoned."""
        self._current: Job | None = None
        self._open: set[Job] = set()

    def begin(self, utterance: int) -> None:
        """An utterance that is still open is abandoned."""
        self.abandon()
        if self._sink is None:
            return

        def receive(result: Result) -> None:
            self._receive(utterance, job, result)

        job = self._pool.begin(receive, language=self._language, former=self._former)
        self._current = job
        self._open.add(job)

    def feed(self, pcm: bytes) -> None:
        if len(pcm) % 2:
            raise ValueError(f"pcm must be whole 16-bit samples, got {len(pcm)} bytes")
        if self._current is not None:
            self._pool.feed(self._current, pcm)

    def end(self) -> None:
        job, self._current = self._current, None
        if job is not None:
            self._former = job
            self._pool.end(job)

    def abandon(self) -> None:
        job, self._current = self._current, None
        if job is not None:
            self._open.discard(job)
            self._pool.abandon(job)

    def close(self) -> None:
        self._sink = None
        self._current = None
        for job in self._open:
            self._pool.abandon(job)
        self._open.clear()

    def _receive(self, utterance: int, job: Job, result: Result) -> None:
        if self._sink is None:
            return
        if isinstance(result, Partial):
            self._sink(Hypothesis(utterance, result.text, False))
            return
        self._open.discard(job)
        if job is self._current:  # failed in mid-utterance
            self._current = None
        match result:
            case Final(_, text):
                self._sink(Hypothesis(utterance, text, True))
            case Failed(_, reason):
                error = _error(Fault.CRASHED, f"utterance lost ({reason}); say it again")
                self._sink(SttFailure(utterance, error))


def _error(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.STT, "pocketsphinx", fault, message)
