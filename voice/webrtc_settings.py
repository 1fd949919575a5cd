"""What can be wrong with the settings of WebRTC, and what they come to."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from voice.addresses import is_host
from voice.config_calls import WebrtcConfig

ICE_SERVER = re.compile(
    r"stuns?:(\[[0-9A-Fa-f:.]+\]|[^?:\[\]\s/@]+)(:[0-9]{1,5})?|"
    r"turns?:(\[[0-9A-Fa-f:.]+\]|[^?:\[\]\s/@]+)(:[0-9]{1,5})?(\?transport=(udp|tcp))?"
)
"""RFC 7064, RFC 7065."""
_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
FIRST_PORT, LAST_PORT = 1024, 65_535
LEAST_SECRET = 16
"""Characters. Every caller is given a word and its HMAC: who has one login can try as many secrets
as their machine can, without asking anybody."""
NEW_SECRET = "openssl rand -hex 32 makes one"

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
    if not FIRST_PORT <= first <= last <= LAST_PORT:
        raise ValueError(f"must be {RANGE}; got {text!r}")
    return first, last


RANGE = 'FIRST-LAST, from 1024 to 65535, such as "50000-50199"'


def port_pairs(first: int, last: int) -> range:
    """The even ports whose next one is in the range, too: RTP and RTCP (RFC 3550 §11)."""
    return range(first + first % 2, last, 2)


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
            continue
        if text in ("0.0.0.0", "::"):
            yield (
                "webrtc.addresses",
                f"{text} is no machine's address; for all of them, name none",
            )
    servers = (*webrtc.ice_servers, *webrtc.own_ice_servers)
    for key in ("ice_servers", "own_ice_servers"):
        for url in getattr(webrtc, key):
            if not _is_ice_server(url):
                example = "stun:stun.example.com or turn:turn.example.com:3478?transport=udp"
                yield (
                    f"webrtc.{key}",
                    f"{url!r} is no STUN or TURN server, such as {example}",
                )
    relays = [url for url in servers if is_relay(url)]
    if relays and not webrtc.turn_secret:
        yield (
            "webrtc.turn_secret",
            f"is missing: {relays[0]} lets nobody in without a login. Set KAIWA_TURN_SECRET to "
            "coturn's static-auth-secret",
        )
    if webrtc.turn_secret and not relays and all(map(_is_ice_server, servers)):
        yield (
            "webrtc.ice_servers",
            "names no TURN server, though webrtc.turn_secret is set: callers are never told of it. "
            "Set KAIWA_ICE_SERVERS=turn:turn.example.com:3478, or take KAIWA_TURN_SECRET away",
        )
    if 0 < len(webrtc.turn_secret) < LEAST_SECRET:
        yield (
            "webrtc.turn_secret",
            f"is shorter than {LEAST_SECRET} characters, and each caller is given what it can be "
            f"guessed from; {NEW_SECRET}, for coturn as well",
        )


def _is_ice_server(url: str) -> bool:
    found = ICE_SERVER.fullmatch(url)
    if found is None:
        return False
    host, port = found[1] or found[3], found[2] or found[4]
    return is_host(host.strip("[]")) and (port is None or 0 < int(port[1:]) <= LAST_PORT)


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
    unreachable = address.is_unspecified or address.is_loopback or address.is_link_local
    if unreachable or address.is_multicast:
        return f"{text} is no address that callers could send to"
    return ""
