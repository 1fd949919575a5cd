"""AudioSocket's frames, cut anywhere."""

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.transports.telephony.adapter import Garbled, Key, Media, Played, Stopped
from voice.transports.telephony.audiosocket import (
    CALL,
    ERROR,
    HANG_UP,
    KEY,
    RATES_HZ,
    SILENCE,
    AudioSocket,
    Splitter,
    call_of,
    check_place,
    form_of,
    frame,
)

GOOD = [
    frame(CALL, UUID(int=5).bytes),
    frame(0x10, bytes(320)),
    frame(KEY, b"5"),
    frame(SILENCE),
    frame(0x10, b"\1\2" * 160),
    frame(HANG_UP),
]


def test_a_frame_is_a_type_a_length_and_a_payload() -> None:
    assert frame(0x10, b"\1\2\3\4") == b"\x10\x00\x04\1\2\3\4"
    assert frame(HANG_UP) == b"\0\0\0"


@given(st.lists(st.integers(0, 700), max_size=12))
def test_frames_are_the_same_wherever_the_network_cuts_them(cuts: list[int]) -> None:
    data, splitter, found = b"".join(GOOD), Splitter(), list[bytes]()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in zip(places, places[1:], strict=False):
        found += splitter.feed(data[start:end])
    assert found == GOOD


@pytest.mark.parametrize(
    "head",
    [(0x04, 0), (0x0F, 2), (0x19, 2), (0xFE, 2), (0x10, 3), (CALL, 15), (CALL, 0), (KEY, 0),
     (KEY, 2), (HANG_UP, 1), (ERROR, 256), (0x47, 0x4554)],
)  # fmt: skip
def test_what_asterisk_never_sends_is_noticed_by_its_head(head: tuple[int, int]) -> None:
    with pytest.raises(Garbled):
        list(Splitter().feed(struct.pack(">BH", *head)))


@given(st.binary(max_size=2000))
def test_any_bytes_are_frames_or_garbled(data: bytes) -> None:
    splitter, adapter = Splitter(), AudioSocket(0x10)
    try:
        for one in splitter.feed(data):
            adapter.read(one, binary=True)
    except Garbled:
        pass


def test_frames_are_facts() -> None:
    adapter = AudioSocket(0x12)
    facts = [
        adapter.read(one, binary=True)
        for one in (
            frame(0x12, b"\1\2"),
            frame(0x12),
            frame(KEY, b"#"),
            frame(SILENCE, bytes(9)),
            frame(HANG_UP),
            frame(ERROR, b"\4"),
            adapter.mark("m7"),
        )
    ]
    sound, nothing, key, silence, gone, failed, mark = facts
    assert sound == [Media(b"\1\2")] and key == [Key("#")] and mark == [Played("m7")]
    assert nothing == silence == []
    assert gone == [Stopped()] and failed == [Stopped("Asterisk told an error: 04")]


@pytest.mark.parametrize(
    "one",
    [
        frame(CALL, bytes(16)),
        frame(0x12, bytes(640)),
        frame(KEY, b"x"),
        frame(KEY, b"\xff"),
        frame(KEY, b"\n"),
    ],
)
def test_what_cannot_come_in_the_middle_of_a_call_is_noticed(one: bytes) -> None:
    with pytest.raises(Garbled):
        check_place(one, 0x10)


@pytest.mark.parametrize("one", GOOD[1:])
def test_what_can_come_there_is_let_through(one: bytes) -> None:
    check_place(one, 0x10)


def test_every_rate_of_asterisks_is_known() -> None:
    assert [form_of(kind).rate_hz for kind in sorted(RATES_HZ)] == [
        8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000,
    ]  # fmt: skip


def test_a_calls_name_is_its_uuid() -> None:
    name = UUID("12345678-1234-5678-1234-567812345678")
    assert call_of(name.bytes) == str(name)
