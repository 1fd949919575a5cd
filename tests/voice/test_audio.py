import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ
from voice.audio import Listening, Speaking, decode_g711, duration_ms, encode_g711, to_wire
from voice.errors import ClientError
from voice.settings import AudioFormat

PCM = AudioFormat()
MULAW = AudioFormat(type="audio/pcmu")
ALAW = AudioFormat(type="audio/pcma")


# --- G.711, as ITU-T's G.191 reference writes it, one sample at a time ----------------------------


def mulaw_decoded(code: int) -> int:
    """ulaw_expand of G.191: 14-bit magnitudes in the upper bits of 16."""
    code = ~code & 0xFF
    segment, step = (code >> 4) & 7, code & 15
    magnitude = (((33 + 2 * step) << segment) - 33) << 2
    return -magnitude if code & 0x80 else magnitude


def alaw_decoded(code: int) -> int:
    """alaw_expand of G.191: 13-bit magnitudes in the upper bits of 16."""
    code ^= 0x55
    segment, step = (code >> 4) & 7, code & 15
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)
    return (magnitude if code & 0x80 else -magnitude) << 3


REFERENCE = {
    "audio/pcmu": [mulaw_decoded(code) for code in range(256)],
    "audio/pcma": [alaw_decoded(code) for code in range(256)],
}
BOTH = pytest.mark.parametrize("kind", REFERENCE)


@BOTH
def test_every_code_is_decoded_as_the_standard_says(kind: str) -> None:
    assert decode_g711(kind, bytes(range(256))).tolist() == REFERENCE[kind]


@pytest.mark.parametrize(
    ("kind", "code", "sample"),
    [
        ("audio/pcmu", 0xFF, 0),
        ("audio/pcmu", 0x7F, 0),
        ("audio/pcmu", 0x80, 32124),
        ("audio/pcmu", 0x00, -32124),
        ("audio/pcma", 0xD5, 8),
        ("audio/pcma", 0x55, -8),
        ("audio/pcma", 0xAA, 32256),
        ("audio/pcma", 0x2A, -32256),
    ],
)
def test_silence_and_the_loudest_codes(kind: str, code: int, sample: int) -> None:
    assert decode_g711(kind, bytes([code])).tolist() == [sample]


@BOTH
def test_every_sample_is_encoded_to_the_nearest_level(kind: str) -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    coded = decode_g711(kind, encode_g711(kind, samples)).astype(np.int32)
    levels = np.unique(np.array(REFERENCE[kind]))
    nearest = np.array([np.abs(levels - sample).min() for sample in range(-32768, 32768, 7)])
    error = np.abs(coded - samples.astype(np.int32))[::7]
    assert error.tolist() == nearest.tolist()


@BOTH
def test_a_decoded_code_is_encoded_to_the_same_sample(kind: str) -> None:
    once = decode_g711(kind, bytes(range(256)))
    assert decode_g711(kind, encode_g711(kind, once)).tolist() == once.tolist()


# --- what the client sends -----------------------------------------------------------------------


def tone(hz: float, rate_hz: int, seconds: float = 1.0) -> NDArray[np.int16]:
    at = np.arange(int(rate_hz * seconds)) / rate_hz
    samples: NDArray[np.int16] = np.rint(8000 * np.sin(2 * math.pi * hz * at)).astype(np.int16)
    return samples


