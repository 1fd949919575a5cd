"""The variables of an `.env`, as docker compose would read them, too.

Compose puts another variable's value in place of `$NAME` and `${NAME}`, and nothing where there is
none, except in single quotes. A key or password with a $ would so be one here and another there:
outside single quotes it is refused.
"""

import io
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from voice.config import ENVIRONMENT
from voice.errors import ConfigError


def variables(path: Path) -> dict[str, str]:
    """Those that have a value; none where there is no such file.

    Raises:
        ConfigError: It cannot be read, lines are none of NAME=value, or one of ours holds a $.
            What stands there is not shown, since it may be a key.
    """
    if not _is_file(path):
        return {}
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8 text; save it as such.") from None
    if wrong := list(_wrong(text)):
        raise ConfigError("\n".join(f"{path}: line {line}{what}." for line, what in wrong))
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def _wrong(text: str) -> Iterator[tuple[int, str]]:
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error:
            yield (
                line,
                " is none of NAME=value; put a # before a remark, and quotes round a value with "
                "spaces and quotes",
            )
        elif binding.key in ENVIRONMENT and _would_be_expanded(binding):
            yield (
                line,
                f": docker compose takes the $ in {binding.key} for another variable; put the "
                f"value in single quotes: {binding.key}='…'",
            )


def _would_be_expanded(binding: Binding) -> bool:
    value = binding.original.string.partition("=")[2].lstrip()
    return "$" in (binding.value or "") and not value.startswith("'")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # reading it says what is wrong


def _blank_lines(text: str) -> int:
    return len(text) - len(text.lstrip("\n"))
