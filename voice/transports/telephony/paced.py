"""A connection that plays what it is given, frame by frame in real time: the far end keeps nothing.

    queue    |####|####|m1|####|        what was given and has not left; `clear` drops it
    written  ####|####|              one frame every 20 ms
    m1       come back when the frame before it has been played

Late by a few frames, it catches up, so that the sound is whole; late by more, it goes on from now.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from voice.transports.telephony.audiosocket import (
    ERROR,
    FRAME_ERROR,
    HEAD,
    MARK,
    RATES_HZ,
    frame,
)

NORMAL = (1000, 1001, 1012)
"""Ends that are no error's."""
MOST_LATE_S = 0.1
"""Beyond it what is late is not sent in a burst: Asterisk would play all of it late, too."""
MOST_UNSENT_BYTES = 65_536
"""Some seconds of sound that the far end has not taken: it takes nothing any more."""


class PacedLine:
    """Implements leg.Connection.

    Args:
        kind: Of the sound's frames.
        silence: Whether there is sound all the time.
        came_back: Takes marks.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        kind: int,
        *,
        silence: bool,
        came_back: Callable[[bytes], None],
    ) -> None:
        self._transport, self._came_back = transport, came_back
        self._bytes_per_s = RATES_HZ[kind] * 2
        self._silence = frame(kind, bytes(self._bytes_per_s // 50 // 2 * 2)) if silence else b""
        self._queue: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0
        self.ended = (1006, "connection lost")
        self.dropped = False
        """It took nothing any more."""
        self._is_over = False
        if silence:
            self._wake()

    def put(self, data: bytes, *, binary: bool = False, sound: bool = False) -> None:
        if self._is_over:
            return
        if sound:
            self._queue.append(data)
            self._wake()
        else:
            self._write(data)

    def clear(self) -> None:
        self._queue.clear()

    def end(self, code: int, reason: str) -> None:
        if not self._is_over:
            self.ended = (code, reason)
            self.stop()
            if code not in NORMAL:
                self._transport.write(frame(ERROR, FRAME_ERROR))
            self._transport.close()

    def stop(self) -> None:
        """Nothing leaves any more."""
        self._is_over = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- time -------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._timer is None:
            self._next_at = max(self._next_at, self._loop.time())
            self._timer = self._loop.call_at(self._next_at, self._play)

    def _play(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now - self._next_at > MOST_LATE_S:
            self._next_at = now
        while self._next_at <= now and self._play_one():
            pass
        if self._queue or self._silence:
            self._wake()

    def _play_one(self) -> bool:
        """The next frame, if there is one; a mark before it has been reached."""
        while self._queue and self._queue[0][0] == MARK:
            self._came_back(self._queue.popleft())
            if self._is_over:
                return False
        data = self._queue.popleft() if self._queue else self._silence
        if not data:
            return False
        self._write(data)
        self._next_at += (len(data) - HEAD.size) / self._bytes_per_s
        return not self._is_over

    def _write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.dropped = True
            self.ended = (1006, "it takes nothing any more")
            self.stop()
            self._transport.abort()
