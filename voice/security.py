"""Who may come in: keys and origins, judged from a request's headers alone.

Keys are compared by their digests in constant time, never logged, and never taken from the URL,
which ends in every proxy's log.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""How browsers, which cannot set headers, bring a key: as a second subprotocol."""
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


class Guest(Struct, frozen=True):
    """Somebody who was let in."""

    key: str = ""
    """The digest of what they were let in with; empty: nobody was asked."""
    settings: dict[str, Any] | None = None
    """What their client secret carries for their session."""


class Door(Struct, frozen=True):
    """The operator's rules."""

    api_keys: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    loopback: bool
    """Bound to this machine only: a request under any other name is a page that has rebound it."""

    def knows(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> bool:
        """Whether a valid key was brought, or none is asked for."""
        return not self.api_keys or bool(self.key_of(headers, subprotocols))

    def key_of(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> str:
        """The digest of the valid key that was brought; empty: there is none."""
        keys = brought(headers, subprotocols)
        found = [key for key in keys for known in self.api_keys if _same(key, known)]
        return digest(found[0]) if found else ""

    def allows_host(self, headers: Mapping[str, str]) -> bool:
        return not self.loopback or _name(headers.get("host", "")) in LOOPBACK_NAMES

    def allows_origin(self, headers: Mapping[str, str]) -> bool:
        """A page may connect from the server's own address or a listed one; programs have none."""
        origin = headers.get("origin")
        if origin is None:
            return True
        if origin in self.allowed_origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc == headers.get("host")


def brought(headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> list[str]:
    """All keys, whether valid or not."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    keys = [key.strip()] if scheme.lower() == "bearer" else []
    offered = (name for name in subprotocols if name.startswith(KEY_SUBPROTOCOL))
    return [*keys, *(name.removeprefix(KEY_SUBPROTOCOL) for name in offered)]


def digest(key: str) -> str:
    """What is kept of a key."""
    return _digest(key).hex()


def _same(key: str, known: str) -> bool:
    return hmac.compare_digest(_digest(key), _digest(known))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
