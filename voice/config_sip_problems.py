"""What is wrong with the settings of the SIP leg: each by its path, and what would be right."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from voice.config_calls import SipConfig
from voice.sip_registrar import split
from voice.webrtc_settings import port_range

Problem = tuple[str, str]

SIP_PASSWORD = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(16))'"
WIDEST = 16
"""Bits: a larger network than 65,536 addresses is the internet, unless it is a private one."""


def sip_problems(sip: SipConfig) -> Iterator[Problem]:
    for key in ("host", "public_address"):
        text = getattr(sip, key)
        if text and not _is_address(text):
            yield f"sip.{key}", f"must be an IP address, such as 192.168.1.10, got {text!r}"
    if sip.public_address and _is_address(sip.public_address):
        if ip_address(sip.public_address).is_unspecified:
            yield "sip.public_address", "must be an address that callers reach, not 0.0.0.0"
    try:
        port_range(sip.rtp_ports)
    except ValueError as error:
        yield "sip.rtp_ports", str(error)
    for text in sip.peers:
        yield from _peer_problems(text, bool(sip.username))
    if bool(sip.username) != bool(sip.password):
        yield "sip.password", f"is needed with sip.username, and only with it; {SIP_PASSWORD}"
    elif sip.password and len(sip.password) < 8:
        yield "sip.password", f"is shorter than 8 characters; {SIP_PASSWORD}"
    if sip.registrar:
        yield from _registrar_problems(sip)


def _registrar_problems(sip: SipConfig) -> Iterator[Problem]:
    if not sip.extension:
        yield "sip.extension", "is needed with sip.registrar: our user name there"
    try:
        split(sip.registrar)
    except ValueError as error:
        yield (
            "sip.registrar",
            f"must be a name or an address, such as fritz.box or 192.168.1.1:5070: {error}",
        )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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
