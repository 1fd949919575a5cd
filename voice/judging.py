"""What a configuration means by its providers, and what is wrong with that.

auto       what the settings point to: an address, else a model's folder, else what needs none
fallbacks  each a name, or a mapping of what differs from its section; unless set, what needs no
           server stands in for one, and for `auto`

Each provider is made once on trial, which opens no socket and starts no process, so that what serve
would refuse is refused by `kaiwa config check` and by a reload, too.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from voice.config import ENVIRONMENT, Config, Problem
from voice.config_problems import address_problems, converted
from voice.errors import ConfigError
from voice.model_folders import holds_model

Known = Mapping[str, Mapping[str, Callable[[Config], Any]]]
"""By slot and name, what makes it. Raises ValueError or ConfigError for settings that cannot be."""

NEEDS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("stt", "sherpa-server"): ("endpoint", "STT_ENDPOINT", "ws://127.0.0.1:6006"),
    ("llm", "openai"): (
        "endpoint",
        "LLM_ENDPOINT",
        "http://127.0.0.1:9000/v1 for vLLM, http://127.0.0.1:11434/v1 for Ollama",
    ),
    ("tts", "fish"): ("endpoints", "TTS_ENDPOINT", "http://127.0.0.1:8080"),
    ("tts", "speech-api"): ("endpoints", "TTS_ENDPOINT", "http://127.0.0.1:8091/v1"),
    ("embedder", "tei"): ("endpoint", "EMBEDDING_ENDPOINT", "http://127.0.0.1:8081"),
    ("embedder", "openai"): ("endpoint", "EMBEDDING_ENDPOINT", "http://127.0.0.1:11434/v1"),
    ("embedder", "sentence-transformers"): (
        "model",
        "EMBEDDING_MODEL",
        "intfloat/multilingual-e5-base",
    ),
    ("reranker", "tei"): ("endpoint", "RERANKER_ENDPOINT", "http://127.0.0.1:8082"),
}
"""What a provider cannot be without: its setting, the variable, and an example."""

_NOTHING = ("", "", "")

SERVERLESS = {"stt": "pocketsphinx", "llm": "extractive", "tts": "espeak"}
"""What works in process with what the package brings."""


def chosen(config: Config, slot: str) -> str:
    """The provider's name, `auto` resolved."""
    section = getattr(config, slot)
    if section.provider != "auto":
        return str(section.provider)
    match slot:
        case "stt" if section.endpoint:
            return "sherpa-server"
        case "stt":
            return "sherpa" if holds_model(section.model_dir) else "pocketsphinx"
        case "llm":
            return "openai" if section.endpoint else "extractive"
        case "tts" if section.endpoints:
            return "fish"
        case "tts":
            return "sherpa" if holds_model(section.model_dir) else "espeak"
        case "embedder":
            return "tei" if section.endpoint else "lexical"
        case "reranker":
            return "tei" if section.endpoint else "none"
        case "turn":
            named = section.model.endswith(".onnx") or holds_model(section.model)
            return "smart-turn" if named or os.path.isfile(section.model) else "none"
    return "auto"


def links(config: Config, slot: str) -> list[Config]:
    """One configuration for each provider of the slot's chain, best first.

    Raises:
        ConfigError: A fallback that cannot be; names its path.
    """
    return [own for _, own in places(config, slot)]


def places(config: Config, slot: str) -> Iterator[tuple[str, Config]]:
    """The same, each with its path.

    Raises:
        ConfigError: Likewise.
    """
    yield slot, config
    for number, entry in _fallbacks(config, slot):
        own, wrong = _with(config, slot, number, entry)
        if wrong:
            raise ConfigError("\n".join(f"{path}: {what}" for path, what in wrong))
        yield f"{slot}.fallbacks[{number}]", own


def _fallbacks(config: Config, slot: str) -> Iterator[tuple[int, Any]]:
    """Nobody stands in for himself: of `auto` a fallback may come out.

    One of our own that is named stands alone unless more is set: it was chosen over the other.
    """
    first, section = chosen(config, slot), getattr(config, slot)
    named = getattr(section, "fallbacks", ())
    if named is None:
        is_server = NEEDS.get((slot, first), _NOTHING)[0].startswith("endpoint")
        named = (SERVERLESS[slot],) if is_server or section.provider == "auto" else ()
    for number, entry in enumerate(named):
        if entry != first:
            yield number, entry


