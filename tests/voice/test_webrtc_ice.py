"""Sockets of real peers: on which addresses, at which ports. A change of aiortc's or aioice's that
would take the choice away fails here."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from aioice import stun
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.sdp import SessionDescription

from voice.transports.udp_ports import bound
from voice.transports.webrtc_ice import (
    GATHERING,
    MOST_KNOWN,
    Gathering,
    GatheringConnection,
    NoPort,
    install,
    is_private_only,
    local_addresses,
)

HERE = Gathering(addresses=("127.0.0.1",))


async def offered(gathering: Gathering | None) -> list[tuple[str, int, str]]:
    """Addresses, ports and types of a peer's candidates."""
    install()
    token = GATHERING.set(gathering)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        peer.createDataChannel("x")
        await peer.setLocalDescription(await peer.createOffer())
        (media,) = SessionDescription.parse(peer.localDescription.sdp).media
        return [(c.ip, c.port, c.type) for c in media.ice_candidates]
    finally:
        GATHERING.reset(token)
        await peer.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_a_peer_gets_a_port_of_the_range_on_the_addresses_that_are_named() -> None:
    async def check() -> None:
        for _ in range(5):
            ((address, port, kind),) = await offered(
                Gathering(ports=(42_000, 42_009), addresses=("127.0.0.0/8",))
            )
            assert (address, kind) == ("127.0.0.1", "host")
            assert 42_000 <= port <= 42_009

    run(check)


def test_ports_that_are_taken_are_passed_over_and_none_left_is_said() -> None:
    async def check() -> None:
        taken = [bound("127.0.0.1", (42_020, 42_022)) for _ in range(2)]
        ((_, port, _),) = await offered(Gathering((42_020, 42_022), ("127.0.0.1",)))
        assert port not in [udp.getsockname()[1] for udp in taken if udp is not None]
        taken.append(bound("127.0.0.1", (42_020, 42_022)))
        with pytest.raises(NoPort, match=r"42020-42022.*webrtc\.ports"):
            await offered(Gathering((42_020, 42_022), ("127.0.0.1",)))
        for udp in taken:
            assert udp is not None
            udp.close()

    run(check)


def test_without_a_word_aioice_gathers_as_it_always_did() -> None:
    async def check() -> None:
        found = await offered(None)
        assert "127.0.0.1" not in [address for address, _, _ in found]

    run(check)


def test_two_calls_at_once_gather_each_as_it_was_told() -> None:
    async def check() -> None:
        one, other = await asyncio.gather(
            asyncio.create_task(offered(Gathering((42_030, 42_034), ("127.0.0.1",)))),
            asyncio.create_task(offered(Gathering((42_035, 42_039), ("127.0.0.1",)))),
        )
        assert one[0][1] < 42_035 <= other[0][1]

    run(check)


def test_the_sockets_are_gone_with_the_peer() -> None:
    async def check() -> None:
        await offered(Gathering((42_040, 42_040), ("127.0.0.1",)))
        udp = bound("127.0.0.1", (42_040, 42_040))
        assert udp is not None
        udp.close()

    run(check)


def test_a_laptop_offers_itself_too_and_a_server_does_not() -> None:
    assert local_addresses(Gathering(loopback=True))[-1] == "127.0.0.1"
    others = local_addresses(Gathering())
    assert others == ["127.0.0.1"] or "127.0.0.1" not in others


def test_behind_a_nat_only_the_address_that_leads_out_is_used() -> None:
    """Its ports are the ones that a NAT can be told to forward."""
    found = local_addresses(Gathering(public="198.51.100.7"))
    assert len(found) == 1
    assert ":" not in found[0]


def test_who_has_a_public_address_is_on_the_public_internet() -> None:
    assert not is_private_only(Gathering(public="81.2.69.160"))
    assert is_private_only(Gathering(public="10.0.0.5"))
    assert is_private_only(HERE)


def test_a_caller_is_looked_for_at_so_many_addresses_and_no_more() -> None:
    """Whoever has the answer's password may send checks from any number of ports."""

    async def check() -> None:
        token = GATHERING.set(HERE)
        called = GatheringConnection(ice_controlling=False)
        GATHERING.reset(token)
        await called.gather_candidates()
        called.remote_username, called.remote_password = "abcd", "x" * 22
        connecting = asyncio.create_task(called.connect())
        await asyncio.sleep(0)
        sockets = [bound("127.0.0.1", None) for _ in range(MOST_KNOWN + 60)]
        for udp in sockets:
            assert udp is not None
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{called.local_username}:abcd"
            request.attributes["PRIORITY"] = 1
            request.attributes["ICE-CONTROLLING"] = 1
            request.add_message_integrity(called.local_password.encode())
            place = called.local_candidates[0]
            udp.sendto(bytes(request), (place.host, place.port))
            await asyncio.get_running_loop().sock_recv(udp, 2048)  # answered
        assert len(called._check_list) == len(called.remote_candidates) == MOST_KNOWN
        await called.close()
        with pytest.raises(ConnectionError):
            await connecting
        for udp in sockets:
            assert udp is not None
            udp.close()

    run(check)


def test_an_address_that_is_not_this_machines_has_no_port() -> None:
    assert bound("81.2.69.160", None) is None
    udp = bound("127.0.0.1", None)
    assert udp is not None and udp.type == socket.SOCK_DGRAM
    udp.close()
