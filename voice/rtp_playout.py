"""Sound on its way to a far end that plays what comes: 20 ms frames, each at its time.

    given    ####|####|##         by the session, a lead ahead
    beats    |    |    |    |    |    |    |    |    |       every 20 ms, sound or not
    sent     M### #### ##^s  s    -    -    -                  -
             marker      fade, two frames of silence, then frames that say "silence" (DTX):
                         three at once, then one every 400 ms

Silence is not sent all the time: it would cost each peer 50 frames a second for nothing. A little
is: behind the sound, so that the far end's buffer gives its last frames without inventing more, and
knows that nothing is missing; and now and then, as Opus's own DTX does, so that the far end's
`unmute` comes at the start, its jitter estimate stays alive, and no stateful firewall on the way
forgets us. A timestamp is its beat's: pauses are as long as they were.
"""

from typing import NamedTuple

import numpy as np

FRAME_MS = 20
FRAME_S = FRAME_MS / 1000
FADE_MS = 5
CUT_FADE_MS = 10
SILENT_FRAMES, TAIL_FRAMES = 2, 5
"""Behind sound: coded, and all of them."""
KEEP_ALIVE_BEATS = 20
MOST_BEHIND = 5
"""Beats that a late loop makes up for; what is older than that has been a pause."""
_EARLY_S = FRAME_S / 2
"""Who asks a little before or behind a beat means that beat."""


class Beat(NamedTuple):
    marker: bool
    """The first of a spurt."""
    ticks: int
    """Since the first beat, at the RTP clock; not wrapped."""
    pcm: bytes
    """s16le, FRAME_MS of it; b"": none, say so."""
    sound: bool
    """False: silence that was made here."""


class RtpPlayout:
    """`now` is one monotonic clock in seconds."""

    def __init__(self, *, rate_hz: int, clock_hz: int) -> None:
        self._frame_bytes = rate_hz * FRAME_MS // 1000 * 2
        self._ticks = clock_hz * FRAME_MS // 1000
        self._fade = rate_hz * FADE_MS // 1000
        self._cut_fade = rate_hz * CUT_FADE_MS // 1000
        self._silence = bytes(self._frame_bytes)
        self._queue = bytearray()
        self._clock_hz = clock_hz
        self._begun_at: float | None = None
        self._anchored_at = 0.0
        self._anchored_ticks = self._beat = 0
        """Beats are counted from where they were set anew."""
        self._sent_to = 0
        """Ticks, behind the last frame."""
        self._sounding = False
        self._quiet = TAIL_FRAMES - 1
        """Frames of silence since the last sound; one at the very beginning, too."""
        self._next_quiet = 0
        self._anchor_next = False

    @property
    def queued_bytes(self) -> int:
        return len(self._queue)

    @property
    def idles(self) -> bool:
        """Whether nothing is being sent: what is put now can go at once."""
        return self._quiet >= TAIL_FRAMES and not self._queue

    def put(self, pcm: bytes) -> None:
        self._anchor_next = self._anchor_next or self.idles
        self._queue += pcm

    def clear(self) -> None:
        """Nothing more of it, but 10 ms in which it falls silent: a cut would click."""
        if not self._sounding:
            self._queue.clear()
            return
        del self._queue[2 * self._cut_fade :]
        self._queue[:] = _ramped(bytes(self._queue), self._cut_fade, rising=False)

    def due(self, now: float) -> list[Beat]:
        """The frames whose time has come."""
        if self._begun_at is None:
            self._begun_at = self._anchored_at = now
        if self._anchor_next:
            self._anchor(now, self._begun_at)
        current = int((now - self._anchored_at + _EARLY_S) / FRAME_S)
        beats: list[Beat] = []
        if not self._sounding or self._beat < current - MOST_BEHIND + 1:
            if self._beat <= current:
                self._sounding = False  # later than a lead: its timestamps must tell
                self._beat = current
        while self._beat <= current:
            if (beat := self._take(self._beat)) is not None:
                beats.append(beat)
            self._beat += 1
        return beats

    def _anchor(self, now: float, begun_at: float) -> None:
        """The first frame of a spurt need not wait for the next beat of the silence before it."""
        self._anchor_next = False
        ticks = round((now - begun_at) * self._clock_hz)
        if ticks >= self._sent_to:
            self._anchored_at, self._anchored_ticks, self._beat = now, ticks, 0
            self._next_quiet = KEEP_ALIVE_BEATS

    def _take(self, beat: int) -> Beat | None:
        pcm, sounds, begins = self._silence, bool(self._queue), False
        if sounds:
            begins = not self._sounding
            pcm = self._next_frame(begins=begins)
            self._quiet = 0
        elif self._quiet < TAIL_FRAMES:
            self._quiet += 1
        elif beat < self._next_quiet:
            return None
        self._sounding = sounds
        if self._quiet > SILENT_FRAMES:
            pcm = b""
        self._next_quiet = beat + KEEP_ALIVE_BEATS
        ticks = self._anchored_ticks + beat * self._ticks
        self._sent_to = ticks + self._ticks
        return Beat(begins, ticks, pcm, sounds)

    def _next_frame(self, *, begins: bool) -> bytes:
        pcm = bytes(self._queue[: self._frame_bytes])
        del self._queue[: self._frame_bytes]
        if begins:
            pcm = _ramped(pcm, self._fade, rising=True)
        if not self._queue:
            pcm = _ramped(pcm, self._fade, rising=False)
        return pcm.ljust(self._frame_bytes, b"\0")


def _ramped(pcm: bytes, count: int, *, rising: bool) -> bytes:
    """The first samples rise from silence, or the last fall into it."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    count = min(count, len(samples))
    if count:
        ramp = np.arange(1, count + 1, dtype=np.float32) / (count + 1)
        if rising:
            samples[:count] *= ramp
        else:
            samples[-count:] *= ramp[::-1]
    return samples.astype("<i2").tobytes()
