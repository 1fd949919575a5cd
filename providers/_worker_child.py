"""The worker's side: read jobs from stdin, decode a step at a time, answer on stdout.

One thread does both. Recognisers hold the GIL while they decode (pocketsphinx 5.1 does, measured)
and there is a process for every core that may be used, so a second thread would only add waiting.
Between two steps all that has arrived is read; a job that has ended goes first, since a caller
waits for its final, the others take turns.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from providers._worker_wire import (
    Abandon,
    Begin,
    End,
    Failed,
    Feed,
    Final,
    FromWorker,
    Partial,
    Ready,
    Unpacker,
    pack,
    to_worker,
)

STEP_BYTES = 3200
"""100 ms: what one job may decode before the next has its turn."""
READ_BYTES = 1 << 16
NICENESS = 5


class Recognition(Protocol):
    """One utterance being recognised."""

    def feed(self, pcm: bytes) -> None:
        """At most STEP_BYTES of audio."""

    def text(self) -> str:
        """The hypothesis so far."""

    def finish(self) -> tuple[str, str]:
        """The final text, and what the call's next utterance should be told (`Begin.memory`)."""

    def abandon(self) -> None: ...


class _Job:
    def __init__(self, recognition: Recognition) -> None:
        self.recognition = recognition
        self.pcm = bytearray()
        self.ended = False
        self.said = ""
        self.unreported_bytes = 0

    @property
    def has_work(self) -> bool:
        return self.ended or bool(self.pcm)


def serve(begin: Callable[[Begin], Recognition]) -> None:
    """Run until stdin ends, which it does when the server stops or dies. Models are loaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    # Whatever a library prints must not end up between the messages.
    out = os.dup(1)
    os.dup2(2, 1)
    _Worker(begin, out).run()


class _Worker:
    def __init__(self, begin: Callable[[Begin], Recognition], out: int) -> None:
        self._begin = begin
        self._out = out
        self._unpacker = Unpacker()
        self._jobs: dict[int, _Job] = {}

    def run(self) -> None:
        self._send(Ready())
        while self._read(wait=not any(job.has_work for job in self._jobs.values())):
            self._step()

    def _read(self, wait: bool) -> bool:
        """Take in what has arrived; False at the end of stdin."""
        while wait or select.select([0], [], [], 0)[0]:
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
                try:
                    self._jobs[number] = _Job(self._begin(message))
                except Exception as error:
                    self._send(Failed(number, repr(error)))
            case Feed(number, pcm) if number in self._jobs:
                self._jobs[number].pcm += pcm
            case End(number) if number in self._jobs:
                self._jobs[number].ended = True
            case Abandon(number) if number in self._jobs:
                self._jobs.pop(number).recognition.abandon()
            case _:
                pass  # audio that was under way when its job failed

    def _step(self) -> None:
        numbers = [number for number, job in self._jobs.items() if job.has_work]
        if not numbers:
            return
        number = next((n for n in numbers if self._jobs[n].ended), numbers[0])
        job = self._jobs.pop(number)
        try:
            if self._advance(number, job):
                self._jobs[number] = job  # now the last in line
        except Exception as error:
            with contextlib.suppress(Exception):
                job.recognition.abandon()
            self._send(Failed(number, repr(error)))

    def _advance(self, number: int, job: _Job) -> bool:
        """One step; False once the job is done."""
        if job.pcm:
            piece = bytes(job.pcm[:STEP_BYTES])
            del job.pcm[:STEP_BYTES]
            job.recognition.feed(piece)
            self._report(number, job, len(piece))
        if job.pcm or not job.ended:
            return True
        self._send(Final(number, *job.recognition.finish()))
        return False

    def _report(self, number: int, job: _Job, fed_bytes: int) -> None:
        """A partial every 100 ms of audio at most, and only when it says something new."""
        job.unreported_bytes += fed_bytes
        if job.unreported_bytes >= STEP_BYTES:
            job.unreported_bytes = 0
            text = job.recognition.text()
            if text != job.said:
                job.said = text
                self._send(Partial(number, text))

    def _send(self, message: FromWorker) -> None:
        data = memoryview(pack(message))
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:
            sys.exit(0)
