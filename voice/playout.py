"""Paced speech that knows what was heard.

    pushed   ##############################|        what the synthesizer gave
    sent     ##################|                    at most `lead_ms` ahead of
    heard    ##########|                            what the caller hears now

The first frames leave in one burst, the others in real time. A small lead is what makes a cut
clean: little is under way when the caller speaks, and little is lost when the loop is late.
"""

from bisect import bisect_right
from collections import deque
from math import inf

import msgspec

BYTES_PER_SAMPLE = 2
EXTRAPOLATE_MS = 250
"""How long an acknowledgement speaks for the time after it: the slowest pace clients report at."""
SILENT_CLIENT_S = 1.0
"""A client that stopped acknowledging is believed to have played all this long after it could."""
AUDIBLE_GAP_S = 0.001
TRACE_MS = 3000
"""Of what was sent so long ago, or is still to be heard, a trace is kept."""
TRACE_NTH = 8
"""Sample of it: they tell its power as well, and a call's trace is 18 kB."""
ROUNDING_MS = 0.001
"""What the lengths of many pieces may lack when they are added up."""
REST_MS = 40
"""Before all that was sent has been played: then less than a frame leaves, too."""


class Frame(msgspec.Struct, frozen=True):
    """The next piece of a reply's audio."""

    turn: int
    at_ms: int
    """Position of its first sample in the reply's audio."""
    pcm: bytes


