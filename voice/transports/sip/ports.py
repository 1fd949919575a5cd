"""UDP ports for sound: an even one for RTP, the next one for RTCP (RFC 3550 §11)."""

import itertools
import socket
from collections.abc import Iterator

from voice.webrtc_settings import port_pairs

Pair = tuple[socket.socket, socket.socket]


class NoPorts(Exception):
    """All are taken."""


class RtpPorts:
    """One after the other, so that one that was given back is not at once somebody else's.

    Args:
        host: Where they are bound.
        first, last: 0 and 0: any free ones.
    """

    def __init__(self, host: str, first: int, last: int) -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        pairs = port_pairs(first, last) if first else range(1)
        self._count = len(pairs)
        self._round: Iterator[int] = itertools.cycle(pairs)

    def take(self) -> Pair:
        """Bound; who takes them closes them.

        Raises:
            NoPorts: None is free.
        """
        for _ in range(max(self._count, 8)):
            port = next(self._round, None)
            if port is not None and (pair := self._bound(port)) is not None:
                return pair
        raise NoPorts

    def _bound(self, port: int) -> Pair | None:
        rtp = socket.socket(self._family, socket.SOCK_DGRAM)
        rtcp = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            rtp.bind((self._host, port))
            rtcp.bind((self._host, rtp.getsockname()[1] + 1))
        except (OSError, OverflowError):
            rtp.close()
            rtcp.close()
            return None
        rtp.setblocking(False)
        rtcp.setblocking(False)
        return rtp, rtcp
