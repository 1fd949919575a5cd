"""RTP packets, and what an Opus payload says of itself. RFC 3550 §5.1, RFC 7587, RFC 6716 §3."""

import struct

from msgspec import Struct

_HEADER = struct.Struct("!BBHII")
HEADER_BYTES = _HEADER.size
MAX_DROPOUT, MAX_MISORDER = 3000, 100
"""Sequence numbers further off are another stream's, unless two follow each other. RFC 3550 A.1."""
OPUS_CLOCK_HZ = 48_000
"""Of RTP timestamps, whatever rate is coded."""
LONGEST_OPUS_TICKS = 5760
"""120 ms."""
LONGEST_8_KHZ_TICKS = 1600
"""200 ms, which receivers should take: RFC 3551 §4.2. A datagram has room for eight seconds."""
_SILK_TICKS = (480, 960, 1920, 2880)
_HYBRID_TICKS = (480, 960)
_CELT_TICKS = (120, 240, 480, 960)
SILENT_OPUS_BYTES = 2
"""What is no longer than its table of contents is a frame that the coder did not want to send."""
SILENT_OPUS = bytes((9 << 3,))
"""Such a one: SILK, 8 kHz wide, 20 ms, mono, and nothing in it (RFC 6716 §3.2.1, DTX)."""


class RtpPacket(Struct, frozen=True):
    payload_type: int
    sequence: int
    """0..65535."""
    timestamp: int
    """0..2**32 - 1, in ticks of the payload's clock."""
    ssrc: int
    payload: bytes
    marker: bool = False


def read_rtp(data: bytes) -> RtpPacket | None:
    """None: it is no RTP packet, or one without a payload."""
    if len(data) < HEADER_BYTES:
        return None
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if flags >> 6 != 2:
        return None
    start, end = HEADER_BYTES + 4 * (flags & 0x0F), len(data)
    if flags & 0x10:
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if flags & 0x20:
        end -= data[-1]
    if start >= end:
        return None
    return RtpPacket(kind & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(kind & 0x80))


def write_rtp(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool
) -> bytes:
    kind = payload_type | 0x80 if marker else payload_type
    return _HEADER.pack(0x80, kind, sequence, timestamp, ssrc) + payload


def opus_ticks(payload: bytes) -> int:
    """How long a packet sounds, at 48 kHz; 0: it is none that may be. RFC 6716 §3.1, §3.2."""
    config = payload[0] >> 3
    if config < 12:
        frame = _SILK_TICKS[config & 3]
    elif config < 16:
        frame = _HYBRID_TICKS[config & 1]
    else:
        frame = _CELT_TICKS[config & 3]
    code = payload[0] & 3
    if code == 3:
        count = payload[1] & 0x3F if len(payload) > 1 else 0
    else:
        count = 1 if code == 0 else 2
    ticks = count * frame
    return ticks if ticks <= LONGEST_OPUS_TICKS else 0


def forward(number: int, since: int, bits: int) -> int:
    """How far `number` lies ahead of `since` on a counter that wraps; negative: behind it."""
    half = 1 << (bits - 1)
    return ((number - since + half) & ((1 << bits) - 1)) - half
