"""Which utterances a recogniser decodes together, and what is said of them.

Step by step:

    1  utterances that have ended: a caller waits for the final
    2  the others, in turns; one that was sent faster than it was spoken is one of them
    -  one that was with a worker that died: by itself, and named before (`Begin.careful`)
"""

import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from providers._worker_wire import (
    BEAT_S,
    Abandon,
    Begin,
    End,
    Failed,
    Feed,
    Final,
    FromWorker,
    Partial,
    ToWorker,
    Trying,
)

PARTIAL_S = 0.09
"""Between two partials of one utterance; readers see no difference below."""
TAKE_BYTES = 32_000
"""1 s: the most that one utterance is fed before it is decoded; makes turns short in a replay."""
HOLD_S = 0.05
"""What one batch may take, as far as the last ones tell: a final that is due waits for it."""
FEWEST = 4
"""What it is never cut below: a GPU takes its time even for one."""


class Utterance(Protocol):
    """One utterance being recognised."""

    @property
    def is_ready(self) -> bool:
        """Whether there is audio enough for a step."""

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None:
        """No more comes: makes the last audio ready to be decoded."""

    def text(self) -> str: ...


U = TypeVar("U", bound=Utterance)


class BatchRecogniser(Protocol[U]):
    """What makes utterances and decodes them."""

    def begin(self, message: Begin) -> U: ...

    def decode(self, utterances: Sequence[U]) -> None:
        """One step of each. After an error, none of them can go on."""


class _Job(Generic[U]):
    def __init__(self, message: Begin, utterance: U) -> None:
        self.number = message.job
        self.utterance = utterance
        self.careful = message.careful
        self.is_replay = message.is_replay
        """Until it has caught up: what it says before that was said once already."""
        self.pcm = bytearray()
        self.is_ended = False
        self.is_flushed = False
        self.said = ""
        self.said_at = 0.0


class Batches(Generic[U]):
    """Which utterances are decoded together, and what is said of them. Knows no pipe."""

    def __init__(
        self,
        recogniser: BatchRecogniser[U],
        send: Callable[[FromWorker], None],
        *,
        max_batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recogniser = recogniser
        self._send = send
        self._max_batch = max_batch
        self._clock = clock
        self._jobs: dict[int, _Job[U]] = {}
        self._ready: dict[int, _Job[U]] = {}
        """The one that waits longest first."""
        self._changed: dict[int, _Job[U]] = {}
        """Decoded since they were last asked for their text."""
        self._each_s = 0.0
        """What one utterance costs in a batch."""

    @property
    def backlog_bytes(self) -> int:
        return sum(len(job.pcm) for job in self._jobs.values())

    def receive(self, messages: Sequence[ToWorker]) -> None:
        fed: dict[int, _Job[U]] = {}
        for message in messages:
            match message:
                case Begin(number):
                    try:
                        self._jobs[number] = _Job(message, self._recogniser.begin(message))
                    except Exception as error:
                        self._send(Failed(number, repr(error)))
                case Feed(number, pcm) if number in self._jobs:
                    self._jobs[number].pcm += pcm
                    fed[number] = self._jobs[number]
                case End(number) if number in self._jobs:
                    self._jobs[number].is_ended = True
                    fed[number] = self._jobs[number]
                case Abandon(number):
                    self._forget(number)
                    fed.pop(number, None)
                case _:
                    pass  # audio that was under way when its job failed
        for job in fed.values():
            self._attempt(job, lambda job=job: self._settle(job))  # type: ignore[misc]

    def turn(self) -> float:
        """One batch at most. Returns how long to wait for messages; 0: there is more to do."""
        if careful := next((job for job in self._ready.values() if job.careful), None):
            self._attempt(careful, lambda: self._recogniser.decode([careful.utterance]))
            self._go_on(careful)
        elif batch := self._pick():
            began = self._clock()
            self._recogniser.decode([job.utterance for job in batch])
            each_s = (self._clock() - began) / len(batch)
            self._each_s += (each_s - self._each_s) * 0.2
            for job in batch:
                self._go_on(job)
        now = self._clock()
        for job in [*self._changed.values()]:
            if now - job.said_at >= PARTIAL_S:
                self._attempt(job, lambda job=job: self._report(job, now))  # type: ignore[misc]
        if self._ready:
            return 0.0
        return PARTIAL_S if self._changed else BEAT_S

    def _pick(self) -> list[_Job[U]]:
        fit = int(HOLD_S / self._each_s) if self._each_s > 0 else self._max_batch
        ended_first = sorted(self._ready.values(), key=lambda job: not job.is_ended)
        return ended_first[: min(self._max_batch, max(FEWEST, fit))]

    def _go_on(self, job: _Job[U]) -> None:
        """It was decoded."""
        if self._ready.pop(job.number, None) is not None:  # now the last in line
            self._changed[job.number] = job
            self._attempt(job, lambda: self._settle(job))

    def _settle(self, job: _Job[U]) -> None:
        """Feed it until it is ready for a step, or has had everything."""
        while not job.utterance.is_ready:
            if job.pcm:
                job.utterance.feed(bytes(job.pcm[:TAKE_BYTES]))
                del job.pcm[:TAKE_BYTES]
            elif not job.is_ended:
                job.is_replay = False
                return
            elif not job.is_flushed:
                job.is_flushed = True
                job.utterance.end()
            else:
                final = Final(job.number, job.utterance.text())
                self._forget(job.number)
                self._send(final)
                return
        self._ready[job.number] = job

    def _attempt(self, job: _Job[U], step: Callable[[], None]) -> None:
        """A step of one job: it fails alone, and where it may take the worker along, is named."""
        if job.careful:
            self._send(Trying(job.number))
        try:
            step()
        except Exception as error:
            self._forget(job.number)
            self._send(Failed(job.number, repr(error)))
        if job.careful:
            self._send(Trying(0))

    def _forget(self, number: int) -> None:
        self._jobs.pop(number, None)
        self._ready.pop(number, None)
        self._changed.pop(number, None)

    def _report(self, job: _Job[U], now: float) -> None:
        del self._changed[job.number]
        if job.is_replay or job.is_ended:
            return
        text = job.utterance.text()
        if text != job.said:
            job.said, job.said_at = text, now
            self._send(Partial(job.number, text))
