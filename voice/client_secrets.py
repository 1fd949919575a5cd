"""Short-lived keys that a page may hold: each opens calls until it expires, with its own settings.

Kept by their digests, in this process only, and no more than `MOST` at once.
"""

import hashlib
from typing import Any

from msgspec import Struct

PREFIX = "ek_"
MOST = 1000
SHORTEST_S, LONGEST_S, USUAL_S = 10, 7200, 600
MOST_SETTINGS_BYTES = 65_536
"""Of one: 1000 of them must fit."""


class ClientSecret(Struct, frozen=True):
    expires_at: float
    """By the clock that it was issued by."""
    settings: dict[str, Any]
    """As a `session.update` has them."""


class ClientSecrets:
    """Told the time by a monotonic clock."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[bytes, ClientSecret] = {}

    def __len__(self) -> int:
        return len(self._known)

    def keep(self, token: str, settings: dict[str, Any], seconds: float, now: float) -> float:
        """Returns:
        0: It is kept; else the seconds until there is room for it.
        """
        self._forget(now)
        if len(self._known) >= self._most:
            return min(secret.expires_at for secret in self._known.values()) - now
        self._known[_digest(token)] = ClientSecret(now + seconds, settings)
        return 0.0

    def find(self, token: str, now: float) -> ClientSecret | None:
        secret = self._known.get(_digest(token)) if token.startswith(PREFIX) else None
        return secret if secret is not None and now < secret.expires_at else None

    def _forget(self, now: float) -> None:
        for digest in [d for d, secret in self._known.items() if secret.expires_at <= now]:
            del self._known[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
