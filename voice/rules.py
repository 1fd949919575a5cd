"""What the operator's configuration and the client's settings come to, for one session."""

from datetime import date

import msgspec

from voice.config import Config
from voice.providers import Providers
from voice.settings import Defaults, Settings
from voice.templates import prompt_of
from voice.turn import TurnRules


def session_defaults(config: Config, providers: Providers) -> Defaults:
    """A server puts the prompt's text into `config` itself, so that no call waits for a file."""
    return Defaults(
        instructions=config.agent.instructions or prompt_of(config).instructions(date.today()),
        voice=config.tts.voice,
        transcription_model=providers.stt.info.provider,
        language=config.stt.language,
        silence_ms=config.turn.silence_ms,
        threshold=config.vad.threshold,
    )


EAGERNESS_SILENCE = {"low": 1.6, "medium": 1.0, "auto": 1.0, "high": 0.6}
"""Of the configured silence: how much semantic_vad waits."""


def turn_rules(config: Config, chosen: Settings) -> TurnRules:
    turn, detection = config.turn, chosen.audio.input.turn_detection
    rules = TurnRules(
        automatic=detection is not None,
        silence_ms=turn.silence_ms,
        final_after_ms=turn.final_after_ms,
        final_limit_s=turn.final_limit_s,
        max_utterance_s=turn.max_utterance_s,
        stall_s=turn.stall_s,
    )
    if detection is None:
        return rules
    silence_ms = detection.silence_duration_ms
    if detection.type == "semantic_vad":
        silence_ms = round(turn.silence_ms * EAGERNESS_SILENCE[detection.eagerness])
    return msgspec.structs.replace(
        rules,
        silence_ms=silence_ms,
        prefix_ms=detection.prefix_padding_ms,
        create_response=detection.create_response,
        interrupt_response=detection.interrupt_response,
    )
