"""SIP messages before there is a dialog: where they came from, who may send them, what is answered.

RFC 3261; `Source` is an address and a port, as a socket tells them.
"""

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiosipua import (
    SipMessage,
    SipRequest,
    SipResponse,
    generate_tag,
    parse_via,
    stringify_via,
)

Source = tuple[str, int]

METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE")
ALLOW = ", ".join(METHODS)
SUPPORTED = ("timer",)
SCHEMES = ("sip", "tel")
"""sips asks for TLS on every leg, which we have not."""
MOST_DIGITS = 6
"""Of a Content-Length."""
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    488: "Not Acceptable Here",
    503: "Service Unavailable",
}


class Refused(Exception):
    """Why a request is not carried out."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(REASONS[status])
        self.status, self.headers = status, dict(headers or {})


def answer(
    request: SipRequest, status: int, headers: Mapping[str, str] | None = None
) -> SipResponse:
    """To who sent `request`, outside any dialog."""
    response = SipResponse(status_code=status, reason_phrase=REASONS[status])
    for via in request.headers.get("via"):
        response.headers.append("Via", via)
    for name in ("From", "To", "Call-ID", "CSeq"):
        if (value := request.headers.get_first(name)) is not None:
            if name == "To" and not to_tag(request):
                value = f"{value};tag={generate_tag()}"
            response.headers.set_single(name, value)
    for name, value in (headers or {}).items():
        response.headers.set_single(name, value)
    return response


def to_tag(request: SipRequest) -> str:
    """Empty outside a dialog."""
    to = request.to_addr
    return (to.tag if to is not None else "") or ""


def tokens(request: SipRequest, header: str) -> list[str]:
    return [value.strip().lower() for value in request.headers.get(header) if value.strip()]


def check_scheme(request: SipRequest) -> None:
    """RFC 3261 §8.2.2.1.

    Raises:
        Refused: 416, it is not for an address of ours.
    """
    if request.method != "ACK" and request.uri.partition(":")[0].lower() not in SCHEMES:
        raise Refused(416)


def check_require(request: SipRequest) -> None:
    """RFC 3261 §8.2.2.3.

    Raises:
        Refused: 420, it asks for what we have not.
    """
    if request.method in ("ACK", "CANCEL"):
        return  # what asks for nothing new cannot be refused for it
    if strange := [one for one in tokens(request, "require") if one not in SUPPORTED]:
        raise Refused(420, {"Unsupported": ", ".join(strange)})


def check_length(message: SipMessage) -> None:
    """RFC 3261 §18.3: a datagram holds the whole body.

    Raises:
        ValueError: It cannot be so long.
    """
    for told in message.headers.get("content-length"):
        is_number = told.isascii() and told.isdigit() and len(told) <= MOST_DIGITS
        if not is_number or int(told) > len(message.body):
            raise ValueError(f"Content-Length {told[:20]!r} with {len(message.body)} bytes")


def stamp(request: SipRequest, source: Source) -> None:
    """The topmost Via says where the request came from, whatever it said before.

    The answer goes there, as if `rport` were always asked for (RFC 3581): a Via that names a third
    party would have us send to it, and phones behind a router name an address that nobody reaches.

    Raises:
        ValueError: There is no Via.
    """
    vias = list(request.headers.get("via"))
    if not vias:
        raise ValueError("no Via")
    via = parse_via(vias[0])
    via.params["received"], via.params["rport"] = source[0], str(source[1])
    request.headers.remove("Via")
    for value in (stringify_via(via), *vias[1:]):
        request.headers.append("Via", value)


def transaction(message: SipMessage, method: str) -> tuple[str, str, str]:
    """What tells one transaction from another (RFC 3261 §17.2.3), who sent it included.

    Raises:
        ValueError: There is no Via.
    """
    vias = message.headers.get("via")
    if not vias:
        raise ValueError("no Via")
    via = parse_via(vias[0])
    name = via.branch or f"{message.call_id} {message.headers.get_first('cseq')}"
    return name, via.received or via.host, method


class Peers:
    """Who may call: networks, and addresses beside them.

    Args:
        networks: As the settings have them.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [network(text) for text in networks]
        self.also: set[str] = set()
        """The address of a telephone system that we are an extension of."""

    def admit(self, address: str) -> bool:
        """Whether a message from there is read, and sound may be sent there."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if ip.is_multicast or ip.is_unspecified:
            return False
        return str(ip) in self.also or any(
            ip in known for known in self._networks if known.version == ip.version
        )


def network(text: str) -> IPv4Network | IPv6Network:
    """Raises:
    ValueError: It is none.
    """
    return ip_network(text.strip(), strict=False)


def mapped(to: Source, bound: Source) -> Source:
    """`to`, as a socket wants it that is bound to [::], for both kinds of addresses."""
    return (f"::ffff:{to[0]}", to[1]) if ":" in bound[0] and ":" not in to[0] else to


def own_address(peer: str, told: str, bound: str) -> str:
    """The address at which `peer` reaches us.

    Args:
        told: By the operator; empty: nothing.
        bound: Where we listen; 0.0.0.0 and :: are no address.
    """
    if told:
        return told
    if not ip_address(bound).is_unspecified:
        return bound
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # sends nothing: the kernel only looks for the way
        except OSError:
            return bound
        found: str = probe.getsockname()[0]
        return found
