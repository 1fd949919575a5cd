"""What two ends of an RTP stream tell each other beside it: RTCP reports, RFC 3550 §6.

SR    what was sent, and a block of what came    every few seconds, with who we are (SDES)
BYE   no more will be sent
"""

import struct

from msgspec import Struct

from voice.reception import Reception, ntp_of

SENDER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 202, 203
CNAME = b"kaiwa"
_HEAD = struct.Struct("!BBH")
_SENT = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")


class Sent(Struct, frozen=True):
    ssrc: int
    timestamp: int
    """At the time of the report, 32 bits."""
    packets: int
    octets: int


def is_rtcp(data: bytes) -> bool:
    """On a port that takes both: RFC 5761 §4."""
    return len(data) >= 8 and data[0] >> 6 == 2 and 192 <= data[1] <= 223


def report(sent: Sent, heard: Reception | None, unix_s: float, now: float) -> bytes:
    """Args:
    heard: Of the other end; None: nothing yet.
    now: The monotonic clock that `heard` was told.
    """
    block = b"" if heard is None else _block(heard, now)
    body = _SENT.pack(
        sent.ssrc,
        ntp_of(unix_s) & 0xFFFFFFFFFFFFFFFF,
        sent.timestamp & 0xFFFFFFFF,
        sent.packets & 0xFFFFFFFF,
        sent.octets & 0xFFFFFFFF,
    )
    name = struct.pack("!IBB", sent.ssrc, 1, len(CNAME)) + CNAME
    name += bytes(4 - len(name) % 4)  # at least one: it ends the list
    return _packet(SENDER_REPORT, bool(block), body + block) + _packet(SOURCE_DESCRIPTION, 1, name)


def goodbye(ssrc: int) -> bytes:
    return _packet(GOODBYE, 1, struct.pack("!I", ssrc))


def reported_ntp(data: bytes) -> int | None:
    """When a sender's report was written, by the sender's clock; None: it is none."""
    if len(data) < 28 or not is_rtcp(data) or data[1] != SENDER_REPORT:
        return None
    return int.from_bytes(data[8:16], "big")


def _block(heard: Reception, now: float) -> bytes:
    lost = min(heard.lost, 0x7FFFFF)
    since = heard.last_sender_report(now)
    return _BLOCK.pack(
        heard.ssrc, heard.fraction_lost() << 24 | lost, heard.highest, heard.jitter_ticks, *since
    )


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body
