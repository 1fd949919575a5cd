"""The far end of a telephone line: a buffer that plays in real time, with marks in it.

    put   ▶ ####m1####m2     played  ####m1##        heard: what came out, and when
    clear ▶ the rest is dropped, and the names of its marks come back

Pure: it is told the time.
"""

from collections import deque

from msgspec import Struct


class Heard(Struct, frozen=True):
    """Sound that came out of the telephone in one go."""

    at: float
    """When its first sample did."""
    data: bytes
    bytes_per_s: int

    @property
    def until(self) -> float:
        return self.at + len(self.data) / self.bytes_per_s


class Earpiece:
    """Args:
    bytes_per_s: Of its coding.
    starts_after_s: What it holds back before it plays, as a provider far away does.
    """

    def __init__(self, bytes_per_s: int, starts_after_s: float = 0.0) -> None:
        self.bytes_per_s, self._starts_after_s = bytes_per_s, starts_after_s
        self._buffer: deque[bytes | str] = deque()
        """Sound, and the names of marks behind it."""
        self._playing_since = 0.0
        self.heard: list[Heard] = []
        self.cleared_at: list[float] = []
        self.dropped_bytes = 0
        """Of sound, by `clear`."""
        self.marks: list[str] = []
        """Reached or cleared, in order."""

    def put(self, data: bytes, now: float) -> None:
        if not self._buffer:
            self._playing_since = now + self._starts_after_s
        self._buffer.append(data)

    def mark(self, name: str) -> None:
        self._buffer.append(name)

    def clear(self, now: float) -> list[str]:
        """Returns:
        The marks that were waiting.
        """
        self.play(now)
        names = [one for one in self._buffer if isinstance(one, str)]
        self.dropped_bytes += sum(len(one) for one in self._buffer if isinstance(one, bytes))
        self._buffer.clear()
        self.cleared_at.append(now)
        self.marks += names
        return names

    def play(self, now: float) -> list[str]:
        """Plays what is due.

        Returns:
            The marks that were reached.
        """
        reached = []
        while self._buffer:
            first = self._buffer[0]
            if isinstance(first, str):
                reached.append(first)
            else:
                due = int((now - self._playing_since) * self.bytes_per_s + 1e-6)
                if due <= 0:
                    break
                self._sound(first[:due])
                if due < len(first):
                    self._buffer[0] = first[due:]
                    break
            self._buffer.popleft()
        self.marks += reached
        return reached

    def _sound(self, data: bytes) -> None:
        at = self._playing_since
        self._playing_since += len(data) / self.bytes_per_s
        last = self.heard[-1] if self.heard else None
        if last is not None and abs(last.until - at) < 1 / self.bytes_per_s:
            self.heard[-1] = Heard(last.at, last.data + data, self.bytes_per_s)
        elif data:
            self.heard.append(Heard(at, data, self.bytes_per_s))

    def next_due(self) -> float | None:
        """When `play` will reach a mark; None: there is none."""
        before = 0
        for one in self._buffer:
            if isinstance(one, str):
                return self._playing_since + before / self.bytes_per_s
            before += len(one)
        return None

    @property
    def buffered_ms(self) -> float:
        """Sound that has come and not been played, as of the last `play`."""
        size = sum(len(one) for one in self._buffer if isinstance(one, bytes))
        return size * 1000 / self.bytes_per_s

    @property
    def heard_ms(self) -> float:
        return sum(len(one.data) for one in self.heard) * 1000 / self.bytes_per_s
