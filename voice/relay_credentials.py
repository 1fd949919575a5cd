"""What a TURN server lets its callers in with, for a while: coturn's `use-auth-secret`.

Source: draft-uberti-behave-turn-rest-00; coturn's turnserver.conf, `static-auth-secret`.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from voice.webrtc_settings import is_relay


class Credentials(Struct, frozen=True):
    username: str
    credential: str


def credentials(secret: str, user: str, expires_at: int) -> Credentials:
    """Args:
    expires_at: Seconds since 1970, by the clock that the TURN server goes by.
    """
    username = f"{expires_at}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return Credentials(username, base64.b64encode(digest).decode())


def ice_servers(
    urls: Sequence[str], secret: str, user: str, expires_at: int
) -> list[dict[str, Any]]:
    """As `RTCConfiguration.iceServers` has them; no relay that there is no secret for."""
    relays = [url for url in urls if is_relay(url)]
    others = [url for url in urls if not is_relay(url)]
    servers: list[dict[str, Any]] = [{"urls": others}] if others else []
    if relays and secret:
        given = credentials(secret, user, expires_at)
        login = {"username": given.username, "credential": given.credential}
        servers.append({"urls": relays, **login})
    return servers


def links(servers: Sequence[dict[str, Any]]) -> list[str]:
    """The same as `Link` headers, as WHIP has them: RFC 9725 §4.6."""
    found = []
    for server in servers:
        login = ""
        if "username" in server:
            login = (
                f'; username="{server["username"]}"; credential="{server["credential"]}"'
                '; credential-type="password"'
            )
        found += [f'<{url}>; rel="ice-server"{login}' for url in server["urls"]]
    return found
