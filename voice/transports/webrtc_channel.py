"""aiortc's DTLS and SCTP, mended where a lost packet of the set-up keeps the event channel shut.

    what is lost, or overtaken             aiortc 1.16                      here
    -------------------------------------  -------------------------------  ------------------------
    both INIT ACKs                         each INIT sent again bears the   tag 0 (RFC 9260 §8.5.1)
                                           other's tag: dropped, for ever
    the peer's last flight of DTLS, while  one record is read for each      read until none is left
    it goes on with INITs                  datagram: from then on each is
                                           one behind, or more
    INIT, by DATA                          what was received counts anew:   the count stays (§5.2.2)
                                           the channel is stuck
    INIT or COOKIE ECHO, nine times        given up, though the call lives  sent on
    INIT, COOKIE ECHO, DATA                1 s                              0.5 s; DATA: doubled
    a flight of DTLS                       1 s, 3 s, 7 s                    each is sent twice

The peer's timers are the peer's: Chromium has 1 s for INIT and COOKIE ECHO, 0.05 s for DTLS.
tests/voice/test_webrtc_channel.py shows the faults in aiortc as it is, and that they are mended.
"""

import asyncio
import contextlib
from typing import Any

from aiortc import RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, InitChunk, serialize_packet
from OpenSSL import SSL

RTO_S, MOST_RTO_S = 0.5, 4.0
"""Before a round trip is measured, and at least; at most. RFC 9260 has 1 s for what may
fill a network; these are events of some hundred bytes, and Chromium begins with 0.5 s, too."""
DATAGRAM_BYTES = 1500
COPY_S = 0.1
"""OpenSSL's first timer is 1 s and cannot be set. To the peer it is a datagram that the network has
doubled (RFC 6347 §4.1.2.6): dropped, where the first one came."""
HANDSHAKE = (20, 22)
"""Content types of DTLS 1.2: change cipher spec, handshake."""


def mend_association(sctp: RTCSctpTransport) -> None:
    """From before it starts on."""
    sctp.__class__ = Association
    sctp._rto = RTO_S


def mend_records(dtls: RTCDtlsTransport) -> None:
    """From before it starts on."""
    dtls.__class__ = Records
    assert isinstance(dtls, Records)
    dtls._copies = set()


class Association(RTCSctpTransport):
    async def _send_chunk(self, chunk: Chunk) -> None:
        if not isinstance(chunk, InitChunk):
            await super()._send_chunk(chunk)
            return
        assert self._remote_port is not None
        packet = serialize_packet(self._local_port, self._remote_port, 0, chunk)
        await self.transport._send_data(packet)

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, InitChunk) and self._last_received_tsn is not None:
            if chunk.initiate_tag == self._remote_verification_tag:
                chunk.initial_tsn = (self._last_received_tsn + 1) % 2**32
            elif self._association_state is self.State.ESTABLISHED:
                return  # nobody begins anew within one DTLS
        await super()._receive_chunk(chunk)

    def _t1_expired(self) -> None:
        self._t1_failures = 0
        super()._t1_expired()

    def _t3_expired(self) -> None:
        self._rto = min(2 * self._rto, MOST_RTO_S)
        super()._t3_expired()

    def _update_rto(self, R: float) -> None:
        super()._update_rto(R)
        assert self._srtt is not None and self._rttvar is not None
        self._rto = min(max(RTO_S, self._srtt + 4 * self._rttvar), MOST_RTO_S)


class Records(RTCDtlsTransport):
    _copies: set[asyncio.Task[None]]

    async def _write_ssl(self) -> None:
        ssl: Any = self._ssl
        with contextlib.suppress(SSL.Error):  # nothing is to be sent
            while True:
                data = ssl.bio_read(DATAGRAM_BYTES)
                await self.transport._send(data)
                if data[0] in HANDSHAKE:
                    copy = asyncio.create_task(self._send_again(data))
                    self._copies.add(copy)
                    copy.add_done_callback(self._copies.discard)

    async def _send_again(self, data: bytes) -> None:
        await asyncio.sleep(COPY_S)
        with contextlib.suppress(ConnectionError):
            await self.transport._send(data)

    async def _recv_next(self) -> None:
        """
        Raises:
            ConnectionError: The peer has closed it.
        """
        await super()._recv_next()
        ssl: Any = self._ssl
        while self._data_receiver is not None:
            try:
                data = ssl.recv(DATAGRAM_BYTES)
            except SSL.ZeroReturnError:
                raise ConnectionError from None
            except SSL.Error:  # nothing is left
                return
            await self._data_receiver._handle_data(data)

    async def stop(self) -> None:
        await super().stop()
        for copy in self._copies:
            copy.cancel()
