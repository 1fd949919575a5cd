"""What is wrong with a configuration: each setting by its path, and what would be right."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from voice import addresses
from voice.config_dial_problems import dial_problems
from voice.config_phone_problems import phone_problems
from voice.config_port_problems import port_problems
from voice.config_providers import SttConfig
from voice.config_secrets import SECRET
from voice.config_sections import Config
from voice.config_sip_problems import sip_problems
from voice.webrtc_settings import RANGE, webrtc_problems

S = TypeVar("S", bound=Struct)

Problem = tuple[str, str]
"""A setting's path, and what is wrong with it."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
UNKNOWN = "there is no such setting"
SECTION = "must be a section: below it its settings, each as name: value"

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "a mapping, name: value",
    "array": "a list",
    "null": "nothing",
}
QUOTED = "must be text in quotes"
NUMBER = 'must be a number with its country, in quotes: "+49301234567"'
FORMS = {
    "sip.rtp_ports": f"must be {RANGE}",
    "telephony.outbound_from": NUMBER,
    "telephony.transfer_from": NUMBER,
    "webrtc.ports": f"must be {RANGE}",
}
"""Of what is text, but that YAML takes for a number, or people for a list."""
RESEMBLES = 0.7
"""difflib's ratio, as in config_strays."""
_MISSING = re.compile(r"Object missing required field `(.+)`")
_EXPECTED = re.compile(r"Expected `([^`]+)`(?: of length (\S+ ?\S*)| ([<>]=? \S+))?(?:, got .*)?")


def converted(tree: dict[str, Any], kind: type[S], section: str = "") -> tuple[S, list[Problem]]:
    """What is wrong is put aside, its default in its place, until the rest is fine.

    Args:
        tree: What was read; it is changed.
        kind: Config, or one of its sections.
        section: Whose fields may be secret, where it is one.
    """
    problems = [(path, "this name is no text; put it in quotes") for path in _no_names(tree)]
    if kind is Config and tree.pop("strays", None) is not None:  # found, never set
        problems.append(("strays", f"{UNKNOWN}; known are {_settings_of(kind)}"))
    while True:
        try:
            return msgspec.convert(tree, kind, strict=False), problems
        except msgspec.ValidationError as error:
            path, what = explained(str(error), kind)
            path = _member(tree, path)
            found, value = _taken_out(tree, path)
            # What is misplaced may be a key; of what has no place, nothing is shown.
            if what == "must be text":
                what = FORMS.get(path, QUOTED if isinstance(value, int | float) else what)
            known = (section or "." in path) and not what.startswith(UNKNOWN)
            is_secret = f"{section}.{path}".lstrip(".") in SECRET
            shows = known and what != NUMBER and not is_secret  # nobody's number is shown in full
            if shows and isinstance(value, str | int | float):
                what = f"{what}, got {addresses.masked(repr(value))}"
            problems.append((path, what))
            if not found:
                return kind(), problems


def _no_names(tree: Any, path: str = "") -> Iterator[str]:
    """Keys that YAML takes for numbers, dates or truth values: taken out, and told where."""
    if isinstance(tree, list):
        for place, one in enumerate(tree):
            yield from _no_names(one, f"{path}[{place}]")
    if isinstance(tree, dict):
        for key in list(tree):
            if isinstance(key, str):
                yield from _no_names(tree[key], f"{path}.{key}".lstrip("."))
            else:
                del tree[key]
                yield f"{path}.{key}".lstrip(".")


def _member(tree: dict[str, Any], path: str) -> str:
    """With the name of the member that is no text, which msgspec leaves out."""
    within, is_left_out, _ = path.partition("[...]")
    part: Any = tree
    for name in within.split("."):
        part = part.get(name) if isinstance(part, dict) else None
    if not is_left_out or not isinstance(part, dict):
        return path
    return next((f"{within}.{name}" for name in part if not isinstance(part[name], str)), path)


def _taken_out(tree: dict[str, Any], path: str) -> tuple[bool, Any]:
    """Whether there was such a setting, and its value. A strange key may hold any sign."""
    part: Any = tree
    while isinstance(part, dict):
        for name in (path, path.partition("[")[0]):
            if name in part:
                return True, part.pop(name)
        name, _, path = path.partition(".")
        part = part.get(name)
    return False, None


