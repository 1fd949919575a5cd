import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import yaml

from voice.config import ENVIRONMENT, PROFILE, PROFILES, Config, load
from voice.config_command import settings, value_of
from voice.errors import ConfigError
from voice.makers import problems

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "kaiwa.yaml"


def loaded(file: Path, text: str, environment: Mapping[str, str] | None = None) -> Config:
    file.write_text(text, "utf-8")
    return load(file=file, environment=environment or {})


# --- what stands above what ----------------------------------------------------------------------


def test_without_anything_the_embedded_profile_is_served_to_this_machine_only() -> None:
    config = load(environment={})
    assert config.profile == "embedded"
    assert config.server.host == "127.0.0.1"
    assert config.server.api_keys == ()


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_can_be_loaded(profile: str) -> None:
    assert load(profile=profile, environment={}).profile == profile


def test_a_file_stands_above_its_profile(written: Path) -> None:
    config = loaded(written, "profile: mock\nserver: {port: 9000}\ntts: {voice: en}")
    assert config.profile == "mock"
    assert config.stt.provider == "mock"
    assert (config.server.port, config.tts.voice, config.tts.provider) == (9000, "en", "mock")


def test_the_environment_stands_above_the_file(written: Path) -> None:
    config = loaded(written, "server: {port: 9000, max_sessions: 3}", {"KAIWA_PORT": "9001"})
    assert (config.server.port, config.server.max_sessions) == (9001, 3)


def test_the_command_line_stands_above_all(written: Path) -> None:
    written.write_text("server: {port: 9000}")
    config = load(
        file=written,
        environment={"KAIWA_PORT": "9001"},
        overrides={("server", "port"): 9002, ("server", "host"): None},
    )
    assert (config.server.port, config.server.host) == (9002, "127.0.0.1")


def test_a_profile_named_on_the_command_line_stands_above_the_files(written: Path) -> None:
    written.write_text("profile: embedded")
    assert load(profile="mock", file=written, environment={}).stt.provider == "mock"


def test_a_profile_in_the_environment_stands_between_the_file_and_the_command_line(
    written: Path,
) -> None:
    assert load(environment={PROFILE: "mock"}).profile == "mock"
    assert loaded(written, "profile: embedded", {PROFILE: "mock"}).stt.provider == "mock"
    assert load(profile="embedded", environment={PROFILE: "mock"}).profile == "embedded"
    with pytest.raises(ConfigError, match=r"^profile: there is no 'mokc'.* \(KAIWA_PROFILE\)\.$"):
        load(environment={PROFILE: "mokc"})


def test_an_empty_variable_is_not_set(written: Path) -> None:
    config = loaded(written, "server: {port: 9000}", dict.fromkeys([*ENVIRONMENT, PROFILE], ""))
    assert config.server.port == 9000


def test_an_empty_file_changes_nothing(written: Path) -> None:
    assert loaded(written, "") == load(environment={})


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    config = load(environment={"KAIWA_API_KEYS": f" {KEY}, {KEY}x ,,"})
    assert config.server.api_keys == (KEY, KEY + "x")


