"""Pairs of ports for sound: one after the other, and not searched for longer than others wait."""

import socket
import time

import pytest

from voice.transports.sip.ports import MOST_TRIES, NoPorts, RtpPorts

HERE, NOT_OURS = "127.0.0.1", "192.0.2.1"


def test_pairs_are_even_and_odd_and_go_round() -> None:
    ports = RtpPorts(HERE, 42_201, 42_208)
    found = []
    for _ in range(4):
        rtp, rtcp = ports.take()
        found.append(rtp.getsockname()[1])
        assert rtcp.getsockname()[1] == found[-1] + 1
        rtp.close()
        rtcp.close()
    assert found == [42_202, 42_204, 42_206, 42_202]


def test_what_is_taken_is_passed_over_and_all_taken_is_said() -> None:
    ports = RtpPorts(HERE, 42_210, 42_217)
    held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    held[0].bind((HERE, 42_210))
    held[1].bind((HERE, 42_213))  # of the second pair, RTCP's
    pairs = [ports.take(), ports.take()]
    assert [rtp.getsockname()[1] for rtp, _ in pairs] == [42_214, 42_216]
    with pytest.raises(NoPorts):
        ports.take()
    for one in (*held, *pairs[0], *pairs[1]):
        one.close()
    rtp, rtcp = ports.take()
    assert rtp.getsockname()[1] % 2 == 0
    rtp.close()
    rtcp.close()


def test_any_free_pair_will_do_where_no_range_is_set() -> None:
    rtp, rtcp = RtpPorts(HERE, 0, 0).take()
    assert rtcp.getsockname()[1] == rtp.getsockname()[1] + 1
    rtp.close()
    rtcp.close()


def test_a_wide_range_without_a_free_pair_is_not_searched_to_its_end() -> None:
    """An address that is not ours: each try fails, as on a port that is taken."""

    def spent_s(last: int) -> float:
        ports, begun = RtpPorts(NOT_OURS, 2000, last), time.thread_time()
        with pytest.raises(NoPorts):
            ports.take()
        return time.thread_time() - begun

    few, many = (min(spent_s(last) for _ in range(5)) for last in (1999 + 2 * MOST_TRIES, 65_535))
    assert many < 3 * few, (many, few)
