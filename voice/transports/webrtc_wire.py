"""Where our media meets aiortc: ICE, DTLS and SCTP are its own, SRTP packets pass it by.

    datagram ─▶ guard ─┬─ STUN ───────────────▶ aioice
                       ├─ DTLS (SCTP in it) ──▶ aioice's queue ─▶ aiortc's DTLS task
                       └─ SRTP, SRTCP ────────▶ unprotected here ─▶ our media, in the same step
    our media ─▶ protected here ─▶ the nominated pair's socket

aiortc's own way would be a queue and a task switch for each packet, a jitter buffer that multiplies
loss, a thread that decodes, and a track queue without a bound. And it ends a call over one empty
datagram, from whomever (`data[0]` in its DTLS task).

This module and webrtc_channel.py alone touch what aiortc does not call public; which names those
are, and that they mean what they mean here, is held by tests/voice/test_webrtc_wire.py and
test_webrtc_channel.py. aiortc is pinned to the minor version they were read in.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pylibsrtp
import structlog
from aiortc import RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtp import is_rtcp

from voice.transports.webrtc_channel import mend_association, mend_records

Received = Callable[[bytes], None]
Address = tuple[str, int]

OVERDRAWN_BYTES = 1024 * 1024
"""Of messages without an end: beyond what SCTP has told the peer that it may send."""
MOST_SENDERS = 100
"""SSRCs: libsrtp keeps each one, and looks through all of them for each packet; measured, at 30,000
of them 0.1 ms."""
PACKETS_S, MOST_PACKETS = 500, 5000
"""Ten times what speech needs; and what a network gives on in one go that stood still for long."""

log = structlog.get_logger()


class Wire:
    """Args:
    rtp, rtcp: Given each packet that is the peer's, decrypted.
    """

    def __init__(
        self,
        connection: RTCPeerConnection,
        transceiver: RTCRtpTransceiver,
        *,
        rtp: Received,
        rtcp: Received,
    ) -> None:
        self._connection, self._transceiver = connection, transceiver
        self._rtp, self._rtcp = rtp, rtcp
        self._from: Address | None = None
        self.dropped = 0
        """Datagrams that were nobody's."""
        self._senders: set[bytes] = set()
        self._received = 0
        self._counted = 0.0, 0
        self._left = float(MOST_PACKETS)
        for own, start in ((transceiver.sender, "send"), (transceiver.receiver, "receive")):
            setattr(own, start, _left_to_us)

    # --- before and behind gathering --------------------------------------------------------------

    def guard(self) -> None:
        """From before the sockets open on: whatever comes while nobody knows of whom."""
        if self._connection.sctp is not None:
            mend_association(self._connection.sctp)
        for transport in self._dtls_transports():
            mend_records(transport)
            ice = transport.transport._connection
            ice.data_received = partial(self._take_any, ice.data_received)

    def attach(self) -> None:
        """The sockets are open: packets come here first."""
        for transport in self._dtls_transports():
            ice = transport.transport._connection
            for protocol in ice._protocols:
                given_on = protocol.datagram_received
                protocol.datagram_received = partial(self._take, transport, given_on)

    def _dtls_transports(self) -> Iterator[Any]:
        media = self._dtls
        yield media
        sctp = self._connection.sctp
        if sctp is not None and sctp.transport is not media:
            yield sctp.transport

    @property
    def _dtls(self) -> Any:
        """It may change while descriptions are set: bundled media share one."""
        return self._transceiver.receiver.transport

    # --- in ---------------------------------------------------------------------------------------

    def _take_any(
        self, given_on: Callable[[bytes, int], None], data: bytes, component: int
    ) -> None:
        if data:
            given_on(data, component)
        else:
            self.dropped += 1

    def _take(
        self,
        transport: Any,
        given_on: Callable[[bytes, Any], None],
        data: bytes,
        address: tuple[Any, ...],
    ) -> None:
        try:
            self._sort(transport, given_on, data, address)
        except Exception:  # our bug: uvloop would close the socket over it
            log.exception("packet_broke")

    def _sort(
        self,
        transport: Any,
        given_on: Callable[[bytes, Any], None],
        data: bytes,
        address: tuple[Any, ...],
    ) -> None:
        """RFC 7983: the first byte tells what it is."""
        first = data[0] if data else 255
        if first < 4:
            given_on(data, address)
        elif 127 < first < 192:
            if transport._rx_srtp is not None and self._is_peer(transport, address):
                self._unprotect(transport._rx_srtp, data)
            else:
                self.dropped += 1
        elif 19 < first < 64 and (not transport.encrypted or self._is_peer(transport, address)):
            given_on(data, address)
        else:
            self.dropped += 1

    def _is_peer(self, transport: Any, address: tuple[Any, ...]) -> bool:
        """Whether it comes from where the peer said to be, or proved to be by a check with our
        password. Not the chosen pair alone, nor those that we have tried: aioice ends its own
        tries with the first that is chosen, and the peer may have chosen another, or change to it
        (RFC 8445 §12.2). What is forged fails at DTLS and SRTP; this keeps others' noise from them.
        """
        source = (address[0], address[1])
        if source == self._from:
            return True
        for candidate in transport.transport._connection._remote_candidates:
            if (candidate._network_host, candidate.port) == source:
                self._from = source
                return True
        return False

    def _unprotect(self, session: Any, data: bytes) -> None:
        from_peer, unprotect, ssrc = self._rtp, session.unprotect, data[8:12]
        if is_rtcp(data):
            from_peer, unprotect, ssrc = self._rtcp, session.unprotect_rtcp, data[4:8]
        try:
            packet = unprotect(data)
        except pylibsrtp.Error:  # forged, or replayed
            self.dropped += 1
            return
        self._received += 1
        self._senders.add(ssrc)
        from_peer(packet)

    # --- out --------------------------------------------------------------------------------------

    @property
    def ssrc(self) -> int:
        """The one our description names."""
        number: int = self._transceiver.sender._ssrc
        return number

    def send(self, packet: bytes) -> bool:
        """An RTP packet. False: there is no way to the peer."""
        return self._send(packet, "protect")

    def send_rtcp(self, packet: bytes) -> bool:
        return self._send(packet, "protect_rtcp")

    def _send(self, packet: bytes, protect: str) -> bool:
        transport = self._dtls
        pair = transport.transport._connection._nominated.get(1)
        if transport._tx_srtp is None or pair is None:
            return False
        socket = pair.protocol.transport
        if socket.is_closing():
            return False
        socket.sendto(getattr(transport._tx_srtp, protect)(packet), pair.remote_addr)
        return True

    def excess(self, now: float) -> str:
        """What the peer, and nobody in its name, sends too much of; empty: of nothing. To be asked
        now and then."""
        since, before = self._counted
        self._counted = now, self._received
        earned = self._left + (now - since) * PACKETS_S
        self._left = min(earned, MOST_PACKETS) - (self._received - before)
        sctp = self._connection.sctp
        if sctp is not None and sctp._advertised_rwnd < -OVERDRAWN_BYTES:
            return "it sends a message without an end"
        if len(self._senders) > MOST_SENDERS:
            return "it sends as too many senders"
        return "it sends too many packets" if self._left < 0 else ""

    @property
    def unacknowledged(self) -> int:
        """Pieces of events that the peer has not confirmed."""
        sctp = self._connection.sctp
        return 0 if sctp is None else len(sctp._sent_queue) + len(sctp._outbound_queue)

    # --- the end ----------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Each transport by itself, whatever one of them raises."""
        for transport in self._dtls_transports():
            for part in (transport, transport.transport):
                try:
                    await part.stop()
                except Exception as error:
                    log.info("transport_not_stopped", why=type(error).__name__)

    def abort(self) -> None:
        """Closes the sockets without waiting for anybody."""
        for transport in self._dtls_transports():
            for protocol in transport.transport._connection._protocols:
                protocol.transport.close()


async def _left_to_us(parameters: Any) -> None:
    """aiortc's own sender and receiver never start."""