EXAMPLES = {
    "STT_ENDPOINT": "ws://127.0.0.1:6006",
    "STT_PROVIDER_RUNTIME": "cuda",
    "TTS_ENDPOINT": "http://127.0.0.1:8080",
    "EMBEDDING_ENDPOINT": "http://127.0.0.1:8081",
    "RERANKER_ENDPOINT": "http://127.0.0.1:8082",
    "KAIWA_API_KEYS": KEY,
    "KAIWA_ALLOWED_ORIGINS": "https://voice.example.com",
    "KAIWA_PORT": "7",
    "KAIWA_MAX_SESSIONS": "7",
    "LOG_LEVEL": "DEBUG",
    "LLM_ENDPOINT": "http://127.0.0.1:11434/v1",
    "LLM_TEMPERATURE": "0.5",
    "LLM_MAX_TOKENS": "7",
    "KAIWA_RECORD_DAYS": "7",
    "TTS_ENCODING": "json",
    "TTS_STREAM": "sse",
    "TTS_PAID": "true",
    "TTS_FIRST_WORD_LIMIT_S": "7.0",
    "EMBEDDING_THREADS": "7",
    "RERANKER_KEEP": "0.5",
    "RERANKER_LIMIT_S": "0.5",
    "KAIWA_SPECULATION": "false",
    "KAIWA_PUBLIC_URL": "https://voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC0123456789abcdef0123456789abcdef",
    "TWILIO_AUTH_TOKEN": KEY,
    "VONAGE_SIGNATURE_SECRET": KEY,
    "TELNYX_PUBLIC_KEY": "A" * 43 + "=",
    "ASTERISK_PASSWORD": KEY,
    "KAIWA_WEBRTC_UDP": "50000-50199",
    "KAIWA_PUBLIC_ADDRESS": "198.51.100.7",
    "KAIWA_ICE_SERVERS": "stun:stun.example.com",
    "KAIWA_TURN_SECRET": KEY,
    "KAIWA_SIP_ENABLED": "true",
    "KAIWA_SIP_HOST": "192.168.1.10",
    "KAIWA_SIP_PORT": "7",
    "KAIWA_SIP_RTP_UDP": "30000-30099",
    "KAIWA_SIP_MOST_CALLS": "7",
    "KAIWA_SIP_PUBLIC_ADDRESS": "203.0.113.5",
    "KAIWA_SIP_PEERS": "203.0.113.0/24",
    "KAIWA_SIP_PASSWORD": KEY,
}
BESIDE = {
    "KAIWA_TURN_SECRET": {"KAIWA_ICE_SERVERS": "turn:turn.example.com"},
    "KAIWA_SIP_USERNAME": {"KAIWA_SIP_PASSWORD": KEY},
    "KAIWA_SIP_PASSWORD": {"KAIWA_SIP_USERNAME": "alice"},
    "KAIWA_SIP_REGISTRAR": {"KAIWA_SIP_EXTENSION": "620"},
}
"""What goes with some: one without the other is refused."""


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_every_variable_arrives_where_it_is_said_to(variable: str) -> None:
    section, key = ENVIRONMENT[variable]
    text = EXAMPLES.get(variable, "text")
    beside = {"KAIWA_API_KEYS": KEY, **BESIDE.get(variable, {})}  # a strange host asks for keys
    environment = {**beside, variable: text}
    value = getattr(getattr(load(environment=environment), section), key)
    assert value != getattr(getattr(Config(), section), key)
    if isinstance(value, tuple):
        assert [str(one) for one in value] == text.split(",")
    else:
        assert value == msgspec.convert(text, type(value), strict=False)


# --- refusals ------------------------------------------------------------------------------------

