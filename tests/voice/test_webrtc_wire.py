"""What we use of aiortc and aioice without being asked to: it must be there, and mean the same.

A new version that changes one of these names fails here, and not in a call.
"""

import asyncio
import re
import socket
from importlib.metadata import version
from typing import Any

import pytest

from tests.peers import Client, House, call, until
from voice.rtp import write_rtp
from voice.transports.webrtc_channel import RTO_S, Association, Records
from voice.transports.webrtc_offer import codecs_of
from voice.transports.webrtc_peer import WATCH_S, Peer
from voice.transports.webrtc_wire import MOST_PACKETS, MOST_SENDERS


def test_aiortc_is_of_the_version_that_was_read() -> None:
    assert version("aiortc").startswith("1.16.")


def test_the_names_that_are_not_public_are_there_and_mean_what_they_mean() -> None:
    async def look() -> None:
        async with call() as (peer, client):
            connection: Any = peer.connection.pc
            dtls = connection.getTransceivers()[0].receiver.transport
            assert dtls.state == "connected" and dtls.encrypted
            ice = dtls.transport._connection
            pair = ice._nominated[1]
            assert pair in ice._check_list
            assert pair.protocol in ice._protocols
            assert pair.remote_addr == client.ice._nominated[1].local_addr
            packet = b"\x80\x60\0\1\0\0\0\2\0\0\0\3sound"
            theirs = client.pc.getTransceivers()[0].receiver.transport
            assert theirs._rx_srtp.unprotect(dtls._tx_srtp.protect(packet)) == packet
            sctp = connection.sctp
            assert sctp.transport is dtls
            assert sctp._advertised_rwnd == 1024 * 1024
            assert isinstance(sctp, Association) and isinstance(dtls, Records)
            assert sctp._rto == RTO_S
            assert not peer.connection.unacknowledged
            peer._events.put(b"{}")
            for _ in range(5):
                await asyncio.sleep(0)
            assert sctp._sent_queue
            await until(lambda: not peer.connection.unacknowledged, "the client has it")
            assert connection.getTransceivers()[0].sender._ssrc in [
                one.ssrc for one in _ssrcs(connection.localDescription.sdp)
            ]

    asyncio.run(look())


def _ssrcs(sdp: str) -> list[Any]:
    from aiortc.sdp import SessionDescription

    return [one for media in SessionDescription.parse(sdp).media for one in media.ssrc]


def test_aiortcs_own_media_never_start() -> None:
    async def look() -> None:
        async with call() as (peer, _):
            connection: Any = peer.connection.pc
            (transceiver,) = connection.getTransceivers()
            names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]  # none is finished
            ours = transceiver.sender, transceiver.receiver
            assert not any(getattr(one, f"_{type(one).__name__}__started") for one in ours)
            assert sum("RTCRtpReceiver._run_rtcp" in name for name in names) <= 1  # the client's

    asyncio.run(look())


def test_a_message_without_an_end_is_seen() -> None:
    async def look() -> None:
        async with call() as (peer, client):
            assert not peer.connection.excess(0.0)
            connection: Any = peer.connection.pc
            connection.sctp._advertised_rwnd = -3 * 1024 * 1024
            await until(lambda: not peer.connected, "it has been ended")

    asyncio.run(look())


