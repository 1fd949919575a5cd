import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.serve_tts import audio_of, wav_header
from providers._tts_sanity import (
    MAX_SILENCE_S,
    WINDOW_S,
    AudioCheck,
    PcmBody,
    UnsoundError,
    length_of,
    pcm_of_floats,
)

RATE_HZ = 16_000
TEXT = "We open at nine in the morning, every day except Sunday."
GOOD = audio_of(TEXT, RATE_HZ)


def checked(pcm: bytes, text: str = TEXT, piece: int = 3200, speed: float = 1.0) -> bytes:
    check = AudioCheck(text, RATE_HZ, speed=speed)
    out = b"".join(check.feed(pcm[at : at + piece]) for at in range(0, len(pcm), piece))
    check.end()
    return out


def seconds(value: float, level: float = 0.0) -> bytes:
    return np.full(int(value * RATE_HZ), level, "<i2").tobytes()


@given(piece=st.integers(1, 5000))
def test_sound_audio_passes_unchanged_however_it_is_split(piece: int) -> None:
    assert checked(GOOD, piece=piece) == GOOD


def test_a_piece_is_handed_on_at_once() -> None:
    check = AudioCheck(TEXT, RATE_HZ)
    assert check.feed(GOOD[:3]) == GOOD[:2]
    assert check.feed(GOOD[3:4]) == GOOD[2:4]


@pytest.mark.parametrize(
    ("text", "low_s", "high_s"),
    [
        ("Hello, how can I help you today?", 1.5, 3.0),
        ("営業時間は午前九時から午後八時までです。", 2.0, 5.0),
        ("영업시간은 오전 아홉 시부터입니다.", 1.8, 4.0),
        ("我们每天早上九点开门，星期天除外。", 2.0, 5.0),
    ],
)
def test_what_people_take_lies_well_inside_the_limits(
    text: str, low_s: float, high_s: float
) -> None:
    length = length_of(text)
    assert 2 * length.least < low_s < length.typical < high_s < length.most / 2


@pytest.mark.parametrize(
    ("pcm", "complaint"),
    [
        (b"", "no audio at all"),
        (GOOD[:6000], "0.19 s of audio for a text that takes at least 1.1"),
        (GOOD[:-1], "in the middle of a sample"),
        (GOOD * 20, "still speaking after"),
        (seconds(2.0), "nothing but silence"),
        (seconds(MAX_SILENCE_S + 0.3) + GOOD, "more than 2.5 s of silence"),
        (GOOD + seconds(MAX_SILENCE_S + 0.5) + GOOD[:3200], "more than 2.5 s of silence"),
        (seconds(0.6, 12_000), "stand still"),
        (GOOD[1:] + b"\0", "noise"),
        (np.random.default_rng(0).bytes(60_000), "noise"),
        ((np.frombuffer(GOOD, "<i2") / 32768).astype("<f4").tobytes()[: len(GOOD)], "noise"),
        (np.sign(np.frombuffer(GOOD, "<i2")).astype("<i2").__mul__(32767).tobytes(), "clipped"),
    ],
)
def test_what_no_voice_would_say_is_named(pcm: bytes, complaint: str) -> None:
    with pytest.raises(UnsoundError, match=complaint):
        checked(pcm)


def test_silence_is_told_before_the_end() -> None:
    check = AudioCheck(TEXT, RATE_HZ)
    handed_on = 0
    with pytest.raises(UnsoundError, match="silence"):
        for _ in range(100):
            handed_on += len(check.feed(seconds(0.1)))
    assert handed_on / 2 / RATE_HZ <= MAX_SILENCE_S + WINDOW_S


def test_loud_hissing_speech_and_short_pauses_are_no_fault() -> None:
    hiss = np.random.default_rng(1).normal(0, 6000, RATE_HZ // 3).astype("<i2").tobytes()
    checked(GOOD + hiss + seconds(MAX_SILENCE_S - 0.5) + GOOD)


def test_a_text_without_words_may_be_silent() -> None:
    checked(b"", text="…!")
    checked(seconds(0.5), text="—")


def test_one_short_word_may_be_quick() -> None:
    checked(GOOD[: int(0.12 * RATE_HZ) * 2], text="Yes.")


def test_half_the_speed_may_take_twice_the_time() -> None:
    most_s = length_of("Hello there.").most
    pcm = audio_of("x" * int((most_s + 1) / 0.065), RATE_HZ)
    checked(pcm, text="Hello there.", speed=0.5)
    with pytest.raises(UnsoundError):
        checked(pcm, text="Hello there.")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(UnsoundError, match="NaN or infinite"):
        pcm_of_floats(np.array([0.0, bad, 0.1], np.float32))


def test_floats_beyond_one_are_clipped() -> None:
    assert np.frombuffer(pcm_of_floats(np.array([2.0, -2.0, 0.0])), "<i2").tolist() == [
        32767,
        -32767,
        0,
    ]


# --- bodies ---------------------------------------------------------------------------------------


def body(data: bytes, piece: int, rate_hz: int = RATE_HZ) -> bytes:
    decoder = PcmBody(rate_hz)
    out = b"".join(decoder.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    return out + decoder.end()


@given(piece=st.integers(1, 200), has_header=st.booleans())
def test_with_or_without_a_header_the_samples_are_the_same(piece: int, has_header: bool) -> None:
    pcm = GOOD[:1000]
    assert body((wav_header(len(pcm), RATE_HZ) if has_header else b"") + pcm, piece) == pcm


def test_a_header_of_unknown_size_and_chunks_behind_the_data_are_known() -> None:
    pcm = GOOD[:1000]
    assert body(wav_header(0, RATE_HZ)[:-4] + b"\xff" * 4 + pcm, 64) == pcm
    assert body(wav_header(len(pcm), RATE_HZ) + pcm + b"LIST\x04\0\0\0abcd", 64) == pcm


def test_samples_that_look_like_the_beginning_of_a_header_are_samples() -> None:
    assert body(b"RI", 1) == b"RI"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (wav_header(1000, 24_000) + bytes(1000), "24000 Hz instead of 16000"),
        (wav_header(1000, RATE_HZ)[:30], "broke off"),
        (wav_header(1000, RATE_HZ) + bytes(900), "broke off"),
        (b"ID3\x04" + bytes(100), "compressed"),
        (b"OggS" + bytes(100), "compressed"),
    ],
)
def test_another_format_is_refused_by_name(data: bytes, complaint: str) -> None:
    with pytest.raises(UnsoundError, match=complaint):
        body(data, 50)
