"""Media as they arrive: in order, once, and as long as they were spoken."""

from hypothesis import given
from hypothesis import strategies as st

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import Media
from voice.transports.telephony.arrival import MOST_SILENCE_MS, REORDER, Arrival

ULAW = AudioFormat(type="audio/pcmu")


def frame(number: int, *, at_ms: int | None = None, code: int | None = None) -> Media:
    value = number % 200 if code is None else code
    return Media(bytes([value]) * 160, number, 20 * (number - 1) if at_ms is None else at_ms)


def heard(arrival: Arrival, media: list[Media]) -> bytes:
    return b"".join(piece for one in media for piece in arrival.receive(one))


def test_what_has_no_number_comes_as_it_is() -> None:
    arrival = Arrival(AudioFormat(rate=16_000))
    assert heard(arrival, [Media(b"ab"), Media(b""), Media(b"cd")]) == b"abcd"


def test_the_first_may_come_second() -> None:
    arrival = Arrival(ULAW)
    assert heard(arrival, [frame(2), frame(1), frame(3)]) == b"".join(
        bytes([n]) * 160 for n in (1, 2, 3)
    )


@given(st.lists(st.integers(0, REORDER - 1), min_size=60, max_size=60), st.booleans())
def test_what_is_no_more_than_four_out_of_place_is_put_in_order(
    places: list[int], twice: bool
) -> None:
    frames = [frame(number) for number in range(1, 61)]
    mixed = sorted(range(60), key=lambda i: (i + places[i], i))
    sent = [frames[i] for i in mixed for _ in range(1 + twice)]
    arrival = Arrival(ULAW)
    assert heard(arrival, sent) == b"".join(one.payload for one in frames)
    assert arrival.counts.late == (60 if twice else 0) and arrival.counts.missing_ms == 0


@given(st.sets(st.integers(2, 190), max_size=100), st.randoms())
def test_whatever_is_lost_the_rest_keeps_its_place_in_time(lost: set[int], dice: object) -> None:
    last = 200
    arrival = Arrival(ULAW)
    sent = [frame(n, code=n % 200) for n in range(1, last + 1) if n not in lost]
    data = heard(arrival, sent)
    ends = {n: data.rfind(bytes([n % 200]) * 160) + 160 for n in range(last - 5, last)}
    longest = max((sum(1 for _ in run) for run in _runs(lost)), default=0)
    if longest * 20 <= MOST_SILENCE_MS:
        for number, end in ends.items():
            assert abs(end - number * 160) <= 160 * 2


def _runs(numbers: set[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def test_silence_stands_where_frames_are_missing_in_each_coding() -> None:
    for kind, rate, silent in (("audio/pcmu", 8000, b"\xff"), ("audio/pcma", 8000, b"\xd5")):
        arrival = Arrival(AudioFormat(type=kind, rate=rate))  # type: ignore[arg-type]  # a literal
        data = heard(arrival, [frame(1), *(frame(n) for n in range(6, 11))])
        assert data[160:800] == silent * 640
    arrival = Arrival(AudioFormat(rate=8000))
    pieces = [Media(b"\x01\x00" * 160, None, 0), Media(b"\x01\x00" * 160, None, 100)]
    assert heard(arrival, pieces) == b"\x01\x00" * 160 + bytes(2 * 640) + b"\x01\x00" * 160


def test_timestamps_that_tremble_add_nothing() -> None:
    arrival = Arrival(ULAW)
    media = [frame(n, at_ms=20 * (n - 1) + (0 if n % 2 else 25)) for n in range(1, 501)]
    assert len(heard(arrival, media)) == 500 * 160
    assert arrival.counts.missing_ms == 0


def test_timestamps_that_run_slow_or_begin_anew_take_nothing_away() -> None:
    arrival = Arrival(ULAW)
    media = [frame(n, at_ms=19 * n) for n in range(1, 401)]
    media += [frame(n, at_ms=20 * (n - 401)) for n in range(401, 501)]
    assert len(heard(arrival, media)) == 500 * 160


def test_a_hole_behind_timestamps_that_began_anew_is_as_long_as_it_was() -> None:
    """at_ms   5000 … 5180 | 0 20 | 200: eight frames are missing"""
    arrival = Arrival(ULAW)
    heard(arrival, [frame(n, at_ms=5000 + 20 * n) for n in range(1, 11)])
    after = [frame(11, at_ms=0), frame(12, at_ms=20), frame(13, at_ms=200)]
    assert len(heard(arrival, after)) == (3 + 8) * 160
    assert arrival.counts.missing_ms == 160


def test_what_waits_when_the_count_begins_anew_is_heard_first() -> None:
    arrival = Arrival(ULAW)
    heard(arrival, [frame(5000, at_ms=0), frame(5002, at_ms=40)])  # 5001 is still waited for
    data = heard(arrival, [frame(1, at_ms=60, code=1)])
    assert data == bytes([5002 % 200]) * 160 + b"\x01" * 160


def test_a_count_that_begins_anew_is_followed() -> None:
    arrival = Arrival(ULAW)
    heard(arrival, [frame(n, at_ms=20 * n) for n in range(5000, 5010)])
    assert heard(arrival, [frame(1, at_ms=0), frame(2, at_ms=20)])[-320:] == (
        b"\x01" * 160 + b"\x02" * 160
    )


def test_no_gap_is_filled_with_more_than_a_second() -> None:
    arrival = Arrival(ULAW)
    heard(arrival, [frame(1)])
    data = heard(arrival, [frame(n, at_ms=10_000_000) for n in range(2, 3)])
    assert len(data) == MOST_SILENCE_MS * 8 + 160
    after = heard(arrival, [frame(3, at_ms=10_000_020), frame(4, at_ms=10_000_040)])
    assert len(after) == 320, "and is over then"
