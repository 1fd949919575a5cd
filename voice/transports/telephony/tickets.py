"""One-time tickets: who fetched the way to a call's media with a signed request may take it, once.

    webhook, signed  ──▶ issue(call)   ──▶ in the answer, as a parameter of the stream
    media connection ──▶ redeem(ticket, call)   that call, in time, for the first time

A ticket carries its own proof, so that another process with the same secret can take it; that it is
used once, each process knows of itself alone. Times are one wall clock in seconds.
"""

import hmac

LIFE_S = 30.0
"""A provider connects as soon as it has the answer to its webhook."""
MOST_USED = 10_000
"""Tickets remembered as used; each for LIFE_S, so that more in that time are refused."""
_PARTS = 3


class Tickets:
    """Args:
    secret: Of this server; whoever has it can make tickets.
    """

    def __init__(self, secret: bytes, life_s: float = LIFE_S) -> None:
        self._secret, self._life_s = secret, life_s
        self._used: dict[str, float] = {}

    def issue(self, call: str, now: float, salt: str) -> str:
        """Args:
        salt: Random, letters and digits: makes two tickets of one call differ.
        """
        ends_ms = str(int((now + self._life_s) * 1000))
        return f"{ends_ms}.{salt}.{self._proof(call, ends_ms, salt)}"

    def redeem(self, ticket: str, call: str, now: float) -> bool:
        """Whether it is good; a second time it is not."""
        parts = ticket.split(".")
        if len(parts) != _PARTS or len(ticket) > 200:
            return False
        ends_ms, salt, proof = parts
        proven = hmac.compare_digest(_bytes(proof), _bytes(self._proof(call, ends_ms, salt)))
        if not proven or not now * 1000 < int(ends_ms) or ticket in self._used:
            return False
        self._forget(now)
        if len(self._used) >= MOST_USED:
            return False
        self._used[ticket] = int(ends_ms) / 1000
        return True

    def _forget(self, now: float) -> None:
        """In the order of their use, which is nearly that of their ends."""
        while self._used and next(iter(self._used.values())) < now:
            del self._used[next(iter(self._used))]

    def _proof(self, call: str, ends_ms: str, salt: str) -> str:
        said = "\n".join(("kaiwa stream", call, ends_ms, salt))
        return hmac.digest(self._secret, _bytes(said), "sha256").hex()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
