"""What is wrong with the body of a request: every field that is, with what would be right.

A body is refused before its handler sees it, by `before_request=all_fields(Kind)`; msgspec, which
decodes it then, would tell of the first wrong field only.
"""

from collections.abc import Awaitable, Callable, Iterator
from difflib import get_close_matches
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException
from msgspec import Struct

from voice.config_problems import RESEMBLES, Problem, explained

UNPROCESSABLE = 422


def all_fields(kind: type[Struct]) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    async def check(request: Request[Any, Any, Any]) -> None:
        try:
            body = msgspec.json.decode(await request.body())
        except msgspec.DecodeError:
            return  # whoever decodes it says where
        if isinstance(body, dict) and (found := list(wrong_fields(body, kind))):
            told = "; ".join(f"{field}: {what}" for field, what in found)
            raise ClientException(told, status_code=UNPROCESSABLE)

    return check


def wrong_fields(body: dict[str, Any], kind: type[Struct]) -> Iterator[Problem]:
    """Each field's name, and what it must be; in the order they came, those that are missing last.

    Args:
        kind: Takes no fields but its own.
    """
    declared = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in body.items():
        if name not in declared:
            yield name, _no_such(name, list(declared))
            continue
        # Alone, so that it is judged whatever the others are.
        alone = msgspec.defstruct(kind.__name__, [(name, declared[name].type)])
        try:
            msgspec.convert({name: value}, alone)
        except msgspec.ValidationError as error:
            yield explained(str(error), alone)
    for name, field in declared.items():
        if field.required and name not in body:
            yield name, "is missing"


def _no_such(name: str, known: list[str]) -> str:
    meant = get_close_matches(name, known, n=1, cutoff=RESEMBLES)
    guess = f"; did you mean {meant[0]}?" if meant else ";"
    return f"there is no such field{guess} known are {', '.join(known)}"
