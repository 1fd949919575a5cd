"""RTP packets on the wire."""

import pytest
from aiortc.rtp import RtpPacket as TheirPacket
from hypothesis import given
from hypothesis import strategies as st

from voice.rtp import forward, opus_ticks, read_rtp, write_rtp


def test_what_is_written_is_what_another_implementation_reads() -> None:
    data = write_rtp(111, 65_535, 2**32 - 1, 0xDEADBEEF, b"sound", marker=True)
    theirs = TheirPacket.parse(data)
    assert (theirs.payload_type, theirs.marker) == (111, 1)
    assert (theirs.sequence_number, theirs.timestamp) == (65_535, 2**32 - 1)
    assert (theirs.ssrc, theirs.payload) == (0xDEADBEEF, b"sound")


def test_what_another_implementation_writes_is_read() -> None:
    theirs = TheirPacket(96, 1, 7, 8, 9, b"sound")
    theirs.csrc = [1, 2]
    theirs.padding_size = 4
    read = read_rtp(theirs.serialize())
    assert read is not None
    assert (read.payload_type, read.sequence, read.timestamp, read.ssrc) == (96, 7, 8, 9)
    assert (read.payload, read.marker) == (b"sound", True)


def test_an_extension_is_passed_over() -> None:
    data = b"\x90\x60\0\1\0\0\0\2\0\0\0\3" + b"\xbe\xde\0\1abcd" + b"sound"
    read = read_rtp(data)
    assert read is not None and read.payload == b"sound"


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_packet_or_none(data: bytes) -> None:
    read = read_rtp(data)
    assert read is None or (read.payload and read.payload in data)


@pytest.mark.parametrize(
    ("payload", "ms"),
    [
        (b"\x78\0", 20),  # hybrid, one frame
        (b"\x00\0", 10),  # SILK
        (b"\x18\0", 60),
        (b"\xe0\0", 2.5),  # CELT
        (b"\xf9\0", 40),  # two frames
        (b"\xfb\x03", 60),  # three
        (b"\xfb", 0),  # says there is a count, and has none
        (b"\x1b\x03", 0),  # 180 ms
    ],
)
def test_an_opus_packet_tells_how_long_it_is(payload: bytes, ms: float) -> None:
    assert opus_ticks(payload) == ms * 48


@given(st.integers(0, 65_535), st.integers(-32_768, 32_767))
def test_a_counter_that_wraps_goes_forward_all_the_same(since: int, by: int) -> None:
    assert forward((since + by) & 0xFFFF, since, 16) == by
