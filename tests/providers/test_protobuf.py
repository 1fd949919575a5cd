"""The wire format, written and read back, and against the specification's own examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._protobuf import field, fields

VALUES = st.one_of(st.integers(0, 2**63), st.binary(max_size=300))


@given(st.lists(st.tuples(st.integers(1, 2**20), VALUES), max_size=8))
def test_what_was_written_is_read_back_in_order(
    given_fields: list[tuple[int, int | bytes]],
) -> None:
    message = b"".join(field(number, value) for number, value in given_fields)
    assert list(fields(message)) == given_fields


def test_it_writes_what_the_specification_shows() -> None:
    assert field(1, 150) == bytes.fromhex("089601")
    assert field(2, "testing") == bytes.fromhex("120774657374696e67")


def test_numbers_of_fixed_size_are_given_as_bytes() -> None:
    assert list(fields(bytes.fromhex("0d01020304110102030405060708"))) == [
        (1, bytes.fromhex("01020304")),
        (2, bytes.fromhex("0102030405060708")),
    ]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("08", "end"),
        ("0896", "end"),
        ("1207746573", "cut short"),
        ("0b", "type 3"),
        ("ff" * 12, "end"),
    ],
)
def test_what_is_no_message_is_told(message: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        list(fields(bytes.fromhex(message)))
