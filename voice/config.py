"""All settings, in one place: profile, then file, then environment, then command line.

    kaiwa serve --profile NAME       voice/profiles/NAME.yaml
    kaiwa serve --config FILE.yaml   the same shape; `profile: NAME` in it names what it builds on
    environment                      ENVIRONMENT below: the variables of .env.default

Nothing else reads the environment. An unknown key is an error that names its path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from voice.errors import ConfigError

PROFILES = Path(__file__).parent / "profiles"


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Any other address needs `api_keys`."""
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    """Callers' keys; none: nobody is asked, which only 127.0.0.1 may do."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside the server's own: "https://voice.example.com"."""
    max_sessions: int = 100
    max_frame_kib: int = 2048
    """Largest WebSocket message; longer ones end the connection with 1009."""
    send_limit_s: float = 5.0
    """A client that takes nothing for so long is dropped."""
    drain_s: float = 10.0
    """How long a stopping server lets calls finish."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    level: str = "INFO"
    json: bool = True
    transcripts: bool = False
    """Whether what callers say may stand in the log."""


class VadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "silero"
    threshold: float = 0.5
    min_speech_ms: int = 64


class SttConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "pocketsphinx"
    language: str = ""
    workers: int = 0
    """Processes; 0: one less than cores, at least one."""


class LlmConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "extractive"
    endpoint: str = ""
    model: str = ""
    api_key: str = ""
    temperature: float | None = None
    max_tokens: int = 512
    context_tokens: int = 4000
    """Budget of the prompt; the oldest turns leave first."""
    reasoning_effort: str = ""
    first_token_limit_s: float = 10.0
    token_limit_s: float = 5.0


class TtsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "espeak"
    voice: str = ""
    first_audio_limit_s: float = 5.0
    audio_limit_s: float = 3.0
    """From one piece of a clause's sound to the next."""
    sentence_gap_ms: int = 220
    clause_gap_ms: int = 90
    """Silence between clauses, which are made one by one. Measured: espeak pauses for 290 ms
    between the sentences of one text, and for 7 to 27 ms behind a text of one clause."""


class EmbedderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "lexical"


class RerankerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "none"


class RagConfig(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    index: str = "data/index"
    """The folder `kaiwa ingest` writes."""
    passages: int = 4
    limit_ms: int = 300
    """After this the answer goes on without passages."""


class TurnConfig(Struct, frozen=True, forbid_unknown_fields=True):
    silence_ms: int = 500
    """Silence that ends a turn, where the client sets none."""
    final_after_ms: int = 200
    """Silence after which the recogniser is asked for its final."""
    final_limit_s: float = 2.0
    max_utterance_s: float = 60.0
    stall_s: float = 1.5
    """In mid-speech, no audio for so long ends the turn."""


class PlayoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    frame_ms: int = 40
    lead_ms: int = 300
    """How far ahead of the caller's ear audio is sent."""


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True):
    instructions: str = (
        "You are a friendly voice assistant. Your words are spoken aloud: answer in one to three "
        "short sentences, in the caller's language, without lists, markup or links. Where passages "
        "from the operator's documents are given, answer only from them; if they do not hold the "
        "answer, say that you do not know."
    )
    max_reply_s: float = 60.0
    """Speech of one answer; the rest is not said."""


class MockConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Delays and faults of the mock providers, each known exactly."""

    stt_text: str = "what are your opening hours on saturday"
    stt_partial_ms: float = 300.0
    stt_final_ms: float = 20.0
    llm_first_token_ms: float = 50.0
    llm_token_ms: float = 10.0
    tts_first_audio_ms: float = 30.0
    jitter_ms: float = 0.0
    seed: int = 0
    faults: tuple[dict[str, Any], ...] = ()
    """See mocks/faults.py, with `slot` beside: {slot: llm, kind: timeout, at: 3}."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    profile: str = "embedded"
    server: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()
    vad: VadConfig = VadConfig()
    stt: SttConfig = SttConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    reranker: RerankerConfig = RerankerConfig()
    rag: RagConfig = RagConfig()
    turn: TurnConfig = TurnConfig()
    playout: PlayoutConfig = PlayoutConfig()
    agent: AgentConfig = AgentConfig()
    mock: MockConfig = MockConfig()


ENVIRONMENT: dict[str, tuple[str, str]] = {
    "KAIWA_HOST": ("server", "host"),
    "KAIWA_PORT": ("server", "port"),
    "KAIWA_API_KEYS": ("server", "api_keys"),
    "KAIWA_ALLOWED_ORIGINS": ("server", "allowed_origins"),
    "KAIWA_MAX_SESSIONS": ("server", "max_sessions"),
    "LOG_LEVEL": ("log", "level"),
    "STT_LANGUAGE": ("stt", "language"),
    "LLM_ENDPOINT": ("llm", "endpoint"),
    "LLM_MODEL_PATH": ("llm", "model"),
    "LLM_MODEL": ("llm", "model"),
    "LLM_API_KEY": ("llm", "api_key"),
    "LLM_TEMPERATURE": ("llm", "temperature"),
    "LLM_MAX_TOKENS": ("llm", "max_tokens"),
    "TTS_VOICE": ("tts", "voice"),
    "RAG_INDEX_PATH": ("rag", "index"),
}
"""Variable → where it goes. Lists are separated by commas."""


