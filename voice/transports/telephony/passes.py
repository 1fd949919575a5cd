"""UUIDs that are good for one call each, and not for long."""

import secrets
from uuid import UUID

LIFE_S = 60.0
MOST = 10_000
"""Given out and not used: the oldest are no good any more."""


class Passes:
    """Of one server process."""

    def __init__(self) -> None:
        self._given: dict[str, float] = {}

    def issue(self, now: float) -> str:
        while self._given and (len(self._given) >= MOST or self._first < now - LIFE_S):
            del self._given[next(iter(self._given))]
        name = str(UUID(bytes=secrets.token_bytes(16), version=4))
        self._given[name] = now
        return name

    @property
    def _first(self) -> float:
        return next(iter(self._given.values()))

    def redeem(self, name: str, now: float) -> bool:
        """Whether it is good; a second time it is not."""
        given_at = self._given.pop(name, None)
        return given_at is not None and now - given_at <= LIFE_S
