"""Where a peer's UDP sockets are: on which of the machine's addresses, at which ports.

aioice binds every address of the machine at any port, and has no option for it. aiortc makes a
`Connection` for each peer, by its name in a module of its own; `install` puts ours there, which
differs in two methods. What a call gathers is told by `GATHERING`, a context variable, since the
connection is made deep inside of `setRemoteDescription`.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiortc.rtcicetransport
import ifaddr
import structlog
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol, server_reflexive_candidate
from aioice.stun import Message
from msgspec import Struct

from voice.ice_candidates import is_public
from voice.transports import udp_ports

BRIDGES = (
    *("docker", "br-", "veth", "virbr", "podman", "cni", "flannel", "cali", "lxc", "lxd"),
    *("vmnet", "vboxnet"),
)
"""Interfaces that lead to containers and virtual machines of this one, where no caller is."""
STUN_LIMIT_S = 2.0
"""For the server's own STUN and TURN servers: so long every answer waits for one that is dead."""
MOST_KNOWN = 40
"""Addresses that a caller may be at: 20 offered, and as many that its checks come from. aioice
checks each one back, and looks through all of them for each check that comes."""
FAR_AWAY = {4: "192.0.2.1", 6: "2001:db8::1"}
"""To ask the routing table with; nothing is sent."""

log = structlog.get_logger()


class NoPort(Exception):
    """There is no UDP port left for a call; the text says what to do."""


class Gathering(Struct, frozen=True):
    """What calls may use of the machine."""

    ports: tuple[int, int] | None = None
    """First and last; None: any."""
    addresses: tuple[str, ...] = ()
    """Or networks; none: all but bridges."""
    public: str = ""
    """What a NAT makes of them."""
    loopback: bool = False
    """127.0.0.1, too: for a browser on this machine."""


GATHERING: ContextVar[Gathering | None] = ContextVar("gathering", default=None)


def local_addresses(gathering: Gathering) -> list[str]:
    """The machine's addresses for a call, the likeliest first."""
    named = [ipaddress.ip_network(text, strict=False) for text in gathering.addresses]
    if named:
        chosen = [a for _, a in _all() if any(ipaddress.ip_address(a) in net for net in named)]
    elif gathering.public:
        leads_out = _leading_out(ipaddress.ip_address(gathering.public).version)
        chosen = [leads_out] if leads_out else []
    else:
        chosen = [a for name, a in _all() if not name.startswith(BRIDGES) and not _is_loopback(a)]
    if gathering.loopback or not chosen:
        chosen.append("127.0.0.1")
    return list(dict.fromkeys(chosen))


def is_private_only(gathering: Gathering) -> bool:
    """Whether the server is nowhere on the public internet, as far as it knows."""
    known = [gathering.public] if gathering.public else local_addresses(gathering)
    return not any(is_public(address) for address in known)


def machine_addresses() -> list[str]:
    return [address for _, address in _all()]


def _all() -> Iterator[tuple[str, str]]:
    """Interface and address; none with a zone, which a candidate cannot name."""
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                yield adapter.name, ip.ip
            elif ip.ip[2] == 0:
                yield adapter.name, ip.ip[0]


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _leading_out(version: int) -> str:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((FAR_AWAY[version], 9))
        except OSError:
            return ""
        return str(asking.getsockname()[0])


class GatheringConnection(Connection):
    """aioice's, but for the addresses and ports of its host candidates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gathering = GATHERING.get()

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109  # as aioice has it
    ) -> list[Candidate]:
        """Raises:
        NoPort: For none of the addresses there is one.
        """
        if self._gathering is None:
            return await super().get_component_candidates(component, addresses, timeout)
        protocols = await self._host_protocols(component, self._gathering)
        candidates = [protocol.local_candidate for protocol in protocols]
        candidates += await self._reflexive(protocols)
        # With no addresses it asks the TURN server, if there is one, and does nothing else.
        candidates += await super().get_component_candidates(component, [], int(STUN_LIMIT_S))
        if not candidates:
            first, last = self._gathering.ports or (1, 65_535)
            raise NoPort(
                f"no UDP port of {first}-{last} is free; a larger webrtc.ports has room for "
                "more calls, and webrtc.addresses must name addresses of this machine"
            )
        return candidates

    def check_incoming(
        self, message: Message, addr: tuple[str, int], protocol: StunProtocol
    ) -> None:
        """A check that was authenticated, and answered already."""
        known = ((c._network_host, c.port) for c in self._remote_candidates)
        if len(self._remote_candidates) < MOST_KNOWN or addr in known:
            super().check_incoming(message, addr, protocol)

    async def _host_protocols(self, component: int, gathering: Gathering) -> list[StunProtocol]:
        loop, protocols = asyncio.get_running_loop(), []
        for place, address in enumerate(local_addresses(gathering)):
            udp = await udp_ports.found(address, gathering.ports)
            if udp is None:
                continue
            _, protocol = await loop.create_datagram_endpoint(partial(StunProtocol, self), sock=udp)
            port = protocol.transport.get_extra_info("sockname")[1]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", address),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host", 65_535 - place),
                host=address,
                port=port,
                type="host",
            )
            protocols.append(protocol)
            self._protocols.append(protocol)  # closed with the call, should it be given up by now
        return protocols

    async def _reflexive(self, protocols: list[StunProtocol]) -> list[Candidate]:
        """What the server's own STUN server sees; aioice asks for addresses that it bound only."""
        server = self.stun_server
        if server is None:
            return []
        asked = [p for p in protocols if ":" not in p.local_candidate.host]
        asking = [asyncio.ensure_future(server_reflexive_candidate(p, server)) for p in asked]
        if not asking:
            return []
        done, late = await asyncio.wait(asking, timeout=STUN_LIMIT_S)
        for task in late:
            task.cancel()
        told = [task for task in done if task.exception() is None]
        if len(told) < len(asking):
            log.warning("stun_server_silent", server=server[0])
        return [task.result()[0] for task in told]


def install() -> None:
    """From now on peers gather as `GATHERING` says. Idempotent."""
    setattr(aiortc.rtcicetransport, "Connection", GatheringConnection)  # noqa: B010  # its only door