def load(
    *,
    profile: str | None = None,
    file: Path | None = None,
    environment: Mapping[str, str],
    overrides: Mapping[tuple[str, str], Any] | None = None,
) -> Config:
    """Args:
        overrides: From the command line: (section, key) → value.
    Raises:
        ConfigError: Names the path of the setting, and where it was set.
    """
    tree: dict[str, Any] = {}
    given = _read(file) if file else {}
    name = profile or given.get("profile") or "embedded"
    tree = _merge(_profile(str(name)), given)
    tree["profile"] = name
    origins: dict[str, str] = {}
    for variable, (section, key) in ENVIRONMENT.items():
        value = environment.get(variable, "")
        if value:
            _set(tree, section, key, _parse(section, key, value), variable)
            origins[f"{section}.{key}"] = variable
    for (section, key), value in (overrides or {}).items():
        if value is not None:
            option = f"--{key.replace('_', '-')}"
            _set(tree, section, key, value, option)
            origins[f"{section}.{key}"] = option
    try:
        config = msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(str(error), origins, file)) from None
    return _checked(_with_endpoints(config))


def _explained(error: str, origins: Mapping[str, str], file: Path | None) -> str:
    """msgspec's words, with the path in front and where to mend it behind."""
    what, _, path = error.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = what.removeprefix("Object contains unknown field `").rstrip("`")
    if what.startswith("Object contains unknown field"):
        known = ", ".join(_settings_of(path))
        path = f"{path}.{unknown}".lstrip(".")
        what = f"there is no such setting; known are {known}"
    return f"{path}: {what}, in {origins.get(path) or file or 'the profile'}."


def _settings_of(path: str) -> list[str]:
    kind: Any = Config
    for name in filter(None, path.split(".")):
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)
    return [field.name for field in msgspec.structs.fields(kind)]


def _profile(name: str) -> dict[str, Any]:
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise ConfigError(f"profile: there is no {name!r}; known are {known}.")
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold sections such as `server:`, not {tree!r}.")
    return tree


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = {**before, **value}
        merged[key] = value
    return merged


def _set(tree: dict[str, Any], section: str, key: str, value: Any, origin: str) -> None:
    if not isinstance(tree.setdefault(section, {}), dict):
        raise ConfigError(f"{section}: must be a section, so that {origin} can be set in it.")
    tree[section] = {**tree[section], key: value}


def _parse(section: str, key: str, value: str) -> Any:
    if (section, key) in (("server", "api_keys"), ("server", "allowed_origins")):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _with_endpoints(config: Config) -> Config:
    """An endpoint names a server; the in-process default then gives way to the client for it."""
    if config.llm.endpoint and config.llm.provider == "extractive":
        llm = msgspec.structs.replace(config.llm, provider="openai")
        return msgspec.structs.replace(config, llm=llm)
    return config


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _checked(config: Config) -> Config:
    server = config.server
    if server.host not in LOOPBACK and not server.api_keys:
        raise ConfigError(
            f"server.host: {server.host} can be reached by others, and no API keys are set. "
            "Set KAIWA_API_KEYS (or server.api_keys) to one or more secrets, or keep 127.0.0.1."
        )
    short = [key for key in server.api_keys if len(key) < 16]
    if short:
        raise ConfigError(
            "server.api_keys: a key is shorter than 16 characters. "
            'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    checks = [
        (0 <= server.port <= 65535, "server.port", "must be 0..65535", server.port),
        (server.max_sessions >= 1, "server.max_sessions", "must be 1 or more", server.max_sessions),
        (
            50 <= config.turn.silence_ms <= 10_000,
            "turn.silence_ms",
            "must be 50..10000",
            config.turn.silence_ms,
        ),
        (
            10 <= config.playout.frame_ms <= 400,
            "playout.frame_ms",
            "must be 10..400",
            config.playout.frame_ms,
        ),
        (
            config.playout.lead_ms >= config.playout.frame_ms,
            "playout.lead_ms",
            "must be at least playout.frame_ms",
            config.playout.lead_ms,
        ),
        *(
            (0 <= gap <= 2000, f"tts.{name}", "must be 0..2000", gap)
            for name in ("sentence_gap_ms", "clause_gap_ms")
            for gap in (getattr(config.tts, name),)
        ),
        (0 < config.vad.threshold < 1, "vad.threshold", "must lie in 0..1", config.vad.threshold),
        *_positive(config),
    ]
    for fine, path, rule, value in checks:
        if not fine:
            raise ConfigError(f"{path}: {rule}, got {value}.")
    return config


def _positive(config: Config) -> list[tuple[bool, str, str, Any]]:
    """What is a size or a time limit, where zero would mean that nothing ever works."""
    paths = (
        "server.max_frame_kib",
        "server.send_limit_s",
        "llm.max_tokens",
        "llm.context_tokens",
        "llm.first_token_limit_s",
        "llm.token_limit_s",
        "tts.first_audio_limit_s",
        "tts.audio_limit_s",
        "rag.limit_ms",
        "turn.final_limit_s",
        "turn.max_utterance_s",
        "turn.stall_s",
        "agent.max_reply_s",
    )
    checks: list[tuple[bool, str, str, Any]] = []
    for path in paths:
        section, key = path.split(".")
        value = getattr(getattr(config, section), key)
        checks.append((value > 0, path, "must be more than 0", value))
    return checks
