"""Whoever sends a wrong value reads what it must be, not how we declared it."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from voice.wording import wording


class Inner(msgspec.Struct):
    rate: int = 0
    gain: float | None = 0.0
    kind: Literal["a", "b"] = "a"
    length: Annotated[int, msgspec.Meta(ge=0)] = 0


class Outer(msgspec.Struct):
    name: str
    inner: Inner = msgspec.field(default_factory=Inner)
    tags: list[str] = []


@pytest.mark.parametrize(
    ("value", "path", "what"),
    [
        ({"name": 3}, "name", "must be text, not a whole number"),
        ({"name": "x", "inner": {"rate": "8"}}, "inner.rate", "must be a whole number, not text"),
        (
            {"name": "x", "inner": {"rate": 1.5}},
            "inner.rate",
            "must be a whole number, not a fraction",
        ),
        ({"name": "x", "inner": {"gain": "8"}}, "inner.gain", "must be a number or null, not text"),
        ({"name": "x", "inner": []}, "inner", "must be an object, not a list"),
        ({"name": "x", "inner": {"kind": "c"}}, "inner.kind", "cannot be 'c'"),
        ({"name": "x", "tags": [True]}, "tags[0]", "must be text, not true or false"),
        ({"name": "x", "inner": {"length": -1}}, "inner.length", "must be >= 0"),
        ({"inner": {}}, "name", "is missing"),
        ([], "", "must be an object, not a list"),
    ],
)
def test_a_wrong_value_is_said_in_plain_words(value: Any, path: str, what: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, Outer)
    assert wording(refused.value) == (path, what)
