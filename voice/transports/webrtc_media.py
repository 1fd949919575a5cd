"""One peer's sound, both ways: packets in, 16 kHz out; 24 kHz in, packets out.

RTP ─▶ JitterBuffer ─▶ decoder: played, recovered, concealed, silent ─▶ hear(s16le, 16 kHz)
sound() ─▶ RtpPlayout, a frame every 20 ms ─▶ coder ─▶ RTP
RTCP: reports both ways about once a second; the peer's losses steer our copies (FEC)
"""

import random
import time
from collections.abc import Callable, Iterator

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)
from msgspec import Struct

from providers.base import LISTEN_RATE_HZ
from voice import metrics
from voice.jitter import JitterBuffer, Kind, Packet, Piece
from voice.reception import Reception, ntp_of
from voice.rtp import RtpPacket, read_rtp, write_rtp
from voice.rtp_playout import Beat, RtpPlayout
from voice.settings_fields import OUTPUT_RATE_HZ
from voice.transports.rtp_codecs import Codec, codec_named

REPORT_S = 1.0
"""Between two reports, 0.5 to 1.5 times it; RFC 4585 allows it, and browsers do the same."""
LOSSY_PERCENT = 2.0
"""From here on copies are worth what they cost: the band above 8 kHz, at our bitrate."""
COPIED_FROM_PERCENT, MOST_PERCENT = 10, 30
"""Told 5 % or less, libopus keeps the band and makes no copies (decide_fec in its source)."""
LOSS_DECAY = 0.8
"""From one report to the next: losses come in bursts."""
ROUND_TRIP_ALPHA = 0.15


class Way(Struct, frozen=True):
    """One direction of a peer's sound, as far as it is known here."""

    packets: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    jitter_ms: float = 0.0


class MediaFigures(Struct, frozen=True):
    received: Way
    sent: Way
    """By the peer's own reports, but `packets`."""
    recovered: int = 0
    """Frames that were lost, and came with the next one."""
    concealed_ms: int = 0
    """Of what was heard, and never came."""
    skipped_ms: int = 0
    """Lost, and left out: more in one go than is concealed."""
    wait_ms: float = 0.0
    """A hole is waited for this long, at present."""
    round_trip_ms: float | None = None


