"""A jitter buffer for ears that are no loudspeaker: it waits for packets, never for the clock.

    in order   |1|2|3|          given on at once, however unevenly they come: nothing is added
    a hole     |1|2| |4|        4 waits for 3 until 3 could hardly come any more, then for nothing
    silence    |1|2|x           the sender says that it sends none (DTX): silence goes on by the
                                clock, so that the end of a turn need not wait for the next word
    a stall    |1|2|            nothing: who stopped sending in mid-word has not stopped speaking

What comes out is one line of audio, each timestamp at most once and in order; a hole is filled by
its timestamps, so that audio time stays true. The wait follows the delays that were measured
(their 97th percentile over the last 128 packets, above the quickest of the last 5 to 10 s: clocks
that drift are followed), and is never longer than `most_ms`. It is over for each hole anew, so no
delay grows over a call.
"""

from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from voice.delays import Delays
from voice.rtp import MAX_DROPOUT, MAX_MISORDER, forward

CONCEALED_MS = 100
"""Longer than this nothing sounds as if it went on."""
MOST_HOLE_MS = 200
"""Of what was lost; the rest is left out, and told: a second of silence would end the turn."""
MOST_PAUSE_MS = 1000
"""Of what was not sent since nothing was said."""
SILENCE_S = 1.2
"""A sender of silence is heard of every 400 ms; after this it has stalled."""
MAX_HELD = 64


class Packet(Struct, frozen=True):
    sequence: int
    """0..65535."""
    timestamp: int
    """0..2**32 - 1, in ticks."""
    ticks: int
    """How long it sounds."""
    payload: bytes
    silent: bool = False
    """The sender says that it sends no more until there is something to hear."""


class Kind(Enum):
    PLAYED = "played"
    RECOVERED = "recovered"
    """Lost; the payload is that of the packet behind it, which may hold a copy."""
    CONCEALED = "concealed"
    """Lost: as if the sound before went on."""
    SILENT = "silent"
    """Lost, and too long ago; or never sent, since nothing was said."""


class Piece(NamedTuple):
    kind: Kind
    at: int
    """Timestamp, not wrapped."""
    ticks: int
    payload: bytes = b""


class Counts(Struct):
    received: int = 0
    lost: int = 0
    """Not there when their turn came."""
    late: int = 0
    """Came after that; they count as lost, too."""
    duplicates: int = 0
    strays: int = 0
    """Out of every order."""
    restarts: int = 0
    concealed_ticks: int = 0
    """Filled with anything but what was sent for it."""
    skipped_ticks: int = 0
    """Left out of audio time."""


class _Held(NamedTuple):
    packet: Packet
    at: int
    arrived: float


