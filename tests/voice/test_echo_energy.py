"""Our own voice is told by its shape, somebody else's by what ours leaves over."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ, VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES, VadFrame
from voice.echo_energy import EchoEnergy
from voice.playout import Playout

Sound = NDArray[np.float64]
RATE_HZ = 24_000
SECONDS = 3.0
OURS, LIKE, UNLIKE = 0.5, 0.6, 0.45


def voice(seed: int, rate_hz: int = LISTEN_RATE_HZ, seconds: float = SECONDS) -> Sound:
    """Syllables of 80 to 250 ms, each of its own loudness, with gaps between some of them."""
    rng = np.random.default_rng(seed)
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    shape = np.zeros(len(at))
    start = 0.0
    while start < seconds:
        length = rng.uniform(0.08, 0.25)
        here = (at >= start) & (at < start + length)
        loudness = 10 ** rng.uniform(-0.7, 0)
        shape[here] = loudness * np.sin(np.pi * (at[here] - start) / length)
        start += length + rng.choice([0.0, 0.0, 0.06, 0.15])
    tone: Sound = shape * sum(np.sin(2 * np.pi * 130 * n * at) / n for n in range(1, 6))
    return 6000 * tone


def room(sound: Sound, *, delay_ms: float, down_db: float, reverb_s: float = 0.25) -> Sound:
    """Later, weaker, with an exponential tail."""
    rng = np.random.default_rng(9)
    at = np.arange(int(reverb_s * LISTEN_RATE_HZ)) / LISTEN_RATE_HZ
    answer = rng.standard_normal(len(at)) * 10 ** (-3 * at / reverb_s)
    answer *= 0.7 / np.sqrt((answer**2).sum())
    answer[0] = 1.0
    late = np.concatenate((np.zeros(int(delay_ms * LISTEN_RATE_HZ / 1000)), answer))
    size = 1 << (len(sound) + len(late)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(late, size), size)[: len(sound)]
    return heard * 10 ** (-down_db / 20)


def likeness(
    played: int, heard: Sound, *, since_s: float = 1.0, until_s: float = 2.6, **options: Any
) -> float:
    """Of the microphone's `heard`, since and until which second, while voice `played` sounds."""
    energy = options.get("energy") or EchoEnergy()
    playout = Playout(rate_hz=RATE_HZ)
    playout.begin(1)
    playout.push(voice(played, RATE_HZ).astype("<i2").tobytes())
    noise = np.random.default_rng(3).standard_normal(len(heard)) * 15
    chunks = (heard + noise)[: len(heard) // VAD_CHUNK_SAMPLES * VAD_CHUNK_SAMPLES]
    found = 0.0
    for number, chunk in enumerate(chunks.reshape(-1, VAD_CHUNK_SAMPLES), 1):
        end = number * VAD_CHUNK_SAMPLES
        now = end / LISTEN_RATE_HZ
        playout.due(now)
        if acknowledged_ms := options.get("acknowledged_ms"):
            playout.report(max(0.0, now * 1000 - acknowledged_ms), now)
        blocks = np.sqrt((chunk.reshape(-1, VAD_BLOCK_SAMPLES) ** 2).mean(axis=1))
        silent = options.get("over_at", 99.0) < now
        energy.hear(VadFrame(end, 0.9, tuple(blocks)), now, None if silent else playout)
        if now <= until_s:
            found = energy.likeness(int(since_s * LISTEN_RATE_HZ))
    return found


@pytest.mark.parametrize("delay_ms", [20, 150, 390])
@pytest.mark.parametrize("down_db", [6, 20, 36])
def test_what_comes_back_from_the_room_is_ours(delay_ms: float, down_db: float) -> None:
    heard = room(voice(1), delay_ms=delay_ms, down_db=down_db)
    assert likeness(1, heard) > LIKE


def test_so_it_is_from_a_loudspeaker_that_clips() -> None:
    clipped = 2000 * np.tanh(voice(1) / 2000)
    assert likeness(1, room(clipped, delay_ms=150, down_db=10)) > OURS


@pytest.mark.parametrize("seed", range(2, 8))
def test_somebody_elses_voice_is_not(seed: int) -> None:
    assert likeness(1, 0.5 * voice(seed)) < UNLIKE


@pytest.mark.parametrize("seed", range(2, 8))
def test_nor_is_somebody_who_talks_over_our_echo(seed: int) -> None:
    echo = room(voice(1), delay_ms=150, down_db=20)
    assert likeness(1, echo + 0.4 * voice(seed)) < UNLIKE


def test_sound_that_goes_on_when_nothing_is_played_any_more_is_not_ours() -> None:
    heard = room(voice(1), delay_ms=100, down_db=10)
    assert likeness(1, heard, over_at=1.5) < UNLIKE


def test_too_little_sound_says_nothing() -> None:
    heard = room(voice(1), delay_ms=100, down_db=10)
    assert likeness(1, heard, since_s=1.0, until_s=1.3) == 0.0
    assert EchoEnergy().likeness(0) == 0.0


def test_a_client_that_acknowledges_what_it_plays_leaves_only_the_rooms_own_lag() -> None:
    """Its buffer of 500 ms is longer than any lag that is looked for."""
    heard = room(voice(1), delay_ms=560, down_db=12)
    assert likeness(1, heard, since_s=1.4) < OURS
    assert likeness(1, heard, since_s=1.4, acknowledged_ms=500) > LIKE


def test_a_position_that_is_set_back_breaks_nothing() -> None:
    heard = room(voice(1), delay_ms=100, down_db=10)
    assert np.isfinite(likeness(1, heard, acknowledged_ms=900))
