"""One utterance on its way to a final, and its audio.

    keep ─▶ [ sent to the worker | not yet sent ] ─▶ next_message ─▶ the pipe
                └─ the worker died: all of it is not yet sent again

That one buffer is what waits for a free place, what is resent to a slow worker's pipe, and what is
replayed after a crash.
"""

from collections.abc import Callable, Sequence

from providers._worker_wire import Begin, End, Failed, Feed, Final, Partial, pack

BYTES_S = 32_000
KEEP_S = 60
"""Audio of one job that is kept; beyond it the oldest is dropped and counted."""
FEED_BYTES = 1 << 15

Result = Partial | Final | Failed


class Job:
    """A call's next one waits for the final of its former, and begins with its memory."""

    def __init__(
        self,
        number: int,
        sink: Callable[[Result], None],
        language: str = "",
        memory: str = "",
        former: "Job | None" = None,
        hotwords: Sequence[str] = (),
    ) -> None:
        self.number = number
        self.sink = sink
        self.language = language
        self.memory = memory
        """What it began with; once it is done, what it hands on."""
        self.former = former
        """The one of the same call that comes before it; None once its memory was taken over."""
        self.hotwords = tuple(hotwords)
        self.attempts = 0
        """Workers it was with and may have taken down."""
        self.waits_since = 0.0
        """Loop time when it came into the queue, or the last worker died that it waited for."""
        self.lost_bytes = 0
        """Dropped before any worker had them."""
        self.is_ended = False
        self._is_replay = False
        self._end_sent = False
        self._pcm = bytearray()
        self._sent = 0

    def keep(self, pcm: bytes) -> None:
        self._pcm += pcm
        over = max(0, len(self._pcm) - KEEP_S * BYTES_S)
        over += over % 2
        del self._pcm[:over]
        self.lost_bytes += max(0, over - self._sent)
        self._sent = max(0, self._sent - over)

    def begin_message(self) -> bytes:
        """It is given to a worker."""
        self.attempts += 1
        self._inherit()
        careful = self.attempts > 1
        begin = Begin(
            self.number, self.language, self.memory, careful, self.hotwords, self._is_replay
        )
        return pack(begin)

    def next_message(self) -> bytes | None:
        """What the worker has not been sent yet, a piece at a time."""
        if self._sent < len(self._pcm):
            piece = bytes(self._pcm[self._sent : self._sent + FEED_BYTES])
            self._sent += len(piece)
            return pack(Feed(self.number, piece))
        if self.is_ended and not self._end_sent:
            self._end_sent = True
            return pack(End(self.number))
        return None

    def rewind(self) -> None:
        """What was sent is lost with its worker."""
        self._is_replay = True
        self._sent = 0
        self._end_sent = False

    def close(self, memory: str = "") -> None:
        """Done; who keeps it keeps no audio, and none of those before it.

        Args:
            memory: What it hands on.
        """
        self._inherit()
        self.memory = memory or self.memory
        self._pcm.clear()

    def _inherit(self) -> None:
        if self.former is not None:
            self.memory, self.former = self.former.memory or self.memory, None
