"""All settings, in one place: profile, then file, then environment, then command line.

    kaiwa serve --profile NAME       voice/profiles/NAME.yaml
    kaiwa serve --config FILE.yaml   the same shape; `profile: NAME` in it names what it builds on
    KAIWA_PROFILE                    the profile, too: above the file's, below --profile
    environment                      ENVIRONMENT below: the variables of .env.default

The settings themselves, with their bounds and defaults: voice/config_sections.py. Nothing else
reads the environment, but HTTPS_PROXY and NO_PROXY: providers/_proxy.py. Whatever is wrong is told
at once: each setting by its path, with where it was set and what would be right. What only looks
like one of our variables: config_strays.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from voice.config_calls import TelephonyConfig
from voice.config_kinds import Count
from voice.config_problems import LOOPBACK, SECTION, Problem, contradictions, converted
from voice.config_providers import (
    EmbedderConfig,
    LlmConfig,
    MockConfig,
    RagConfig,
    RerankerConfig,
    SttConfig,
    TtsConfig,
    VadConfig,
)
from voice.config_secrets import shown
from voice.config_sections import Config
from voice.config_server import LoadConfig, LogConfig, RecordConfig, ServerConfig
from voice.config_strays import strays
from voice.config_talk import (
    AgentConfig,
    BargeInConfig,
    PlayoutConfig,
    SpeculationConfig,
    TurnConfig,
)
from voice.config_yaml import DuplicateError, read_yaml
from voice.errors import ConfigError

__all__ = [
    "AgentConfig",
    "BargeInConfig",
    "Config",
    "Count",
    "ENVIRONMENT",
    "EmbedderConfig",
    "LOOPBACK",
    "LlmConfig",
    "LoadConfig",
    "LogConfig",
    "MockConfig",
    "PROFILE",
    "PROFILES",
    "PlayoutConfig",
    "Problem",
    "RagConfig",
    "RecordConfig",
    "RerankerConfig",
    "ServerConfig",
    "SpeculationConfig",
    "SttConfig",
    "TelephonyConfig",
    "TtsConfig",
    "TurnConfig",
    "VadConfig",
    "load",
    "shown",
]

PROFILES = Path(__file__).parent / "profiles"
PROFILE = "KAIWA_PROFILE"
DEFAULT_PROFILE = "embedded"

ENVIRONMENT: dict[str, tuple[str, str]] = {
    "KAIWA_HOST": ("server", "host"),
    "KAIWA_PORT": ("server", "port"),
    "KAIWA_API_KEYS": ("server", "api_keys"),
    "KAIWA_ALLOWED_ORIGINS": ("server", "allowed_origins"),
    "KAIWA_MAX_SESSIONS": ("server", "max_sessions"),
    "LOG_LEVEL": ("log", "level"),
    "STT_PROVIDER": ("stt", "provider"),
    "STT_ENDPOINT": ("stt", "endpoint"),
    "STT_MODEL_DIR": ("stt", "model_dir"),
    "STT_PROVIDER_RUNTIME": ("stt", "device"),
    "STT_HOTWORDS": ("stt", "hotwords"),
    "STT_LANGUAGE": ("stt", "language"),
    "LLM_PROVIDER": ("llm", "provider"),
    "LLM_ENDPOINT": ("llm", "endpoint"),
    "LLM_MODEL_PATH": ("llm", "model"),
    "LLM_MODEL": ("llm", "model"),
    "LLM_API_KEY": ("llm", "api_key"),
    "LLM_TEMPERATURE": ("llm", "temperature"),
    "LLM_MAX_TOKENS": ("llm", "max_tokens"),
    "TTS_PROVIDER": ("tts", "provider"),
    "TTS_ENDPOINT": ("tts", "endpoints"),
    "TTS_API_KEY": ("tts", "api_key"),
    "TTS_MODEL": ("tts", "model"),
    "TTS_MODEL_DIR": ("tts", "model_dir"),
    "TTS_VOICE": ("tts", "voice"),
    "TTS_ENCODING": ("tts", "encoding"),
    "TTS_STREAM": ("tts", "stream"),
    "TTS_PAID": ("tts", "paid"),
    "TTS_FIRST_WORD_LIMIT_S": ("tts", "first_word_limit_s"),
    "EMBEDDING_PROVIDER": ("embedder", "provider"),
    "EMBEDDING_ENDPOINT": ("embedder", "endpoint"),
    "EMBEDDING_MODEL": ("embedder", "model"),
    "EMBEDDING_API_KEY": ("embedder", "api_key"),
    "EMBEDDING_THREADS": ("embedder", "threads"),
    "RERANKER_ENDPOINT": ("reranker", "endpoint"),
    "RERANKER_API_KEY": ("reranker", "api_key"),
    "RERANKER_KEEP": ("reranker", "keep"),
    "RERANKER_LIMIT_S": ("reranker", "limit_s"),
    "TURN_MODEL": ("turn", "model"),
    "RAG_INDEX_PATH": ("rag", "index"),
    "AGENT_PROMPT": ("agent", "prompt"),
    "KAIWA_SPECULATION": ("speculation", "enabled"),
    "KAIWA_RECORD_FOLDER": ("record", "folder"),
    "KAIWA_RECORD_DAYS": ("record", "keep_days"),
    "KAIWA_PUBLIC_URL": ("telephony", "public_url"),
    "TWILIO_ACCOUNT_SID": ("telephony", "twilio_account_sid"),
    "TWILIO_AUTH_TOKEN": ("telephony", "twilio_auth_token"),
    "TELNYX_PUBLIC_KEY": ("telephony", "telnyx_public_key"),
    "VONAGE_SIGNATURE_SECRET": ("telephony", "vonage_signature_secret"),
    "ASTERISK_PASSWORD": ("telephony", "asterisk_password"),
    "KAIWA_WEBRTC_UDP": ("webrtc", "ports"),
    "KAIWA_PUBLIC_ADDRESS": ("webrtc", "public_address"),
    "KAIWA_ICE_SERVERS": ("webrtc", "ice_servers"),
    "KAIWA_TURN_SECRET": ("webrtc", "turn_secret"),
    "KAIWA_SIP_ENABLED": ("sip", "enabled"),
    "KAIWA_SIP_HOST": ("sip", "host"),
    "KAIWA_SIP_PORT": ("sip", "port"),
    "KAIWA_SIP_RTP_UDP": ("sip", "rtp_ports"),
    "KAIWA_SIP_MOST_CALLS": ("sip", "most_calls"),
    "KAIWA_SIP_PUBLIC_ADDRESS": ("sip", "public_address"),
    "KAIWA_SIP_PEERS": ("sip", "peers"),
    "KAIWA_SIP_USERNAME": ("sip", "username"),
    "KAIWA_SIP_PASSWORD": ("sip", "password"),
    "KAIWA_SIP_REGISTRAR": ("sip", "registrar"),
    "KAIWA_SIP_EXTENSION": ("sip", "extension"),
    "KAIWA_SIP_EXTENSION_PASSWORD": ("sip", "extension_password"),
}
"""Variable → where it goes. Lists are separated by commas."""


def load(
    *,
    profile: str | None = None,
    file: Path | None = None,
    environment: Mapping[str, str],
    overrides: Mapping[tuple[str, str], Any] | None = None,
    judge: Callable[[Config], Iterable[Problem]] = lambda config: (),
) -> Config:
    """Args:
        overrides: From the command line: (section, key) → value.
        judge: What else can be wrong with it, to be told together with the rest.
    Raises:
        ConfigError: A line for each wrong setting: its path, and where it was set.
    """
    given = _read(file) if file else {}
    in_file = [str(name) for name in given]
    by_variable = environment.get(PROFILE, "")
    origins: dict[str, str] = {}
    if by_variable and not profile:
        origins["profile"] = PROFILE
    name = str(profile or by_variable or given.get("profile") or DEFAULT_PROFILE)
    problems = [*_no_profile(name), *_no_sections(given)]
    tree = _merge(
        _read(PROFILES / f"{name if name in profiles() else DEFAULT_PROFILE}.yaml"), given
    )
    tree["profile"] = name
    for variable, (section, key) in ENVIRONMENT.items():
        value = environment.get(variable, "")
        if value:
            _set(tree, section, key, _parse(section, key, value))
            origins[f"{section}.{key}"] = variable
    for (section, key), value in (overrides or {}).items():
        if value is not None:
            _set(tree, section, key, value)
            origins[f"{section}.{key}"] = f"--{key.replace('_', '-')}"
    config, wrong = converted(tree, Config)
    problems += wrong
    replaced = {path for path, _ in problems}  # there, a default would be judged
    judged = (*contradictions(config), *judge(config))
    problems += (problem for problem in judged if problem[0] not in replaced)
    found_strays = strays(environment, [*ENVIRONMENT, PROFILE])
    if problems:
        told = dict.fromkeys(problems)
        found = (f"{path}: {what}{_where(path, origins, file, in_file)}." for path, what in told)
        raise ConfigError("\n".join(found), found_strays)
    return msgspec.structs.replace(config, strays=found_strays)


def profiles() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def _no_profile(name: str) -> Iterator[Problem]:
    if name not in profiles():
        yield "profile", f"there is no {name!r}; known are {', '.join(profiles())}"


def _no_sections(given: dict[str, Any]) -> Iterator[Problem]:
    """Taken out, so that what else is set in them is judged, too."""
    for name in Config.__struct_fields__:
        is_section = isinstance(getattr(Config(), name), msgspec.Struct)
        if is_section and name in given and not isinstance(given[name], dict):
            del given[name]
            yield name, SECTION


def _where(path: str, origins: Mapping[str, str], file: Path | None, in_file: Iterable[str]) -> str:
    """A file with nothing of the section is not where it went wrong."""
    is_in_file = any(f"{path}.".startswith(f"{name}.") for name in in_file)
    origin = origins.get(path) or (file if is_in_file else None)
    return f" ({origin})" if origin else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as such.") from None
    except DuplicateError as error:
        raise ConfigError(f"{path}: {error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {_trouble(error)}.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold sections such as `server:`.")
    return tree


def _trouble(error: yaml.YAMLError) -> str:
    """Without the line itself, which may hold a key."""
    what, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{what or 'a sign that cannot be'}{where}"


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = {**before, **value}
        merged[key] = value
    return merged


def _set(tree: dict[str, Any], section: str, key: str, value: Any) -> None:
    tree[section] = {**tree.get(section, {}), key: value}


LISTS = (
    "server.api_keys",
    "server.allowed_origins",
    "sip.peers",
    "stt.hotwords",
    "tts.endpoints",
    "webrtc.ice_servers",
)


def _parse(section: str, key: str, value: str) -> Any:
    if f"{section}.{key}" in LISTS:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value.upper() if (section, key) == ("log", "level") else value
