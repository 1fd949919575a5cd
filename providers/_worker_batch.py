"""The worker's side for a recogniser that decodes many utterances in one call (`_batches`).

    reader thread    stdin → Inbox
    decode thread    Inbox → Batches → stdout

For libraries that let go of the GIL while they decode. An empty-handed decode thread waits up to
10 ms behind the first message for more, so that callers who speak at once are decoded at once; a
caller who has just ended is not made to wait. It is the decode thread that says it is well, every
BEAT_S, as it is the one that may hang.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from providers._batches import Batches, BatchRecogniser, U
from providers._worker_child import READ_BYTES, send, settle_in
from providers._worker_wire import (
    BEAT_S,
    Beat,
    End,
    Feed,
    FromWorker,
    Ready,
    Refused,
    ToWorker,
    Unpacker,
    to_worker,
)

BACKLOG_BYTES = 16 << 20
"""More is left in the pipe; what does not go into it, the server keeps, and drops in the end."""


class RefusedError(Exception):
    """This recogniser cannot serve with these settings; the text says what to do."""


class Inbox:
    """Messages from the reader thread to the decode thread, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[ToWorker] = []
        self._is_urgent = False
        self._bytes = 0
        self.backlog_bytes = 0
        """What the decode thread has taken and not decoded; it keeps this up to date."""

    def put(self, messages: Sequence[ToWorker]) -> None:
        """Blocks while there is too much to decode."""
        with self._changed:
            self._messages += messages
            self._bytes += sum(len(m.pcm) for m in messages if isinstance(m, Feed))
            self._is_urgent = self._is_urgent or any(isinstance(m, End) for m in messages)
            self._changed.notify_all()
            while self._bytes + self.backlog_bytes > BACKLOG_BYTES:
                self._changed.wait()

    def take(self, wait_s: float, gather_s: float) -> list[ToWorker]:
        """Args:
        wait_s: For a first message.
        gather_s: For more behind it, unless somebody has ended.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._messages, wait_s) and wait_s:
                self._changed.wait_for(lambda: self._is_urgent, gather_s)
            messages, self._messages = self._messages, []
            self._is_urgent, self._bytes = False, 0
            self._changed.notify_all()
            return messages


def serve(load: Callable[[], BatchRecogniser[U]], *, max_batch: int, batch_wait_s: float) -> None:
    """Run until stdin ends, which it does when the server stops or dies.

    Args:
        load: Makes the recogniser; raises RefusedError if that will not work the next time either.
    """
    out = settle_in()
    try:
        recogniser = load()
    except RefusedError as error:
        send(out, Refused(str(error)))
        return
    inbox = Inbox()
    decoding = threading.Thread(
        target=_decode_for_ever, args=(recogniser, inbox, out, max_batch, batch_wait_s), daemon=True
    )
    decoding.start()
    unpacker = Unpacker()
    while piece := os.read(0, READ_BYTES):
        inbox.put([to_worker.decode(body) for body in unpacker.feed(piece)])
    os._exit(0)  # the decode thread may be in the midst of a batch that nobody waits for


def _decode_for_ever(
    recogniser: BatchRecogniser[U], inbox: Inbox, out: int, max_batch: int, batch_wait_s: float
) -> None:
    sent_at = 0.0

    def say(message: FromWorker) -> None:
        nonlocal sent_at
        sent_at = time.monotonic()
        send(out, message)

    batches = Batches(recogniser, say, max_batch=max_batch)
    wait_s = BEAT_S
    try:
        say(Ready())
        while True:
            batches.receive(inbox.take(wait_s, batch_wait_s))
            wait_s = batches.turn()
            inbox.backlog_bytes = batches.backlog_bytes
            if time.monotonic() - sent_at >= BEAT_S:
                say(Beat())
    except BrokenPipeError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()  # a batch went wrong: the server starts another worker, and replays
        sys.stderr.flush()
        os._exit(1)
