"""What is sent, when, and with which timestamp."""

import numpy as np

from voice.rtp_playout import Beat, RtpPlayout

RATE_HZ, CLOCK_HZ = 24_000, 48_000
FRAME_BYTES = 960


def sound(ms: int, level: int = 9000) -> bytes:
    return np.full(RATE_HZ * ms // 1000, level, "<i2").tobytes()


def samples(beat: Beat) -> list[int]:
    return [int(one) for one in np.frombuffer(beat.pcm, "<i2")]


class Line:
    """Asked every 20 ms from 0 on."""

    def __init__(self) -> None:
        self.playout = RtpPlayout(rate_hz=RATE_HZ, clock_hz=CLOCK_HZ)
        self.sent: list[tuple[float, Beat]] = []
        self._asked = 0

    def run_until(self, at: float) -> None:
        while self._asked * 0.02 <= at:
            now = self._asked * 0.02
            self.sent += [(now, beat) for beat in self.playout.due(now)]
            self._asked += 1

    @property
    def sounds(self) -> list[tuple[float, Beat]]:
        return [(at, beat) for at, beat in self.sent if beat.sound]


def test_sound_leaves_in_real_time_however_much_of_it_is_there() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(200))
    line.run_until(1.0)
    assert len(line.sounds) == 10
    assert [round(at - line.sounds[0][0], 3) for at, _ in line.sounds] == [
        round(n * 0.02, 3) for n in range(10)
    ]


def test_timestamps_tell_how_long_a_pause_was_and_the_marker_where_it_ended() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(40))
    line.run_until(1.1)
    line.playout.put(sound(40))
    line.run_until(2.0)
    (first_at, first), (_, second), (third_at, third), _ = line.sounds
    assert (first.marker, second.marker, third.marker) == (True, False, True)
    assert second.ticks - first.ticks == 960
    assert third.ticks - first.ticks == round((third_at - first_at) * CLOCK_HZ)


def test_the_first_sound_after_silence_goes_at_once_and_its_timestamp_says_when() -> None:
    playout = RtpPlayout(rate_hz=RATE_HZ, clock_hz=CLOCK_HZ)
    for number in range(20):
        playout.due(number * 0.02)
    playout.put(sound(60))
    (first,) = playout.due(0.397)
    assert first.marker and first.ticks == round(0.397 * CLOCK_HZ)
    assert playout.due(0.4) == []
    (second,) = playout.due(0.417)
    assert second.ticks == first.ticks + 960


def test_no_frame_overlaps_the_one_before_it() -> None:
    playout = RtpPlayout(rate_hz=RATE_HZ, clock_hz=CLOCK_HZ)
    ends, now = 0, 0.0
    for number in range(2000):
        now += 0.005
        if number % 37 == 0:
            playout.put(sound(number % 90))
        for beat in playout.due(now):
            assert beat.ticks >= ends
            assert abs(beat.ticks / CLOCK_HZ - now) < 0.03
            ends = beat.ticks + 960


def test_silence_is_sent_for_a_little_while_and_then_now_and_again() -> None:
    line = Line()
    line.run_until(0.1)
    line.sent.clear()
    line.playout.put(sound(20))
    line.run_until(5.0)
    silent = [at for at, beat in line.sent if not beat.sound]
    assert [round(at - line.sounds[0][0], 2) for at in silent[:6]] == [
        0.02,
        0.04,
        0.06,
        0.08,
        0.1,
        0.5,
    ]
    assert len(silent) < 20


def test_behind_sound_silence_is_coded_twice_and_then_only_said() -> None:
    line = Line()
    line.run_until(0.1)
    line.sent.clear()
    line.playout.put(sound(20))
    line.run_until(0.5)
    assert [len(beat.pcm) for _, beat in line.sent] == [FRAME_BYTES] * 3 + [0] * 3


def test_the_very_first_frame_comes_without_sound_so_that_the_far_end_knows_us() -> None:
    line = Line()
    line.run_until(0.0)
    assert [beat.sound for _, beat in line.sent] == [False]


def test_a_cut_is_silent_within_a_frame_and_does_not_click() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(1000))
    line.run_until(0.3)
    line.playout.clear()
    before = len(line.sounds)
    line.run_until(1.0)
    assert len(line.sounds) == before + 1
    last = samples(line.sounds[-1][1])
    assert last[0] > 8000
    assert last[240:] == [0] * 240
    assert max(abs(a - b) for a, b in zip(last, last[1:], strict=False)) < 500


def test_a_cut_before_anything_sounded_leaves_nothing() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(100))
    line.playout.clear()
    line.run_until(0.5)
    assert line.sounds == []


def test_where_sound_runs_dry_it_fades() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(60))
    line.run_until(0.5)
    begins, middle, ends = (samples(beat) for _, beat in line.sounds)
    assert begins[0] < 500 and ends[-1] < 500
    assert set(middle) == {9000}


def test_a_short_last_frame_is_filled_up() -> None:
    line = Line()
    line.run_until(0.1)
    line.playout.put(sound(25))
    line.run_until(0.5)
    assert [len(beat.pcm) for _, beat in line.sounds] == [FRAME_BYTES, FRAME_BYTES]


def test_a_loop_that_was_late_makes_up_for_it() -> None:
    playout = RtpPlayout(rate_hz=RATE_HZ, clock_hz=CLOCK_HZ)
    playout.put(sound(1000))
    assert len(playout.due(0.0)) == 1
    made_up = playout.due(0.06)
    assert [beat.ticks for beat in made_up] == [960, 1920, 2880]


def test_a_loop_that_stood_still_for_longer_has_made_a_pause() -> None:
    playout = RtpPlayout(rate_hz=RATE_HZ, clock_hz=CLOCK_HZ)
    playout.put(sound(1000))
    playout.due(0.0)
    (beat,) = playout.due(1.0)
    assert beat.marker and beat.ticks == CLOCK_HZ
