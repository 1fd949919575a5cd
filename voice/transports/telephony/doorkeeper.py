"""Who may come in by AudioSocket, which has no key: networks, and the UUIDs of calls."""

import time
from ipaddress import ip_address, ip_network
from uuid import UUID

from voice.config_calls import TelephonyConfig
from voice.transports.telephony.passes import Passes
from voice.transports.websocket import Refusal


class Doorkeeper:
    def __init__(self, config: TelephonyConfig, passes: Passes) -> None:
        self._networks = [ip_network(peer) for peer in config.audiosocket_peers]
        self._known = {str(UUID(one)) for one in config.audiosocket_uuids}
        self._one_time, self._passes = config.audiosocket_one_time, passes

    def knows(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._networks)

    def check(self, call: str) -> None:
        """Raises:
        Refusal: 403.
        """
        if self._one_time and not self._passes.redeem(call, time.monotonic()):
            raise Refusal(403, "not_given_out", "This UUID was not given out, or is used.")
        if self._known and call not in self._known:
            raise Refusal(403, "unknown_uuid", "This UUID is not in telephony.audiosocket_uuids.")