def level_at(hz: float, samples: NDArray[np.int16], rate_hz: int) -> float:
    """Amplitude of one frequency in the middle of the signal."""
    middle = samples[len(samples) // 4 : len(samples) // 4 * 3].astype(np.float64)
    turn = np.exp(-2j * math.pi * hz * np.arange(len(middle)) / rate_hz)
    window = np.hanning(len(middle))
    return float(2 * abs(np.sum(middle * window * turn)) / window.sum())


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_a_tone_comes_in_at_its_pitch_and_loudness(rate: int) -> None:
    heard = Listening(AudioFormat(rate=rate)).convert(tone(440, rate).tobytes())
    samples = np.frombuffer(heard, "<i2")
    assert len(samples) == pytest.approx(LISTEN_RATE_HZ, abs=100)
    assert level_at(440, samples, LISTEN_RATE_HZ) == pytest.approx(8000, rel=0.01)


def test_audio_that_has_our_rate_is_taken_as_it_is() -> None:
    data = tone(440, 16000).tobytes()
    assert Listening(AudioFormat(rate=16000)).convert(data) == data


@pytest.mark.parametrize("form", [MULAW, ALAW])
def test_a_telephones_tone_comes_in_at_its_pitch_and_loudness(form: AudioFormat) -> None:
    data = encode_g711(form.type, tone(440, 8000))
    samples = np.frombuffer(Listening(form).convert(data), "<i2")
    assert len(samples) == pytest.approx(LISTEN_RATE_HZ, abs=100)
    assert level_at(440, samples, LISTEN_RATE_HZ) == pytest.approx(8000, rel=0.02)


@pytest.mark.parametrize("rate", [16000, 24000])
@pytest.mark.parametrize("size", [1, 3, 959])
def test_half_a_sample_is_refused(rate: int, size: int) -> None:
    listening = Listening(AudioFormat(rate=rate))
    with pytest.raises(ClientError, match=f"got {size} bytes") as refused:
        listening.convert(bytes(size))
    assert (refused.value.code, refused.value.param) == ("invalid_audio", "audio")
    assert listening.convert(bytes(960)), "the next one is heard"


@pytest.mark.parametrize("form", [MULAW, ALAW])
def test_g711_has_no_half_samples(form: AudioFormat) -> None:
    assert len(Listening(form).convert(b"\xff" * 161)) % 2 == 0


@pytest.mark.parametrize("form", [PCM, MULAW, AudioFormat(rate=16000)])
def test_no_audio_is_no_audio(form: AudioFormat) -> None:
    assert Listening(form).convert(b"") == b""


# --- what the client gets ------------------------------------------------------------------------


@pytest.mark.parametrize("source_hz", [16000, 22050, 24000, 44100])
def test_a_voice_comes_out_whole_at_the_wires_rate(source_hz: int) -> None:
    speaking = Speaking(source_hz, PCM)
    voice = tone(440, source_hz, 0.5).tobytes()
    pieces = [speaking.convert(voice[n : n + 1764]) for n in range(0, len(voice), 1764)]
    samples = np.frombuffer(b"".join(pieces) + speaking.flush(), "<i2")
    assert len(samples) == 12000
    assert level_at(440, samples, 24000) == pytest.approx(8000, rel=0.01)


def test_a_voice_that_has_the_wires_rate_is_not_touched() -> None:
    speaking = Speaking(24000, PCM)
    assert speaking.convert(b"\x01\x02") == b"\x01\x02"
    assert speaking.flush() == b""


def test_on_a_telephone_a_voice_comes_out_at_8_khz() -> None:
    speaking = Speaking(22050, MULAW)
    pcm = speaking.convert(tone(440, 22050, 0.5).tobytes()) + speaking.flush()
    coded = to_wire(MULAW, pcm)
    assert len(coded) == 4000
    samples = np.array([mulaw_decoded(code) for code in coded], np.int16)
    assert level_at(440, samples, 8000) == pytest.approx(8000, rel=0.02)


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_pcm_goes_onto_the_wire_as_it_is_and_g711_a_byte_a_sample(samples: list[int]) -> None:
    pcm = np.array(samples, "<i2").tobytes()
    assert to_wire(PCM, pcm) == pcm
    assert len(to_wire(ALAW, pcm)) == len(samples)


def test_durations() -> None:
    assert duration_ms(bytes(960), 24000) == 20.0
    assert duration_ms(b"", 24000) == 0.0
