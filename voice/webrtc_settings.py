"""What can be wrong with the settings of WebRTC, and what they come to."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from voice.config_calls import WebrtcConfig

ICE_SERVER = re.compile(
    r"stuns?:(\[[0-9A-Fa-f:.]+\]|[^?:\[\]\s/@]+)(:[0-9]{1,5})?|"
    r"turns?:(\[[0-9A-Fa-f:.]+\]|[^?:\[\]\s/@]+)(:[0-9]{1,5})?(\?transport=(udp|tcp))?"
)
"""RFC 7064, RFC 7065."""
_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")

Problem = tuple[str, str]


def port_range(text: str) -> tuple[int, int] | None:
    """First and last; None: any.

    Raises:
        ValueError: Not a range.
    """
    if not text:
        return None
    found = _PORTS.fullmatch(text.replace(" ", ""))
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first <= last < 65_536:
        raise ValueError(
            f'must be FIRST-LAST, from 1024 to 65535, such as "50000-50199"; got {text!r}'
        )
    return first, last


def webrtc_problems(webrtc: WebrtcConfig) -> Iterator[Problem]:
    try:
        port_range(webrtc.ports)
    except ValueError as error:
        yield "webrtc.ports", str(error)
    if wrong := _address_problem(webrtc.public_address):
        yield "webrtc.public_address", wrong
    for text in webrtc.addresses:
        try:
            ip_network(text, strict=False)
        except ValueError:
            yield "webrtc.addresses", f'{text!r} is no address and no network, such as "10.0.0.0/8"'
    for key in ("ice_servers", "own_ice_servers"):
        for url in getattr(webrtc, key):
            if not ICE_SERVER.fullmatch(url):
                example = "stun:stun.example.com or turn:turn.example.com:3478?transport=udp"
                yield (
                    f"webrtc.{key}",
                    f"{url!r} is no STUN or TURN server, such as {example}",
                )
    relays = [url for url in (*webrtc.ice_servers, *webrtc.own_ice_servers) if is_relay(url)]
    if relays and not webrtc.turn_secret:
        yield (
            "webrtc.turn_secret",
            f"is missing: {relays[0]} lets nobody in without a login. Set KAIWA_TURN_SECRET to "
            "coturn's static-auth-secret",
        )


def is_relay(url: str) -> bool:
    return url.startswith(("turn:", "turns:"))


def _address_problem(text: str) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return (
            f"{text!r} is no address; callers are told numbers, such as 203.0.113.7, and no names"
        )
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        return f"{text} is no address that callers could send to"
    return ""
