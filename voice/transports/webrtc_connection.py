"""One peer's transports: aiortc's, from the offer to the last socket."""

from collections.abc import Callable
from typing import Any

import structlog
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from voice.transports.webrtc_offer import best_codec, ice_server, with_opus_terms
from voice.transports.webrtc_wire import Wire

log = structlog.get_logger()


class Connection:
    """Args:
    ice_servers: As the operator has them; none: no server is asked for anything.
    rtp, rtcp: Given each packet that is the peer's, decrypted.
    changed: Told when `state` has.
    """

    def __init__(
        self,
        ice_servers: list[Any],
        *,
        rtp: Callable[[bytes], None],
        rtcp: Callable[[bytes], None],
        changed: Callable[[], None],
    ) -> None:
        servers = [ice_server(one) for one in ice_servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self.pc.on("connectionstatechange", changed)
        self._rtp, self._rtcp = rtp, rtcp
        self._wire: Wire | None = None

    async def answer(self, offer_sdp: str) -> str:
        """The whole answer, with our candidates in it.

        Raises:
            OfferError: There is none to it.
            Exception: Whatever aiortc makes of an offer that it did not expect.
        """
        best = best_codec(SessionDescription.parse(offer_sdp))
        transceiver = self.pc.addTransceiver("audio", direction="sendrecv")
        transceiver.setCodecPreferences([best])
        self._wire = Wire(self.pc, transceiver, rtp=self._rtp, rtcp=self._rtcp)
        await self.pc.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        self._wire.guard()
        answer = await self.pc.createAnswer()
        asking = RTCSessionDescription(with_opus_terms(answer.sdp), "answer")
        await self.pc.setLocalDescription(asking)
        self._wire.attach()
        return str(self.pc.localDescription.sdp)

    @property
    def state(self) -> str:
        """new, connecting, connected (ICE and DTLS are up), failed, or closed."""
        return str(self.pc.connectionState)

    @property
    def ssrc(self) -> int:
        assert self._wire is not None
        return self._wire.ssrc

    def send(self, packet: bytes) -> bool:
        """RTP. False: there is no way to the peer."""
        return self._wire is not None and self._wire.send(packet)

    def send_rtcp(self, packet: bytes) -> bool:
        return self._wire is not None and self._wire.send_rtcp(packet)

    @property
    def dropped(self) -> int:
        """Datagrams that were not the peer's."""
        return 0 if self._wire is None else self._wire.dropped

    def excess(self, now: float) -> str:
        """What the peer sends too much of; empty: of nothing. To be asked now and then."""
        return "" if self._wire is None else self._wire.excess(now)

    @property
    def unacknowledged(self) -> int:
        """Pieces of events that the peer has not confirmed."""
        return 0 if self._wire is None else self._wire.unacknowledged

    async def aclose(self) -> None:
        """aiortc's `close` raises halfway over some offers: then each transport by itself."""
        try:
            await self.pc.close()
        except Exception as error:
            log.info("close_failed", why=type(error).__name__)
            if self._wire is not None:
                await self._wire.stop()

    def abort(self) -> None:
        """Closes the sockets without waiting for anybody."""
        if self._wire is not None:
            self._wire.abort()
