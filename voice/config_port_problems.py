"""Ports that two doors are told to take: who comes second is refused, a caller perhaps.

UDP   webrtc.ports, sip.rtp_ports, sip.port
TCP   server.port, sip.port with sip.tcp, telephony.audiosocket_port
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Literal

from msgspec import Struct

from voice.addresses import is_loopback
from voice.config_sections import Config
from voice.webrtc_settings import FIRST_PORT, LAST_PORT, port_range

Problem = tuple[str, str]


class Use(Struct, frozen=True):
    """What a door takes, where it is open."""

    path: str
    protocol: Literal["UDP", "TCP"]
    host: str
    first: int
    last: int
    is_chosen: bool
    """By the operator: no default."""

    @property
    def span(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


def port_problems(config: Config) -> Iterator[Problem]:
    for one, other in combinations(uses(config), 2):
        if one.protocol == other.protocol and _meet(one, other):
            wrong, right = (other, one) if other.is_chosen and not one.is_chosen else (one, other)
            what = "overlaps" if wrong.first != wrong.last else "is taken by"
            yield (
                wrong.path,
                f"{wrong.span} {what} {right.path} ({right.span}, {right.protocol} as well); "
                f"take another, such as {_beside(wrong, right)}",
            )


def uses(config: Config) -> Iterator[Use]:
    """Of what is switched on; a port that any free one may be is left out."""
    usual = Config()
    webrtc, sip, server, telephony = config.webrtc, config.sip, config.server, config.telephony
    if webrtc.enabled:
        yield from _range("webrtc.ports", "", webrtc.ports, usual.webrtc.ports)
    if sip.enabled:
        yield from _range("sip.rtp_ports", sip.host, sip.rtp_ports, usual.sip.rtp_ports)
        chosen = sip.port != usual.sip.port
        if sip.port:
            yield Use("sip.port", "UDP", sip.host, sip.port, sip.port, chosen)
        if sip.port and sip.tcp:
            yield Use("sip.port", "TCP", sip.host, sip.port, sip.port, chosen)
    if port := telephony.audiosocket_port:
        host = telephony.audiosocket_host
        yield Use("telephony.audiosocket_port", "TCP", host, port, port, True)
    if port := server.port:
        yield Use("server.port", "TCP", server.host, port, port, port != usual.server.port)


def _range(path: str, host: str, text: str, usual: str) -> Iterator[Use]:
    try:
        found = port_range(text)
    except ValueError:  # which is told already
        return
    if found is not None:
        yield Use(path, "UDP", host, *found, text != usual)


def _meet(one: Use, other: Use) -> bool:
    if one.last < other.first or other.last < one.first:
        return False
    hosts = one.host, other.host
    everywhere = any(host in ("", "0.0.0.0", "::") for host in hosts)
    return everywhere or one.host == other.host or all(map(is_loopback, hosts))


def _beside(wrong: Use, right: Use) -> str:
    """As many ports, behind those that are taken, or before them."""
    count = wrong.last - wrong.first + 1
    first = right.last + 1
    if count > 1:
        first += first % 2  # of sound, an even port is the first of a pair
    if first + count - 1 > LAST_PORT:
        first = max(FIRST_PORT, right.first - count)
    return f"{first}" if count == 1 else f"{first}-{first + count - 1}"
