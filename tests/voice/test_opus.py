"""libopus, straight: rates, copies of what is lost, concealment."""

import numpy as np
import pytest

from voice.errors import ConfigError
from voice.transports.opus import OpusDecoder, OpusEncoder, OpusError, has_copy, load
from voice.transports.rtp_codecs import G711, Codec, Opus, codec_named


def speech_like(seconds: float, rate_hz: int = 24_000) -> bytes:
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
    return (4000 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype("<i2").tobytes()


def frames(pcm: bytes, size: int = 960) -> list[bytes]:
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


def power(pcm: bytes) -> float:
    return float(np.mean(np.frombuffer(pcm, "<i2").astype(float) ** 2))


def packets(seconds: float = 1.0) -> list[bytes]:
    encoder = OpusEncoder(24_000)
    encoder.expect_loss(20)
    return [encoder.encode(frame) for frame in frames(speech_like(seconds))]


def test_a_frame_of_24_khz_comes_out_as_one_of_16() -> None:
    decoder = OpusDecoder(16_000)
    decoded = [decoder.decode(packet) for packet in packets()]
    assert {len(pcm) for pcm in decoded} == {640}
    assert power(b"".join(decoded[5:])) == pytest.approx(power(speech_like(1.0)), rel=0.2)


def test_a_lost_frame_comes_back_from_the_packet_behind_it() -> None:
    sent = packets()
    whole = OpusDecoder(16_000)
    truth = [whole.decode(packet) for packet in sent]
    holed = OpusDecoder(16_000)
    for packet in sent[:20]:
        holed.decode(packet)
    assert has_copy(sent[21])

    def error(pcm: bytes) -> float:
        ours, true = (np.frombuffer(x, "<i2").astype(float) for x in (pcm, truth[20]))
        return float(np.mean((ours - true) ** 2))

    recovered = error(holed.recover(sent[21], 320))
    assert recovered < 0.25 * power(truth[20])


def test_concealment_goes_on_as_the_sound_did_and_fades() -> None:
    decoder = OpusDecoder(16_000)
    before = b"".join(decoder.decode(packet) for packet in packets())
    concealed = [decoder.conceal(320) for _ in range(50)]
    assert power(concealed[0]) > 0.1 * power(before)
    assert power(concealed[-1]) < 0.2 * power(before)


@pytest.mark.parametrize("ticks", [120, 960, 1000, 2880, 9600])
def test_a_hole_is_filled_to_the_sample(ticks: int) -> None:
    codec = Opus()
    sent = packets()
    codec.decode(sent[0])
    assert len(codec.conceal(ticks)) == 2 * (ticks // 3)
    assert len(codec.recover(sent[5], ticks)[0]) == 2 * (ticks // 3)


def test_silence_that_is_only_said_is_20_ms_and_known_for_what_it_is() -> None:
    codec = Opus()
    sent = packets()
    before = [codec.decode(packet) for packet in sent]
    said = codec.silence()
    assert codec.is_silent(said) and not any(map(codec.is_silent, sent))
    assert codec.ticks(said) == 960
    quiet = [codec.decode(said) for _ in range(50)]
    assert {len(pcm) for pcm in quiet} == {640}
    assert power(quiet[-1]) < 0.2 * power(b"".join(before))


def test_what_is_no_opus_is_concealed() -> None:
    codec = Opus()
    codec.decode(packets()[0])
    nonsense = b"\x7b\x83" + b"\xff" * 30
    with pytest.raises(OpusError):
        OpusDecoder(16_000).decode(nonsense)
    assert len(codec.decode(nonsense)) == codec.ticks(nonsense) // 3 * 2


@pytest.mark.parametrize("kind", ["audio/PCMU", "audio/PCMA"])
def test_g711_is_heard_and_spoken_too(kind: str) -> None:
    codec: Codec = codec_named(kind)
    coded = [codec.encode(frame) for frame in frames(speech_like(1.0))]
    assert {len(one) for one in coded[1:]} == {160}
    heard = b"".join(codec.decode(one) for one in coded)
    assert len(heard) == pytest.approx(32_000, abs=400)
    assert power(heard[2000:]) == pytest.approx(power(speech_like(1.0)), rel=0.2)
    assert codec.ticks(coded[1]) == codec.clock_hz // 50
    assert isinstance(codec, G711)


def test_another_codec_is_none_of_ours() -> None:
    with pytest.raises(ValueError, match="G722"):
        codec_named("audio/G722")


def test_without_libopus_the_error_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match="pip install av"):
        load(["/nowhere/libopus.so", "libc.so.6"])
