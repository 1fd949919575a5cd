"""How often a caller may have something: an offer answered, a login at the relay."""

from collections.abc import Callable

from msgspec import Struct

from voice.addresses import network_of, unmapped
from voice.config_calls import WebrtcConfig
from voice.rate import Rate
from voice.transports.websocket import Refusal

LOCAL = ("127.0.0.1", "::1")
"""This machine, or a proxy on it that does not say for whom it asks: no stranger's address."""


class Caller(Struct, frozen=True):
    """Who brings an offer."""

    address: str
    key: str = ""
    """Digest of the key they came in with."""

    @property
    def network(self) -> str:
        """Whom the address stands for: of IPv6 everybody has a whole /64."""
        return network_of(self.address)

    @property
    def is_local(self) -> bool:
        return unmapped(self.address) in LOCAL


class OfferRates:
    """Of each address and of each key so many in any minute, as `webrtc.offers_per_minute` and
    `webrtc.offers_per_minute_and_key` have them.

    Args:
        now: A monotonic clock.
        often: What is said to whom it is refused.
    """

    def __init__(self, now: Callable[[], float], often: str) -> None:
        self._now, self._often = now, often
        self._by_address, self._by_key = Rate(), Rate()

    def check(self, caller: Caller, webrtc: WebrtcConfig) -> None:
        """Counts it.

        Raises:
            Refusal: 429.
        """
        now, wait_s = self._now(), 0.0
        if not caller.is_local:
            most = webrtc.offers_per_minute
            wait_s = self._by_address.refuses(caller.network, most, now)
        if not wait_s and caller.key:
            wait_s = self._by_key.refuses(caller.key, webrtc.offers_per_minute_and_key, now)
        if wait_s:
            raise Refusal(429, "rate_limit_exceeded", self._often, int(wait_s) + 1)
