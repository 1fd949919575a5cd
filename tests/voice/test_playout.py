import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.playout import Frame, Playout

RATE_HZ = 8_000


def pcm(ms: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * (RATE_HZ * ms // 1000)


def playing(ms: int, *, turn: int = 1, finished: bool = True) -> Playout:
    playout = Playout(rate_hz=RATE_HZ)
    playout.begin(turn)
    playout.push(pcm(ms))
    if finished:
        playout.finish()
    return playout


def test_the_first_burst_is_at_most_the_lead() -> None:
    frames = playing(1_000).due(5.0)
    assert [frame.at_ms for frame in frames] == [0, 40, 80, 120, 160, 200, 240]
    assert all(frame.turn == 1 and len(frame.pcm) == 640 for frame in frames)


def test_after_the_burst_frames_leave_in_real_time() -> None:
    playout = playing(1_000)
    playout.due(5.0)
    at = playout.next_due()
    assert at == pytest.approx(5.02)
    assert at is not None
    assert playout.due(at - 0.001) == []
    assert [frame.at_ms for frame in playout.due(at)] == [280]
    assert playout.next_due() == pytest.approx(5.06)


def test_a_late_loop_sends_what_it_missed() -> None:
    playout = playing(2_000)
    playout.due(5.0)
    assert [frame.at_ms for frame in playout.due(5.2)] == [280, 320, 360, 400, 440]
    assert playout.underruns == 0


def test_a_rest_shorter_than_a_frame_waits_for_more_or_for_the_end() -> None:
    playout = playing(130, finished=False)
    assert len(playout.due(0.0)) == 3
    assert playout.next_due() == pytest.approx(0.08)
    assert playout.queued_ms == 10
    playout.finish()
    assert [len(frame.pcm) for frame in playout.due(0.0)] == [160]
    assert playout.next_due() is None


def test_a_rest_that_nothing_follows_leaves_before_all_that_was_sent_has_been_played() -> None:
    """It came with the next clause, a second later: 10 ms of sound, and a click."""
    playout = playing(130, finished=False)
    playout.due(0.0)
    assert playout.due(0.079) == []
    assert [(frame.at_ms, len(frame.pcm)) for frame in playout.due(0.081)] == [(120, 160)]
    assert playout.next_due() is None
    playout.push(pcm(100))
    assert [(frame.at_ms, len(frame.pcm)) for frame in playout.due(0.5)] == [(130, 640), (170, 640)]
    assert playout.underruns == 1


def test_less_than_a_frame_does_not_begin_an_answer() -> None:
    assert playing(30, finished=False).next_due() is None


def test_a_sample_split_between_pushes_is_joined_and_half_a_sample_at_the_end_is_dropped() -> None:
    playout = Playout(rate_hz=RATE_HZ)
    playout.begin(1)
    for piece in (b"\x01", b"\x02\x03", b"\x04\x05"):
        playout.push(piece)
    playout.finish()
    assert playout.due(0.0) == [Frame(1, 0, b"\x01\x02\x03\x04")]
    assert playout.is_drained(1.0)


def test_speech_that_comes_too_late_is_an_underrun_and_is_not_counted_as_heard_meanwhile() -> None:
    playout = playing(80, finished=False)
    playout.due(0.0)
    assert playout.heard_ms(0.5) == 80
    playout.push(pcm(80))
    assert len(playout.due(0.5)) == 2
    assert playout.underruns == 1
    assert playout.heard_ms(0.54) == pytest.approx(120)


def test_the_end_is_no_underrun() -> None:
    playout = playing(80)
    playout.due(0.0)
    assert playout.due(9.0) == []
    assert playout.underruns == 0


def test_without_reports_what_was_heard_follows_the_clock_but_not_beyond_what_was_sent() -> None:
    playout = playing(1_000)
    playout.due(1.0)
    assert playout.heard_ms(1.1) == pytest.approx(100)
    assert playout.heard_ms(3.0) == playout.sent_ms == 280


def test_a_report_goes_before_the_clock_and_is_carried_on_for_a_quarter_second() -> None:
    playout = playing(2_000)
    for tick in range(11):
        playout.due(tick / 10)
    playout.report(700, 1.0)
    assert playout.heard_ms(1.0) == 700
    assert playout.heard_ms(1.1) == pytest.approx(800)
    assert playout.heard_ms(9.0) == 950


def test_a_client_that_does_not_advance_is_not_carried_on() -> None:
    playout = playing(2_000)
    playout.due(0.0)
    playout.report(0, 0.1)
    assert playout.heard_ms(0.3) == 0
    playout.report(100, 0.3)
    playout.report(100, 0.5)
    assert playout.heard_ms(0.7) == 100


def test_a_report_cannot_exceed_what_was_sent_nor_take_back_an_earlier_one() -> None:
    playout = playing(2_000)
    playout.due(0.0)
    playout.report(99_999, 0.1)
    assert playout.heard_ms(0.1) == 280
    playout.report(50, 0.2)
    assert playout.heard_ms(0.2) == 280


def test_a_cut_drops_the_rest_and_tells_what_was_heard() -> None:
    playout = playing(1_000)
    playout.due(0.0)
    assert playout.clear(0.1) == pytest.approx(100)
    assert playout.next_due() is None
    playout.push(pcm(1_000))
    playout.finish()
    assert playout.due(1.0) == []
    assert playout.heard_ms(5.0) == pytest.approx(100)
    assert playout.clear(5.0) == pytest.approx(100)
    assert playout.queued_ms == 0
    assert playout.is_drained(0.1)


def test_after_a_cut_the_client_has_the_last_word() -> None:
    playout = playing(1_000)
    playout.due(0.0)
    playout.clear(0.2)
    playout.report(140, 0.3)
    assert playout.heard_ms(0.4) == 140


def test_the_next_reply_begins_from_nothing() -> None:
    playout = playing(1_000)
    playout.mark(10, 500)
    playout.due(0.0)
    playout.report(100, 0.1)
    playout.clear(0.1)
    playout.begin(2)
    assert (playout.sent_ms, playout.heard_ms(9.0), playout.heard_chars(500)) == (0, 0, 0)
    playout.push(pcm(40))
    assert playout.due(9.0) == [Frame(2, 0, pcm(40))]


def test_heard_characters_lie_evenly_between_marks() -> None:
    playout = playing(1_000)
    playout.mark(10, 200)
    playout.mark(20, 600)
    assert [playout.heard_chars(ms) for ms in (-1, 0, 100, 200, 400, 600, 900)] == [
        *(0, 0, 5, 10, 15, 20, 20)
    ]


def test_a_mark_behind_an_earlier_one_is_moved_up_to_it() -> None:
    playout = playing(1_000)
    playout.mark(10, 400)
    playout.mark(12, 300)
    assert playout.heard_chars(399) == 9
    assert playout.heard_chars(400) == 12


def test_a_reply_is_drained_when_the_clock_says_so_or_the_client() -> None:
    playout = playing(200)
    assert not playout.is_drained(0.0)
    playout.due(0.0)
    assert not playout.is_drained(0.199)
    assert playout.is_drained(0.2)
    playout.report(120, 0.2)
    assert playout.drained_at() == pytest.approx(0.28)
    assert not playout.is_drained(0.25)
    playout.report(200, 0.26)
    assert playout.is_drained(0.26)


def test_a_client_that_falls_silent_does_not_hold_the_end_back_for_ever() -> None:
    playout = playing(280)
    playout.due(0.0)
    playout.report(10, 0.01)
    assert not playout.is_drained(1.27)
    assert playout.is_drained(1.29)


def test_an_open_reply_is_never_drained_and_an_empty_one_at_once() -> None:
    playout = playing(80, finished=False)
    playout.due(0.0)
    assert not playout.is_drained(99.0)
    playout.begin(2)
    playout.finish()
    assert playout.is_drained(0.0)


def test_a_lead_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="lead_ms must be at least frame_ms"):
        Playout(rate_hz=RATE_HZ, frame_ms=40, lead_ms=20)
    with pytest.raises(ValueError, match="rate_hz"):
        Playout(rate_hz=0)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 5_000)),
        st.tuples(st.just("wait"), st.integers(0, 700)),
        st.tuples(st.just("sleep until due"), st.just(0)),
        st.tuples(st.just("report"), st.integers(0, 3_000)),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=60,
)