class Media:
    """Args:
    codecs: By payload type, names as in the answer; the first is spoken.
    send, send_rtcp: Take packets, unencrypted; False: there is no way to the peer.
    hear: Given what the peer says.
    """

    def __init__(
        self,
        codecs: dict[int, str],
        *,
        ssrc: int,
        name: str,
        send: Callable[[bytes], bool],
        send_rtcp: Callable[[bytes], bool],
        hear: Callable[[bytes], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        made = {kind: codec_named(kind) for kind in dict.fromkeys(codecs.values())}
        self._codecs: dict[int, Codec] = {number: made[kind] for number, kind in codecs.items()}
        self._payload_type, self._codec = next(iter(self._codecs.items()))
        self._send, self._send_rtcp, self._hear = send, send_rtcp, hear
        self._now, self._unix_s = now, time.time() - now()
        self._ssrc, self._name = ssrc, name.encode()
        self._heard_of: Reception | None = None
        self._hears_with: Codec | None = None
        self._buffer = JitterBuffer(self._codec.clock_hz)
        self._playout = RtpPlayout(rate_hz=OUTPUT_RATE_HZ, clock_hz=self._codec.clock_hz)
        self._sequence = random.getrandbits(15)  # the lower half: libsrtp's first wrap comes late
        self._origin = random.getrandbits(32)
        self._sent = self._octets = self._last_ticks = 0
        self._last_sent_at = 0.0
        self._reports_at = 0.0
        self._recovered = 0
        self._told, self._loss_percent = Way(), 0.0
        self._round_trip_s: float | None = None
        self._counted = (0, 0, 0, 0)
        self.alive_at = self._now()
        """When a packet of the peer's came last."""

    # --- in ---------------------------------------------------------------------------------------

    def take_rtp(self, data: bytes) -> None:
        packet = read_rtp(data)
        codec = None if packet is None else self._codecs.get(packet.payload_type)
        if packet is None or codec is None or not (ticks := codec.ticks(packet.payload)):
            return
        now = self.alive_at = self._now()
        heard = Packet(
            packet.sequence,
            packet.timestamp,
            ticks,
            packet.payload,
            codec.is_silent(packet.payload),
        )
        pieces = []
        if self._heard_of is None or self._heard_of.ssrc != packet.ssrc:
            pieces = self._meet(packet, heard, codec, now)
        else:
            pieces = self._buffer.receive(heard, now)
        assert self._heard_of is not None
        self._heard_of.add(packet.sequence, packet.timestamp, now)
        self._hears_with = codec
        self._decode(pieces)

    def _meet(self, packet: RtpPacket, heard: Packet, codec: Codec, now: float) -> list[Piece]:
        """A sender that was not heard before; the last one has gone."""
        is_first = self._heard_of is None
        self._heard_of = Reception(packet.ssrc, codec.clock_hz)
        if is_first:
            return self._buffer.receive(heard, now)
        return self._buffer.restart(heard, now)

    def _decode(self, pieces: list[Piece]) -> None:
        if pieces:
            self._hear(b"".join(self._sound_of(piece) for piece in pieces))

    def _sound_of(self, piece: Piece) -> bytes:
        codec = self._hears_with or self._codec
        match piece.kind:
            case Kind.PLAYED:
                return codec.decode(piece.payload)
            case Kind.RECOVERED:
                pcm, is_copy = codec.recover(piece.payload, piece.ticks)
                self._recovered += is_copy
                return pcm
            case Kind.CONCEALED:
                return codec.conceal(piece.ticks)
            case Kind.SILENT:
                return bytes(2 * (piece.ticks * LISTEN_RATE_HZ // codec.clock_hz))

    def take_rtcp(self, data: bytes) -> None:
        now = self.alive_at = self._now()
        try:
            packets = RtcpPacket.parse(data)
        except ValueError:
            return
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                if self._heard_of is not None and packet.ssrc == self._heard_of.ssrc:
                    self._heard_of.sender_reported(packet.sender_info.ntp_timestamp, now)
            if isinstance(packet, (RtcpSrPacket, RtcpRrPacket)):
                for report in packet.reports:
                    if report.ssrc == self._ssrc:
                        self._told_of(report)

    def _told_of(self, report: RtcpReceiverInfo) -> None:
        jitter_ms = report.jitter * 1000 / self._codec.clock_hz
        self._told = Way(lost=max(0, report.packets_lost), jitter_ms=jitter_ms)
        if report.lsr:
            arrived = ntp_of(self._now() + self._unix_s) >> 16 & 0xFFFFFFFF
            trip = (arrived - report.lsr - report.dlsr & 0xFFFFFFFF) / 65536
            if trip < 10:  # else clocks were set meanwhile, or it is made up
                before = trip if self._round_trip_s is None else self._round_trip_s
                self._round_trip_s = before + (trip - before) * ROUND_TRIP_ALPHA
        lost = report.fraction_lost * 100 / 256
        self._loss_percent = max(lost, self._loss_percent * LOSS_DECAY)
        expected = min(max(round(self._loss_percent), COPIED_FROM_PERCENT), MOST_PERCENT)
        self._codec.expect_loss(expected if self._loss_percent >= LOSSY_PERCENT else 0)

    # --- out --------------------------------------------------------------------------------------

    def sound(self, pcm: bytes) -> bool:
        """The next 24 kHz, to be played at its time. True: the sooner a beat comes, the better."""
        idles = self._playout.idles
        self._playout.put(pcm)
        return idles

    def clear(self) -> None:
        """What has not been sent is not."""
        self._playout.clear()

    @property
    def unsent_bytes(self) -> int:
        return self._playout.queued_bytes

    def beat(self, now: float) -> None:
        """Once every 20 ms."""
        self._decode(self._buffer.tick(now))
        for beat in self._playout.due(now):
            self._speak(beat, now)
        if now >= self._reports_at:
            self._reports_at = now + REPORT_S * (0.5 + random.random())
            self._report(now)
            self._count()

    def _speak(self, beat: Beat, now: float) -> None:
        payload = self._codec.encode(beat.pcm) if beat.pcm else self._codec.silence()
        timestamp = self._origin + beat.ticks & 0xFFFFFFFF
        packet = write_rtp(
            self._payload_type, self._sequence, timestamp, self._ssrc, payload, marker=beat.marker
        )
        if self._send(packet):
            self._sequence = self._sequence + 1 & 0xFFFF
            self._sent += 1
            self._octets += len(payload)
            self._last_ticks, self._last_sent_at = beat.ticks, now

    def _report(self, now: float) -> None:
        reports = list(self._reception_reports(now))
        packet: AnyRtcpPacket = RtcpRrPacket(ssrc=self._ssrc, reports=reports)
        if self._sent:
            since = int((now - self._last_sent_at) * self._codec.clock_hz)
            info = RtcpSenderInfo(
                ntp_timestamp=ntp_of(now + self._unix_s),
                rtp_timestamp=self._origin + self._last_ticks + since & 0xFFFFFFFF,
                packet_count=self._sent & 0xFFFFFFFF,
                octet_count=self._octets & 0xFFFFFFFF,
            )
            packet = RtcpSrPacket(ssrc=self._ssrc, sender_info=info, reports=reports)
        name = RtcpSourceInfo(ssrc=self._ssrc, items=[(1, self._name)])
        self._send_rtcp(bytes(packet) + bytes(RtcpSdesPacket(chunks=[name])))

    def _reception_reports(self, now: float) -> Iterator[RtcpReceiverInfo]:
        if (heard := self._heard_of) is None:
            return
        lsr, dlsr = heard.last_sender_report(now)
        yield RtcpReceiverInfo(
            ssrc=heard.ssrc,
            fraction_lost=heard.fraction_lost(),
            packets_lost=min(heard.lost, 0x7FFFFF),
            highest_sequence=heard.highest,
            jitter=heard.jitter_ticks,
            lsr=lsr,
            dlsr=dlsr,
        )

    # --- figures ----------------------------------------------------------------------------------

    def figures(self) -> MediaFigures:
        counts, hz = self._buffer.counts, self._codec.clock_hz
        trip_s = self._round_trip_s
        return MediaFigures(
            received=Way(
                packets=counts.received,
                lost=counts.lost,
                late=counts.late,
                duplicates=counts.duplicates,
                jitter_ms=round(self._heard_of.jitter_ms, 2) if self._heard_of else 0.0,
            ),
            sent=Way(
                packets=self._sent, lost=self._told.lost, jitter_ms=round(self._told.jitter_ms, 2)
            ),
            recovered=self._recovered,
            concealed_ms=round(counts.concealed_ticks * 1000 / hz),
            skipped_ms=round(counts.skipped_ticks * 1000 / hz),
            wait_ms=round(self._buffer.wait_ms, 1),
            round_trip_ms=None if trip_s is None else round(trip_s * 1000, 1),
        )

    def _count(self) -> None:
        """What has changed since, for the metrics."""
        counts = self._buffer.counts
        now = (counts.received, counts.lost, counts.late, self._recovered)
        for what, number, before in zip(metrics.MEDIA_PACKETS_WAS, now, self._counted, strict=True):
            metrics.MEDIA_PACKETS.labels(what).inc(number - before)
        self._counted = now
