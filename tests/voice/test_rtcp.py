import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpSdesPacket, RtcpSrPacket

from voice.reception import Reception
from voice.rtcp import Sent, goodbye, is_rtcp, report, reported_ntp

SENT = Sent(ssrc=7, timestamp=2**32 + 5, packets=50, octets=8000)


def test_another_reader_finds_in_a_report_what_was_written() -> None:
    heard = Reception(9, 8000)
    for number in (0, 1, 2, 4):  # one is lost
        heard.add(number, number * 160, number * 0.02)
    sender, names = RtcpPacket.parse(report(SENT, heard, 1_700_000_000.5, 1.0))
    assert isinstance(sender, RtcpSrPacket) and isinstance(names, RtcpSdesPacket)
    told = sender.sender_info
    assert (told.rtp_timestamp, told.packet_count, told.octet_count) == (5, 50, 8000)
    assert told.ntp_timestamp >> 32 == 1_700_000_000 + 2_208_988_800
    assert told.ntp_timestamp & 0xFFFFFFFF == 2**31
    (block,) = sender.reports
    assert (block.ssrc, block.packets_lost, block.highest_sequence) == (9, 1, 4)
    assert block.fraction_lost == 256 // 5
    assert names.chunks[0].items == [(1, b"kaiwa")]


def test_before_anything_came_there_is_no_block() -> None:
    sender, _ = RtcpPacket.parse(report(SENT, None, 0.0, 0.0))
    assert isinstance(sender, RtcpSrPacket) and sender.reports == []


def test_a_goodbye_is_one() -> None:
    (packet,) = RtcpPacket.parse(goodbye(7))
    assert isinstance(packet, RtcpByePacket) and packet.sources == [7]


def test_the_time_of_a_report_is_found_and_of_nothing_else() -> None:
    data = report(SENT, None, 1_700_000_000.0, 0.0)
    assert reported_ntp(data) == (1_700_000_000 + 2_208_988_800) << 32
    assert reported_ntp(goodbye(7)) is None
    assert reported_ntp(data[:20]) is None


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\xc8", bytes(12), b"\x80\x60" + bytes(10)])
def test_what_is_no_rtcp_is_not_taken_for_it(data: bytes) -> None:
    assert not is_rtcp(data)