@given(
    ACTIONS, st.sampled_from([8_000, 11_025, 24_000, 44_100]), st.sampled_from([10, 20, 40, 100])
)
def test_whatever_happens_frames_join_and_heard_sent_and_pushed_keep_their_order(
    actions: list[tuple[str, int]], rate_hz: int, frame_ms: int
) -> None:
    playout = Playout(rate_hz=rate_hz, frame_ms=frame_ms, lead_ms=300)
    playout.begin(7)
    now, pushed, sent = 100.0, b"", b""
    finished = cleared = reported = False
    heard = 0.0
    for action, size in actions:
        if action == "push" and not finished:
            piece = bytes((len(pushed) + n) % 251 for n in range(size))
            playout.push(piece)
            pushed += b"" if cleared else piece
        elif action == "wait":
            now += size / 1000
        elif action == "sleep until due":
            at = playout.next_due()
            if at is not None:
                now = max(now, at)
                assert at <= now
        elif action == "report":
            playout.report(size, now)
            reported = True
            heard = min(heard, playout.heard_ms(now))
        elif action == "finish":
            playout.finish()
            finished = True
        elif action == "clear":
            playout.clear(now)
            cleared = True
        had_due = playout.next_due()
        frames = playout.due(now)
        assert bool(frames) == (had_due is not None and had_due <= now)
        for frame in frames:
            assert not cleared
            assert frame.at_ms == len(sent) // 2 * 1000 // rate_hz
            sent += frame.pcm
        assert pushed.startswith(sent)
        assert playout.sent_ms == len(sent) * 500 / rate_hz
        assert playout.heard_ms(now) >= heard
        heard = playout.heard_ms(now)
        assert heard <= playout.sent_ms <= playout.duration_ms + 1e-9
        if not cleared and not reported:
            assert playout.sent_ms - heard <= 300 + frame_ms
    if not cleared:
        playout.finish()
        while (at := playout.next_due()) is not None:
            now = max(now, at)
            frames = playout.due(now)
            assert frames
            sent += b"".join(frame.pcm for frame in frames)
        assert sent == pushed[: len(pushed) // 2 * 2]
    end = playout.drained_at()
    assert end is not None
    assert playout.is_drained(end)


# --- held back -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(20, 1500), st.integers(20, 2500)), max_size=8))
def test_whatever_is_held_back_every_sample_leaves_once_and_in_order(
    spans: list[tuple[int, int]],
) -> None:
    playout = Playout(rate_hz=8000, frame_ms=40, lead_ms=300)
    playout.begin(1)
    sound = bytes(range(256)) * 200
    playout.push(sound)
    playout.finish()
    frames: list[Frame] = []
    now = 10.0
    for plays_ms, held_ms in [*spans, (10_000, 20)]:
        for _ in range(plays_ms // 10):
            frames += playout.due(now)
            assert playout.sent_ms - playout.heard_ms(now) <= 300 + 1e-6
            now += 0.01
        playout.hold()
        before = playout.heard_ms(now)
        for _ in range(held_ms // 10):
            assert playout.due(now) == [] and playout.next_due() is None
            now += 0.01
        assert before <= playout.heard_ms(now) <= playout.sent_ms
        playout.release(now)
    assert b"".join(frame.pcm for frame in frames) == sound
    assert [frame.at_ms for frame in frames] == [n * 40 for n in range(len(frames))]
    assert playout.underruns == 0
    assert playout.is_drained(now)


def test_a_held_answer_is_not_over_until_all_of_it_was_sent() -> None:
    playout = Playout(rate_hz=8000, frame_ms=40, lead_ms=40)
    playout.begin(1)
    playout.push(bytes(2 * 8000))
    playout.finish()
    playout.due(1.0)
    playout.hold()
    assert playout.drained_at() is None and not playout.is_drained(60.0)
    assert playout.has_frame
    playout.release(60.0)
    assert playout.due(60.0)


def test_a_hold_behind_the_last_frame_changes_nothing() -> None:
    playout = Playout(rate_hz=8000, frame_ms=40, lead_ms=300)
    playout.begin(1)
    playout.push(bytes(2 * 800))
    playout.finish()
    playout.due(1.0)
    over_at = playout.drained_at()
    playout.hold()
    assert playout.drained_at() == over_at
    playout.release(5.0)
    assert playout.is_drained(5.0)


def test_the_first_frame_tells_since_when_it_sounds() -> None:
    playout = Playout(rate_hz=8000)
    playout.begin(1)
    assert playout.sounding_at is None
    playout.push(bytes(2 * 800))
    playout.due(3.0)
    playout.due(3.1)
    assert playout.sounding_at == 3.0
    playout.begin(2)
    assert playout.sounding_at is None
