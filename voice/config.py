"""All settings, in one place: profile, then file, then environment, then command line.

    kaiwa serve --profile NAME       voice/profiles/NAME.yaml
    kaiwa serve --config FILE.yaml   the same shape; `profile: NAME` in it names what it builds on
    environment                      ENVIRONMENT below: the variables of .env.default

Nothing else reads the environment. Whatever is wrong is told at once: each setting by its path,
with where it was set and what would be right.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import yaml
from msgspec import Meta, Struct

from voice import addresses
from voice.errors import ConfigError

PROFILES = Path(__file__).parent / "profiles"

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
"""A time limit, where zero would mean that nothing ever works."""
Delay = Annotated[float, Meta(ge=0, le=60_000)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Any other address needs `api_keys`."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    api_keys: tuple[str, ...] = ()
    """Callers' keys; none: nobody is asked, which only 127.0.0.1 may do."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside the server's own: "https://voice.example.com"."""
    max_sessions: Count = 100
    max_frame_kib: Count = 2048
    """Largest WebSocket message; longer ones end the connection with 1009."""
    send_limit_s: Seconds = 5.0
    """A client that takes nothing for so long is dropped."""
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """How long a stopping server lets calls finish."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    level: LogLevel = "INFO"
    json: bool = True
    transcripts: bool = False
    """Whether what callers say may stand in the log."""


class VadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "silero"
    threshold: Share = 0.5
    min_speech_ms: Milliseconds = 64


Fallback = str | dict[str, Any]
"""A provider that stands in: its name, or a mapping with `provider` and whatever else differs from
the section it stands in."""


class SttConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: sherpa-server where there is an `endpoint`, sherpa where `model_dir` holds a model,
    else pocketsphinx."""
    fallbacks: tuple[Fallback, ...] = ()
    attempt_limit_s: Seconds = 0.8
    """One that has fallbacks gives its final within this, or the next one hears the utterance."""
    language: str = ""
    endpoint: str = ""
    model_dir: str = "models/stt"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    max_batch: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Streams that sherpa decodes in one call."""
    hotwords: tuple[str, ...] = ()
    """Names and terms that the recogniser shall expect (sherpa, transducer models)."""
    hotwords_score: Annotated[float, Meta(ge=0, le=10)] = 1.5
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    """Processes of pocketsphinx; 0: one less than cores, at least one."""


class LlmConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: openai where there is an `endpoint`, else extractive."""
    fallbacks: tuple[Fallback, ...] = ()
    attempt_limit_s: Seconds = 2.5
    """One that has fallbacks gives its first token, and each next one, within this."""
    endpoint: str = ""
    model: str = ""
    api_key: str = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Count = 512
    context_tokens: Count = 4000
    """Budget of the prompt; the oldest turns leave first."""
    reasoning_effort: str = ""
    include_reasoning: bool | None = None
    """false: the server (vLLM) keeps its reasoning to itself; it is never spoken anyway."""
    priority: int | None = None
    """For vLLM with --scheduling-policy priority: lower comes first."""
    cache_salt: str = ""
    """For vLLM: who has another one shares no prefix cache."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Of a request that failed before its first token."""
    first_token_limit_s: Seconds = 10.0
    token_limit_s: Seconds = 5.0


class TtsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: fish where there are `endpoints`, sherpa where `model_dir` holds a model, else
    espeak."""
    fallbacks: tuple[Fallback, ...] = ()
    attempt_limit_s: Seconds = 1.5
    """One that has fallbacks gives its first sound of a clause within this."""
    endpoints: tuple[str, ...] = ()
    """Of one kind of server; the least busy one is asked."""
    api_key: str = ""
    model: str = ""
    """For speech-api."""
    rate_hz: Annotated[int, Meta(ge=8000, le=96_000)] = 44_100
    """Of what speech-api sends: Fish 44100, OpenAI and Kokoro 24000."""
    model_dir: str = "models/tts"
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    voice: str = ""
    first_audio_limit_s: Seconds = 5.0
    audio_limit_s: Seconds = 3.0
    """From one piece of a clause's sound to the next."""
    sentence_gap_ms: Annotated[int, Meta(ge=0, le=2000)] = 220
    clause_gap_ms: Annotated[int, Meta(ge=0, le=2000)] = 90
    """Silence between clauses, which are made one by one. Measured: espeak pauses for 290 ms
    between the sentences of one text, and for 7 to 27 ms behind a text of one clause."""


class EmbedderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: tei where there is an `endpoint`, else lexical."""
    endpoint: str = ""
    model: str = ""
    api_key: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    """For sentence-transformers."""


class RerankerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: tei where there is an `endpoint`, else none."""
    endpoint: str = ""
    api_key: str = ""