REFUSED = [
    ("server: {prot: 1}", "server.prot", "known are host, port"),
    ("sever: {port: 1}", "sever", "known are profile, server"),
    ("sever: {port: 1}", "sever", "did you mean server? known are"),
    ("llm: {temprature: 1}", "llm.temprature", "did you mean temperature? known are"),
    ("llm: {context_tokens: 1}", "llm.context_tokens", "must be >= 100"),
    ("server: 5", "server", "must be a section: below it its settings"),
    ("server: null", "server", "must be a section"),
    ("server: {port: soon}", "server.port", "must be a whole number, got 'soon'"),
    ("server: {port: .nan}", "server.port", "must be a whole number"),
    ("server: {port: 65536}", "server.port", "must be <= 65535, got 65536"),
    ("server: {max_sessions: 0}", "server.max_sessions", "must be >= 1, got 0"),
    ("server: {api_keys: 0123456789abcdef}", "server.api_keys", "must be a list"),
    ("server: {max_frame_kib: 0}", "server.max_frame_kib", ">= 1"),
    ("server: {send_limit_s: -1}", "server.send_limit_s", "must be > 0"),
    ("turn: {silence_ms: 49}", "turn.silence_ms", "must be >= 50"),
    ("turn: {max_utterance_s: 0}", "turn.max_utterance_s", "must be > 0"),
    ("turn: {stall_s: .nan}", "turn.stall_s", "must be > 0"),
    ("turn: {final_limit_s: 0}", "turn.final_limit_s", "must be > 0"),
    ("playout: {frame_ms: 5}", "playout.frame_ms", "must be >= 10"),
    ("stt: {workers: 100000}", "stt.workers", "must be <= 256, got 100000"),
    ("turn: {stall_s: .inf}", "turn.stall_s", "must be <= 3600"),
    ("log: {level: LOUD}", "log.level", "must be one of DEBUG, INFO, WARNING"),
    ("rag: {index: ''}", "rag.index", "must not be empty"),
    ("rag: {passages: 0}", "rag.passages", "must be >= 1"),
    ("playout: {lead_ms: 10}", "playout.lead_ms", "at least playout.frame_ms"),
    (
        "turn: {min_silence_ms: 900, max_silence_ms: 800}",
        "turn.max_silence_ms",
        "at least turn.min_silence_ms (900), got 800",
    ),
    ("record: {keep_mb: 100}", "record.keep_mb", "one call, record.most_mb (200), or be 0"),
    ("load: {lag_ms: [5, 4, 6, 7]}", "load.lag_ms", "must grow from level to level"),
    ("vad: {threshold: 1}", "vad.threshold", "must be < 1"),
    ("agent: {instructions: [be, kind]}", "agent.instructions", "must be text"),
    ("mock: {faults: [5]}", "mock.faults[0]", "must be a mapping, name: value"),
    ("tts: {extra: [5]}", "tts.extra", "must be a mapping, name: value"),
    ("tts: {connect_limit_s: 0}", "tts.connect_limit_s", "must be > 0"),
    ("llm: {temperature: hot}", "llm.temperature", "must be a number or nothing, got 'hot'"),
    ("tts: {paid: maybe}", "tts.paid", "must be true or false or nothing"),
    ("load: {lag_ms: [1, 2]}", "load.lag_ms", "must be a list of 4"),
    ("agent: {variables: {a: b, c.d: 5}}", "agent.variables.c.d", "must be text in quotes, got 5"),
    ("3: x", "3", "put it in quotes"),
    ("tts: {extra: {on: 1}}", "tts.extra.True", "put it in quotes"),
    ("strays: [LLM_ENDPONT]", "strays", "known are profile, server"),
]


@pytest.mark.parametrize(("text", "path", "remedy"), REFUSED)
def test_a_wrong_setting_is_named_by_its_path_with_what_would_be_right(
    written: Path, text: str, path: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(written, text)
    assert str(refused.value).startswith(f"{path}:")
    assert remedy in str(refused.value)


def test_a_setting_of_the_wrong_kind_is_told_with_the_place_it_was_set(written: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(written))):
        loaded(written, "server: {port: soon}")
    with pytest.raises(ConfigError, match=r"^server\.port: .*KAIWA_PORT"):
        loaded(written, "server: {port: 1}", {"KAIWA_PORT": "soon"})
    with pytest.raises(ConfigError, match=r"^server\.max_sessions: .*--max-sessions"):
        load(environment={}, overrides={("server", "max_sessions"): "many"})


