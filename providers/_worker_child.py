"""The worker's side: read jobs from stdin, decode a step at a time, answer on stdout.

One thread does both. Recognisers hold the GIL while they decode (pocketsphinx 5.1 does, measured)
and there is a process for every core that may be used, so a second thread would only add waiting.
Between two steps all that has arrived is read. Then, a step at a time and in this order:

    1  a job that has ended and is nearly through: a caller waits for its final
    2  jobs under way, in turns; one that was sent faster than it was spoken is one of them
    3  a job that has no model yet, if one must be loaded for it
    4  nothing to do for QUIET_S: load ahead

A step is short, so that the word due every BEAT_S that this process is well comes between two.
"""

import contextlib
import os
import select
import signal
import sys
import time
from typing import Protocol

from providers._worker_wire import (
    BEAT_S,
    Abandon,
    Beat,
    Begin,
    End,
    Failed,
    Feed,
    Final,
    FromWorker,
    Partial,
    Ready,
    Trying,
    Unpacker,
    pack,
    to_worker,
)

STEP_BYTES = 3200
"""100 ms: what one job may decode before the next has its turn."""
NEARLY_BYTES = 32_000
"""1 s: what may come before the others' turns."""
READ_BYTES = 1 << 16
NICENESS = 5
QUIET_S = 0.3
"""Without a job, before models are loaded ahead: a call is not about to begin."""


class Recognition(Protocol):
    """One utterance being recognised."""

    def feed(self, pcm: bytes) -> bytes:
        """At most STEP_BYTES of audio; returns what it must be fed again, before all the rest."""

    def text(self) -> str:
        """The hypothesis so far."""

    def last_again(self) -> bytes:
        """After the last audio: what it must be fed again before `finish`."""

    def finish(self) -> tuple[str, str]:
        """The final text, and what the call's next utterance should be told (`Begin.memory`)."""

    def abandon(self) -> None: ...


class Recogniser(Protocol):
    """What makes recognitions; it may load a model for each."""

    @property
    def has_free(self) -> bool:
        """Whether `begin` need not load."""

    @property
    def wants_rest(self) -> bool:
        """Whether there is something to load ahead."""

    def begin(self, message: Begin) -> Recognition: ...

    def rest(self) -> None:
        """Loads one model ahead."""


class _Job:
    def __init__(self, message: Begin) -> None:
        self.message = message
        self.recognition: Recognition | None = None
        """None until its first step: the job before it may leave it a model."""
        self.pcm = bytearray()
        self.ended = False
        self.is_replay = message.is_replay
        """Until it has caught up."""
        self.said = ""
        self.unreported_bytes = 0

    @property
    def has_work(self) -> bool:
        return self.ended or bool(self.pcm)

    @property
    def is_nearly_through(self) -> bool:
        return self.ended and len(self.pcm) <= NEARLY_BYTES

    def abandon(self) -> None:
        if self.recognition is not None:
            self.recognition.abandon()


def serve(recogniser: Recogniser) -> None:
    """Run until stdin ends, which it does when the server stops or dies.

    Signals to stop go to all processes of a service; this one must not leave before the server.
    """
    _Worker(recogniser, settle_in()).run()


def settle_in() -> int:
    """Become a worker: deaf to the signals that stop a service, and behind the server's loop.

    Returns:
        Where messages are written. Whatever a library prints must not end up between them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    out = os.dup(1)
    os.dup2(2, 1)
    return out


class _Worker:
    def __init__(self, recogniser: Recogniser, out: int) -> None:
        self._recogniser = recogniser
        self._out = out
        self._unpacker = Unpacker()
        self._jobs: dict[int, _Job] = {}
        self._sent_at = 0.0

    def run(self) -> None:
        self._send(Ready())
        while self._read(wait=not any(job.has_work for job in self._jobs.values())):
            self._step()
            self._beat()

    def _read(self, wait: bool) -> bool:
        """Take in what has arrived; False at the end of stdin."""
        if wait and not self._jobs:
            while self._recogniser.wants_rest and not _is_readable(QUIET_S):
                self._recogniser.rest()
                self._beat()
        while wait and not _is_readable(BEAT_S):
            self._beat()
        while wait or _is_readable(0):
            piece = os.read(0, READ_BYTES)
            if not piece:
                return False
            for body in self._unpacker.feed(piece):
                self._receive(body)
            wait = False
        return True

    def _receive(self, body: bytes) -> None:
        match to_worker.decode(body):
            case Begin(number) as message:
                self._jobs[number] = _Job(message)
            case Feed(number, pcm) if number in self._jobs:
                self._jobs[number].pcm += pcm
            case End(number) if number in self._jobs:
                self._jobs[number].ended = True
            case Abandon(number) if number in self._jobs:
                self._jobs.pop(number).abandon()
            case _:
                pass  # audio that was under way when its job failed

    def _step(self) -> None:
        numbers = [number for number, job in self._jobs.items() if job.has_work]
        if not numbers:
            return
        number = min(numbers, key=self._rank)  # of equals the first, which has waited longest
        job = self._jobs.pop(number)
        if job.message.careful:
            self._send(Trying(number))
        try:
            if self._advance(number, job):
                self._jobs[number] = job  # now the last in line
        except Exception as error:
            with contextlib.suppress(Exception):
                job.abandon()
            self._send(Failed(number, repr(error)))
        if job.message.careful:
            self._send(Trying(0))

    def _rank(self, number: int) -> tuple[bool, bool]:
        job = self._jobs[number]
        must_load = job.recognition is None and not self._recogniser.has_free
        return must_load, not job.is_nearly_through

    def _advance(self, number: int, job: _Job) -> bool:
        """One step; False once the job is done."""
        if job.recognition is None:
            job.recognition = self._recogniser.begin(job.message)
        if job.pcm:
            piece = bytes(job.pcm[:STEP_BYTES])
            job.pcm[: len(piece)] = job.recognition.feed(piece)
            self._report(number, job, job.recognition, len(piece))
        if job.pcm or not job.ended:
            return True
        if again := job.recognition.last_again():
            job.pcm += again
            return True
        self._send(Final(number, *job.recognition.finish()))
        return False

    def _report(self, number: int, job: _Job, recognition: Recognition, fed_bytes: int) -> None:
        """A partial every 100 ms of audio at most, and only when it says something new."""
        job.unreported_bytes += fed_bytes
        job.is_replay = job.is_replay and bool(job.pcm)
        if job.is_replay:
            return
        if job.unreported_bytes >= STEP_BYTES:
            job.unreported_bytes = 0
            text = recognition.text()
            if text != job.said:
                job.said = text
                self._send(Partial(number, text))

    def _beat(self) -> None:
        if time.monotonic() - self._sent_at >= BEAT_S:
            self._send(Beat())

    def _send(self, message: FromWorker) -> None:
        self._sent_at = time.monotonic()
        try:
            send(self._out, message)
        except BrokenPipeError:
            sys.exit(0)


def send(out: int, message: FromWorker) -> None:
    data = memoryview(pack(message))
    while data:
        data = data[os.write(out, data) :]


def _is_readable(within_s: float) -> bool:
    return bool(select.select([0], [], [], within_s)[0])
