"""Two ends of a call's sound, and a network between them: packets, losses, reports, audio time.

Time is virtual; both ends are ours.
"""

import random
from collections.abc import Callable

import numpy as np
import pytest

from voice.transports.opus import has_copy
from voice.transports.webrtc_media import Media

OPUS, PCMU = {111: "audio/opus"}, {0: "audio/pcmu"}
FRAME_S = 0.02


def speech(seconds: float) -> bytes:
    t = np.arange(int(seconds * 24_000)) / 24_000
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 10))
    return (4000 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype("<i2").tobytes()


class Network:
    """From the near end, which talks, to the far one, which is heard.

    Args:
    fate: Of each of the near end's packets: how long it takes, in seconds; None: it is lost.
    """

    def __init__(
        self, fate: Callable[[], float | None] = lambda: 0.0, codecs: dict[int, str] = OPUS
    ) -> None:
        self.now, self._fate = 0.0, fate
        self._flying: list[tuple[float, int, Callable[[bytes], None], bytes]] = []
        self._count = 0
        self.heard = bytearray()
        self.near = self._end(codecs, 1, lambda pcm: None)
        self.far = self._end(codecs, 2, self.heard.extend)
        self.packets: list[bytes] = []

    def _end(self, codecs: dict[int, str], ssrc: int, hear: Callable[[bytes], None]) -> Media:
        return Media(
            codecs,
            ssrc=ssrc,
            name=str(ssrc),
            send=lambda data: self._send(ssrc, data),
            send_rtcp=lambda data: self._send_rtcp(ssrc, data),
            hear=hear,
            now=lambda: self.now,
        )

    def _send(self, ssrc: int, data: bytes) -> bool:
        if ssrc == 2:  # what the far end sends while it is silent
            self._fly(0.0, self.near.take_rtp, data)
            return True
        self.packets.append(data)
        taken = self._fate()
        if taken is not None:
            self._fly(taken, self.far.take_rtp, data)
        return True

    def _send_rtcp(self, ssrc: int, data: bytes) -> bool:
        self._fly(0.0, (self.far if ssrc == 1 else self.near).take_rtcp, data)
        return True

    def _fly(self, taken: float, take: Callable[[bytes], None], data: bytes) -> None:
        self._count += 1
        self._flying.append((self.now + taken, self._count, take, data))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = round(self.now + FRAME_S / 4, 4)
            landed = sorted(one for one in self._flying if one[0] <= self.now)
            self._flying = [one for one in self._flying if one[0] > self.now]
            for _, _, take, data in landed:
                take(data)
            if round(self.now / (FRAME_S / 4)) % 4 == 0:
                self.near.beat(self.now)
                self.far.beat(self.now)

    def talk(self, seconds: float) -> None:
        """Real time, 100 ms ahead at most."""
        pcm = speech(seconds)
        for start in range(0, len(pcm), 1920):
            self.near.sound(pcm[start : start + 1920])
            self.run(0.04)

    @property
    def heard_s(self) -> float:
        return len(self.heard) / 32_000


@pytest.mark.parametrize("codecs", [OPUS, PCMU])
def test_what_is_said_at_one_end_is_heard_at_the_other(codecs: dict[int, str]) -> None:
    network = Network(codecs=codecs)
    network.talk(2.0)
    network.run(0.2)
    heard = np.frombuffer(bytes(network.heard), "<i2").astype(float)
    said = np.frombuffer(speech(2.0), "<i2").astype(float)
    assert (heard**2).sum() * 24 / 16 == pytest.approx((said**2).sum(), rel=0.25)
    assert network.heard_s == pytest.approx(network.now, abs=0.25)


@pytest.mark.parametrize(("loss", "jitter_s"), [(0.05, 0.0), (0.05, 0.05), (0.1, 0.05)])
def test_audio_time_is_true_whatever_is_lost(loss: float, jitter_s: float) -> None:
    rng = random.Random(5)
    network = Network(lambda: None if rng.random() < loss else rng.uniform(0, jitter_s))
    network.talk(20.0)
    network.run(0.5)
    figures = network.far.figures()
    gone = len(network.packets) - figures.received.packets
    assert 0.5 * loss < gone / len(network.packets) < 1.5 * loss
    assert figures.received.lost <= gone + 0.01 * len(network.packets)
    assert figures.skipped_ms == 0
    assert network.heard_s == pytest.approx(network.now, abs=0.25)
    assert figures.recovered > 0.3 * figures.received.lost
    assert figures.concealed_ms == pytest.approx(20 * figures.received.lost, rel=0.1)


def test_losses_that_are_reported_bring_copies_and_none_bring_the_whole_band() -> None:
    rng = random.Random(6)
    lossy = False
    network = Network(lambda: None if lossy and rng.random() < 0.1 else 0.0)

    def copied() -> float:
        network.packets.clear()
        network.talk(3.0)
        return sum(has_copy(packet[12:]) for packet in network.packets) / len(network.packets)

    assert copied() == 0
    lossy = True
    copied()
    assert copied() > 0.3
    lossy = False
    for _ in range(5):
        copied()
    assert copied() == 0


def test_both_ends_know_how_the_other_hears_them() -> None:
    rng = random.Random(8)
    network = Network(lambda: None if rng.random() < 0.1 else rng.uniform(0, 0.03))
    network.talk(10.0)
    figures, theirs = network.near.figures(), network.far.figures()
    assert figures.sent.lost == pytest.approx(theirs.received.lost, abs=12)
    assert figures.sent.jitter_ms > 2
    assert figures.round_trip_ms is not None and figures.round_trip_ms < 100


def test_silence_costs_two_packets_a_second() -> None:
    network = Network()
    network.run(1.0)
    network.packets.clear()
    network.run(10.0)
    assert 20 <= len(network.packets) <= 30


def test_a_cut_stops_the_packets_in_the_same_frame() -> None:
    network = Network()
    network.run(0.1)
    network.near.sound(speech(1.0))
    network.run(0.2)
    network.near.clear()
    network.packets.clear()
    network.run(0.4)
    assert len(network.packets) <= 1 + 5 + 1  # the fade, the tail, one to be remembered by


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", bytes(40), b"\x80\x6f" + bytes(9), b"\x80\x6f" + bytes(10), b"\x80\x05" * 20],
)
def test_what_is_no_packet_of_ours_is_passed_over(data: bytes) -> None:
    network = Network()
    network.far.take_rtp(data)
    network.far.take_rtcp(data)
    assert network.far.figures().received.packets == 0
    assert not network.heard


def test_whatever_a_client_sends_is_heard_as_something() -> None:
    rng = random.Random(9)
    network = Network()
    for number in range(500):
        payload = rng.randbytes(rng.randint(1, 60))
        header = bytes((0x80, 111)) + number.to_bytes(2, "big") + (number * 960).to_bytes(4, "big")
        network.now += FRAME_S
        network.far.take_rtp(header + b"\0\0\0\7" + payload)
        network.far.beat(network.now)
    assert network.heard_s > 0
    assert len(network.heard) % 2 == 0