def refusal(**environment: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(environment=environment)
    return str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "path", "remedy"),
    [
        ("LOG_LEVEL", "LOUD", "log.level", "DEBUG, INFO, WARNING, ERROR"),
        ("LLM_ENDPOINT", "localhost:11434", "llm.endpoint", "mean http://localhost:11434/v1?"),
        ("LLM_ENDPOINT", "ftp://x", "llm.endpoint", "http://127.0.0.1:11434/v1"),
        ("KAIWA_ALLOWED_ORIGINS", "foo", "server.allowed_origins", "mean https://foo?"),
        ("LLM_TEMPERATURE", "9", "llm.temperature", "must be <= 2"),
        ("TTS_ENCODING", "yaml", "tts.encoding", "must be one of msgpack, json"),
        ("TTS_STREAM", "wav", "tts.stream", "must be one of audio, sse"),
        ("TTS_PAID", "perhaps", "tts.paid", "must be true or false"),
        ("TTS_FIRST_WORD_LIMIT_S", "0", "tts.first_word_limit_s", "must be > 0"),
        ("EMBEDDING_THREADS", "0", "embedder.threads", "must be >= 1"),
        ("EMBEDDING_THREADS", "many", "embedder.threads", "must be a whole number"),
        ("RERANKER_KEEP", "1.1", "reranker.keep", "must be <= 1"),
        ("RERANKER_KEEP", "nan", "reranker.keep", "must be >= 0"),
        ("RERANKER_LIMIT_S", "0", "reranker.limit_s", "must be > 0"),
    ],
)
def test_a_variable_that_cannot_be_is_named_with_its_setting_and_the_remedy(
    variable: str, value: str, path: str, remedy: str
) -> None:
    text = refusal(**{variable: value})
    assert text.startswith(f"{path}: ") and text.endswith(f" ({variable}).")
    assert remedy in text and value in text


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("llm: {temperature: 1}\nllm: {model: x}\n", "llm", (1, 2)),
        ("tts:\n  voice: a\n  model: b\n  voice: c\n", "voice", (2, 4)),
        ("mock:\n  faults:\n  - {slot: llm,\n     kind: cut, kind: stall}\n", "kind", (4, 4)),
    ],
)
def test_a_name_that_is_given_twice_is_refused_with_its_lines(
    written: Path, text: str, name: str, lines: tuple[int, int]
) -> None:
    first, again = lines
    told = f"{written}: '{name}' is set in line {first} and again in line {again}, "
    with pytest.raises(ConfigError, match=re.escape(told)):
        loaded(written, text)


def test_an_anchor_may_be_merged_and_overwritten(written: Path) -> None:
    text = "llm: &one {max_tokens: 5, model: a}\nmock: {}\ntts: {extra: {<<: *one, model: b}}\n"
    assert loaded(written, text).tts.extra == {"max_tokens": 5, "model": "b"}


@pytest.mark.parametrize(
    ("variable", "example", "key"),
    [
        ("LLM_ENDPOINT", "http://127.0.0.1:11434/v1", "LLM_API_KEY (llm.api_key)"),
        ("TTS_ENDPOINT", "http://127.0.0.1:8080", "TTS_API_KEY (tts.api_key)"),
        ("EMBEDDING_ENDPOINT", "http://127.0.0.1:8081", "EMBEDDING_API_KEY (embedder.api_key)"),
        ("RERANKER_ENDPOINT", "http://127.0.0.1:8082", "RERANKER_API_KEY (reranker.api_key)"),
    ],
)
def test_an_address_is_told_with_an_example_of_its_own_kind(
    variable: str, example: str, key: str
) -> None:
    assert f"must look like {example} (" in refusal(**{variable: "ftp://x"})
    assert f"put a key into {key} instead" in refusal(**{variable: "http://me:s3cret@gpu"})


def test_everything_that_is_wrong_is_told_at_once(written: Path) -> None:
    written.write_text(
        "sever: {port: 1}\nserver: {prot: 1, port: soon, drain_s: -1}\nturn: 5\n"
        "stt: {workers: 100000}\nplayout: {lead_ms: 10}\n"
    )
    environment = {"LOG_LEVEL": "LOUD", "LLM_ENDPOINT": "ftp://x", "KAIWA_HOST": "0.0.0.0"}
    with pytest.raises(ConfigError) as refused:
        load(
            file=written,
            environment=environment,
            judge=lambda config: [("tts.voice", f"judged with {config.stt.workers} workers")],
        )
    told = {line.partition(": ")[0]: line for line in str(refused.value).splitlines()}
    assert sorted(told) == [
        "llm.endpoint",
        "log.level",
        "playout.lead_ms",
        "server.drain_s",
        "server.host",
        "server.port",
        "server.prot",
        "sever",
        "stt.workers",
        "tts.voice",
        "turn",
    ]
    assert "KAIWA_HOST" in told["server.host"] and str(written) in told["server.port"]
    assert "judged with 0 workers" in told["tts.voice"], "a default stands for what is wrong"


