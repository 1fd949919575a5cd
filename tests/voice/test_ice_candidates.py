from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.ice_candidates import MOST, Reach, allowed, chosen, is_public, read

OUTSIDE = Reach()
LAN = Reach(private=True)
LAPTOP = Reach(private=True, loopback=True)


def host(address: str, port: int = 50_000, protocol: str = "udp", kind: str = "host") -> str:
    return f"1 1 {protocol} 2122194687 {address} {port} typ {kind} generation 0 network-id 1"


@pytest.mark.parametrize("address", ["8.8.8.8", "81.2.69.160", "2a00:1450:4001:80b::200e"])
def test_public_addresses_are_sent_to(address: str) -> None:
    assert allowed(address, OUTSIDE)
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.2", "100.64.0.9", "fd00::2", "fc00::1"],
)
def test_private_addresses_are_sent_to_only_where_that_is_said(address: str) -> None:
    assert not allowed(address, OUTSIDE)
    assert allowed(address, LAN)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_is_sent_to_only_where_that_is_said(address: str) -> None:
    assert not allowed(address, LAN)
    assert allowed(address, LAPTOP)


FORBIDDEN = [
    *("0.0.0.0", "0.1.2.3", "127.0.0.2", "127.1.2.3", "255.255.255.255", "240.0.0.1"),
    *("169.254.169.254", "169.254.0.1", "224.0.0.251", "239.255.255.250", "192.0.0.8"),
    *("192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "192.88.99.1"),
    *("168.63.129.16", "100.100.100.200"),
    *("::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "fe80::1", "ff02::1"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1"),
    *("2001:db8::1", "3fff::1", "fec0::1", "fd00:ec2::254", "fd20:ce::254", "5f00::1", "100::1"),
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_nobodys_are_never_sent_to(address: str) -> None:
    assert not allowed(address, LAPTOP)


@pytest.mark.parametrize(
    "address",
    [
        *("localhost", "voice.local", "6f2d.local", "example.com", "", "1", "8.8.8", "8.8.8.8.8"),
        *("010.1.2.3", "8.8.8.8 ", "８.8.8.8", "0x08080808", "134744072", "fe80::1%eth0"),
        *("8.8.8.8%1", "[2a00::1]", "2a00::1/64", "a" * 10_000),
    ],
)
def test_what_is_no_literal_address_is_never_sent_to(address: str) -> None:
    assert not allowed(address, LAPTOP)
    assert read(host(address), LAPTOP) is None


@given(st.ip_addresses())
def test_what_the_registry_says_is_not_global_is_private_or_forbidden(address: object) -> None:
    if not ip_address(str(address)).is_global:
        assert not allowed(str(address), OUTSIDE)


def test_a_browsers_candidates_are_read() -> None:
    candidate = read(host("8.8.8.8", 57_353), OUTSIDE)
    assert candidate is not None
    assert candidate.line == "a=candidate:1 1 udp 2122194687 8.8.8.8 57353 typ host"
    reflexive = "2 1 UDP 1685987071 8.8.4.4 6000 typ srflx raddr 10.0.0.1 rport 5000"
    found = read(reflexive, OUTSIDE)
    assert found is not None and found.kind == "srflx"
    assert "10.0.0.1" not in found.line, "what it relates to is nobody's business"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1 1 udp",
        host("8.8.8.8", protocol="tcp"),
        host("8.8.8.8", kind="prflx"),
        host("8.8.8.8", kind="HOST"),
        host("8.8.8.8", 0),
        host("8.8.8.8", 53),
        host("8.8.8.8", 1023),
        host("8.8.8.8", 65_536),
        host("8.8.8.8").replace("2122194687", "-1"),
        host("8.8.8.8").replace("2122194687", "1_0"),
        host("8.8.8.8").replace("2122194687", "4294967296"),
        host("8.8.8.8").replace(" 1 udp", " 2 udp"),
        host("8.8.8.8").replace(" typ ", " type "),
        host("8.8.8.8").replace("1 1", "1\t1"),
        host("8.8.8.8").replace("1 1", "1/ü 1"),
        host("8.8.8.8") + "\r\na=candidate:x",
    ],
)
def test_what_is_no_candidate_for_a_datagram_is_dropped(value: str) -> None:
    assert read(value, LAPTOP) is None


def test_each_address_is_taken_once_and_only_so_many() -> None:
    many = [host("8.8.8.8", port) for port in range(2000, 2100)]
    assert len(chosen(many, OUTSIDE)) == MOST
    assert len(chosen([many[0]] * 50, OUTSIDE)) == 1
    dropped = [host("127.0.0.1", port) for port in range(2000, 2100)]
    assert [c.port for c in chosen([*dropped, many[7]], OUTSIDE)] == [2007]