def explained(error: str, kind: type[Struct]) -> Problem:
    """msgspec's words, with what would be right."""
    what, _, path = error.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = what.removeprefix("Object contains unknown field `").rstrip("`")
    if what.startswith("Object contains unknown field"):
        known = _settings_of(_declared(kind, path))
        meant = get_close_matches(unknown, known.split(", "), n=1, cutoff=RESEMBLES)
        guess = f"; did you mean {meant[0]}?" if meant else ";"
        return f"{path}.{unknown}".lstrip("."), f"{UNKNOWN}{guess} known are {known}"
    if what.startswith("Invalid enum value"):
        declared = _declared(kind, path)
        choices = get_args(declared) or [str(one.value) for one in declared]
        return path, f"must be one of {', '.join(choices)}"
    if missing := _MISSING.fullmatch(what):
        return f"{path}.{missing[1]}".lstrip("."), "is missing"
    if (expected := _EXPECTED.fullmatch(what)) is None:
        return path, what
    wanted, length, bound = expected.groups()
    if kind is Config and wanted == "object" and "." not in path:
        return path, SECTION
    if bound:
        return path, f"must be {bound}"
    if length == ">= 1":
        return path, "must not be empty"
    kinds = " or ".join(_KINDS.get(one, one) for one in wanted.split(" | "))
    return path, f"must be {kinds}" + (f" of {length}" if length else "")


def _declared(kind: Any, path: str) -> Any:
    """What a field is declared as."""
    for part in filter(None, path.split(".")):
        name, is_element, _ = part.partition("[")
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)
        kind = _bare(kind)
        kind = _bare(get_args(kind)[0]) if is_element else kind
    return kind


def _bare(kind: Any) -> Any:
    """Without bounds."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _settings_of(kind: Any) -> str:
    return ", ".join(f.name for f in msgspec.structs.fields(kind) if f.name != "strays")


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
    turn, record = config.turn, config.record
    if turn.max_silence_ms < turn.min_silence_ms:
        least_ms = turn.min_silence_ms
        yield (
            "turn.max_silence_ms",
            f"must be at least turn.min_silence_ms ({least_ms}), got {turn.max_silence_ms}",
        )
    if 0 < record.keep_mb < record.most_mb:
        yield (
            "record.keep_mb",
            f"must hold one call, record.most_mb ({record.most_mb}), or be 0; got {record.keep_mb}",
        )
    yield from phone_problems(config.telephony)
    yield from dial_problems(config)
    yield from sip_problems(config.sip)
    if sorted(config.load.lag_ms) != list(config.load.lag_ms):
        yield "load.lag_ms", f"must grow from level to level, got {list(config.load.lag_ms)}"
    yield from webrtc_problems(config.webrtc)
    webrtc, longest_s = config.webrtc, config.agent.max_call_s
    if webrtc.turn_secret and longest_s > webrtc.turn_credential_s:
        yield (
            "webrtc.turn_credential_s",
            f"must be at least agent.max_call_s ({longest_s:g}), or a relay lets go of a call; got "
            f"{webrtc.turn_credential_s}",
        )
    yield from port_problems(config)


VARIABLES = {"embedder": "EMBEDDING"}
EXAMPLES = {
    "llm": "http://127.0.0.1:11434/v1",
    "tts": "http://127.0.0.1:8080",
    "speech-api": "http://127.0.0.1:8091/v1",
    "embedder": "http://127.0.0.1:8081",
    "reranker": "http://127.0.0.1:8082",
}
"""Addresses as each slot's servers have them."""


def address_problems(path: str, section: Any) -> Iterator[Problem]:
    """Args:
    path: Of the section, or of a fallback, whose section differs from it.
    """
    slot = path.partition(".")[0]
    variable = f"{VARIABLES.get(slot, slot.upper())}_API_KEY ({slot}.api_key)"
    secret = variable if path == slot else f"{path}.api_key"
    name = "speech-api" if getattr(section, "provider", "") == "speech-api" else slot
    example = EXAMPLES.get(name, EXAMPLES["llm"])

    def problem_of(text: str) -> str:
        if isinstance(section, SttConfig):
            return addresses.socket_problem(text)
        return addresses.endpoint_problem(text, example, secret)

    for key in ("endpoint", "endpoints"):
        value = getattr(section, key, ())
        for endpoint in (value,) if isinstance(value, str) else value:
            if endpoint and (wrong := problem_of(endpoint)):
                yield f"{path}.{key}", wrong
