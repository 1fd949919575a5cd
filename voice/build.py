"""From configuration to running providers: made, chained, started, given back."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import structlog
from msgspec import Struct

from providers.base import Provider, ProviderError, Slot
from rag.retrieve import IndexRetriever
from voice.chain import Chain
from voice.chain_llm import ChainLLM
from voice.chain_search import ChainEmbedder, ChainReranker
from voice.chain_stt import ChainSTT
from voice.chain_tts import ChainTTS
from voice.clauses import ClauseSplitter
from voice.config import Config
from voice.config_dial_problems import idle_tools
from voice.config_phone_problems import shut_doors
from voice.errors import ConfigError
from voice.makers import chosen, make_all, problems
from voice.model_folders import why_unreadable
from voice.patience import Patience
from voice.providers import Providers
from voice.recitals import Recitals
from voice.settings import DEFAULT_VOICE

ALONE = ("embedder", "reranker", "turn")
"""A search knows itself how to go on without one (rag/dispensable.py), and so does a pause."""

log = structlog.get_logger()


def check_names(config: Config) -> None:
    """Raises:
    ConfigError: Settings that `problems` finds, one on each line.
    """
    if found := list(problems(config)):
        raise ConfigError("\n".join(f"{path}: {what}." for path, what in found))


def warnings(config: Config) -> list[str]:
    """What can be served, but hardly as it was meant."""
    found = [
        *_unread_models(config),
        *_models_nowhere(config),
        *shut_doors(config.telephony),
        *idle_tools(config),
    ]
    language, voice = config.stt.language, config.tts.voice
    if language and chosen(config, "stt") == "pocketsphinx":
        from providers.stt_pocketsphinx import SPEAKS

        if language.partition("-")[0].lower() not in SPEAKS:
            known = ", ".join(sorted(SPEAKS))
            found.append(
                f"stt: language {language!r} is not understood by pocketsphinx, which knows "
                f"{known}; leave STT_LANGUAGE empty, or speak one of these"
            )
    if voice and chosen(config, "tts") == "espeak":
        from providers.tts_espeak import is_voice

        try:
            known_voice = is_voice(voice)
        except OSError as error:
            found.append(f"tts: espeak-ng cannot be loaded: {error}; reinstall espeakng-loader")
        else:
            if not known_voice:
                found.append(
                    f"tts: voice {voice!r} is none of espeak-ng's; try TTS_VOICE=en-us+f3, or "
                    "leave it empty for the language's own"
                )
    return found


def _unread_models(config: Config) -> Iterator[str]:
    """Models that would be used if they could be read."""
    for slot, section in (("stt", config.stt), ("tts", config.tts)):
        name = chosen(config, slot)
        lacks = section.provider == "auto" and name in ("pocketsphinx", "espeak")
        if lacks and (why := why_unreadable(section.model_dir)):
            yield f"{slot}: {why}; until then {name} does without"


def _models_nowhere(config: Config) -> Iterator[str]:
    """Folders that the operator set, where nothing is: what needs none is taken silently."""
    named = {
        "stt": (config.stt.model_dir, Config().stt.model_dir, "STT_MODEL_DIR (stt.model_dir)"),
        "tts": (config.tts.model_dir, Config().tts.model_dir, "TTS_MODEL_DIR (tts.model_dir)"),
        "turn": (config.turn.model, Config().turn.model, "TURN_MODEL (turn.model)"),
    }
    for slot, (folder, default, variable) in named.items():
        name = chosen(config, slot)
        is_used = name == "sherpa" or (getattr(config, slot).provider == "auto" and name in WITHOUT)
        if is_used and folder and folder != default and not os.path.exists(folder):
            instead = "" if name == "sherpa" else f"; until then {WITHOUT[name]}"
            yield f"{slot}: {variable} names {folder}, which is not there{instead}"


WITHOUT = {
    "pocketsphinx": "pocketsphinx does without",
    "espeak": "espeak does without",
    "none": "words alone say when a turn is over",
}


class Built(Struct, frozen=True):
    """Everything a server or a single turn needs."""

    providers: Providers
    by_slot: dict[str, Provider]
    library: IndexRetriever | None
    recitals: Recitals
    warnings: tuple[str, ...] = ()
    """See `warnings`."""
    strays: tuple[str, ...] = ()
    """Variables that look like settings: told in the log, and no caller is served worse for it."""
    spared: tuple[str, ...] = ()
    """Slots that nobody asked for by name, and that calls do without where they cannot start."""

    async def start(self) -> None:
        """Loads all models, side by side, so that no caller waits for one.

        A server elsewhere that does not answer yet is no reason not to start: /ready says so, and
        the watch asks again.

        Raises:
            ProviderError: One of our own cannot serve at all.
        """
        for warning in (*self.warnings, *self.strays):
            log.warning("check_the_settings", why=warning)
        await asyncio.gather(*(self._start(*entry) for entry in self.by_slot.items()))
        if self.library is not None:
            await self.library.start()
        await self.recitals.start()

    async def _start(self, slot: str, provider: Provider) -> None:
        try:
            await provider.start()
        except ProviderError as error:
            if slot in self.spared:
                log.warning("goes_on_without", slot=slot, error=str(error))
            elif provider.info.endpoint.startswith("in-process"):
                raise
            elif not isinstance(provider, Chain):  # which says it for each of its links
                log.warning("provider_not_there_yet", error=str(error))

    async def aclose(self) -> None:
        await self.recitals.aclose()
        if self.library is not None:
            await self.library.aclose()
        for provider in self.by_slot.values():
            await provider.aclose()


def make(config: Config, slot: str) -> Any:
    """The slot's provider, or the chain of it and those that stand in for it.

    A single server elsewhere is a chain of one: while it fails, callers are told at once.

    Raises:
        ConfigError: Names the slot, and what is known for it.
    """
    check_names(config)
    made = make_all(config, slot)
    first = made[0]
    if len(made) == 1 and (slot in ALONE or first.info.endpoint.startswith("in-process")):
        return first
    section = getattr(config, slot)
    now = time.monotonic
    match slot:
        case "stt":
            return ChainSTT(made, now=now, attempt_s=section.attempt_limit_s)
        case "llm":
            return ChainLLM(
                made,
                now=now,
                patience=Patience(
                    Slot.LLM, "token", section.first_token_limit_s, section.token_limit_s
                ),
                attempt_s=section.attempt_limit_s,
                continues=_continues,
            )
        case "tts":
            return ChainTTS(
                made,
                now=now,
                patience=Patience(
                    Slot.TTS, "audio", section.first_audio_limit_s, section.audio_limit_s
                ),
                attempt_s=section.attempt_limit_s,
            )
        case "embedder":
            return ChainEmbedder(made, now=now, attempt_s=section.attempt_limit_s)
        case "reranker":
            return ChainReranker(made, now=now, attempt_s=section.attempt_limit_s)
    return first


def _continues(llm: Provider) -> bool:
    """One that only quotes cannot go on where a model broke off."""
    return llm.info.provider != "extractive"


def build(config: Config) -> Built:
    """Raises:
    ConfigError: Names the setting.
    """
    check_names(config)
    by_slot: dict[str, Any] = {slot: make(config, slot) for slot in ("vad", "stt", "llm", "tts")}
    library = None
    if config.rag.enabled:
        embedder, reranker = make(config, "embedder"), make(config, "reranker")
        by_slot["embedder"] = embedder
        if reranker is not None:
            by_slot["reranker"] = reranker
        library = IndexRetriever(
            config.rag.index,
            embedder,
            most_passages=config.rag.passages,
            reranker=reranker,
        )
    turn = make(config, "turn")
    if turn is not None:
        by_slot["turn"] = turn
    voice = config.tts.voice or DEFAULT_VOICE
    recitals = Recitals(by_slot["tts"], voice=voice, language=config.stt.language)
    providers = Providers(
        vad=by_slot["vad"],
        stt=by_slot["stt"],
        llm=by_slot["llm"],
        tts=by_slot["tts"],
        retriever=library,
        turn=turn,
        recitals=recitals,
    )
    spared = ("turn",) if config.turn.provider == "auto" else ()
    told = tuple(warnings(config))
    return Built(providers, by_slot, library, recitals, told, config.strays, spared)


def known_delays(config: Config) -> dict[str, float] | None:
    """What a turn must take because the mocks take it; None where providers are real."""
    if config.profile != "mock":
        return None
    from mocks.llm import tokens
    from mocks.stt import QUESTIONS

    mock, turn = config.mock, config.turn
    final_ms = min(turn.final_after_ms, turn.silence_ms) + mock.stt_final_ms
    splitter = ClauseSplitter()
    said = QUESTIONS[0] if mock.stt_text is None else mock.stt_text
    echo = tokens(f"You said: {said}.")
    # Behind the last token the stream ends, and with it the clause: no further wait.
    ends = (number for number, token in enumerate(echo) if splitter.feed(token))
    count = next(ends, len(echo) - 1)
    return {
        "endpoint_ms": float(turn.silence_ms),
        "stt_final_ms": max(0.0, final_ms - turn.silence_ms),
        "llm_first_token_ms": mock.llm_first_token_ms,
        "llm_token_ms": mock.llm_token_ms,
        "tokens_to_first_clause": float(count),
        "tts_first_audio_ms": mock.tts_first_audio_ms,
    }
