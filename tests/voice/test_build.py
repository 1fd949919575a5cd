"""What only the root can judge of the settings; that providers run is the other tests' business."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from providers.base import ProviderError
from tests.served import Served, get
from voice.build import build, warnings
from voice.config import (
    Config,
    EmbedderConfig,
    LlmConfig,
    SttConfig,
    TtsConfig,
    TurnConfig,
    VadConfig,
    load,
)
from voice.makers import KNOWN, problems


def test_the_default_settings_give_no_cause_for_a_word() -> None:
    for profile in ("embedded", "mock"):
        config = load(profile=profile, environment={})
        assert list(problems(config)) == [] and warnings(config) == []


def test_every_provider_there_is_not_is_named_with_those_there_are() -> None:
    config = Config(
        vad=VadConfig("parrot"), tts=TtsConfig("parrot"), embedder=EmbedderConfig("parrot")
    )
    found = dict(problems(config))
    assert sorted(found) == ["embedder.provider", "tts.provider", "vad.provider"]
    for path, what in found.items():
        assert "'parrot'" in what
        assert all(name in what for name in KNOWN[path.partition(".")[0]])


def test_a_client_without_an_address_is_told_before_anything_is_loaded() -> None:
    ((path, what),) = problems(Config(llm=LlmConfig("openai")))
    assert path == "llm.endpoint" and "LLM_ENDPOINT" in what and "http://" in what


def test_a_language_that_the_recogniser_does_not_know_is_warned_of() -> None:
    (warning,) = warnings(Config(stt=SttConfig(language="ja")))
    assert warning.startswith("stt: ") and "'ja'" in warning and "en" in warning
    for language in ("en", "en-GB", "EN-us", ""):
        assert warnings(Config(stt=SttConfig(language=language))) == []
    assert warnings(Config(stt=SttConfig("mock", language="ja"))) == []


def test_a_voice_there_is_not_is_warned_of() -> None:
    (warning,) = warnings(Config(tts=TtsConfig(voice="no-such-voice")))
    assert warning.startswith("tts: ") and "'no-such-voice'" in warning
    for voice in ("en-us+f3", "ja", ""):
        assert warnings(Config(tts=TtsConfig(voice=voice))) == []
    assert warnings(Config(tts=TtsConfig("mock", voice="no-such-voice"))) == []


def test_a_server_tells_of_such_settings_at_its_start_and_in_health(
    serving: Callable[..., Served],
) -> None:
    served = serving(tts={"provider": "espeak", "voice": "no-such-voice"})
    logged = [json.loads(line) for line in served.lines if '"check_the_settings"' in line]
    assert ["'no-such-voice'" in line["why"] for line in logged] == [True]
    health: dict[str, Any] = json.loads(get(served.url, "/health").body)
    assert health["status"] == "degraded"
    assert any("'no-such-voice'" in warning for warning in health["warnings"])


def test_a_misspelt_variable_is_told_at_the_start_and_nobody_is_called_degraded_for_it() -> None:
    built = build(load(profile="mock", environment={"LLM_ENDPONT": "http://127.0.0.1:9"}))
    assert built.warnings == ()

    async def start() -> None:
        await built.start()
        await built.aclose()

    with capture_logs() as logged:
        asyncio.run(start())
    (told,) = [line["why"] for line in logged if line["event"] == "check_the_settings"]
    assert told == "LLM_ENDPONT is not a setting; did you mean LLM_ENDPOINT?"


def started(config: Config) -> list[Any]:
    async def start() -> None:
        built = build(config)
        try:
            await built.start()
        finally:
            await built.aclose()

    with capture_logs() as logged:
        asyncio.run(start())
    return list(logged)


def test_a_broken_turn_model_that_nobody_named_keeps_no_server_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "v3.onnx").write_bytes(bytes(1000))
    mock = load(profile="mock", environment={})
    turn = TurnConfig(model=str(tmp_path))
    logged = started(msgspec.structs.replace(mock, turn=turn))
    (told,) = [line for line in logged if line["event"] == "goes_on_without"]
    assert told["slot"] == "turn" and "kaiwa models pull smart-turn" in told["error"]
    named = msgspec.structs.replace(turn, provider="smart-turn")
    with pytest.raises(ProviderError, match="kaiwa models pull smart-turn"):
        started(msgspec.structs.replace(mock, turn=named))


@pytest.mark.parametrize("variable", ["STT_MODEL_DIR", "TTS_MODEL_DIR", "TURN_MODEL"])
def test_a_models_folder_that_was_set_and_is_not_there_is_warned_of_by_its_variable(
    tmp_path: Path, variable: str
) -> None:
    nowhere = str(tmp_path / "none")
    (warning,) = warnings(load(environment={variable: nowhere}))
    assert variable in warning and f"names {nowhere}, which is not there" in warning
    assert warnings(load(environment={variable: str(tmp_path)})) == []


def test_a_recogniser_named_without_its_folder_is_warned_of(tmp_path: Path) -> None:
    (warning,) = warnings(Config(stt=SttConfig("sherpa", model_dir=str(tmp_path / "none"))))
    assert warning.endswith("none, which is not there")


def test_a_server_that_is_not_there_yet_is_told_once() -> None:
    mock = load(profile="mock", environment={})
    nowhere = TtsConfig("fish", (), endpoints=("http://127.0.0.1:9",))
    logged = started(msgspec.structs.replace(mock, tts=nowhere))
    assert [line["event"] for line in logged].count("provider_not_there_yet") == 1