def test_what_is_no_section_hides_nothing_else(written: Path) -> None:
    written.write_text("stt: foo\n3: x\nprofile: prodution\nllm: {max_tokens: many}\n")
    with pytest.raises(ConfigError) as refused:
        load(file=written, environment={"STT_ENDPOINT": "stt:6006"})
    told = [line.partition(": ")[0] for line in str(refused.value).splitlines()]
    assert sorted(told) == ["3", "llm.max_tokens", "profile", "stt", "stt.endpoint"]


def test_what_stands_in_for_a_wrong_value_is_not_judged(written: Path) -> None:
    written.write_text("llm: {endpoint: [http://gpu]}")
    with pytest.raises(ConfigError) as refused:
        load(
            file=written,
            environment={},
            judge=lambda config: [("llm.endpoint", f"is needed, got {config.llm.endpoint!r}")],
        )
    assert str(refused.value) == f"llm.endpoint: must be text ({written})."


def test_a_misspelt_variable_is_told_beside_what_it_may_have_caused() -> None:
    with pytest.raises(ConfigError, match=r"^llm\.temperature") as refused:
        load(environment={"LLM_TEMPERATURE": "hot", "LLM_ENDPONT": "http://gpu"})
    assert refused.value.hints == ("LLM_ENDPONT is not a setting; did you mean LLM_ENDPOINT?",)
    assert "LLM_ENDPONT" not in str(refused.value)


def test_a_level_may_be_written_small_in_the_environment() -> None:
    assert load(environment={"LOG_LEVEL": "debug"}).log.level == "DEBUG"


@pytest.mark.parametrize("key", ["'[/red]'", "'a.b'", "''", "5", "'server.port'"])
def test_strange_keys_are_told_like_others(written: Path, key: str) -> None:
    for text in (f"{key}: {{x: 1}}", f"server: {{{key}: 1}}"):
        with pytest.raises(ConfigError, match=re.escape(str(written))):
            loaded(written, text)


def test_what_is_needed_names_variable_and_setting_and_only_a_file_that_speaks_of_it(
    written: Path,
) -> None:
    environment = {"EMBEDDING_PROVIDER": "tei"}

    def told(text: str) -> str:
        written.write_text(text)
        with pytest.raises(ConfigError) as refused:
            load(file=written, environment=environment, judge=problems)
        return str(refused.value)

    needed = (
        "embedder.endpoint: provider tei needs it; set EMBEDDING_ENDPOINT in .env or the "
        "environment, or embedder.endpoint in a --config file; for example http://127.0.0.1:8081"
    )
    assert told("server: {port: 8001}") == f"{needed}."
    assert told("embedder: {model: x}") == f"{needed} ({written})."


def test_a_secret_of_the_wrong_kind_is_not_shown(written: Path) -> None:
    with pytest.raises(ConfigError, match="server.api_keys") as refused:
        loaded(written, "server: {api_keys: s3cret-s3cret-s3cret}\nllm: {api_key: [s3cret]}")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "llm: {apikey: s3cret}",
        "tts: {api_key: [s3cret]}",
        "server: {api_key: s3cret}",
        "llm_api_key: s3cret",
        "llm: s3cret",
    ],
)
def test_what_stands_in_the_wrong_place_may_be_a_secret_and_is_not_shown(
    written: Path, text: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(written, text)
    assert "s3cret" not in str(refused.value)


def test_a_profile_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="known are embedded, mock"):
        load(profile="prodction", environment={})


@pytest.mark.parametrize("text", ["- a", "just words", "5"])
def test_a_file_without_sections_is_refused(written: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="must hold sections"):
        loaded(written, text)


@pytest.mark.parametrize(
    "data", [b"server: [", b"\xff\xfe", b"? [a]\n: b", b"a: !!python/object:os.x 1"]
)
def test_a_file_that_is_not_plain_yaml_is_refused_by_name(written: Path, data: bytes) -> None:
    written.write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(str(written))):
        load(file=written, environment={})


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path / "none.yaml", environment={})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path, environment={})


