"""Through which proxy a server is reached.

http://…    none: model servers stand in one's own network, under names that no proxy knows
https://…   HTTPS_PROXY, unless NO_PROXY names the host, or it is this machine
"""

import ipaddress
import urllib.request
from urllib.parse import urlsplit

VARIABLE = "HTTPS_PROXY"


def proxy_of(address: str) -> str | None:
    """The proxy's address, perhaps with a name and a password; None: there is none."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "https" or _is_this_machine(host):
        return None
    if urllib.request.proxy_bypass_environment(host):  # type: ignore[attr-defined]  # not in typeshed
        return None
    return urllib.request.getproxies_environment().get("https") or None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