class Playout:
    """One reply at a time, cut into frames that leave when they are due.

    `now` is one monotonic clock in seconds, never below zero.
    """

    def __init__(self, *, rate_hz: int, frame_ms: int = 40, lead_ms: int = 300) -> None:
        """Raises:
        ValueError: If the lead is shorter than a frame, or a figure is not positive.
        """
        if rate_hz <= 0 or frame_ms <= 0:
            raise ValueError(f"rate_hz and frame_ms must be positive, got {rate_hz}, {frame_ms}")
        if lead_ms < frame_ms:
            raise ValueError(f"lead_ms must be at least frame_ms ({frame_ms}), got {lead_ms}")
        self._rate_hz = rate_hz
        self._frame_bytes = rate_hz * frame_ms // 1000 * BYTES_PER_SAMPLE
        self._lead_ms, self._rest_ms = lead_ms, min(frame_ms, REST_MS)
        self.begin(0)

    def begin(self, turn: int) -> None:
        """A new reply: position 0, nothing queued, sent, marked or heard."""
        self.turn = turn
        self._pieces: deque[memoryview] = deque()
        self._queued = 0
        self._sent = 0
        self._trace: deque[bytes] = deque()
        self._traced = 0
        self._finished = self._held = False
        self.sounding_at: float | None = None
        """When the first frame was due, and taken."""
        self._cleared_at: float | None = None
        self.underruns = 0
        # The estimate: at `_running_since` the caller was at `_running_from_ms`, and plays on from
        # there in real time until what was sent is used up.
        self._running_since = 0.0
        self._running_from_ms = 0.0
        self._reported_ms: float | None = None
        self._reported_at = 0.0
        self._advancing = False
        self._heard_at_cut_ms = 0.0
        self._mark_ms: list[float] = [0.0]
        self._mark_chars: list[int] = [0]

    # --- in ------------------------------------------------------------------------------------

    def push(self, pcm: bytes) -> None:
        """The next audio, s16le mono at `rate_hz`; a sample may be split between two pushes."""
        if self._cleared_at is not None or not pcm:
            return
        self._pieces.append(memoryview(pcm))
        self._queued += len(pcm)

    def mark(self, chars: int, at_ms: float) -> None:
        """The transcript up to offset `chars` has been spoken at `at_ms` of this reply's audio.

        A mark that lies behind an earlier one is moved up to it.
        """
        self._mark_ms.append(max(at_ms, self._mark_ms[-1]))
        self._mark_chars.append(max(chars, self._mark_chars[-1]))

    def finish(self) -> None:
        """No more pushes: what is left may go as a short last frame at once."""
        self._finished = True

    def report(self, played_ms: float, now: float) -> None:
        """The client says that it has played so much; what cannot be is trimmed to what can.

        After a cut it is the client's last word on what was heard.
        """
        last = self._reported_ms or 0.0
        played_ms = min(max(played_ms, last), self.sent_ms)
        self._advancing = played_ms > last
        self._reported_ms = played_ms
        self._reported_at = now
        self._heard_at_cut_ms = played_ms

    def hold(self) -> None:
        """No further frames, until `release`; what was sent still plays."""
        self._held = True

    def release(self, now: float) -> None:
        """Frames go on where they stopped. The silence between was meant: no underrun."""
        if self._held and self._sent and now > self._dry_at():
            self._running_since, self._running_from_ms = now, self.sent_ms
        self._held = False

    def clear(self, now: float) -> float:
        """Cut: drops what was not sent, ends the reply, and returns what was heard, in ms."""
        if self._cleared_at is None:
            self._heard_at_cut_ms = self.heard_ms(now)
            self._cleared_at = now
            self._pieces.clear()
            self._queued = 0
        return self._heard_at_cut_ms

    # --- out -----------------------------------------------------------------------------------

    def due(self, now: float) -> list[Frame]:
        """The frames to send now, oldest first."""
        frames = []
        while self.has_frame and not self._held and now >= self._due_at():
            self._keep_estimate(now)
            at_ms = self._sent // BYTES_PER_SAMPLE * 1000 // self._rate_hz
            if self.sounding_at is None:
                self.sounding_at = now
            frames.append(Frame(self.turn, at_ms, self._take()))
        return frames

    def next_due(self) -> float | None:
        """When `due()` will give more: 0 for at once; None while there is nothing, or it is held
        back."""
        return self._due_at() if self.has_frame and not self._held else None

    @property
    def has_frame(self) -> bool:
        """Whether there is one to send, now or later."""
        begun = self._finished or self._sent
        return self._queued >= (BYTES_PER_SAMPLE if begun else self._frame_bytes)

    def _due_at(self) -> float:
        if not self._sent:
            return 0.0
        if self._queued < self._frame_bytes and not self._finished:
            # A voice that goes on would have filled it; the end of a clause that none follows yet
            # must not come as a click with the next one.
            return max(0.0, self._dry_at() - self._rest_ms / 1000)
        ahead_ms = self._ms(self._sent + self._frame_bytes) - self._running_from_ms
        return max(0.0, self._running_since + (ahead_ms - self._lead_ms) / 1000)

    def _keep_estimate(self, now: float) -> None:
        """A caller who had played all that was sent plays on from here."""
        if self._sent and now <= (dry_at := self._dry_at()):
            return
        if self._sent and now > dry_at + AUDIBLE_GAP_S:
            self.underruns += 1
        self._running_since = now
        self._running_from_ms = self.sent_ms

    def _take(self) -> bytes:
        """The next frame's bytes, copied once, and counted as sent."""
        size = min(self._frame_bytes, self._queued // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE)
        parts = []
        missing = size
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            parts.append(piece)
            missing -= len(piece)
        self._queued -= size
        self._sent += size
        frame = b"".join(parts)
        kept = memoryview(frame).cast("h")[::TRACE_NTH].tobytes()
        self._trace.append(kept)
        self._traced += len(kept)
        if self._trace_ms() > TRACE_MS:
            self._traced -= len(self._trace.popleft())
        return frame

    def trace(self) -> tuple[bytes, float, float]:
        """Every TRACE_NTH sample of what was sent of this reply's audio in the last 3 s.

        Returns:
            s16le, the position of the first in ms, and the rate in Hz.
        """
        return b"".join(self._trace), self.sent_ms - self._trace_ms(), self._rate_hz / TRACE_NTH

    def _trace_ms(self) -> float:
        return self._ms(self._traced * TRACE_NTH)

    # --- heard ---------------------------------------------------------------------------------

    def heard_ms(self, now: float) -> float:
        """How much of this reply the caller has heard; never more than was sent.

        By the client's reports where it makes them, each carried on for at most 250 ms; else by
        the clock, from the moment each frame left. It grows with `now`; only a report that
        corrects the estimate can set it back.
        """
        if self._cleared_at is not None:
            return self._heard_at_cut_ms
        if self._reported_ms is not None:
            since_ms = max(0.0, now - self._reported_at) * 1000 if self._advancing else 0.0
            return min(self.sent_ms, self._reported_ms + min(since_ms, EXTRAPOLATE_MS))
        if not self._sent:
            return 0.0
        running_ms = max(0.0, now - self._running_since) * 1000
        return min(self.sent_ms, self._running_from_ms + running_ms)

    def heard_chars(self, ms: float) -> int:
        """How much of the transcript lies before `ms`: by the marks, and evenly between two."""
        after = bisect_right(self._mark_ms, ms + ROUNDING_MS)
        if after == 0:
            return 0
        chars = self._mark_chars[after - 1]
        if after == len(self._mark_ms):
            return chars
        from_ms = self._mark_ms[after - 1]
        share = (ms - from_ms) / (self._mark_ms[after] - from_ms)
        return chars + int((self._mark_chars[after] - chars) * share)

    def drained_at(self) -> float | None:
        """When `is_drained` becomes true if nothing else is reported; None while audio is left.

        0 where there was nothing to play.
        """
        if self._cleared_at is not None:
            return self._cleared_at
        if not self._finished or self.has_frame:
            return None
        if not self._sent:
            return 0.0
        dry_at = self._dry_at()
        if self._reported_ms is None:
            return dry_at
        left_ms = self.sent_ms - self._reported_ms
        if left_ms == 0:
            return self._reported_at
        reached = self._advancing and left_ms <= EXTRAPOLATE_MS
        acknowledged_at = self._reported_at + left_ms / 1000 if reached else inf
        return min(acknowledged_at, dry_at + SILENT_CLIENT_S)

    @property
    def marked_ms(self) -> float:
        """Behind it, no mark says yet where the words lie."""
        return self._mark_ms[-1]

    def is_drained(self, now: float) -> bool:
        """Whether everything was sent and, by reports or by estimate, played."""
        at = self.drained_at()
        return at is not None and now >= at

    def _dry_at(self) -> float:
        return self._running_since + (self.sent_ms - self._running_from_ms) / 1000

    # --- figures -------------------------------------------------------------------------------

    @property
    def queued_ms(self) -> float:
        return self._ms(self._queued)

    @property
    def sent_ms(self) -> float:
        return self._ms(self._sent)

    @property
    def duration_ms(self) -> float:
        """All audio of this reply so far, sent or not."""
        return self._ms(self._sent + self._queued)

    def _ms(self, size: int) -> float:
        return size * 1000 / (self._rate_hz * BYTES_PER_SAMPLE)
