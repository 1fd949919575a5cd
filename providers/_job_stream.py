"""A caller's utterances over a pool of workers: what the recognisers in processes share."""

import asyncio
from collections.abc import Callable, Sequence

from providers._worker_job import Job, Result
from providers._worker_wire import Failed, Final, Partial
from providers._workers import WorkerPool
from providers.base import Fault, Hypothesis, ProviderError, SttFailure, SttSink

CHECK_LIMIT_S = 5

MakeError = Callable[[Fault, str], ProviderError]
"""The provider's own error of a fault and a text."""


class JobStream:
    """Implements `providers.base.SttStream`."""

    def __init__(
        self,
        pool: WorkerPool,
        sink: SttSink,
        error: MakeError,
        *,
        language: str = "",
        hotwords: Sequence[str] = (),
    ) -> None:
        self._pool = pool
        self._sink: SttSink | None = sink
        self._error = error
        self._language = language
        self._hotwords = tuple(hotwords)
        self._former: Job | None = None
        """The last utterance that was not abandoned."""
        self._current: Job | None = None
        self._open: dict[Job, _Heard] = {}

    def begin(self, utterance: int) -> None:
        """An utterance that is still open is abandoned."""
        self.abandon()
        if self._sink is None:
            return

        def receive(result: Result) -> None:
            self._receive(utterance, job, result)

        job = self._pool.begin(
            receive, language=self._language, former=self._former, hotwords=self._hotwords
        )
        self._current = job
        self._open[job] = _Heard(utterance)

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

    def abandon(self, utterance: int | None = None) -> None:
        if utterance is None:
            jobs = [self._current] if self._current is not None else []
        else:
            jobs = [job for job, heard in self._open.items() if heard.utterance == utterance]
        for job in jobs:
            if job is self._current:
                self._current = None
            self._open.pop(job, None)
            self._pool.abandon(job)

    def close(self) -> None:
        self._sink = None
        self._current = None
        jobs, self._open = self._open, {}
        for job in jobs:
            self._pool.abandon(job)

    def _receive(self, utterance: int, job: Job, result: Result) -> None:
        if self._sink is None:
            return
        if isinstance(result, Partial):
            heard = self._open.get(job)
            if heard is not None and heard.partial != result.text:
                heard.partial = result.text
                self._sink(Hypothesis(utterance, result.text, False))
            return
        self._open.pop(job, None)
        if job is self._current:  # failed in mid-utterance
            self._current = None
        match result:
            case Final(_, text):
                self._sink(Hypothesis(utterance, text, True))
            case Failed(_, reason):
                error = self._error(Fault.CRASHED, f"utterance lost ({reason}); say it again")
                self._sink(SttFailure(utterance, error))


class _Heard:
    """What is known of an utterance that is not over."""

    def __init__(self, utterance: int) -> None:
        self.utterance = utterance
        self.partial = ""
        """The last; a worker that replays it says the same again."""


async def check(open_stream: Callable[[SttSink], JobStream], error: MakeError) -> None:
    """A fifth of a second of silence, to its final. Raises ProviderError if none comes."""
    done: asyncio.Future[Hypothesis | SttFailure] = asyncio.get_running_loop().create_future()

    def sink(result: Hypothesis | SttFailure) -> None:
        if not done.done() and (isinstance(result, SttFailure) or result.is_final):
            done.set_result(result)

    stream = open_stream(sink)
    try:
        stream.begin(1)
        stream.feed(bytes(6400))
        stream.end()
        async with asyncio.timeout(CHECK_LIMIT_S):
            result = await done
    except TimeoutError:
        text = f"no answer within {CHECK_LIMIT_S} s; more callers than the machine can follow"
        raise error(Fault.TIMEOUT, text) from None
    finally:
        stream.close()
    if isinstance(result, SttFailure):
        raise result.error


def ping(pool: WorkerPool | None, error: MakeError) -> None:
    """Asks nobody: a worker that lives says so by itself. Raises ProviderError if none does."""
    trouble = "it is not running; call start()" if pool is None else pool.trouble
    if trouble:
        raise error(
            Fault.CRASHED,
            f"{trouble}; if it does not come back, look for worker_died in the log, and whether "
            "the machine has memory to spare",
        )
