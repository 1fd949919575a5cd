"""What the operator's configuration and the client's settings come to, for one session."""

import re
from datetime import date

import msgspec

from voice import phrases
from voice.carrier import Carrier
from voice.config import Config
from voice.ear import Expected
from voice.endpointing import EAGERNESS, Delays
from voice.house import HANG_UP, TRANSFER, HouseRules
from voice.initiative import InitiativeRules
from voice.providers import Providers
from voice.settings import Defaults, Settings
from voice.templates import prompt_of
from voice.turn import TurnRules

MOST_HOTWORDS = 100
"""Every one makes the search longer."""
LONGEST_HOTWORD = 40
"""What is longer is a sentence about what will be said, as others' recognisers take it."""


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


def language(config: Config, chosen: Settings) -> str:
    """BCP 47 tag of what the caller speaks; "" where nobody has said."""
    transcription = chosen.audio.input.transcription
    asked = transcription.language if transcription is not None else ""
    return asked or config.stt.language


def expected(config: Config, chosen: Settings) -> Expected:
    """A client names its hotwords in `transcription.prompt`, separated by commas."""
    transcription = chosen.audio.input.transcription
    prompt = transcription.prompt if transcription is not None else ""
    named = (" ".join(part.split()) for part in re.split("[,、，\n]", prompt))
    hotwords = tuple(word for word in named if 0 < len(word) <= LONGEST_HOTWORD)
    return Expected(language(config, chosen), hotwords[:MOST_HOTWORDS])


def threshold(config: Config, chosen: Settings) -> float:
    """Of the VAD's probability."""
    detection = chosen.audio.input.turn_detection
    if detection is not None and detection.type == "server_vad":
        return detection.threshold
    return config.vad.threshold


def initiative_rules(config: Config, chosen: Settings, language: str) -> InitiativeRules:
    agent, detection = config.agent, chosen.audio.input.turn_detection
    idle_s = agent.idle_after_s
    if detection is None:
        idle_s = 0.0  # who speaks by pressing a button has no silence to break
    elif detection.idle_timeout_ms is not None:
        idle_s = detection.idle_timeout_ms / 1000
    return InitiativeRules(
        greeting=agent.greeting,
        idle_after_s=idle_s,
        idle_phrase=agent.idle_phrase or phrases.idle(language),
        idle_prompts=agent.idle_prompts,
        max_call_s=agent.max_call_s,
        time_over=agent.time_over_phrase or phrases.time_over(language),
        hang_up_phrases=agent.hang_up_phrases,
        goodbye=agent.goodbye_phrase or phrases.goodbye(language),
    )


def house_rules(config: Config, language: str, carrier: Carrier) -> HouseRules:
    tools = config.agent.tools
    transfers = TRANSFER in tools and carrier.transfers
    return HouseRules(
        hangs_up=HANG_UP in tools and carrier.hangs_up,
        targets=tuple(config.telephony.transfer) if transfers else (),
        goodbye=config.agent.goodbye_phrase or phrases.goodbye(language),
        connecting=phrases.connecting(language),
    )


FINAL_SHARE = 0.6
"""Of the shortest silence: by then the final is asked for, so that it is there at the end."""


def delays(config: Config, chosen: Settings) -> Delays:
    """Between what bounds the words move the silence that ends a turn: semantic_vad by eagerness,
    within the operator's bounds; server_vad not at all."""
    turn, detection = config.turn, chosen.audio.input.turn_detection
    if detection is None or detection.type == "server_vad":
        exact_ms = turn.silence_ms if detection is None else detection.silence_duration_ms
        return Delays(exact_ms, exact_ms)
    eager = EAGERNESS[detection.eagerness]
    least_ms = min(max(eager.min_ms, turn.min_silence_ms), turn.max_silence_ms)
    return Delays(least_ms, max(least_ms, min(eager.max_ms, turn.max_silence_ms)))


def turn_rules(config: Config, chosen: Settings) -> TurnRules:
    turn, barge_in = config.turn, config.barge_in
    detection = chosen.audio.input.turn_detection
    rules = TurnRules(
        automatic=detection is not None,
        silence_ms=turn.silence_ms,
        final_after_ms=turn.final_after_ms,
        final_limit_s=turn.final_limit_s,
        max_utterance_s=turn.max_utterance_s,
        stall_s=turn.stall_s,
        confirm_ms=barge_in.confirm_ms,
        confirm_hypotheses=barge_in.confirm_hypotheses,
        echo_likeness=barge_in.echo_likeness,
        far_db=barge_in.far_db,
        resume_ms=barge_in.resume_ms,
        protected_ms=config.agent.protected_ms,
    )
    if detection is None:
        return rules
    silence = delays(config, chosen)
    adaptive = detection.type == "semantic_vad"
    final_ms = min(turn.final_after_ms, round(silence.min_ms * FINAL_SHARE))
    return msgspec.structs.replace(
        rules,
        silence_ms=silence.max_ms,
        adaptive=adaptive,
        final_after_ms=final_ms if adaptive else turn.final_after_ms,
        prefix_ms=detection.prefix_padding_ms,
        create_response=detection.create_response,
        interrupt_response=detection.interrupt_response,
    )
