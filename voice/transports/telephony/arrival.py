"""The caller's sound as it was spoken: in order, each piece once, silence where pieces are missing.

    chunk   1 2 4 3 3 5 . . 8        given   1 2 3 4 5 ‥ ‥ 8

Audio time decides when a turn is over, so what never came must count as time: it is silence as long
as the timestamps say. A provider without chunk numbers sends in order, one without timestamps
leaves nothing out.
"""

from collections.abc import Iterator

from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import Media

REORDER = 4
"""Chunks that are waited for behind a missing one: 80 ms of a telephone's frames."""
LATE_CHUNKS = 1000
"""A number so far behind is the provider's new count: 20 s of a telephone's frames."""
SLACK_MS = 30
"""A timestamp may be off by more than one frame's length without anything missing."""
MOST_SILENCE_MS = 1000
"""For one gap. What is longer was no lost packet, and the turn over long ago."""
RESTART_MS = 1000
"""Timestamps that fall back by so much count from somewhere else."""

_SILENT = {"audio/pcmu": b"\xff", "audio/pcma": b"\xd5", "audio/pcm": b"\x00"}


class Counts(Struct):
    late: int = 0
    """Came again, or too late to be put in order."""
    missing_ms: float = 0.0
    """Filled with silence."""


class Arrival:
    """One stream's."""

    def __init__(self, form: AudioFormat) -> None:
        self._silent = _SILENT[form.type]
        self._bytes_per_ms = form.rate_hz * (2 if form.type == "audio/pcm" else 1) / 1000
        self._next: int | None = None
        self._held: dict[int, Media] = {}
        self._origin_ms: float | None = None
        self._given_ms = 0.0
        self.counts = Counts()

    def receive(self, media: Media) -> Iterator[bytes]:
        """What can be heard now, silence included."""
        for piece in self._in_order(media):
            missing_ms = self._missing_ms(piece)
            if missing_ms > 0:
                self.counts.missing_ms += missing_ms
                yield self.silence(round(missing_ms * self._bytes_per_ms))
            self._given_ms += len(piece.payload) / self._bytes_per_ms
            if piece.payload:
                yield piece.payload

    def _in_order(self, media: Media) -> Iterator[Media]:
        chunk = media.chunk
        if chunk is None:
            yield media
            return
        if self._next is None or chunk < self._next - LATE_CHUNKS:
            yield from self._release()
            self._next = min(chunk, 1) if chunk <= REORDER else chunk  # the first may come second
        if chunk < self._next or chunk in self._held:
            self.counts.late += 1
            return
        self._held[chunk] = media
        if len(self._held) > REORDER:
            self._next = min(self._held)  # what is before it is not coming any more
        while self._next in self._held:
            yield self._held.pop(self._next)
            self._next += 1

    def _release(self) -> Iterator[Media]:
        for chunk in sorted(self._held):
            yield self._held.pop(chunk)

    def _missing_ms(self, media: Media) -> float:
        """Counted over all of the stream: what comes a little late now and early then is whole."""
        at_ms = media.at_ms
        if at_ms is None:
            return 0.0
        missing_ms = 0.0 if self._origin_ms is None else at_ms - self._origin_ms - self._given_ms
        if self._origin_ms is None or not -RESTART_MS < missing_ms <= MOST_SILENCE_MS:
            filled_ms = min(max(missing_ms, 0.0), MOST_SILENCE_MS)
            self._origin_ms = at_ms - self._given_ms - filled_ms
        else:
            filled_ms = missing_ms if missing_ms > SLACK_MS else 0.0
        self._given_ms += filled_ms
        return filled_ms

    def silence(self, size: int) -> bytes:
        """About `size` bytes of it, in whole samples."""
        sample = 2 if self._silent == b"\x00" else 1
        return self._silent * (size // sample * sample)
