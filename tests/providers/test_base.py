import msgspec
import pytest

from providers.base import (
    LISTEN_RATE_HZ,
    VAD_BLOCK_SAMPLES,
    VAD_CHUNK_SAMPLES,
    Fault,
    Finish,
    Hypothesis,
    LLMRequest,
    Message,
    Passage,
    ProviderError,
    ProviderInfo,
    Slot,
    SpeechAudio,
    SttFailure,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
    VadFrame,
    WordTiming,
)

VALUES = (
    Finish, Hypothesis, LLMRequest, Message, Passage, ProviderInfo, SpeechAudio, SttFailure,
    TextDelta, Tool, ToolCall, ToolCallDelta, Usage, VadFrame, WordTiming,
)  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_what_crosses_a_protocol_cannot_be_changed(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


def test_an_error_says_who_failed_and_what_to_do() -> None:
    error = ProviderError(Slot.LLM, "openai", Fault.REFUSED, "wrong key; set LLM_API_KEY")
    assert str(error) == "llm openai: wrong key; set LLM_API_KEY"
    assert (error.slot, error.provider, error.fault) == (Slot.LLM, "openai", Fault.REFUSED)


@pytest.mark.parametrize("fault", Fault)
def test_only_a_refusal_is_not_worth_another_try(fault: Fault) -> None:
    error = ProviderError(Slot.TTS, "espeak", fault, "…")
    assert error.retryable == (fault is not Fault.REFUSED)


def test_a_provider_presents_itself_without_a_key() -> None:
    info = ProviderInfo(slot=Slot.VAD, provider="silero")
    assert info.endpoint == "in-process"
    assert not info.is_mock
    assert not [name for name in info.__struct_fields__ if "key" in name or "token" in name]


def test_a_chunk_is_32_ms_of_whole_blocks() -> None:
    assert VAD_CHUNK_SAMPLES * 1000 == 32 * LISTEN_RATE_HZ
    assert VAD_CHUNK_SAMPLES % VAD_BLOCK_SAMPLES == 0


def test_faults_and_slots_are_words_that_metrics_can_carry() -> None:
    assert all(str(word) == word.value and word.value.islower() for word in [*Fault, *Slot])
