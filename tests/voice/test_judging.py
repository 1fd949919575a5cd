"""What serve would refuse is refused before, with its place: by check, reload and the build."""

import re
from pathlib import Path
from typing import Any

import pytest

from voice.build import check_names
from voice.config import Config, EmbedderConfig, LlmConfig, SttConfig, TtsConfig, load
from voice.errors import ConfigError
from voice.makers import make_all, problems

GPU = "http://gpu:8000"

REFUSED: list[tuple[Config, str, str]] = [
    (
        Config(llm=LlmConfig(endpoint=GPU, fallbacks=({"endpoint": "gpu2:8000"},))),
        "llm.fallbacks[0].endpoint",
        "did you mean http://gpu2:8000/v1?",
    ),
    (
        Config(llm=LlmConfig(endpoint=GPU, fallbacks=({"endpoint": "http://me:s3cret@gpu2"},))),
        "llm.fallbacks[0].endpoint",
        "put a key into llm.fallbacks[0].api_key",
    ),
    (
        Config(llm=LlmConfig(endpoint=GPU, fallbacks=({"endpoint": "http://g?key=s3cret"},))),
        "llm.fallbacks[0].endpoint",
        "put a key into llm.fallbacks[0].api_key",
    ),
    (
        Config(llm=LlmConfig(endpoint=GPU, api_key="s3cret with spaces")),
        "llm.api_key",
        "LLM_API_KEY holds a space",
    ),
    (
        Config(llm=LlmConfig(endpoint=GPU, fallbacks=({"endpoint": GPU, "api_key": "s3cret cd"},))),
        "llm.fallbacks[0].api_key",
        "holds a space",
    ),
    (
        Config(tts=TtsConfig("espeak", ({"provider": "sherpa", "voice": "Anna"},))),
        "tts.fallbacks[0].voice",
        "must be a speaker's number",
    ),
    (
        Config(tts=TtsConfig("espeak", ({"provider": "fish", "endpoints": ["gpu:1"]},))),
        "tts.fallbacks[0].endpoints",
        "did you mean http://gpu:1?",
    ),
    (
        Config(stt=SttConfig("pocketsphinx", ({"endpoint": "ftp://x", "provider": "auto"},))),
        "stt.fallbacks[0].endpoint",
        "ws://127.0.0.1:6006",
    ),
    (
        Config(embedder=EmbedderConfig("openai", endpoint=GPU)),
        "embedder.model",
        "EMBEDDING_MODEL must name the model",
    ),
    (
        Config(tts=TtsConfig("speech-api", endpoints=(GPU, "http://gpu2:8000"))),
        "tts.endpoints",
        "takes one address",
    ),
    (
        Config(tts=TtsConfig("fish", ("speech-api",), endpoints=(GPU, "http://gpu2:8000"))),
        "tts.fallbacks[0].endpoints",
        "takes one address",
    ),
]


@pytest.mark.parametrize(("config", "path", "what"), REFUSED)
def test_what_cannot_be_made_is_told_by_its_place_and_shows_no_secret(
    config: Config, path: str, what: str
) -> None:
    ((found, why),) = problems(config)
    assert found == path and what in why and "s3cret" not in why
    with pytest.raises(ConfigError, match="^" + re.escape(path)):
        check_names(config)


def test_a_fallback_is_not_told_to_set_the_variable_of_its_section() -> None:
    for config, path, _ in REFUSED:
        ((_, why),) = problems(config)
        assert "fallbacks" not in path or "_API_KEY" not in why and "TTS_VOICE" not in why


def test_all_that_is_wrong_with_a_chain_is_told_and_once() -> None:
    wrong: tuple[Any, ...] = (
        {"endpoint": "gpu2:8000"},
        {"retries": -1, "retires": 3},
        "parrot",
        {"endpoint": GPU, "api_key": "a b"},
        3,
    )
    config = Config(llm=LlmConfig("openai", wrong, endpoint=GPU, api_key="c d"))
    assert [path for path, _ in problems(config)] == [
        "llm.api_key",
        "llm.fallbacks[0].endpoint",
        "llm.fallbacks[1].retries",
        "llm.fallbacks[1].retires",
        "llm.fallbacks[2].provider",
        "llm.fallbacks[3].api_key",
        "llm.fallbacks[4]",
    ]
    with pytest.raises(ConfigError) as refused:
        load(environment={"LLM_ENDPOINT": "http://me:s3cret@gpu"}, judge=problems)
    assert str(refused.value).count("llm.endpoint: ") == 1
    assert "s3cret" not in str(refused.value)


def test_an_address_that_nobody_uses_is_no_fallbacks_fault() -> None:
    config = Config(tts=TtsConfig("fish", ("espeak",), endpoints=("gpu:8080",)))
    assert [path for path, _ in problems(config)] == ["tts.endpoints"]


def test_a_provider_that_cannot_be_made_is_named_by_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"^llm\.api_key: LLM_API_KEY holds a space"):
        make_all(Config(llm=LlmConfig(endpoint=GPU, api_key="a b")), "llm")


def test_faults_of_mocks_that_cannot_be_are_told_once(tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text("profile: mock\nmock: {faults: [{slot: llm, kind: flood}]}")
    with pytest.raises(
        ConfigError, match=r"^mock\.faults\[0\]\.kind: must be one of fail, stall, cut, slow"
    ) as refused:
        load(file=file, environment={}, judge=problems)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("fault", "path", "what"),
    [
        ("{kind: stall}", "slot", "must be one of stt, llm, tts, got None"),
        ("{slot: nope, kind: stall}", "slot", "must be one of stt, llm, tts, got 'nope'"),
        ("{slot: llm}", "kind", "is missing"),
        ("{slot: llm, kind: fail, fault: x}", "fault", "must be one of "),
        ("{slot: llm, kind: cut, itme: 1}", "itme", "did you mean item?"),
    ],
)
def test_a_fault_that_would_never_come_is_refused_whoever_is_mocked(
    tmp_path: Path, fault: str, path: str, what: str
) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text(f"mock: {{faults: [{fault}]}}")
    with pytest.raises(ConfigError) as refused:
        load(file=file, environment={}, judge=problems)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"mock.faults[0].{path}: ") and what in line


def test_production_without_a_model_is_told_of_vllm_as_well() -> None:
    told = dict(problems(Config(llm=LlmConfig("openai"))))["llm.endpoint"]
    assert "http://127.0.0.1:9000/v1 for vLLM" in told and "Ollama" in told
