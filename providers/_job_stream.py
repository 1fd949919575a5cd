"""A caller's utterances over a pool of workers: what the recognisers in processes share."""

from collections.abc import Callable, Sequence

from providers._worker_wire import Failed, Final, Partial
from providers._workers import Job, Result, WorkerPool
from providers.base import Fault, Hypothesis, ProviderError, SttFailure, SttSink


class JobStream:
    """Implements `providers.base.SttStream`."""

    def __init__(
        self,
        pool: WorkerPool,
        sink: SttSink,
        error: Callable[[Fault, str], ProviderError],
        *,
        language: str = "",
        hotwords: Sequence[str] = (),
    ) -> None:
        """Args:
        error: Makes the provider's own error of a fault and a text.
        """
        self._pool = pool
        self._sink: SttSink | None = sink
        self._error = error
        self._language = language
        self._hotwords = tuple(hotwords)
        self._former: Job | None = None
        """The last utterance that was not abandoned."""
        self._current: Job | None = None
        self._open: dict[Job, str] = {}
        """With the last partial of each: a worker that replays one says the same again."""

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
        self._open[job] = ""

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
            if self._open.get(job) != result.text:
                self._open[job] = result.text
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
