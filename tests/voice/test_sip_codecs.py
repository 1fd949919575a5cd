import numpy as np
import pytest

from voice.audio import duration_ms
from voice.transports.sip.codecs import CODINGS, codec_for

RATE_HZ = 24_000


def tone(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[start : start + 960] for start in range(0, len(pcm), 960)]


@pytest.mark.parametrize("name", list(CODINGS))
def test_what_is_coded_sounds_as_long_and_as_loud_when_it_is_heard(name: str) -> None:
    coding = CODINGS[name]
    codec = codec_for(coding)
    packets = [codec.encode(frame) for frame in frames(tone(1.0))]
    assert {codec.ticks(packet) for packet in packets} == {coding.clock_hz // 50}
    heard = b"".join(codec.decode(packet) for packet in packets)
    assert abs(duration_ms(heard, 16_000) - 1000) <= 5
    middle = np.frombuffer(heard, "<i2")[4000:12_000].astype(float)
    assert abs(np.sqrt((middle**2).mean()) / (8000 / np.sqrt(2)) - 1) < 0.1


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 60])
@pytest.mark.parametrize("name", ["g722", "pcmu"])
def test_what_is_lost_goes_on_ever_softer(name: str, ptime_ms: int) -> None:
    codec = codec_for(CODINGS[name])
    coded, size = b"".join(map(codec.encode, frames(tone(0.24)))), ptime_ms * 8
    for start in range(0, len(coded), size):
        codec.decode(coded[start : start + size])
    hole = np.frombuffer(codec.conceal(480), "<i2").astype(float).reshape(3, -1)
    loud = np.sqrt((hole**2).mean(axis=1))
    assert hole.shape == (3, 320)
    assert 8000 / np.sqrt(2) > loud[0] > loud[1] > loud[2] > 500
    assert len(codec.recover(b"", 100)[0]) == 400


@pytest.mark.parametrize("name", list(CODINGS))
@pytest.mark.parametrize("payload", [b"\x00", b"\xff" * 3, b"\x01\x02\x03\x04" * 40, bytes(1400)])
def test_whatever_comes_is_decoded_or_not_and_nothing_breaks(name: str, payload: bytes) -> None:
    codec = codec_for(CODINGS[name])
    if codec.ticks(payload):
        assert len(codec.decode(payload)) % 2 == 0


@pytest.mark.parametrize("name", ["g722", "pcmu", "pcma"])
def test_a_datagram_full_of_sound_is_no_packet(name: str) -> None:
    codec = codec_for(CODINGS[name])
    assert codec.ticks(bytes(1600)) == 1600
    assert codec.ticks(bytes(1601)) == codec.ticks(bytes(60_000)) == 0
