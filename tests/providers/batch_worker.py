"""A batch worker that hears bytes, not words; it dies in the middle of any audio that says so."""

import os
import signal
from collections.abc import Sequence

from providers._worker_batch import serve
from providers._worker_wire import Begin

STEP_BYTES = 3200
POISON = b"\x00\xdd" * 8


class Echo:
    """Implements `providers._worker_batch.BatchRecogniser`."""

    def begin(self, message: Begin) -> "Hearing":
        return Hearing()

    def decode(self, utterances: Sequence["Hearing"]) -> None:
        for utterance in utterances:
            utterance.step()


class Hearing:
    """Implements `providers._batches.Utterance`."""

    def __init__(self) -> None:
        self._pcm = b""
        self._decoded = 0
        self._is_ended = False

    @property
    def is_ready(self) -> bool:
        waiting = len(self._pcm) - self._decoded
        return waiting > 0 if self._is_ended else waiting >= STEP_BYTES

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    def end(self) -> None:
        self._is_ended = True

    def step(self) -> None:
        if POISON in self._pcm[self._decoded : self._decoded + STEP_BYTES]:
            os.kill(os.getpid(), signal.SIGKILL)
        self._decoded = min(len(self._pcm), self._decoded + STEP_BYTES)

    def text(self) -> str:
        return str(self._decoded)


if __name__ == "__main__":
    serve(Echo, max_batch=8, batch_wait_s=0.0)
