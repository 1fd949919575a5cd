"""What is wrong with a configuration: each setting by its path, and what would be right."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from voice import addresses
from voice.config_secrets import SECRET
from voice.config_sections import Config, SttConfig

Problem = tuple[str, str]
"""A setting's path, and what is wrong with it."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
UNKNOWN = "there is no such setting"


def converted(tree: dict[str, Any]) -> tuple[Config, list[Problem]]:
    """What is wrong is put aside, its default in its place, until the rest is fine."""
    problems: list[Problem] = []
    if tree.pop("strays", None) is not None:  # found, never set
        problems.append(("strays", f"{UNKNOWN}; known are {', '.join(_settings_of(''))}"))
    while True:
        try:
            return msgspec.convert(tree, Config, strict=False), problems
        except msgspec.ValidationError as error:
            path, what = _explained(str(error))
            found, value = _taken_out(tree, path)
            # What is misplaced may be a key; of what has no place, nothing is shown.
            known = path.partition(".")[2] and not what.startswith(UNKNOWN)
            shown = known and isinstance(value, str | int | float) and path not in SECRET
            problems.append(
                (path, f"{what}, got {addresses.masked(repr(value))}" if shown else what)
            )
            if not found:
                return Config(), problems


def _taken_out(tree: dict[str, Any], path: str) -> tuple[bool, Any]:
    """Whether there was such a setting, and its value. A strange key may hold any sign."""
    if path in tree:
        return True, tree.pop(path)
    section, _, key = path.partition(".")
    part = tree.get(section)
    for name in (key, key.partition("[")[0]):
        if isinstance(part, dict) and name in part:
            return True, part.pop(name)
    return False, None


def _explained(error: str) -> Problem:
    """msgspec's words, with what would be right."""
    what, _, path = error.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = what.removeprefix("Object contains unknown field `").rstrip("`")
    if what.startswith("Object contains unknown field"):
        known = ", ".join(_settings_of(path))
        return f"{path}.{unknown}".lstrip("."), f"{UNKNOWN}; known are {known}"
    if what.startswith("Invalid enum value"):
        return path, f"must be one of {', '.join(_choices(path))}"
    what = re.sub(r"^Expected `\w+` (?=[<>])", "must be ", what)
    what = re.sub(r"`bool( \| null)?`", "true or false", what)
    return path, what.replace("Expected", "must be", 1).partition(", got")[0]


def _choices(path: str) -> tuple[str, ...]:
    section, _, key = path.partition(".")
    kind: Any = next(f.type for f in msgspec.structs.fields(Config) if f.name == section)
    field: Any = next(f.type for f in msgspec.structs.fields(kind) if f.name == key)
    return get_args(field)


def _settings_of(path: str) -> list[str]:
    kind: Any = Config
    for name in filter(None, path.split(".")):
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)
    return [field.name for field in msgspec.structs.fields(kind) if field.name != "strays"]


def contradictions(config: Config) -> Iterator[Problem]:
    """What the types cannot say."""
    server, playout = config.server, config.playout
    if server.host not in LOOPBACK and not server.api_keys:
        yield (
            "server.host",
            f"{server.host} can be reached by others, and no API keys are set. "
            "Set KAIWA_API_KEYS (or server.api_keys) to one or more secrets, or keep 127.0.0.1",
        )
    if any(len(key) < 16 for key in server.api_keys):
        yield (
            "server.api_keys",
            "a key is shorter than 16 characters. "
            'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    for origin in server.allowed_origins:
        if wrong := addresses.origin_problem(origin):
            yield "server.allowed_origins", wrong
    for slot in ("llm", "embedder", "reranker", "tts", "stt"):
        yield from address_problems(slot, getattr(config, slot))
    if playout.lead_ms < playout.frame_ms:
        yield "playout.lead_ms", f"must be at least playout.frame_ms, got {playout.lead_ms}"
    if sorted(config.load.lag_ms) != list(config.load.lag_ms):
        yield "load.lag_ms", f"must grow from level to level, got {list(config.load.lag_ms)}"


def address_problems(path: str, section: Any) -> Iterator[Problem]:
    """Args:
    path: Of the section, or of a fallback, whose section differs from it.
    """
    problem_of = addresses.endpoint_problem
    if isinstance(section, SttConfig):
        problem_of = addresses.socket_problem
    for key in ("endpoint", "endpoints"):
        value = getattr(section, key, ())
        for endpoint in (value,) if isinstance(value, str) else value:
            if endpoint and (wrong := problem_of(endpoint)):
                yield f"{path}.{key}", wrong
