"""What is wrong with the body of a request: every field that is, with what would be right.

A body is refused before its handler sees it, by `before_request=all_fields(Kind)`; msgspec, which
decodes it then, would tell of the first wrong field only.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException
from msgspec import Struct

from voice.wrong_fields import MOST_TOLD, Problem, wrong_fields

UNPROCESSABLE = 422


class WrongFields(ClientException):
    def __init__(self, found: Sequence[Problem]) -> None:
        told = "; ".join(f"{path or 'The body'}: {what}" for path, what in found)
        super().__init__(told, status_code=UNPROCESSABLE)
        self.found = tuple(found)
        self.param = found[0][0] or None


def all_fields(kind: type[Struct]) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Raises, when it is asked: WrongFields."""

    async def check(request: Request[Any, Any, Any]) -> None:
        if found := list(islice(_wrong(await request.body(), kind), MOST_TOLD)):
            raise WrongFields(found)

    return check


def _wrong(data: bytes, kind: type[Struct]) -> Iterator[Problem]:
    if not data:
        yield "", "is missing; it must be a JSON object"
        return
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        yield "", f"is not JSON: {error}"
        return
    yield from wrong_fields(body, kind)
