"""Where a stranger's offer may make the server send packets to: most addresses are none of them.

    taken      literal public addresses, over UDP, at ports from 1024 on
    by reach   private ones, loopback
    dropped    names, .local too · TCP · loopback, link-local, multicast, reserved, documentation …
               · IPv4 in IPv6's clothes: mapped, NAT64, 6to4, Teredo

A caller whose candidates are all dropped still gets through: its own checks come from the address
it can be reached at (RFC 8445 §7.3.1.3), and the server answers there. So a dropped candidate costs
nothing but the server's attempt to be first.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from msgspec import Struct

MOST = 20
"""Candidates of one offer, after dropping: each is sent up to seven packets."""
FIRST_PORT = 1024
"""Below it are services, which no NAT hands out (RFC 4787, REQ-3) and no caller listens on."""
KINDS = ("host", "srflx", "relay")
LONGEST_ADDRESS = 45

Address = IPv4Address | IPv6Address


class Reach(Struct, frozen=True):
    """Whom the server may look for beside the public internet."""

    private: bool = False
    loopback: bool = False


class Candidate(Struct, frozen=True):
    foundation: str
    priority: int
    address: str
    """As text that is written in one way only."""
    port: int
    kind: str

    @property
    def line(self) -> str:
        what = f"{self.foundation} 1 udp {self.priority} {self.address} {self.port}"
        relates = "" if self.kind == "host" else " raddr 0.0.0.0 rport 0"
        return f"a=candidate:{what} typ {self.kind}{relates}"


def _nets(text: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(net) for net in text.split())


def _nets6(text: str) -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(net) for net in text.split())


PRIVATE = _nets("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10")
"""RFC 1918, and the carriers' (RFC 6598), which VPNs use."""
PRIVATE_6 = _nets6("fc00::/7")
SPECIAL = _nets(
    "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 "
    "192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 "
    "203.0.113.0/24 224.0.0.0/3 168.63.129.16/32 100.100.100.200/32"
)
"""https://www.iana.org/assignments/iana-ipv4-special-registry; at its end what two clouds keep
their machines' secrets at, where others keep theirs at 169.254.169.254."""
GLOBAL_6 = IPv6Network("2000::/3")
"""All that is handed out; NAT64, mapped and compatible addresses lie outside."""
SPECIAL_6 = _nets6(
    "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 fd00:ec2::/32 fd20:ce::/32"
)
"""https://www.iana.org/assignments/iana-ipv6-special-registry, with Teredo and 6to4, which carry an
IPv4 address; at its end two clouds' metadata."""


def is_public(address: str) -> bool:
    """Whether it can be reached from everywhere, as far as the address tells."""
    return allowed(address, Reach())


def allowed(text: str, reach: Reach) -> bool:
    address = parsed(text)
    return address is not None and _allowed(address, reach)


def parsed(text: str) -> Address | None:
    """None: it is no literal address, or one with a zone."""
    if len(text) > LONGEST_ADDRESS or "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def _allowed(address: Address, reach: Reach) -> bool:
    if address.is_loopback:
        return reach.loopback and address in (IPv4Address("127.0.0.1"), IPv6Address("::1"))
    if isinstance(address, IPv4Address):
        if any(address in net for net in SPECIAL):
            return False
        return reach.private or not any(address in net for net in PRIVATE)
    if any(address in net for net in SPECIAL_6):
        return False
    return address in GLOBAL_6 or (reach.private and address in PRIVATE_6[0])


_LINE = re.compile(
    r"(?P<foundation>[A-Za-z0-9+/]{1,32}) 1 [uU][dD][pP] (?P<priority>[0-9]{1,10}) "
    r"(?P<address>[0-9A-Fa-f.:]{2,45}) (?P<port>[0-9]{1,5}) typ (?P<kind>[a-z]{4,5})( .*)?",
    re.ASCII,
)


def read(value: str, reach: Reach) -> Candidate | None:
    """Args:
        value: What stands behind `a=candidate:`.
    Returns:
        None: Not one to send anything to.
    """
    if (found := _LINE.fullmatch(value)) is None or found["kind"] not in KINDS:
        return None
    priority, port, address = int(found["priority"]), int(found["port"]), parsed(found["address"])
    if address is None or not 0 < priority < 2**31 or not FIRST_PORT <= port < 65_536:
        return None
    if not _allowed(address, reach):
        return None
    return Candidate(found["foundation"], priority, str(address), port, found["kind"])


def chosen(values: Iterable[str], reach: Reach) -> list[Candidate]:
    """The first `MOST` that may be sent to, each address once, in the order they came."""
    found: dict[tuple[str, int], Candidate] = {}
    for value in values:
        candidate = read(value, reach)
        if candidate is not None:
            found.setdefault((candidate.address, candidate.port), candidate)
            if len(found) == MOST:
                break
    return list(found.values())
