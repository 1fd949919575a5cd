"""A call's sound: RTP in and out, 20 ms for 20 ms.

    in     socket ─▶ whose? (remote.py) ─▶ voice/jitter.py ─▶ decoded, holes filled ─▶ hear
                                      └──▶ keys (RFC 4733) ─▶ press
    out    play ─▶ voice/rtp_playout.py ─▶ coded ─▶ socket
    beat   every 20 ms: what the time made due, in both directions

aiortp 0.8.0 is not used for it: it sends to whoever sent last, whoever that is; its jitter buffer
is aiortc's, 280 ms behind for good after the first lost packet; Opus wants a library of the
system's.
"""

import asyncio
import contextvars
import secrets
import time
from collections.abc import Callable
from typing import Any

from providers.base import LISTEN_RATE_HZ
from voice import jitter, rtcp
from voice.addresses import unmapped
from voice.jitter import JitterBuffer, Kind, Piece
from voice.key_events import Presses, read_event
from voice.reception import Reception
from voice.rtp import RtpPacket, read_rtp, write_rtp
from voice.rtp_playout import FRAME_MS, Beat, RtpPlayout
from voice.settings_fields import OUTPUT_RATE_HZ
from voice.transports.metronome import metronome
from voice.transports.sip.codecs import Coding, codec_for
from voice.transports.sip.messages import Source, mapped
from voice.transports.sip.ports import Pair
from voice.transports.sip.remote import Remote
from voice.transports.sip.sdp import Agreed

COMFORT_NOISE = 13
"""Payload type of silence that is described instead of sent (RFC 3389)."""
LONGEST_MS = 120
"""Of a packet."""
PACKETS_A_BEAT, PACKETS_BURST = 8, 100
"""What a caller may send, beside fifty a second: a flood costs the others nothing."""
REPORT_S = 5.0


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Source], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._take(data, (unmapped(str(addr[0])), int(addr[1])))


