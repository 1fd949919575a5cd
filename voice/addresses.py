"""Addresses as people type them: what is wrong with one, and what was probably meant; and as
sockets tell them: whose one is."""

import re
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#*\sA-Z]+")
"""As browsers send it, and as it is compared: lower case, without a path."""
_LABEL = re.compile(r"[^\W_]([\w-]{0,61}[^\W_])?|_[\w-]{0,62}")
"""RFC 1123, letters of any script, and the underscores that containers' names have."""
LONGEST_NAME = 253


def is_host(text: str) -> bool:
    """Whether `text` can be the name of a machine, or its address; 192.168.1.300 is neither."""
    if is_address(text):
        return True
    labels = text.removesuffix(".").split(".")
    named = all(map(_LABEL.fullmatch, labels)) and len(text) <= LONGEST_NAME
    return named and not labels[-1].isdigit()


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def unmapped(address: str) -> str:
    """As an IPv4 caller is known: a socket for both kinds, [::], names 1.2.3.4 ::ffff:1.2.3.4."""
    if ":" not in address:
        return address
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return address if mapped is None else str(mapped)


def network_of(address: str) -> str:
    """Whom an address stands for: of IPv6 everybody has a whole /64."""
    address = unmapped(address)
    try:
        return str(IPv6Network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine itself is meant."""
    name = host.strip("[]").lower()
    return ip_address(name).is_loopback if is_address(name) else name == "localhost"


def origin_problem(text: str) -> str:
    """Empty where `text` can be the Origin of a page."""
    if ORIGIN.fullmatch(text):
        return ""
    lower = text.lower()
    host = re.split(r"[/?#\s]", lower.partition("://")[2] or lower)[0]
    if not host or "*" in host or host == "null":
        return f"{text!r} is no origin; list each one, such as https://voice.example.com"
    scheme = "http" if lower.startswith("http://") else "https"
    return f"{text!r} is no origin; did you mean {scheme}://{host}?"


def masked(text: str) -> str:
    """`text` without the names, passwords and tokens of the addresses in it."""
    text = re.sub(r"""(?<=://)[^\s,'"]*@""", "…@", text)
    return re.sub(r"""(://[^\s,'"?#]*)\?[^\s,'"]+""", r"\1?…", text)


def endpoint_problem(
    text: str, example: str = "http://127.0.0.1:11434/v1", key: str = "api_key"
) -> str:
    """Empty where `text` is the address of an HTTP server, and nothing but that.

    Args:
        example: Of such an address, and whether it ends in /v1.
        key: The setting that a key belongs into.
    """
    if _is_http(text):
        parts = urlsplit(text)
        if parts.username is None and parts.password is None and not parts.query:
            return ""
        return f"{masked(text)!r} holds a name, password or key; put a key into {key} instead"
    text = _without_user(text)
    guess = f"http://{text}" if "/" in text else f"http://{text}{urlsplit(example).path}"
    if "://" not in text and _is_http(guess):
        return f"{text!r} is no http address; did you mean {guess}?"
    what = f"{text!r} is no http address{_other_scheme(text, 'http', 'https')}"
    return f"{what}; it must look like {example}"


def socket_problem(text: str) -> str:
    """Empty where `text` is the address of a WebSocket server; http will do, too."""
    if _is_address(text, ("ws", "wss", "http", "https")):
        return ""
    text = _without_user(text)
    if "://" not in text and _is_address(f"ws://{text}", ("ws",)):
        return f"{text!r} is no WebSocket address; did you mean ws://{text}?"
    what = f"{text!r} is no WebSocket address{_other_scheme(text, 'ws', 'wss', 'http', 'https')}"
    return f"{what}; it must look like ws://127.0.0.1:6006"


def _without_user(text: str) -> str:
    """For what is no address, so that a password may stand anywhere before an @."""
    scheme, mark, rest = text.rpartition("://")
    return masked(scheme + mark + re.sub(r".*@", "…@", rest, flags=re.DOTALL))


def _other_scheme(text: str, *spoken: str) -> str:
    found = re.match(r"([a-z][a-z0-9+.-]*)://", text.lower())
    return f", and {found[1]} is not spoken here" if found and found[1] not in spoken else ""


def _is_http(text: str) -> bool:
    return _is_address(text, ("http", "https"))


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    if re.search(r"\s", text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # what stands for the port is none
        return False
