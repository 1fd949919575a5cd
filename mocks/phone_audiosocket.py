"""Asterisk's AudioSocket, as a server sees it: see mocks/phone.py; over sockets, audiosocket.py.

It has no messages but frames on a byte stream, no marks, and nothing that could be cleared: what
comes is played at once.
"""

from uuid import UUID

from mocks.audiosocket import CALL, HANG_UP, HEAD, KEY, RATES_HZ, SLIN, frame
from mocks.phone import Frame, Phone


class AudioSocketPhone(Phone):
    """Args:
    call: Its UUID.
    """

    bytes_per_s = 2 * RATES_HZ[0]
    silence = b"\x00"

    def __init__(
        self, call: str = "12345678-1234-5678-1234-567812345678", *, starts_after_s: float = 0.0
    ) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self.hung_up = False
        self.others: list[bytes] = []
        """Frames that are no sound, whole."""
        self._rest = b""

    def begin(self) -> list[Frame]:
        return [frame(CALL, UUID(self.call).bytes)]

    def media(self, data: bytes) -> bytes:
        return frame(SLIN, data)

    def press(self, digit: str) -> bytes:
        return frame(KEY, digit.encode())

    def stop(self) -> list[Frame]:
        return [frame(HANG_UP)]

    def echo(self, name: str) -> list[Frame]:
        return []

    def _take(self, data: Frame, now: float) -> list[Frame]:
        """Any bytes of the stream."""
        assert isinstance(data, bytes)
        self._rest += data
        while len(self._rest) >= HEAD.size:
            kind, length = HEAD.unpack_from(self._rest)
            whole = HEAD.size + length
            if len(self._rest) < whole:
                break
            one, self._rest = self._rest[:whole], self._rest[whole:]
            self._take_frame(kind, one, now)
        return []

    def _take_frame(self, kind: int, one: bytes, now: float) -> None:
        if kind == SLIN:
            self._put(one[HEAD.size :], now)
            return
        self.others.append(one)
        if kind == HANG_UP:
            self.hung_up = True
        elif kind != 0xFF:
            raise ValueError(f"Asterisk knows no frame of type 0x{kind:02x}")