class JitterBuffer:
    """`now` is one monotonic clock in seconds. Nothing waits: `deadline` says when to `tick`."""

    def __init__(
        self,
        clock_hz: int,
        *,
        least_ms: float = 20,
        most_ms: float = 200,
        first_ms: float = 60,
    ) -> None:
        self._hz, self._most_s = clock_hz, most_ms / 1000
        self.counts = Counts()
        self._delays = Delays(least_s=least_ms / 1000, most_s=self._most_s, first_s=first_ms / 1000)
        self._held: dict[int, _Held] = {}
        self._next: int | None = None
        """Sequence number, not wrapped, of what is given on next."""
        self._at = 0
        """Timestamp, not wrapped, of the same."""
        self._seen = 0
        """Bit n: number `_next` - 1 - n did come."""
        self._expected_stray: int | None = None
        self._silent_from: tuple[float, int] | None = None
        """When the sender's word for it was given on, and the timestamp behind it."""
        self._frame_ticks = clock_hz // 50

    @property
    def wait_ms(self) -> float:
        """What a hole is waited for, as of now."""
        return self._delays.wait_s * 1000

    @property
    def held(self) -> int:
        return len(self._held)

    # --- in ---------------------------------------------------------------------------------------

    def receive(self, packet: Packet, now: float) -> list[Piece]:
        """What can be given on now."""
        self.counts.received += 1
        if self._next is None:
            self._begin(packet)
        assert self._next is not None
        ahead = forward(packet.sequence, self._next & 0xFFFF, 16)
        if not -MAX_MISORDER <= ahead <= MAX_DROPOUT:
            return self._stray(packet, now)
        self._expected_stray = None
        number = self._next + ahead
        at = self._at + forward(packet.timestamp, self._at & 0xFFFFFFFF, 32)
        if ahead < 0:
            self._passed(number, at, now)
            return []
        if number in self._held:
            self.counts.duplicates += 1
            return []
        if at < self._at - self._hz:  # the sender has set its clock
            return self._begin_again(packet, now)
        self._delays.add(now - at / self._hz, now)
        self._held[number] = _Held(packet, at, now)
        return self._give(now)

    def _begin(self, packet: Packet) -> None:
        self._next, self._at = packet.sequence + 0x10000, packet.timestamp + 2**32
        self._seen, self._silent_from = 0, None
        self._held.clear()
        self._delays.forget()

    def _begin_again(self, packet: Packet, now: float) -> list[Piece]:
        """Another line of numbers; audio time goes on behind what was given."""
        pieces = self._flush(now)
        self.counts.restarts += 1
        self.counts.received -= 1
        at = self._at
        self._begin(packet)
        self._at += max(0, -(-(at - self._at) // 2**32)) * 2**32
        return [*pieces, *self.receive(packet, now)]

    def _stray(self, packet: Packet, now: float) -> list[Piece]:
        if packet.sequence == self._expected_stray:
            self._expected_stray = None
            return self._begin_again(packet, now)
        self._expected_stray = (packet.sequence + 1) & 0xFFFF
        self.counts.strays += 1
        return []

    def restart(self, packet: Packet, now: float) -> list[Piece]:
        """Another sender's first packet (SSRC)."""
        return self._begin_again(packet, now) if self._next is not None else []

    def _passed(self, number: int, at: int, now: float) -> None:
        assert self._next is not None
        bit = 1 << (self._next - 1 - number)
        if self._seen & bit:
            self.counts.duplicates += 1
            return
        self._seen |= bit
        self.counts.late += 1
        self._delays.add(now - at / self._hz, now)

    # --- out --------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Piece]:
        """What the time has made due."""
        pieces = self._give(now) if self._held else []
        return pieces if self._held else pieces + self._go_on_silent(now)

    def deadline(self) -> float | None:
        """When `tick` will give something, if nothing comes; None: never."""
        if self._held:
            return self._hole_ends_at(min(self._held))
        if self._silent_from is None:
            return None
        due = self._silence_due(*self._silent_from)
        return due if due <= self._silent_from[0] + SILENCE_S else None

    def _give(self, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        while self._held:
            held = self._held.pop(self._next, None) if self._next is not None else None
            if held is None:
                first = min(self._held)
                if now < self._hole_ends_at(first) and len(self._held) < MAX_HELD:
                    break
                held = self._held.pop(first)
                pieces += self._fill(first, held)
            pieces += self._play(held, now)
        return pieces

    def _flush(self, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        for number in sorted(self._held):
            held = self._held.pop(number)
            if number != self._next:
                pieces += self._fill(number, held)
            pieces += self._play(held, now)
        return pieces

    def _hole_ends_at(self, first: int) -> float:
        held = self._held[first]
        due = self._delays.last_chance((held.at - held.packet.ticks) / self._hz)
        return min(max(due, held.arrived), held.arrived + self._most_s)

    def _play(self, held: _Held, now: float) -> list[Piece]:
        """The packet whose turn it is, behind the pause before it."""
        packet, pieces = held.packet, []
        assert self._next is not None
        self._next += 1
        self._seen = (self._seen << 1 | 1) & ((1 << MAX_MISORDER) - 1)
        if held.at < self._at:  # silence has gone on over it
            self.counts.late += 1
            return []
        if held.at > self._at:
            pieces = self._pause(held.at)
        pieces.append(Piece(Kind.PLAYED, held.at, packet.ticks, packet.payload))
        self._at = held.at + packet.ticks
        self._frame_ticks = packet.ticks
        self._silent_from = (now, self._at) if packet.silent else None
        return pieces

    def _pause(self, until: int) -> list[Piece]:
        """Nothing is lost, and yet there is a gap: nothing was said."""
        start = self._skip(until, MOST_PAUSE_MS)
        return [Piece(Kind.SILENT, start, until - start)]

    def _fill(self, number: int, held: _Held) -> list[Piece]:
        """What is lost before a packet: the sound goes on, then silence, then the packet's copy."""
        assert self._next is not None
        missing = number - self._next
        self._next = number
        self._seen = (self._seen << missing) & ((1 << MAX_MISORDER) - 1)
        self.counts.lost += missing
        if held.at <= self._at:
            return []
        start = self._skip(held.at, MOST_HOLE_MS)
        self.counts.concealed_ticks += held.at - start
        copy_at = max(start, held.at - held.packet.ticks)
        concealed_to = min(copy_at, start + CONCEALED_MS * self._hz // 1000)
        pieces = [
            Piece(Kind.CONCEALED, start, concealed_to - start),
            Piece(Kind.SILENT, concealed_to, copy_at - concealed_to),
            Piece(Kind.RECOVERED, copy_at, held.at - copy_at, held.packet.payload),
        ]
        self._at = held.at
        return [piece for piece in pieces if piece.ticks]

    def _skip(self, until: int, most_ms: int) -> int:
        """Where the filling of a gap up to `until` begins."""
        start = max(self._at, until - most_ms * self._hz // 1000)
        self.counts.skipped_ticks += start - self._at
        return start

    def _go_on_silent(self, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        if self._silent_from is None or now > self._silent_from[0] + SILENCE_S:
            return pieces
        while self._silence_due(*self._silent_from) <= now:
            pieces.append(Piece(Kind.SILENT, self._at, self._frame_ticks))
            self._at += self._frame_ticks
        return pieces

    def _silence_due(self, since: float, behind: int) -> float:
        """When its next frame ends: no faster than time, however late the sender's word for it
        was, for what was said meanwhile may be as late."""
        end = self._at + self._frame_ticks
        return max(self._delays.last_chance(end / self._hz), since + (end - behind) / self._hz)
