"""Keys of a telephone, as events in its RTP stream: RFC 4733.

packets   E1 E2 E3 … E8 E8 E8     one event: the same timestamp, a growing duration, the last
key       5                       one three times; any of them may be lost
"""

import struct

from msgspec import Struct

from voice.keypad import KEYS

REMEMBERED = 64
"""Events whose packets may still come, late."""
_EVENT = struct.Struct("!BBH")


class Event(Struct, frozen=True):
    code: int
    over: bool
    duration: int
    """So far, in ticks."""

    @property
    def key(self) -> str:
        """Empty for the others, of modems and lines, which no caller presses."""
        return KEYS[self.code] if self.code < len(KEYS) else ""


def read_event(payload: bytes) -> Event | None:
    """None: it is too short for one."""
    if len(payload) < _EVENT.size:
        return None
    code, flags, duration = _EVENT.unpack_from(payload)
    return Event(code, bool(flags & 0x80), duration)


class Presses:
    """Each press once, however often its packets come."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], None] = {}

    def receive(self, ssrc: int, timestamp: int, event: Event) -> str:
        """The key, with the first packet of its event that arrives; empty for all others."""
        if not event.key or (ssrc, timestamp) in self._seen:
            return ""
        self._seen[ssrc, timestamp] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return event.key