class Media:
    """Args:
    agreed: May be agreed anew.
    hear: Given s16le at 16 kHz.
    press: Given keys.
    beat: Told every 20 ms, last of all.
    """

    def __init__(
        self,
        agreed: Agreed,
        *,
        peer: str,
        hear: Callable[[bytes], None],
        press: Callable[[str], None],
        beat: Callable[[float], None],
    ) -> None:
        self._hear, self._press, self._on_beat = hear, press, beat
        now = time.monotonic()
        self.begun_at = self.heard_at = self.alive_at = now
        self.remote = Remote(peer, agreed.remote, now)
        self.agreed = agreed
        self._speak(agreed.coding)
        self._presses = Presses()
        self.resting = False
        """The far end said that it sends nothing until there is something to hear."""
        self.paused = False
        """Nothing is sent, and nothing is heard."""
        self._ssrc, self._sequence = secrets.randbits(32), secrets.randbits(16)
        self._base, self._ticks = secrets.randbits(32), 0
        self.packets = self._octets = 0
        self._may_come = PACKETS_BURST
        self._report_at = now + REPORT_S
        self._bound: Source = ("", 0)
        self._rtp: asyncio.DatagramTransport | None = None
        self._rtcp: asyncio.DatagramTransport | None = None

    def _speak(self, coding: Coding) -> None:
        self._codec = codec_for(coding)
        self._jitter = JitterBuffer(coding.clock_hz)
        self._playout = RtpPlayout(rate_hz=OUTPUT_RATE_HZ, clock_hz=coding.clock_hz)
        self._reception: Reception | None = None

    async def open(self, pair: Pair) -> None:
        loop = asyncio.get_running_loop()
        self._bound = pair[0].getsockname()[:2]
        self._rtp, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._receive), sock=pair[0]
        )
        self._rtcp, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._receive_rtcp), sock=pair[1]
        )
        call = contextvars.copy_context()  # else its log would bear another call's name
        metronome().join(self, lambda now: call.run(self._beat, now))

    def agree(self, agreed: Agreed, peer: str) -> None:
        """After a re-INVITE."""
        now = time.monotonic()
        if agreed.coding != self.agreed.coding:
            self._speak(agreed.coding)
        self.remote.agree(peer, agreed.remote, now)
        self.agreed = agreed
        self.heard_at = self.alive_at = now

    @property
    def counts(self) -> jitter.Counts:
        return self._jitter.counts

    # --- in ---------------------------------------------------------------------------------------

    def _receive(self, data: bytes, source: Source) -> None:
        now = time.monotonic()
        if self._may_come <= 0 or not self.remote.admit(source, now):
            return
        self._may_come -= 1
        if rtcp.is_rtcp(data):
            self._receive_rtcp(data, source)
        elif (packet := read_rtp(data)) is not None:
            self._take(packet, source, now)

    def _take(self, packet: RtpPacket, source: Source, now: float) -> None:
        """What is neither sound, silence nor a key is nobody's, and moves nothing."""
        held = self._read(packet)
        if held is None:
            return
        self.remote.hear(source, now)
        self.heard_at = self.alive_at = now
        self.resting = held.silent
        before = self._reception
        if before is None or before.ssrc != packet.ssrc:
            self._reception = Reception(packet.ssrc, self.agreed.coding.clock_hz)
        assert self._reception is not None
        self._reception.add(packet.sequence, packet.timestamp, now)
        another = before is not None and before.ssrc != packet.ssrc
        self._give((self._jitter.restart if another else self._jitter.receive)(held, now))

    def _read(self, packet: RtpPacket) -> jitter.Packet | None:
        clock_hz, keys = self.agreed.coding.clock_hz, self.agreed.keys
        sequence, timestamp, kind = packet.sequence, packet.timestamp, packet.payload_type
        if kind == self.agreed.payload_type:
            ticks = self._codec.ticks(packet.payload)
            if not 0 < ticks <= LONGEST_MS * clock_hz // 1000:
                return None
            silent = self._codec.is_silent(packet.payload)
            return jitter.Packet(sequence, timestamp, ticks, packet.payload, silent)
        if keys is not None and kind == keys.payload_type:
            if (event := read_event(packet.payload)) is None:
                return None
            if key := self._presses.receive(packet.ssrc, timestamp, event):
                self._press(key)
            # It stands for as much silence as the key has lasted so far.
            lasted = event.duration * clock_hz // keys.clock_rate if keys.clock_rate else 0
            return jitter.Packet(sequence, timestamp + lasted & 0xFFFFFFFF, 0, b"")
        if kind == COMFORT_NOISE:
            return jitter.Packet(sequence, timestamp, clock_hz * FRAME_MS // 1000, b"", True)
        return None

    def _give(self, pieces: list[Piece]) -> None:
        pcm = b"".join(self._sound_of(piece) for piece in pieces)
        if pcm and not self.paused:
            self._hear(pcm)

    def _sound_of(self, piece: Piece) -> bytes:
        match piece.kind:
            case Kind.PLAYED if piece.payload:
                return self._codec.decode(piece.payload)
            case Kind.RECOVERED:
                return self._codec.recover(piece.payload, piece.ticks)[0]
            case Kind.CONCEALED:
                return self._codec.conceal(piece.ticks)
        return bytes(2 * (piece.ticks * LISTEN_RATE_HZ // self.agreed.coding.clock_hz))

    def _receive_rtcp(self, data: bytes, source: Source) -> None:
        if not self.remote.is_rtcp_from(source) or not rtcp.is_rtcp(data):
            return
        now = self.alive_at = time.monotonic()
        ntp = rtcp.reported_ntp(data)
        if ntp is not None and self._reception is not None:
            self._reception.sender_reported(ntp, now)

    # --- out --------------------------------------------------------------------------------------

    def play(self, pcm: bytes) -> None:
        """s16le at 24 kHz, behind what was given before."""
        if self.paused:
            return
        if self._playout.idles:
            metronome().hasten(self)
        self._playout.put(pcm)

    def clear(self) -> None:
        self._playout.clear()

    @property
    def is_playing(self) -> bool:
        return self._playout.queued_bytes > 0

    def _beat(self, now: float) -> None:
        self._may_come = min(PACKETS_BURST, self._may_come + PACKETS_A_BEAT)
        self._give(self._jitter.tick(now))
        for beat in self._playout.due(now):
            self._send(beat, now)
        if now >= self._report_at:
            self._report_at = now + REPORT_S
            self._report(now)
        self._on_beat(now)

    def _send(self, beat: Beat, now: float) -> None:
        to = self.remote.at(now)
        if self._rtp is None or to is None or self.agreed.held:
            return
        payload = self._codec.encode(beat.pcm) if beat.pcm else self._codec.silence()
        if not payload:
            return
        self._ticks = beat.ticks
        timestamp = self._base + beat.ticks & 0xFFFFFFFF
        kind = self.agreed.payload_type
        data = write_rtp(kind, self._sequence, timestamp, self._ssrc, payload, marker=beat.marker)
        self._sequence = self._sequence + 1 & 0xFFFF
        self.packets += 1
        self._octets += len(payload)
        self._rtp.sendto(data, mapped(to, self._bound))

    def _report(self, now: float) -> None:
        timestamp = self._base + self._ticks
        sent = rtcp.Sent(self._ssrc, timestamp, self.packets, self._octets)
        self._send_rtcp(rtcp.report(sent, self._reception, time.time(), now), now)

    def _send_rtcp(self, data: bytes, now: float) -> None:
        to = self.remote.at(now)
        if self._rtcp is not None and to is not None and to[1] < 65535:
            self._rtcp.sendto(data, mapped((to[0], to[1] + 1), self._bound))

    def close(self) -> None:
        metronome().leave(self)
        self._send_rtcp(rtcp.goodbye(self._ssrc), time.monotonic())
        for transport in (self._rtp, self._rtcp):
            if transport is not None:
                transport.close()
        self._rtp = self._rtcp = None