# --- closed by default ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "kaiwa.example.com", " "])
def test_others_are_let_in_only_with_keys(host: str) -> None:
    with pytest.raises(ConfigError, match="KAIWA_API_KEYS") as refused:
        load(environment={"KAIWA_HOST": host})
    assert str(refused.value).startswith("server.host:")
    assert load(environment={"KAIWA_HOST": host, "KAIWA_API_KEYS": KEY}).server.host == host


def test_an_empty_address_means_every_address(written: Path) -> None:
    with pytest.raises(ConfigError, match="KAIWA_API_KEYS"):
        loaded(written, "server: {host: ''}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_is_let_in_without_a_key(host: str) -> None:
    assert load(environment={"KAIWA_HOST": host}).server.api_keys == ()


def test_commas_alone_are_no_keys() -> None:
    with pytest.raises(ConfigError, match="no API keys"):
        load(environment={"KAIWA_HOST": "0.0.0.0", "KAIWA_API_KEYS": " , "})


def test_a_short_key_is_refused_with_a_way_to_make_one_and_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="token_urlsafe") as refused:
        load(environment={"KAIWA_API_KEYS": f"{KEY},hunter2"})
    assert "hunter2" not in str(refused.value)


# --- .env.default --------------------------------------------------------------------------------


def env_default() -> dict[str, str]:
    """Each name once, without those of docker compose: tests/test_compose.py knows them."""
    found: dict[str, str] = {}
    ours = (ROOT / ".env.default").read_text("utf-8").partition("# --- docker compose only")[0]
    for line in ours.splitlines():
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals and name not in found
            found[name] = value
    return found


def test_env_default_lists_every_variable_that_is_read() -> None:
    assert sorted(env_default()) == sorted([*ENVIRONMENT, PROFILE])


def test_env_default_states_the_defaults() -> None:
    assert load(environment=env_default()) == load(environment={})


def test_env_default_explains_every_group() -> None:
    for block in (ROOT / ".env.default").read_text("utf-8").split("\n\n"):
        assert block.startswith("#")


def test_profiles_hold_no_secret() -> None:
    for path in PROFILES.glob("*.yaml"):
        assert "key" not in yaml.safe_dump(yaml.safe_load(path.read_text("utf-8"))).lower()


def test_a_key_within_a_fallback_is_a_secret_too() -> None:
    config = load(environment={"LLM_API_KEY": "s3cret"})
    backup = {"provider": "openai", "endpoint": "https://b.example.com/v1", "api_key": "s3cret"}
    llm = msgspec.structs.replace(config.llm, fallbacks=(backup,))
    found = dict(settings(msgspec.structs.replace(config, llm=llm)))
    assert found["llm.api_key"] == "set" and "b.example.com" in str(found["llm.fallbacks"])
    assert "s3cret" not in str(found)


def test_a_password_in_an_address_is_shown_nowhere() -> None:
    config = load(environment={"STT_ENDPOINT": "ws://user:s3cret@stt:6006/?token=s3cret"})
    other = {"endpoint": "ws://user:s3cret@other:6006"}
    stt = msgspec.structs.replace(config.stt, fallbacks=(other,))
    found = dict(settings(msgspec.structs.replace(config, stt=stt)))
    assert found["stt.endpoint"] == "ws://…@stt:6006/?…" and "other:6006" in str(found)
    assert "s3cret" not in str(found)
    assert "s3cret" not in value_of(config, "stt.endpoint")
    assert config.stt.endpoint.count("s3cret") == 2, "what is used is what was set"


@pytest.mark.parametrize(
    "text",
    [
        "tts: {endpoints: 'http://user:s3cret@gpu'}",
        "stt: {workers: 'ws://user:s3cret@gpu?key=s3cret'}",
        "llm:\n  api_key: 's3cret\n",
        "llm:\n  api_key: s3cret: x\n",
        "s3cret",
    ],
)
def test_nor_in_a_file_that_is_wrong(written: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(written, text)
    assert "s3cret" not in str(refused.value)


def test_a_file_that_is_not_yaml_is_told_with_its_line(written: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not YAML: .* in line 2, column 16"):
        loaded(written, "llm:\n  api_key: s3cr: x\n")
