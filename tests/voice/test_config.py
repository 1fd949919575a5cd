import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import yaml

from voice.config import ENVIRONMENT, PROFILES, Config, load
from voice.errors import ConfigError

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
    providers = (config.vad, config.stt, config.llm, config.tts, config.embedder, config.reranker)
    names = [part.provider for part in providers]
    assert names == ["silero", "pocketsphinx", "extractive", "espeak", "lexical", "none"]


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


def test_an_empty_variable_is_not_set(written: Path) -> None:
    config = loaded(written, "server: {port: 9000}", dict.fromkeys(ENVIRONMENT, ""))
    assert config.server.port == 9000


def test_an_empty_file_changes_nothing(written: Path) -> None:
    assert loaded(written, "") == load(environment={})


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    config = load(environment={"KAIWA_API_KEYS": f" {KEY}, {KEY}x ,,"})
    assert config.server.api_keys == (KEY, KEY + "x")


def test_an_endpoint_brings_the_client_that_speaks_to_it() -> None:
    config = load(environment={"LLM_ENDPOINT": "http://127.0.0.1:11434/v1"})
    assert config.llm.provider == "openai"
    assert load(profile="mock", environment={"LLM_ENDPOINT": "http://x"}).llm.provider == "mock"


EXAMPLES = {"int": "7", "float": "0.5", "float | None": "0.5", "str": "text"}


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_every_variable_arrives_where_it_is_said_to(variable: str) -> None:
    section, key = ENVIRONMENT[variable]
    part = getattr(Config(), section)
    kinds = {field.name: field.type for field in msgspec.structs.fields(part)}
    kind = getattr(kinds[key], "__name__", str(kinds[key]))
    text = KEY if kind.startswith("tuple") else EXAMPLES[kind]
    environment = {"KAIWA_API_KEYS": KEY, variable: text}  # a strange host asks for keys
    value = getattr(getattr(load(environment=environment), section), key)
    default = getattr(part, key)
    assert value != default
    assert value == ((KEY,) if kind.startswith("tuple") else type(value)(text))


# --- refusals ------------------------------------------------------------------------------------

REFUSED = [
    ("server: {prot: 1}", "server.prot", "known are host, port"),
    ("sever: {port: 1}", "sever", "known are profile, server"),
    ("server: 5", "server", "object"),
    ("server: null", "server", "object"),
    ("server: {port: soon}", "server.port", "int"),
    ("server: {port: .nan}", "server.port", "int"),
    ("server: {port: 65536}", "server.port", "0..65535"),
    ("server: {max_sessions: 0}", "server.max_sessions", "1 or more"),
    ("server: {api_keys: 0123456789abcdef}", "server.api_keys", "array"),
    ("server: {max_frame_kib: 0}", "server.max_frame_kib", "more than 0"),
    ("server: {send_limit_s: -1}", "server.send_limit_s", "more than 0"),
    ("turn: {silence_ms: 49}", "turn.silence_ms", "50..10000"),
    ("turn: {max_utterance_s: 0}", "turn.max_utterance_s", "more than 0"),
    ("turn: {stall_s: .nan}", "turn.stall_s", "more than 0"),
    ("turn: {final_limit_s: 0}", "turn.final_limit_s", "more than 0"),
    ("playout: {frame_ms: 5}", "playout.frame_ms", "10..400"),
    ("playout: {lead_ms: 10}", "playout.lead_ms", "at least playout.frame_ms"),
    ("vad: {threshold: 1}", "vad.threshold", "0..1"),
    ("agent: {instructions: [be, kind]}", "agent.instructions", "str"),
    ("mock: {faults: [5]}", "mock.faults[0]", "object"),
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
    """Each name once."""
    found: dict[str, str] = {}
    for line in (ROOT / ".env.default").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals and name not in found
            found[name] = value
    return found


def test_env_default_lists_every_variable_that_is_read() -> None:
    assert sorted(env_default()) == sorted(ENVIRONMENT)


def test_env_default_states_the_defaults() -> None:
    assert load(environment=env_default()) == load(environment={})


def test_env_default_explains_every_group() -> None:
    for block in (ROOT / ".env.default").read_text("utf-8").split("\n\n"):
        assert block.startswith("#")


def test_profiles_hold_no_secret() -> None:
    for path in PROFILES.glob("*.yaml"):
        assert "key" not in yaml.safe_dump(yaml.safe_load(path.read_text("utf-8"))).lower()
