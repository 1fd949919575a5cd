"""UDP ports for sound: an even one for RTP, the next one for RTCP (RFC 3550 §11)."""

import itertools
import socket
from collections.abc import Iterator

from voice.webrtc_settings import port_pairs

MOST_TRIES = 500
"""For one call; the next one goes on behind them. Measured: 0.7 ms; 5000 pairs that are all taken
held up every call for 58 ms."""
LEAST_TRIES = 8
"""Where the machine chooses, and the port above its choice may be taken."""
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
        rtp, rtcp = self._new(), self._new()
        for _ in range(min(max(self._count, LEAST_TRIES), MOST_TRIES)):
            port = next(self._round, None)
            if port is None:
                break
            try:
                rtp.bind((self._host, port))
            except OSError:
                continue  # it is as it was: to make a new one would take five times as long
            try:
                rtcp.bind((self._host, rtp.getsockname()[1] + 1))
            except (OSError, OverflowError):
                rtp.close()
                rtp = self._new()
                continue
            return rtp, rtcp
        rtp.close()
        rtcp.close()
        raise NoPorts

    def _new(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_DGRAM)
        made.setblocking(False)
        return made