class RagConfig(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    index: Annotated[str, Meta(min_length=1)] = "data/index"
    """The folder `kaiwa ingest` writes."""
    passages: Annotated[int, Meta(ge=1, le=100)] = 4
    limit_ms: Annotated[int, Meta(ge=1, le=60_000)] = 300
    """After this the answer goes on without passages."""


class TurnConfig(Struct, frozen=True, forbid_unknown_fields=True):
    silence_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    """Silence that ends a turn, where the client sets none."""
    final_after_ms: Milliseconds = 200
    """Silence after which the recogniser is asked for its final."""
    final_limit_s: Seconds = 2.0
    max_utterance_s: Seconds = 60.0
    stall_s: Seconds = 1.5
    """In mid-speech, no audio for so long ends the turn."""


class PlayoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    frame_ms: Annotated[int, Meta(ge=10, le=400)] = 40
    lead_ms: Milliseconds = 300
    """How far ahead of the caller's ear audio is sent."""


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True):
    instructions: str = ""
    """Plain text, taken as it is; empty: those of `prompt`."""
    prompt: str = "agent"
    """A template, in its current version, or agent@2 in that one; see voice/templates.py."""
    prompts_dir: str = ""
    """The operator's own folder of templates; empty: voice/prompts."""
    name: str = "Kaiwa"
    """A template's {{agent_name}}."""
    variables: dict[str, str] = {}
    """Further variables that a template declares."""
    max_reply_s: Seconds = 60.0
    """Speech of one answer; the rest is not said."""
    hold_after_ms: Milliseconds = 2000
    """Silence, once an answer is due, that is broken by a word; 0: never."""


class MockConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Delays and faults of the mock providers, each known exactly."""

    stt_text: str = "what are your opening hours on saturday"
    stt_partial_ms: Delay = 300.0
    stt_final_ms: Delay = 20.0
    llm_first_token_ms: Delay = 50.0
    llm_token_ms: Delay = 10.0
    tts_first_audio_ms: Delay = 30.0
    jitter_ms: Delay = 0.0
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
    "EMBEDDING_PROVIDER": ("embedder", "provider"),
    "EMBEDDING_ENDPOINT": ("embedder", "endpoint"),
    "EMBEDDING_MODEL": ("embedder", "model"),
    "EMBEDDING_API_KEY": ("embedder", "api_key"),
    "RERANKER_ENDPOINT": ("reranker", "endpoint"),
    "RERANKER_API_KEY": ("reranker", "api_key"),
    "RAG_INDEX_PATH": ("rag", "index"),
}
"""Variable → where it goes. Lists are separated by commas."""


Problem = tuple[str, str]
"""A setting's path, and what is wrong with it."""


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
    config, problems = _converted(tree)
    problems += (*_problems(config), *judge(config))
    if problems:
        found = (f"{path}: {what}{_where(path, origins, file)}." for path, what in problems)
        raise ConfigError("\n".join(found))
    return config


def _where(path: str, origins: Mapping[str, str], file: Path | None) -> str:
    origin = origins.get(path) or file
    return f" ({origin})" if origin else ""


def _converted(tree: dict[str, Any]) -> tuple[Config, list[Problem]]:
    """What is wrong is put aside, its default in its place, until the rest is fine."""
    problems: list[Problem] = []
    while True:
        try:
            return msgspec.convert(tree, Config, strict=False), problems
        except msgspec.ValidationError as error:
            path, what = _explained(str(error))
            found, value = _taken_out(tree, path)
            # What is misplaced may be a key; of what has no place, nothing is shown.
            known = path.partition(".")[2] and not what.startswith(UNKNOWN)
            shown = known and isinstance(value, str | int | float) and path not in SECRET
            problems.append((path, f"{what}, got {value!r}" if shown else what))
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


UNKNOWN = "there is no such setting"
SECRET = (
    "embedder.api_key",
    "llm.api_key",
    "llm.cache_salt",
    "reranker.api_key",
    "server.api_keys",
    "tts.api_key",
)


def shown(path: str, value: Any) -> Any:
    """A setting as anybody may see it: of a secret, whether it is set."""
    if path in SECRET:
        return "set" if value else ""
    return _without_secrets(msgspec.to_builtins(value))


def _without_secrets(value: Any) -> Any:
    """A fallback is a mapping that may hold a key of its own."""
    if isinstance(value, dict):
        hidden = {path.rpartition(".")[2] for path in SECRET}
        return {key: "set" if key in hidden else _without_secrets(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return value


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
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
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


LISTS = ("server.api_keys", "server.allowed_origins", "stt.hotwords", "tts.endpoints")


def _parse(section: str, key: str, value: str) -> Any:
    if f"{section}.{key}" in LISTS:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value.upper() if (section, key) == ("log", "level") else value


LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _problems(config: Config) -> Iterator[Problem]:
    """What the types above cannot say."""
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
    for path, endpoint in (
        ("llm.endpoint", config.llm.endpoint),
        ("embedder.endpoint", config.embedder.endpoint),
        ("reranker.endpoint", config.reranker.endpoint),
        *(("tts.endpoints", endpoint) for endpoint in config.tts.endpoints),
    ):
        if endpoint and (wrong := addresses.endpoint_problem(endpoint)):
            yield path, wrong
    if config.stt.endpoint and (wrong := addresses.socket_problem(config.stt.endpoint)):
        yield "stt.endpoint", wrong
    if playout.lead_ms < playout.frame_ms:
        yield "playout.lead_ms", f"must be at least playout.frame_ms, got {playout.lead_ms}"
