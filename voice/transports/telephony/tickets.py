"""One-time tickets: who fetched the way to a call's media with a signed request may take it, once.

    webhook, signed  ──▶ issue(call)   ──▶ in the answer, for the provider to bring along
    media connection ──▶ redeem(ticket, call)   that call, in time, for the first time

A ticket carries its own proof, so that another process with the same secret can take it; what has
been used or asked for already, each process knows of itself alone. A request that comes again is a
provider's second try as long as its ticket may still be used, and a replay after that.

Times are one wall clock in seconds.
"""

import hmac
from typing import TypeVar

LIFE_S = 30.0
"""A provider connects as soon as it has the answer to its webhook."""
MOST_KEPT = 10_000
"""Of requests answered, and of tickets used: far more than there are calls in LIFE_S."""
_PARTS = 3

V = TypeVar("V")


class Tickets:
    """Args:
    secret: Of this server; whoever has it can make tickets.
    """

    def __init__(self, secret: bytes, life_s: float = LIFE_S) -> None:
        self._secret, self._life_s = secret, life_s
        self._used: dict[str, None] = {}
        self._issued: dict[str, str] = {}
        """By the request that asked for it."""

    def issue(self, call: str, now: float, salt: str, request: str) -> str:
        """Args:
            salt: Random, letters and digits: makes two tickets of one call differ.
            request: What no other request has, and what a replay cannot write otherwise.
        Returns:
            The ticket; empty: this is a replay.
        """
        known = self._issued.get(request)
        if known is not None:
            return known if self._ends_at(known) > now and known not in self._used else ""
        ends_ms = str(int((now + self._life_s) * 1000))
        ticket = f"{ends_ms}.{salt}.{self._proof(call, ends_ms, salt)}"
        _keep(self._issued, request, ticket)
        return ticket

    def redeem(self, ticket: str, call: str, now: float) -> bool:
        """Whether it is good; a second time it is not."""
        parts = ticket.split(".")
        if len(parts) != _PARTS or len(ticket) > 200:
            return False
        ends_ms, salt, proof = parts
        proven = hmac.compare_digest(_bytes(proof), _bytes(self._proof(call, ends_ms, salt)))
        if not proven or now >= self._ends_at(ticket) or ticket in self._used:
            return False
        _keep(self._used, ticket, None)
        return True

    def _ends_at(self, ticket: str) -> float:
        return int(ticket.partition(".")[0]) / 1000

    def _proof(self, call: str, ends_ms: str, salt: str) -> str:
        said = "\n".join(("kaiwa stream", call, ends_ms, salt))
        return hmac.digest(self._secret, _bytes(said), "sha256").hex()


def _keep(store: dict[str, V], name: str, value: V) -> None:
    store[name] = value
    if len(store) > MOST_KEPT:
        del store[next(iter(store))]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
