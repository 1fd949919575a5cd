"""The one telephone leg: any provider's adapter on one side, the session on the other.

    provider ──frames──▶ Adapter ──facts──▶ Arrival ──sound──▶ session.hear
                                            Marks ──heard──▶ session.post(PlaybackReport)
    provider ◀──frames── Adapter ◀── pieces of 20 ms, marks, clear ◀── Outbox (the session)

The session paces: it gives sound no more than the carrier's lead ahead. The provider buffers that
and plays it; `clear` takes back what it has not played, and is said on every cut, also behind the
end of an answer, while the provider may still be playing it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from voice import metrics, wire
from voice.audio import to_wire
from voice.carrier import Carrier
from voice.facts import KeyPressed
from voice.playout import Frame
from voice.session import Session
from voice.settings import AudioFormat
from voice.transports.telephony.adapter import (
    STARTED_TWICE,
    Adapter,
    Fact,
    Full,
    Garbled,
    Key,
    Media,
    Played,
    Started,
    Stopped,
)
from voice.transports.telephony.arrival import Arrival
from voice.transports.telephony.heard import Marks

MOST_FRAME_BYTES = 65_536
"""Of one frame of a provider: eight seconds of G.711, where they send 20 ms at a time."""
MOST_GARBLED = 50
"""Frames in a row that are none, after which this is no provider: 1008."""

MOST_WAITING = 3000
"""Frames for a provider that is full, a minute and more; beyond it the oldest are lost."""

log = structlog.get_logger()


class Connection(Protocol):
    """What a leg writes to: a Line (voice/transports/line.py), or a socket that does the same."""

    def put(self, data: bytes, *, binary: bool = False, sound: bool = False) -> None:
        """One frame; `sound` may wait where `clear` finds it."""

    def clear(self) -> None: ...

    def end(self, code: int, reason: str) -> None: ...


def carrier_of(adapter: Adapter, started: Started, lead_ms: int) -> Carrier:
    return Carrier(
        name=adapter.name,
        listens=started.form,
        speaks=started.form,
        plays=True,
        lead_ms=lead_ms,
    )


class Leg:
    """Implements the session's Outbox. `attach` it to its session before it is given frames."""

    def __init__(self, adapter: Adapter, connection: Connection, started: Started) -> None:
        self.provider, self.started = adapter.name, started
        self._adapter, self._connection = adapter, connection
        self._session: Session
        self._arrival, self._marks = Arrival(started.form), Marks()
        self._garbled = 0
        self._over = self._ended = False
        sample_bytes = 2 if started.form.type == "audio/pcm" else 1
        per_ms = started.form.rate_hz * sample_bytes // 1000
        self._bytes_per_ms = per_ms
        self._piece_bytes = adapter.piece_ms * per_ms
        self._most_bytes = adapter.most_ms // adapter.piece_ms * self._piece_bytes
        self._item, self._sent_ms = "", 0.0
        self._left = b""
        """Of an answer's sound: less than a piece."""
        self._full = False
        self._waiting: deque[tuple[bytes, bool]] = deque(maxlen=MOST_WAITING)
        """Frames for a provider that is full: whether they are binary."""

    def attach(self, session: Session) -> None:
        self._session = session
        for frame in self._adapter.begin():
            self._connection.put(frame)

    # --- in ---------------------------------------------------------------------------------------

    def text(self, data: bytes) -> None:
        self.receive(data, binary=False)

    def binary(self, data: bytes) -> None:
        self.receive(data, binary=True)

    def receive(self, data: bytes, *, binary: bool) -> None:
        if self._over:
            return
        try:
            facts = read(self._adapter, data, binary=binary)
        except Garbled as error:
            self._complain(error)
            return
        self._garbled = 0
        for fact in facts:
            self._take(fact)

    def _complain(self, error: Garbled) -> None:
        self._garbled += 1
        metrics.PHONE_FRAMES.labels(self._adapter.name, "garbled").inc()
        log.debug("frame_garbled", session=self._session.id, why=str(error))
        if self._garbled >= MOST_GARBLED:
            self._stop(1008, str(error)[:100])

    def _take(self, fact: Fact) -> None:
        match fact:
            case Media():
                late = self._arrival.counts.late
                for pcm in self._arrival.receive(fact):
                    self._session.hear(pcm)
                if self._arrival.counts.late > late:
                    metrics.PHONE_FRAMES.labels(self._adapter.name, "late").inc()
            case Played():
                if (heard := self._marks.played(fact.mark)) is None:
                    metrics.PHONE_FRAMES.labels(self._adapter.name, "late_mark").inc()
                else:
                    item_id, played_ms = heard
                    self._session.post(wire.PlaybackReport(item_id=item_id, played_ms=played_ms))
            case Key():
                self._session.post(KeyPressed(fact.digit))
            case Full():
                self._full = fact.is_full
                self._give_waiting()
            case Stopped():
                self._stop(1000, fact.why or "the caller hung up")
            case Started():
                self._complain(Garbled(STARTED_TWICE))

    def _stop(self, code: int, reason: str) -> None:
        """Not for `ended`: the far end did it, or is none."""
        self._over = True
        self._connection.end(code, reason)

    def drop(self, code: int, reason: str) -> None:
        """Lets go of the connection, and of nothing else: the call goes on elsewhere."""
        self._ended = True
        self._stop(code, reason)

    def close(self) -> None:
        """The connection is gone: what was counted is told."""
        self._over = True
        counts = self._arrival.counts
        if counts.missing_ms:
            metrics.PHONE_MISSING.labels(self._adapter.name).inc(counts.missing_ms / 1000)

    # --- the session's outbox ---------------------------------------------------------------------

    def send(self, event: wire.ServerEvent) -> None:
        """A telephone shows nothing; behind an answer's sound comes its last mark."""
        if isinstance(event, wire.AudioDone):
            self._finish()

    def sound(self, event: wire.AudioDelta, frame: Frame, form: AudioFormat) -> None:
        if event.item_id != self._item:
            self._finish()
            self._item, self._sent_ms = event.item_id, 0.0
        coded = to_wire(form, frame.pcm)
        self._sent_ms = frame.at_ms + len(coded) / self._bytes_per_ms
        data = self._left + coded
        whole = len(data) // self._piece_bytes * self._piece_bytes
        self._left = data[whole:]
        self._put_sound(data[:whole])
        self._mark()

    def _put_sound(self, data: bytes) -> None:
        for start in range(0, len(data), self._most_bytes):
            piece = self._adapter.sound(data[start : start + self._most_bytes])
            self._put(piece, binary=self._adapter.sound_is_binary)

    def _mark(self, *, is_end: bool = False) -> None:
        sent_ms = self._sent_ms - len(self._left) / self._bytes_per_ms
        if name := self._marks.due(self._item, sent_ms, is_end=is_end):
            frame = self._adapter.mark(name)
            if frame is not None:
                self._put(frame)

    def _finish(self) -> None:
        """Behind an answer's last sound: the rest of it, silence up to a whole piece, a mark."""
        if not self._item:
            return
        if self._left:
            data, self._left = self._left, b""
            short = self._piece_bytes - len(data)
            self._put_sound(data + self._arrival.silence(short))
        self._mark(is_end=True)
        self._item = ""

    def _put(self, frame: bytes, *, binary: bool = False) -> None:
        if self._full:
            self._waiting.append((frame, binary))
        else:
            self._connection.put(frame, binary=binary, sound=True)

    def _give_waiting(self) -> None:
        while self._waiting and not self._full:
            frame, binary = self._waiting.popleft()
            self._connection.put(frame, binary=binary, sound=True)

    def clear(self) -> None:
        self._connection.clear()
        self._waiting.clear()
        self._marks.cleared()
        self._item, self._left = "", b""
        frame = self._adapter.clear()
        if frame is not None:
            self._connection.put(frame)

    def end(self, code: int, reason: str) -> None:
        """Once: the provider's own word for it, then the connection."""
        if self._ended:
            return
        self._ended = self._over = True
        frame = self._adapter.hang_up()
        if frame is not None:
            self._connection.put(frame)
        self._connection.end(code, reason)


def read(adapter: Adapter, data: bytes, *, binary: bool) -> Sequence[Fact]:
    """Raises:
    Garbled: It is no frame of this provider's, or longer than any.
    """
    if len(data) > MOST_FRAME_BYTES:
        raise Garbled(f"a frame of {len(data)} bytes; {MOST_FRAME_BYTES} are the most")
    return adapter.read(data, binary=binary)
