"""Who may come in: keys and origins, judged from a request's headers alone.

Keys are compared by their digests in constant time, never logged, and never taken from the URL,
which ends in every proxy's log.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""How browsers, which cannot set headers, bring a key: as a second subprotocol."""
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


class Door(Struct, frozen=True):
    """The operator's rules."""

    api_keys: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    loopback: bool
    """Bound to this machine only: a request under any other name is a page that has rebound it."""

    def knows(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> bool:
        """Whether a valid key was brought, or none is asked for."""
        if not self.api_keys:
            return True
        brought = list(_brought(headers, subprotocols))
        return any([_same(key, known) for key in brought for known in self.api_keys])

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


def _brought(headers: Mapping[str, str], subprotocols: Sequence[str]) -> Iterable[str]:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield key.strip()
    for offered in subprotocols:
        if offered.startswith(KEY_SUBPROTOCOL):
            yield offered.removeprefix(KEY_SUBPROTOCOL)


def _same(key: str, known: str) -> bool:
    return hmac.compare_digest(_digest(key), _digest(known))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
