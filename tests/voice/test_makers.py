"""Which providers a configuration means, and in which order they stand in for each other."""

from pathlib import Path
from typing import Any

import pytest

from voice.build import make
from voice.chain import Chain
from voice.config import Config, LlmConfig, SttConfig, TtsConfig, load
from voice.errors import ConfigError
from voice.makers import KNOWN, NEEDS, chosen, links, problems

SLOTS = ("vad", "stt", "llm", "tts", "embedder", "reranker")
ADDRESSES = {
    "STT_ENDPOINT": "ws://127.0.0.1:6006",
    "LLM_ENDPOINT": "http://127.0.0.1:9000",
    "TTS_ENDPOINT": "http://127.0.0.1:8080,http://127.0.0.1:8090",
    "EMBEDDING_ENDPOINT": "http://127.0.0.1:8081",
    "RERANKER_ENDPOINT": "http://127.0.0.1:8082",
}


def names(config: Config) -> list[str]:
    return [chosen(config, slot) for slot in SLOTS]


def test_without_anything_nothing_is_needed() -> None:
    expected = ["silero", "pocketsphinx", "extractive", "espeak", "lexical", "none"]
    assert names(load(environment={})) == expected


def test_an_address_brings_the_client_that_speaks_to_it() -> None:
    config = load(environment=ADDRESSES)
    assert names(config) == ["silero", "sherpa-server", "openai", "fish", "tei", "tei"]


def test_a_mock_stays_one_whatever_addresses_there_are() -> None:
    assert names(load(profile="mock", environment=ADDRESSES))[1:4] == ["mock"] * 3


@pytest.mark.parametrize("at", ["model.onnx", "zipformer-en/encoder.onnx"])
def test_a_model_in_its_folder_is_used(tmp_path: Path, at: str) -> None:
    (tmp_path / at).parent.mkdir(exist_ok=True)
    (tmp_path / at).touch()
    config = load(environment={"STT_MODEL_DIR": str(tmp_path), "TTS_MODEL_DIR": str(tmp_path)})
    assert (chosen(config, "stt"), chosen(config, "tts")) == ("sherpa", "sherpa")


def test_what_production_cannot_be_without_is_told_with_its_variables() -> None:
    with pytest.raises(ConfigError) as refused:
        load(profile="production", environment={}, judge=problems)
    for variable in ("LLM_ENDPOINT", "TTS_ENDPOINT", "EMBEDDING_ENDPOINT"):
        assert f"set {variable}" in str(refused.value)
    assert list(problems(load(profile="production", environment=ADDRESSES))) == []


def test_production_has_somebody_to_stand_in_for_every_server_a_caller_hears() -> None:
    config = load(profile="production", environment=ADDRESSES)
    chains = {slot: [chosen(own, slot) for own in links(config, slot)] for slot in SLOTS}
    assert chains["stt"] == ["sherpa-server", "pocketsphinx"]
    assert chains["llm"] == ["openai", "extractive"]
    assert chains["tts"] == ["fish", "espeak"]


def test_a_fallback_may_differ_in_more_than_its_name() -> None:
    backup = {"provider": "openai", "endpoint": "https://backup.example.com/v1", "model": "small"}
    config = Config(llm=LlmConfig("openai", (backup,), endpoint="http://vllm:8000", model="large"))
    first, second = links(config, "llm")
    assert (first.llm.endpoint, first.llm.model) == ("http://vllm:8000", "large")
    assert (second.llm.endpoint, second.llm.model) == ("https://backup.example.com/v1", "small")
    assert second.llm.fallbacks == ()


@pytest.mark.parametrize(
    ("fallback", "path", "what"),
    [
        ("parrot", "tts.fallbacks[0].provider", "known are espeak, fish"),
        ("fish", "tts.fallbacks[0].endpoints", "set TTS_ENDPOINT"),
        ({"provider": "espeak", "vocie": "x"}, "tts.fallbacks[0]", "vocie"),
        ({"provider": "espeak", "audio_limit_s": -1}, "tts.fallbacks[0]", "audio_limit_s"),
    ],
)
def test_a_fallback_that_cannot_be_is_told_by_its_place(
    fallback: Any, path: str, what: str
) -> None:
    ((found, why),) = problems(Config(tts=TtsConfig("espeak", (fallback,))))
    assert found == path and what in why


def test_what_runs_in_process_and_alone_is_no_chain() -> None:
    config = load(environment={})
    assert not any(isinstance(make(config, slot), Chain) for slot in ("vad", "stt", "llm", "tts"))


def test_a_server_elsewhere_is_a_chain_even_alone() -> None:
    config = load(environment=ADDRESSES)
    chains = [make(config, slot) for slot in ("stt", "llm", "tts")]
    assert [len(chain.links) for chain in chains] == [1, 1, 1]
    stt = Config(stt=SttConfig("pocketsphinx", ("mock",)))
    assert [link.info.provider for link in make(stt, "stt").links] == ["pocketsphinx", "echo"]


def test_what_is_needed_is_a_setting_of_a_provider_there_is() -> None:
    for (slot, name), (setting, _) in NEEDS.items():
        assert name in KNOWN[slot] and hasattr(getattr(Config(), slot), setting)
