"""What is wrong with the settings of the SIP leg: each by its path, and what would be right."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from voice.addresses import is_address, is_host, is_loopback
from voice.config_calls import SipConfig
from voice.sip_registrar import split
from voice.webrtc_settings import FIRST_PORT, LAST_PORT, port_pairs, port_range

Problem = tuple[str, str]

SIP_PASSWORD = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(16))'"
WIDEST = 16
"""Bits: a larger network than 65,536 addresses is the internet, unless it is a private one."""


def sip_problems(sip: SipConfig) -> Iterator[Problem]:
    for key in ("host", "public_address"):
        text = getattr(sip, key)
        if text and not is_address(text):
            yield f"sip.{key}", f"must be an IP address, such as 192.168.1.10, got {text!r}"
    if sip.public_address and is_address(sip.public_address):
        if ip_address(sip.public_address).is_unspecified:
            yield "sip.public_address", "must be an address that callers reach, not 0.0.0.0"
    try:
        ports = port_range(sip.rtp_ports)
    except ValueError as error:
        yield "sip.rtp_ports", str(error)
    else:
        yield from _room_problems(sip, ports)
    for text in sip.peers:
        yield from _peer_problems(text, bool(sip.username))
    if bool(sip.username) != bool(sip.password):
        yield "sip.password", f"is needed with sip.username, and only with it; {SIP_PASSWORD}"
    elif sip.password and len(sip.password) < 8:
        yield "sip.password", f"is shorter than 8 characters; {SIP_PASSWORD}"
    for codec in sip.codecs:
        if sip.codecs.count(codec) > 1:
            yield "sip.codecs", f"names {codec} twice; once is enough"
    if sip.registrar:
        yield from _registrar_problems(sip)
    if sip.enabled:
        yield from _idle_problems(sip)


def _room_problems(sip: SipConfig, ports: tuple[int, int] | None) -> Iterator[Problem]:
    """Calls that are let in, and then find no ports."""
    if ports is None or not sip.enabled:
        return
    room, wanted = len(port_pairs(*ports)), 2 * sip.most_calls
    if room >= sip.most_calls:
        return
    first = max(FIRST_PORT, min(ports[0] + ports[0] % 2, LAST_PORT + 1 - wanted))
    enough = f"take {wanted} ports, such as {first}-{min(first + wanted - 1, LAST_PORT)}"
    fewer = f", or set KAIWA_SIP_MOST_CALLS={room}" if room else ""
    yield (
        "sip.rtp_ports",
        f"{sip.rtp_ports} is enough for {room} calls, two ports each, and sip.most_calls is "
        f"{sip.most_calls}; {enough}{fewer}",
    )


def _idle_problems(sip: SipConfig) -> Iterator[Problem]:
    """A leg that is on, and that nobody reaches."""
    if not is_address(sip.host):
        return
    if sip.extension and not sip.registrar:
        yield (
            "sip.registrar",
            "is missing: sip.extension registers nowhere without it. Set KAIWA_SIP_REGISTRAR, such "
            "as fritz.box, or take KAIWA_SIP_EXTENSION away",
        )
    if not sip.peers and not sip.registrar:
        yield "sip.peers", "is empty, so nobody may call; name your telephones' networks"
    if sip.registrar and _is_ours(sip):
        yield (
            "sip.registrar",
            f"{sip.registrar} is this server itself, which registers nobody; name the telephone "
            "system, or, if it runs on this machine, set KAIWA_SIP_PORT to another port than its",
        )
    theirs = sip.public_address
    if is_address(theirs) and ip_address(theirs).version != ip_address(sip.host).version:
        yield (
            "sip.public_address",
            f"{theirs} and sip.host ({sip.host}) must be both IPv4 or both IPv6",
        )
    if not is_loopback(sip.host):
        return
    everywhere = "::" if ":" in sip.host else "0.0.0.0"
    if is_address(theirs) and not is_loopback(theirs):
        yield (
            "sip.host",
            f"{sip.host} is reached from this machine alone, and sip.public_address tells callers "
            f"{theirs}; set KAIWA_SIP_HOST={everywhere}",
        )
    name = _name_of(sip.registrar)
    if is_host(name) and not is_loopback(name):
        yield (
            "sip.host",
            f"{sip.host} sends to this machine alone, never to sip.registrar ({sip.registrar}); "
            f"set KAIWA_SIP_HOST={everywhere}, or the registrar to {sip.host} if it runs here",
        )


def _is_ours(sip: SipConfig) -> bool:
    try:
        name, port = split(sip.registrar)
    except ValueError:
        return False
    return port == sip.port and (is_loopback(name) or name in (sip.host, sip.public_address))


def _name_of(registrar: str) -> str:
    try:
        return split(registrar)[0]
    except ValueError:
        return ""


def _registrar_problems(sip: SipConfig) -> Iterator[Problem]:
    if not sip.extension:
        yield "sip.extension", "is needed with sip.registrar: our user name there"
    wrong = ""
    try:
        name, _ = split(sip.registrar)
    except ValueError as error:
        wrong = str(error)
    else:
        if not is_host(name):
            at = name.rpartition("@")[2]
            guess = f"; did you mean {at}?" if at != name and is_host(at) else ""
            wrong = f"{name[:60]!r} can be no machine's{guess}"
    if wrong:
        yield (
            "sip.registrar",
            f"must be a name or an address, such as fritz.box or 192.168.1.1:5070: {wrong}",
        )


def _peer_problems(text: str, asks: bool) -> Iterator[Problem]:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        yield "sip.peers", f"must be networks, such as 192.168.0.0/16, got {text!r}"
        return
    wide = network.max_prefixlen - network.prefixlen > WIDEST
    if wide and not network.is_private and not asks:
        yield (
            "sip.peers",
            f"{text} lets strangers call: set KAIWA_SIP_USERNAME and KAIWA_SIP_PASSWORD, which "
            "callers must then know, or name the networks of your telephones",
        )
