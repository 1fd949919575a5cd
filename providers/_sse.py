"""Server-sent events out of a stream of bytes, however it is split.

Pure: bytes in, payloads out. Only `data` is kept, the one field the model servers use.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""


class SseParser:
    """Args:
    max_event_bytes: An event longer than this is an error, not memory.
    """

    def __init__(self, max_event_bytes: int = 1 << 20) -> None:
        self._max_event_bytes = max_event_bytes
        self._parts: list[bytes] = []
        """The line that is not over yet."""
        self._data: list[bytes] = []
        """The lines of the event that is not over yet."""
        self._bytes = 0
        self._ends_in_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads of the events that `chunk` completes.

        An event at the end of the stream without its blank line is none, as the standard has it.

        Raises:
            ValueError: If an event is too long.
        """
        if self._ends_in_cr and chunk:
            self._ends_in_cr = False
            if chunk[:1] == b"\n":  # the second half of a CRLF
                chunk = chunk[1:]
        if not chunk:
            return []
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        self._ends_in_cr = chunk.endswith(b"\r")
        lines = (b"".join(self._parts) + chunk).splitlines(keepends=True)
        self._parts.clear()
        rest = lines.pop() if not lines[-1].endswith((b"\n", b"\r")) else b""
        payloads = [payload for line in lines if (payload := self._line(line)) is not None]
        if rest:
            self._keep(rest)
        return payloads

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._count(len(part))

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_event_bytes:
            raise ValueError(f"an event of more than {self._max_event_bytes} bytes")

    def _line(self, line: bytes) -> bytes | None:
        line = line.rstrip(b"\r\n")
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._end_of_event()
        self._count(len(line))
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not self._data:
            self._bytes = 0  # keep-alive comments may go on for ever
        return None

    def _end_of_event(self) -> bytes | None:
        self._bytes = 0
        if not self._data:
            return None
        payload = b"\n".join(self._data)
        self._data.clear()
        return payload
