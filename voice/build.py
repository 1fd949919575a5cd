"""From configuration to running providers. The only place that names a concrete one."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from providers.base import LLM, STT, TTS, VAD, Embedder, Provider, ProviderError, Reranker
from rag.retrieve import IndexRetriever
from voice.clauses import ClauseSplitter
from voice.config import Config
from voice.errors import ConfigError
from voice.providers import Providers

Make = Callable[[Config], Any]

log = structlog.get_logger()


def _silero(config: Config) -> VAD:
    from providers.vad_silero import SileroVAD

    return SileroVAD()


def _energy(config: Config) -> VAD:
    from providers.vad_energy import EnergyVAD

    return EnergyVAD()


def _pocketsphinx(config: Config) -> STT:
    from providers.stt_pocketsphinx import PocketsphinxSTT

    return PocketsphinxSTT(workers=config.stt.workers or None)


def _extractive(config: Config) -> LLM:
    from providers.llm_extractive import ExtractiveLLM

    return ExtractiveLLM()


def _openai(config: Config) -> LLM:
    from providers.llm_openai import OpenAICompatibleLLM

    llm = config.llm
    try:
        return OpenAICompatibleLLM(
            llm.endpoint,
            model=llm.model,
            api_key=llm.api_key,
            reasoning_effort=llm.reasoning_effort,
            first_token_s=llm.first_token_limit_s,
            token_gap_s=llm.token_limit_s,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _espeak(config: Config) -> TTS:
    from providers.tts_espeak import EspeakTTS

    return EspeakTTS()


def _lexical(config: Config) -> Embedder:
    from providers.embed_lexical import LexicalEmbedder

    return LexicalEmbedder()


def _mock_stt(config: Config) -> STT:
    from mocks.stt import EchoSTT

    mock = config.mock
    return EchoSTT(
        text=mock.stt_text,
        word_ms=mock.stt_partial_ms,
        final_delay_ms=mock.stt_final_ms,
        **_faults(config, "stt"),
    )


def _mock_llm(config: Config) -> LLM:
    from mocks.llm import EchoLLM

    mock = config.mock
    return EchoLLM(
        first_token_ms=mock.llm_first_token_ms,
        token_ms=mock.llm_token_ms,
        **_faults(config, "llm"),
    )


def _mock_tts(config: Config) -> TTS:
    from mocks.tts import ToneTTS

    return ToneTTS(first_audio_ms=config.mock.tts_first_audio_ms, **_faults(config, "tts"))


def _mock_embedder(config: Config) -> Embedder:
    from mocks.embed import HashEmbedder

    return HashEmbedder()


def _faults(config: Config, slot: str) -> dict[str, Any]:
    from mocks.faults import ScriptedFault

    mock = config.mock
    chosen = [dict(fault) for fault in mock.faults if fault.get("slot") == slot]
    for fault in chosen:
        del fault["slot"]
    try:
        faults = tuple(msgspec.convert(fault, ScriptedFault) for fault in chosen)
    except msgspec.ValidationError as error:
        raise ConfigError(f"mock.faults: {error}") from None
    return {"jitter_ms": mock.jitter_ms, "faults": faults, "seed": mock.seed}


KNOWN: dict[str, dict[str, Make]] = {
    "vad": {"silero": _silero, "energy": _energy},
    "stt": {"pocketsphinx": _pocketsphinx, "mock": _mock_stt},
    "llm": {"extractive": _extractive, "openai": _openai, "mock": _mock_llm},
    "tts": {"espeak": _espeak, "mock": _mock_tts},
    "embedder": {"lexical": _lexical, "mock": _mock_embedder},
    "reranker": {"none": lambda config: None},
}


def problems(config: Config) -> list[tuple[str, str]]:
    """What is wrong with settings that only this place can judge: their paths, and why."""
    found = []
    for slot, known in KNOWN.items():
        name = getattr(config, slot).provider
        if name not in known:
            found.append((f"{slot}.provider", f"there is no {name!r}; known are {_list(known)}"))
    if config.llm.provider == "openai" and not config.llm.endpoint:
        remedy = "set LLM_ENDPOINT, for example http://127.0.0.1:11434/v1 for Ollama"
        found.append(("llm.endpoint", f"provider openai needs an address; {remedy}"))
    return found


def check_names(config: Config) -> None:
    """Raises:
    ConfigError: Settings that `problems` finds, one on each line.
    """
    if found := problems(config):
        raise ConfigError("\n".join(f"{path}: {what}." for path, what in found))


def warnings(config: Config) -> list[str]:
    """What can be served, but hardly as it was meant."""
    found = []
    language, voice = config.stt.language, config.tts.voice
    if language and config.stt.provider == "pocketsphinx":
        from providers.stt_pocketsphinx import SPEAKS

        if language.partition("-")[0].lower() not in SPEAKS:
            known = ", ".join(sorted(SPEAKS))
            found.append(
                f"stt: language {language!r} is not understood by pocketsphinx, which knows "
                f"{known}; leave STT_LANGUAGE empty, or speak one of these"
            )
    if voice and config.tts.provider == "espeak":
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


def _list(known: dict[str, Make]) -> str:
    return ", ".join(sorted(known))


def make(config: Config, slot: str) -> Any:
    """Raises:
    ConfigError: Names the slot, and what is known for it.
    """
    check_names(config)
    return KNOWN[slot][getattr(config, slot).provider](config)


class Built(Struct, frozen=True):
    """Everything a server or a single turn needs."""

    providers: Providers
    by_slot: dict[str, Provider]
    library: IndexRetriever | None
    warnings: tuple[str, ...] = ()
    """See `warnings`."""

    async def start(self) -> None:
        """Loads all models, side by side, so that no caller waits for one.

        A server elsewhere that does not answer yet is no reason not to start: /ready says so, and
        the watch asks again.

        Raises:
            ProviderError: One of our own cannot serve at all.
        """
        for warning in self.warnings:
            log.warning("check_the_settings", why=warning)
        await asyncio.gather(*(self._start(provider) for provider in self.by_slot.values()))
        if self.library is not None:
            await self.library.start()

    async def _start(self, provider: Provider) -> None:
        try:
            await provider.start()
        except ProviderError as error:
            if provider.info.endpoint == "in-process":
                raise
            log.warning("provider_not_there_yet", error=str(error))

    async def aclose(self) -> None:
        if self.library is not None:
            await self.library.aclose()
        for provider in self.by_slot.values():
            await provider.aclose()


def build(config: Config) -> Built:
    """Raises:
    ConfigError: Names the setting.
    """
    check_names(config)
    by_slot: dict[str, Provider] = {
        slot: make(config, slot) for slot in ("vad", "stt", "llm", "tts")
    }
    library = None
    if config.rag.enabled:
        embedder: Embedder = make(config, "embedder")
        reranker: Reranker | None = make(config, "reranker")
        by_slot["embedder"] = embedder
        if reranker is not None:
            by_slot["reranker"] = reranker
        library = IndexRetriever(
            config.rag.index,
            embedder,
            most_passages=config.rag.passages,
            reranker=reranker,
        )
    providers = Providers(
        vad=by_slot["vad"],  # type: ignore[arg-type]  # each slot's maker returns its Protocol
        stt=by_slot["stt"],  # type: ignore[arg-type]
        llm=by_slot["llm"],  # type: ignore[arg-type]
        tts=by_slot["tts"],  # type: ignore[arg-type]
        retriever=library,
    )
    return Built(providers, by_slot, library, tuple(warnings(config)))


def known_delays(config: Config) -> dict[str, float] | None:
    """What a turn must take because the mocks take it; None where providers are real."""
    if config.profile != "mock":
        return None
    from mocks.llm import tokens

    mock, turn = config.mock, config.turn
    final_ms = min(turn.final_after_ms, turn.silence_ms) + mock.stt_final_ms
    splitter = ClauseSplitter()
    echo = tokens(f"You said: {mock.stt_text}.")
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