@pytest.mark.parametrize("first", [b"", b"\x40", b"\xc8" * 30, b"\x80" * 30])
def test_what_belongs_to_nobody_goes_nowhere(first: bytes) -> None:
    async def look() -> None:
        async with call() as (peer, client):
            pair, before = client.ice._nominated[1], peer.figures().dropped
            own = pair.protocol.transport.get_extra_info("socket")
            with socket.socket(own.family, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(first, pair.remote_addr)
            await until(lambda: peer.figures().dropped > before, "it was dropped")
            before = peer.figures().dropped
            own._sock.sendto(first, pair.remote_addr)  # asyncio would send no empty one
            await until(lambda: peer.figures().dropped > before, "it was dropped")
            assert peer.connected

    asyncio.run(look())


def test_a_packet_that_somebody_else_passes_on_is_not_heard() -> None:
    async def look() -> None:
        async with call(microphone=False) as (peer, client):
            theirs = client.pc.getTransceivers()[0].receiver.transport
            (number,) = codecs_of(client.pc.remoteDescription.sdp)

            def packet(sequence: int) -> bytes:
                return bytes(
                    theirs._tx_srtp.protect(
                        write_rtp(number, sequence, 960 * sequence, 7, b"\x48", marker=False)
                    )
                )

            pair = client.ice._nominated[1]
            own = pair.protocol.transport.get_extra_info("socket")
            with socket.socket(own.family, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(packet(1), pair.remote_addr)
                await until(lambda: peer.figures().dropped, "it was dropped")
            pair.protocol.transport.sendto(packet(2), pair.remote_addr)
            await until(lambda: received(peer), "the client's own is heard")
            assert received(peer) == 1

    asyncio.run(look())


def sent_by_hand(client: Client, ssrc: int, sequence: int) -> None:
    """A packet of the client's that is not its media's."""
    theirs = client.pc.getTransceivers()[0].receiver.transport
    (number,) = codecs_of(client.pc.remoteDescription.sdp)
    packet = write_rtp(number, sequence, 960 * sequence, ssrc, b"\x48", marker=False)
    pair = client.ice._nominated[1]
    pair.protocol.transport.sendto(theirs._tx_srtp.protect(packet), pair.remote_addr)


def test_a_peer_that_sends_as_one_sender_after_another_is_hung_up_on() -> None:
    async def look() -> None:
        async with call(microphone=False) as (peer, client):
            for ssrc in range(1, MOST_SENDERS + 3):
                assert peer.connected
                sent_by_hand(client, ssrc, 1)
                await asyncio.sleep(0)
            await until(lambda: not peer.connected, "it has been ended")

    asyncio.run(look())


def test_a_peer_that_floods_is_hung_up_on_and_one_whose_network_stood_still_is_not() -> None:
    async def look() -> None:
        async with call(microphone=False) as (peer, client):
            for sequence in range(1500):  # 30 s of speech
                sent_by_hand(client, 7, sequence)
                await asyncio.sleep(0)
            await until(lambda: received(peer) >= 1000, "they came")
            await asyncio.sleep(2 * WATCH_S)
            assert peer.connected
            for sequence in range(1500, 1500 + 4 * MOST_PACKETS):
                if not peer.connected:
                    break
                sent_by_hand(client, 7, sequence)
                await asyncio.sleep(0)
            await until(lambda: not peer.connected, "it has been ended")

    asyncio.run(look())


def test_a_peer_that_has_chosen_another_pair_than_we_have_tried_is_heard() -> None:
    """Of machines with several addresses, each end may choose first: aioice then ends its tries."""

    async def look() -> None:
        async with call() as (peer, client):
            connection: Any = peer.connection.pc
            dtls = connection.getTransceivers()[0].receiver.transport
            # It takes from its list what it has not tried, even what the peer's own check came by.
            dtls.transport._connection._check_list.clear()
            assert peer.connection._wire is not None
            peer.connection._wire._from = None
            before = peer.figures()
            client.microphone.loud = True
            await until(lambda: received(peer) > 20, "it is heard")
            assert peer.figures().dropped == before.dropped

    asyncio.run(look())


def received(peer: Peer) -> int:
    media = peer.figures().media
    return 0 if media is None else media.received.packets


def test_empty_datagrams_before_the_client_comes_keep_nobody_out() -> None:
    async def look() -> None:
        house, client = House(), Client()
        peer = house.peer()
        answer = await peer.answer(await client.offer())
        found = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", answer)
        for host, port in found:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as stranger:
                for _ in range(20):
                    stranger.sendto(b"", (host, int(port)))
        await until(lambda: peer.figures().dropped >= 20, "they were dropped")
        await client.take(answer)
        await until(lambda: peer.connected, "it connects all the same")
        await client.aclose()
        await peer.aclose()

    asyncio.run(look())