def _with(config: Config, slot: str, number: int, entry: Any) -> tuple[Config, list[Problem]]:
    """The settings of the one that stands in, and what is wrong with them."""
    path, section = f"{slot}.fallbacks[{number}]", getattr(config, slot)
    given = {"provider": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict):
        return config, [(path, "must be a provider's name, or a mapping with `provider` in it")]
    if {"endpoint", "endpoints"} & set(given):  # somebody else's: our key is none of theirs
        own_keys = {"api_key", "cache_salt"} & set(section.__struct_fields__)
        given = {**dict.fromkeys(own_keys, ""), **given}
    tree = {**msgspec.to_builtins(section), "fallbacks": (), **deepcopy(given)}
    own, wrong = converted(tree, type(section), slot)
    told = [(f"{path}.{setting}", what) for setting, what in wrong]
    return msgspec.structs.replace(config, **{slot: own}), told


def problems(config: Config, known: Known) -> Iterator[Problem]:
    """What is wrong with the providers' settings: their paths, and why."""
    found: dict[Problem, None] = {}
    for slot in known:
        found |= dict.fromkeys(_of_place(slot, slot, config, known))
        for number, entry in _fallbacks(config, slot):
            path = f"{slot}.fallbacks[{number}]"
            own, wrong = _with(config, slot, number, entry)
            wrong = wrong or list(_no_stand_in(path, slot, config, own))
            found |= dict.fromkeys(
                wrong or _of_place(f"{slot}.fallbacks[{number}]", slot, own, known)
            )
    yield from found


def _no_stand_in(path: str, slot: str, config: Config, own: Config) -> Iterator[Problem]:
    """Where every provider is another model, or none at all."""
    names = (chosen(config, slot), chosen(own, slot))
    if slot == "embedder" and "lexical" in names:
        yield (
            path,
            "lexical shares no index with others, and words are searched anyway while an embedder "
            "is away; name another server of the same model",
        )
    if slot == "reranker" and "none" in names:
        yield path, "none stands in for nobody, and nobody for none; name two servers"


def _of_place(path: str, slot: str, own: Config, known: Known) -> Iterator[Problem]:
    section, name = getattr(own, slot), chosen(own, slot)
    if name not in known[slot]:
        yield (
            f"{path}.provider",
            f"there is no {name!r}; known are auto, {', '.join(sorted(known[slot]))}",
        )
        return
    setting, variable, example = NEEDS.get((slot, name), _NOTHING)
    if setting and not getattr(section, setting):
        where = f"{variable} in .env or the environment, or {path}.{setting} in a --config file"
        yield f"{path}.{setting}", f"provider {name} needs it; set {where}; for example {example}"
        return
    if name == "speech-api" and len(section.endpoints) > 1:
        yield f"{path}.endpoints", _ONE_ADDRESS
        return
    if setting.startswith("endpoint") and (found := list(address_problems(path, section))):
        yield from found
        return
    try:
        known[slot][name](own)
    except ValueError as error:
        yield explained(path, slot, error)
    except ConfigError as error:
        yield _parted(error)


_ONE_ADDRESS = (
    "provider speech-api takes one address; keep one, and put a load balancer before the servers "
    "or list the others under tts.fallbacks, each as {provider: speech-api, endpoints: [http://…]}"
)


def explained(path: str, slot: str, error: ValueError) -> Problem:
    """What a provider says that cannot be made: the setting that it names first, and why.

    Args:
        path: The slot, or of one of its fallbacks.
    """
    what = str(error)
    name, _, rest = what.partition(" ")
    section, key = ENVIRONMENT.get(name, (slot, name))
    if section != slot or key not in type(getattr(Config(), slot)).__struct_fields__:
        return path, what
    # A fallback is not set by the variable.
    return f"{path}.{key}", what if name in ENVIRONMENT and path == slot else rest


def _parted(error: ConfigError) -> Problem:
    path, _, what = str(error).partition(": ")
    return path, what
