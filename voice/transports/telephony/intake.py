"""What a far end sends over TCP, no more of it at a time than others can wait for.

    arrived   |#############################|   nothing is read on while some of it waits
    taken     |##|##|##|                        STEP_S of sound, or STEP_FRAMES, then others' turn
    ahead     |-------------|                   of the clock; beyond MOST_AHEAD_S it is no caller's

TCP brings as much as it can carry: four seconds of a call in one read, from who sends no faster
than a sound file is read. Without this, everybody else's answer would stand still meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from voice.transports.telephony.adapter import Garbled
from voice.transports.telephony.audiosocket import HEAD, RATES_HZ, Splitter, frame

STEP_S = 0.1
"""Of sound. Measured, of the loop's time: 0.6 ms a step at 8 kHz, 0.8 ms at 192 kHz; one read that
was dealt with in one go took 50 to 800 ms."""
STEP_FRAMES = 20
"""Of any kind: keys, and sound in crumbs."""
MOST_AHEAD_S = 5.0
"""Asterisk sends as it hears. So much is no network's doing."""
MOST_BEHIND_S = 30.0
"""What a network held back may come at once; who is gone for longer is gone (keepalive.py)."""


class Reading(Protocol):
    """What is wanted of the connection."""

    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Intake:
    """One connection's bytes as frames.

    Args:
        take: Given each frame that is whole, long sound in pieces; may raise Garbled.
        refused: Told, once, that what comes is no call.
    """

    def __init__(
        self,
        connection: Reading,
        *,
        take: Callable[[bytes], None],
        refused: Callable[[Garbled], None],
    ) -> None:
        self._connection, self._on_frame, self._on_refused = connection, take, refused
        self._loop = asyncio.get_running_loop()
        self._splitter, self._unread = Splitter(), bytearray()
        self._pieces: deque[bytes] = deque()
        self._next: asyncio.Handle | None = None
        self._held = self._paused = self._over = False
        self._ahead_s, self._counted_at = 0.0, self._loop.time()

    def receive(self, data: bytes) -> None:
        self._unread += data
        if self._next is None and not self._held:
            self._step()

    def hold(self, *, held: bool) -> None:
        """Gives no frame until it is told to go on."""
        self._held = held
        if not held and self._next is None:
            self._step()

    def _step(self) -> None:
        self._next = None
        try:
            has_more = self._take_some()
        except Garbled as error:
            self._over = True
            self._on_refused(error)
            return
        if has_more and not self._held:
            self._next = self._loop.call_soon(self._step)
        self._read_or_rest(rests=has_more)

    def _take_some(self) -> bool:
        """Returns:
        Whether there may be more.
        """
        left_s = STEP_S
        for _ in range(STEP_FRAMES):
            if self._over or self._connection.is_closing():
                return False
            if self._held:
                return True
            one = self._next_piece()
            if one is None:
                return False
            left_s -= self._count(one)
            self._on_frame(one)
            if left_s <= 0:
                break
        return True

    def _next_piece(self) -> bytes | None:
        if not self._pieces:
            data, self._unread = bytes(self._unread), bytearray()
            one = next(self._splitter.feed(data), None)
            if one is None:
                return None
            self._pieces.extend(pieces(one))
        return self._pieces.popleft()

    def _count(self, one: bytes) -> float:
        """Returns:
        Its seconds of sound.

        Raises:
            Garbled: So much of it has come that nobody is saying it.
        """
        seconds = sound_s(one)
        now = self._loop.time()
        since_s, self._counted_at = now - self._counted_at, now
        self._ahead_s = max(-MOST_BEHIND_S, self._ahead_s - since_s) + seconds
        if self._ahead_s > MOST_AHEAD_S:
            raise Garbled(f"sound comes more than {MOST_AHEAD_S:g} s before it can have been said")
        return seconds

    def _read_or_rest(self, *, rests: bool) -> None:
        if rests == self._paused or self._connection.is_closing():
            return
        self._paused = rests
        if rests:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()


def sound_s(one: bytes) -> float:
    """Of a frame; 0 of what is no sound."""
    rate_hz = RATES_HZ.get(one[0])
    return 0.0 if rate_hz is None else (len(one) - HEAD.size) / 2 / rate_hz


def pieces(one: bytes) -> Iterator[bytes]:
    """A frame of sound as frames of STEP_S at most; any other as it is."""
    if sound_s(one) <= STEP_S:
        yield one
        return
    size = int(RATES_HZ[one[0]] * STEP_S) * 2
    for start in range(HEAD.size, len(one), size):
        yield frame(one[0], one[start : start + size])
