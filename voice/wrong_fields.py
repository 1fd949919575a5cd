"""Every field of a value that is wrong, each with what would be right; msgspec tells of the first.

{"expires_after": {"seconds": 5}, "session": "x"}  ─▶  expires_after.seconds  must be >= 10
                                                       session  must be an object or null, …
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from voice.errors import ClientError
from voice.wording import wording

Problem = tuple[str, str]
"""The path, and what reads on from it."""

MOST_TOLD = 10
MOST_ELEMENTS = 100
"""Of a list, looked at one by one; of a longer one its first problem is told."""
MOST_NAME_CHARS = 64
RESEMBLES = 0.7
"""difflib's ratio, as for the names of settings."""


def wrong_fields(value: Any, kind: Any, path: str = "") -> Iterator[Problem]:
    """In the order they came, those that are missing last; nothing if `convert` would take it.

    Args:
        value: As JSON is decoded.
        kind: A Struct, or whatever a field of one may be declared as.
        path: Of the value itself.
    """
    for one in _alternatives(kind):
        if isinstance(value, dict) and isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield from _members(value, one, path)
            return
        if isinstance(value, list) and get_origin(one) in (list, tuple):
            each = list(_elements(value, get_args(one)[0], path))
            if each:
                yield from each
                return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        where, _ = wording(error)
        yield f"{path}.{where}".strip(".").replace(".[", "["), _what(error, kind)


def told(found: Iterable[Problem]) -> str:
    """As one sentence; of very many the first ones."""
    each = [f"{path or 'The body'} {what}" for path, what in islice(found, MOST_TOLD + 1)]
    if len(each) > MOST_TOLD:
        each[MOST_TOLD:] = ["and more"]
    return "; ".join(each) + "."


def refused(found: Iterable[Problem]) -> ClientError | None:
    """What is raised for them, in the name of the first; None: there are none."""
    known = list(islice(found, MOST_TOLD + 1))
    return ClientError("invalid_value", told(known), known[0][0] or None) if known else None


def _elements(value: list[Any], kind: Any, path: str) -> Iterator[Problem]:
    if len(value) <= MOST_ELEMENTS:
        for place, each in enumerate(value):
            yield from wrong_fields(each, kind, f"{path}[{place}]")


@cache
def _declared(kind: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """By name; to find out takes ten times as long as to look through a small object."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _members(value: dict[str, Any], kind: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    declared = _declared(kind)
    strict = kind.__struct_config__.forbid_unknown_fields
    for name, each in value.items():
        if name in declared:
            yield from wrong_fields(each, declared[name].type, f"{path}.{name}".lstrip("."))
        elif strict:
            name = name[:MOST_NAME_CHARS]
            yield f"{path}.{name}".lstrip("."), _no_such(name, list(declared))
    for name, field in declared.items():
        if field.required and name not in value:
            yield f"{path}.{name}".lstrip("."), "is missing"


def _no_such(name: str, known: list[str]) -> str:
    meant = get_close_matches(name, known, n=1, cutoff=RESEMBLES)
    guess = f"; did you mean {meant[0]}?" if meant else ";"
    return f"is unknown{guess} known are {', '.join(known)}"


def _what(error: Exception, kind: Any) -> str:
    """With what the declaration knows beside."""
    text, (_, what) = str(error), wording(error)
    if "matching regex" in text and (described := _description(kind)):
        return f"must be {described}"
    if text.startswith("Invalid enum value"):
        kinds = _alternatives(kind)
        choices = [one for each in kinds if get_origin(each) is Literal for one in get_args(each)]
        listed = ", ".join(msgspec.json.encode(one).decode() for one in choices)
        others = any(get_origin(each) is not Literal for each in kinds if each is not type(None))
        return f"{what}; {'as text, ' if others else ''}it can be {listed}" if choices else what
    return what


def _description(kind: Any) -> str:
    told = (note.description for note in get_args(kind)[1:] if isinstance(note, Meta))
    return next(filter(None, told), "") if get_origin(kind) is Annotated else ""


def _alternatives(kind: Any) -> list[Any]:
    """Of a union its members, without their bounds."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) in (Union, UnionType):
        return [one for member in get_args(bare) for one in _alternatives(member)]
    return [bare]
