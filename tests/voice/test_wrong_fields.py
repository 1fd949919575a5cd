"""Whoever sends several wrong values reads of all of them, each by its path."""

import time
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from voice.wrong_fields import MOST_ELEMENTS, MOST_TOLD, refused, told, wrong_fields


class Inner(msgspec.Struct):
    rate: int = 0
    gain: float | None = 0.0
    kind: Literal["a", "b"] = "a"


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern="^[a-z]{3}$", description="three small letters, as in abc")]
    most: Annotated[int, Meta(ge=1)] | Literal["all"] = "all"
    note: str = ""


class Outer(msgspec.Struct):
    name: str
    inner: Inner | None = None
    all: tuple[Inner, ...] = ()
    tags: list[str] = []
    some: Annotated[list[Inner], Meta(max_length=2)] = []
    free: dict[str, Any] = {}
    strict: Strict | None = None


CASES: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"name": "x", "inner": None, "free": {"a": [1]}, "strange": 1}, []),
    ([], [("", "must be an object, not a list")]),
    (
        {"tags": 1, "inner": {"rate": "8", "gain": "loud", "kind": "c"}, "free": []},
        [
            ("tags", "must be a list, not a whole number"),
            ("inner.rate", "must be a whole number, not text"),
            ("inner.gain", "must be a number or null, not text"),
            ("inner.kind", 'cannot be \'c\'; it can be "a", "b"'),
            ("free", "must be an object, not a list"),
            ("name", "is missing"),
        ],
    ),
    (
        {"name": "x", "all": [{}, {"rate": 0.5}, 7], "tags": ["a", 1, None], "inner": 7},
        [
            ("all[1].rate", "must be a whole number, not a fraction"),
            ("all[2]", "must be an object, not a whole number"),
            ("tags[1]", "must be text, not a whole number"),
            ("tags[2]", "must be text, not null"),
            ("inner", "must be an object or null, not a whole number"),
        ],
    ),
    (
        {"name": "x", "strict": {"code": "ABC", "most": "few", "nots": 1}},
        [
            ("strict.code", "must be three small letters, as in abc"),
            ("strict.most", "cannot be 'few'; as text, it can be \"all\""),
            ("strict.nots", "is unknown; did you mean note? known are code, most, note"),
        ],
    ),
    (
        {"name": "x", "strict": {"most": 0}},
        [("strict.most", "must be >= 1"), ("strict.code", "is missing")],
    ),
]


@pytest.mark.parametrize(("value", "problems"), CASES)
def test_every_wrong_field_is_told_by_its_path_and_by_what_would_be_right(
    value: Any, problems: list[tuple[str, str]]
) -> None:
    assert list(wrong_fields(value, Outer)) == problems


def test_a_list_that_is_too_long_is_told_where_its_members_are_right() -> None:
    (only,) = wrong_fields({"name": "x", "some": [{}, {}, {}]}, Outer)
    assert only[0] == "some" and "2" in only[1]


def test_of_a_very_long_list_the_first_wrong_member_is_told() -> None:
    tags = ["a"] * MOST_ELEMENTS + [1, 2]
    (only,) = wrong_fields({"name": "x", "tags": tags}, Outer)
    assert only == (f"tags[{MOST_ELEMENTS}]", "must be text, not a whole number")


def test_so_many_are_told_and_that_there_are_more() -> None:
    tags: list[Any] = [0] * (MOST_TOLD + 1)
    error = refused(wrong_fields({"name": 1, "tags": tags}, Outer))
    assert error is not None
    assert (error.code, error.param) == ("invalid_value", "name")
    assert error.message.count("must be text") == MOST_TOLD
    assert error.message.endswith("; and more.")
    del tags[MOST_TOLD - 1 :]
    exactly = told(wrong_fields({"name": 1, "tags": tags}, Outer))
    assert exactly.count("must be text") == MOST_TOLD and "more" not in exactly


def test_nothing_is_refused_where_nothing_is_wrong_and_the_whole_has_no_path() -> None:
    assert refused(wrong_fields({"name": "x"}, Outer)) is None
    error = refused(wrong_fields(7, Outer))
    assert error is not None and error.param is None
    assert error.message == "The body must be an object, not a whole number."


def test_a_strange_name_however_long_is_told_short_and_at_once() -> None:
    """To compare a million letters takes difflib a second."""

    def spent_s(chars: int) -> float:
        body, begun = {"code": "abc", "x" * chars: 1}, time.thread_time()
        ((path, what),) = wrong_fields(body, Strict)
        assert len(path) <= 64 and len(what) < 100
        return time.thread_time() - begun

    short, long = (min(spent_s(chars) for _ in range(5)) for chars in (64, 1_000_000))
    assert long < 20 * short + 0.001, (short, long)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.sampled_from("ab"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Outer.__struct_fields__, "rate", "code"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_something_is_told_exactly_where_msgspec_would_refuse(value: Any) -> None:
    try:
        msgspec.convert(value, Outer)
    except msgspec.ValidationError:
        assert list(wrong_fields(value, Outer))
    else:
        assert not list(wrong_fields(value, Outer))
