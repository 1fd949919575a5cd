"""The voice's side: jobs from stdin, audio to stdout; one thread reads, one speaks.

A process of its own, because engines written in C++ end theirs where they meet what they did not
expect (sherpa-onnx calls exit), and because some hold the GIL (pyopenjtalk 0.4.1: up to 10 ms).
"""

import os
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

from providers._voice_wire import (
    PIECE_BYTES,
    Audio,
    Done,
    Failed,
    FromVoice,
    Ready,
    Refused,
    Speak,
    Stop,
    Word,
    pack,
    to_voice,
)
from providers._worker_wire import Unpacker


class Listener:
    """Who waits for one job."""

    def __init__(
        self, job: int, send: Callable[[FromVoice], None], is_gone: Callable[[], bool]
    ) -> None:
        self._job = job
        self._send = send
        self._is_gone = is_gone

    def hear(self, pcm: bytes) -> bool:
        """Whether somebody still listens."""
        for start in range(0, len(pcm), PIECE_BYTES):
            self._send(Audio(self._job, pcm[start : start + PIECE_BYTES]))
        return not self._is_gone()

    def mark(self, start: int, end: int, at: float) -> None:
        """A word begins; before its audio."""
        self._send(Word(self._job, start, end, at))


class Voice(Protocol):
    """An engine that has been loaded."""

    @property
    def rate_hz(self) -> int: ...

    @property
    def voices(self) -> int: ...

    @property
    def check_text(self) -> str: ...

    def speak(self, text: str, voice: str, speed: float, listener: Listener) -> None:
        """Stops where `hear` returns False. Raises ValueError with what is wrong with the job."""


def serve(load: Callable[[], Voice]) -> None:
    """Until stdin ends. Raises nothing: what `load` raises is told as Refused."""
    stdout = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not come between the messages

    def send(message: FromVoice) -> None:
        data = memoryview(pack(message))
        try:
            while data:
                data = data[os.write(stdout, data) :]
        except OSError:
            os._exit(0)  # the server has gone

    try:
        voice = load()
    except Exception as error:
        send(Refused(f"{type(error).__name__}: {error}" if str(error) else repr(error)))
        return
    jobs = _Jobs()
    threading.Thread(target=jobs.read, daemon=True).start()
    send(Ready(voice.rate_hz, voice.voices, voice.check_text))
    while True:
        job = jobs.next()
        listener = Listener(job.job, send, partial(jobs.is_stopped, job.job))
        try:
            voice.speak(job.text, job.voice, job.speed, listener)
        except Exception as error:
            send(Failed(job.job, str(error) or repr(error)))
        else:
            send(Done(job.job))
        jobs.done(job.job)


class _Jobs:
    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Speak] = queue.SimpleQueue()
        self._open: set[int] = set()
        """Asked for, and neither stopped nor done. Single operations on it are atomic."""

    def read(self) -> None:
        unpacker = Unpacker()
        while piece := os.read(0, 1 << 16):
            for body in unpacker.feed(piece):
                message = to_voice.decode(body)
                if isinstance(message, Stop):
                    self._open.discard(message.job)
                else:
                    self._open.add(message.job)
                    self._waiting.put(message)
        os._exit(0)

    def next(self) -> Speak:
        while True:
            job = self._waiting.get()
            if not self.is_stopped(job.job):
                return job

    def is_stopped(self, job: int) -> bool:
        return job not in self._open

    def done(self, job: int) -> None:
        self._open.discard(job)
