"""The variables of an `.env`, as docker compose would read them, too."""

import io
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from voice.errors import ConfigError


def variables(path: Path) -> dict[str, str]:
    """Those that have a value; none where there is no such file.

    Raises:
        ConfigError: It cannot be read, or a line is none of NAME=value. What stands there is not
            shown, since it may be a key.
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
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            start = binding.original.line + _blank_lines(binding.original.string)
            raise ConfigError(
                f"{path}: line {start} is none of NAME=value; put a # before a remark, and quotes "
                "round a value with spaces and quotes."
            )
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # reading it says what is wrong


def _blank_lines(text: str) -> int:
    return len(text) - len(text.lstrip("\n"))
