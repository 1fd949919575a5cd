"""TCP's own looking whether the far end is still there, for protocols that have no ping."""

import socket

PROBE_AFTER_S, PROBE_EVERY_S, PROBES = 15, 5, 3
"""Who has gone without a word is missed after 30 s."""
_IDLE: int = getattr(socket, "TCP_KEEPIDLE", 0) or getattr(socket, "TCP_KEEPALIVE", 0)  # macOS


def look_for(far_end: socket.socket) -> None:
    """The connection is lost once nobody answers; else who only listens never learns of it."""
    far_end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    far_end.setsockopt(socket.IPPROTO_TCP, _IDLE, PROBE_AFTER_S)
    far_end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S)
    far_end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
