"""Every provider there is, by the name it has in the configuration. Nothing else names one.

auto       what the settings point to: an address, else a model's folder, else what needs none
fallbacks  each a name, or a mapping of what differs from its section
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from providers.base import LLM, STT, TTS, VAD, Embedder, Reranker
from voice.config import Config, Problem
from voice.errors import ConfigError
from voice.model_folders import holds_model, model_folder

Make = Callable[[Config], Any]


def _silero(config: Config) -> VAD:
    from providers.vad_silero import SileroVAD

    return SileroVAD()


def _energy(config: Config) -> VAD:
    from providers.vad_energy import EnergyVAD

    return EnergyVAD()


def _pocketsphinx(config: Config) -> STT:
    from providers.stt_pocketsphinx import PocketsphinxSTT

    return PocketsphinxSTT(workers=config.stt.workers or None)


def _sherpa(config: Config) -> STT:
    from providers.stt_sherpa import SherpaSTT

    stt = config.stt
    return SherpaSTT(
        stt.model_dir,
        provider=stt.device,
        threads=stt.threads,
        max_batch=stt.max_batch,
        hotwords=stt.hotwords,
        hotwords_score=stt.hotwords_score,
    )


def _sherpa_server(config: Config) -> STT:
    from providers.stt_sherpa_server import SherpaServerSTT

    return SherpaServerSTT(config.stt.endpoint)


def _extractive(config: Config) -> LLM:
    from providers.llm_extractive import ExtractiveLLM

    return ExtractiveLLM()


def _openai(config: Config) -> LLM:
    from providers._retry import Retry
    from providers.llm_openai import OpenAICompatibleLLM

    llm = config.llm
    return OpenAICompatibleLLM(
        llm.endpoint,
        model=llm.model,
        api_key=llm.api_key,
        reasoning_effort=llm.reasoning_effort,
        include_reasoning=llm.include_reasoning,
        max_tokens=llm.max_tokens,
        priority=llm.priority,
        cache_salt=llm.cache_salt,
        retry=Retry(retries=llm.retries),
        first_token_s=llm.first_token_limit_s,
        token_gap_s=llm.token_limit_s,
    )


def _espeak(config: Config) -> TTS:
    from providers.tts_espeak import EspeakTTS

    return EspeakTTS()


def _fish(config: Config) -> TTS:
    from providers.tts_fish import FishTTS

    tts = config.tts
    return FishTTS(
        tts.endpoints,
        api_key=tts.api_key,
        voice=tts.voice,
        encoding=tts.encoding,
        first_audio_s=tts.first_audio_limit_s,
        audio_gap_s=tts.audio_limit_s,
        first_word_s=tts.first_word_limit_s,
        connect_s=tts.connect_limit_s,
    )


def _speech_api(config: Config) -> TTS:
    from providers.tts_speech_api import SpeechApiTTS

    tts = config.tts
    return SpeechApiTTS(
        tts.endpoints[0],
        model=tts.model,
        voice=tts.voice,
        api_key=tts.api_key,
        stream=tts.stream,
        rate_hz=tts.rate_hz,
        extra=tts.extra,
        paid=tts.paid,
        first_audio_s=tts.first_audio_limit_s,
        audio_gap_s=tts.audio_limit_s,
        first_word_s=tts.first_word_limit_s,
        connect_s=tts.connect_limit_s,
    )


def _sherpa_tts(config: Config) -> TTS:
    from providers.tts_sherpa import SherpaTTS

    tts = config.tts
    return SherpaTTS(
        model_folder(tts.model_dir),
        threads=tts.threads,
        voice=tts.voice,
        first_audio_s=tts.first_audio_limit_s,
    )


def _openjtalk(config: Config) -> TTS:
    from providers.tts_openjtalk import OpenJTalkTTS

    return OpenJTalkTTS(first_audio_s=config.tts.first_audio_limit_s)


def _lexical(config: Config) -> Embedder:
    from providers.embed_lexical import LexicalEmbedder

    return LexicalEmbedder()


def _tei(config: Config) -> Embedder:
    from providers.embed_tei import TEIEmbedder

    embedder = config.embedder
    return TEIEmbedder(embedder.endpoint, model=embedder.model, api_key=embedder.api_key)


def _openai_embedder(config: Config) -> Embedder:
    from providers.embed_openai import OpenAIEmbedder

    embedder = config.embedder
    return OpenAIEmbedder(embedder.endpoint, model=embedder.model, api_key=embedder.api_key)


def _sentence(config: Config) -> Embedder:
    from providers.embed_sentence import SentenceEmbedder

    embedder = config.embedder
    return SentenceEmbedder(embedder.model, device=embedder.device, threads=embedder.threads)


def _tei_reranker(config: Config) -> Reranker:
    from providers.rerank_tei import TEIReranker

    reranker = config.reranker
    return TEIReranker(
        reranker.endpoint,
        api_key=reranker.api_key,
        limit_s=reranker.limit_s,
        keep=reranker.keep,
    )


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
    "stt": {
        "sherpa-server": _sherpa_server,
        "sherpa": _sherpa,
        "pocketsphinx": _pocketsphinx,
        "mock": _mock_stt,
    },
    "llm": {"openai": _openai, "extractive": _extractive, "mock": _mock_llm},
    "tts": {
        "fish": _fish,
        "speech-api": _speech_api,
        "sherpa": _sherpa_tts,
        "openjtalk": _openjtalk,
        "espeak": _espeak,
        "mock": _mock_tts,
    },
    "embedder": {
        "tei": _tei,
        "openai": _openai_embedder,
        "sentence-transformers": _sentence,
        "lexical": _lexical,
        "mock": _mock_embedder,
    },
    "reranker": {"tei": _tei_reranker, "none": lambda config: None},
}

NEEDS: dict[tuple[str, str], tuple[str, str]] = {
    ("stt", "sherpa-server"): ("endpoint", "STT_ENDPOINT, for example ws://127.0.0.1:6006"),
    ("llm", "openai"): (
        "endpoint",
        "LLM_ENDPOINT, for example http://127.0.0.1:11434/v1 for Ollama",
    ),
    ("tts", "fish"): ("endpoints", "TTS_ENDPOINT, for example http://127.0.0.1:8080"),
    ("tts", "speech-api"): ("endpoints", "TTS_ENDPOINT, for example http://127.0.0.1:8091/v1"),
    ("embedder", "tei"): ("endpoint", "EMBEDDING_ENDPOINT, for example http://127.0.0.1:8081"),
    ("embedder", "openai"): (
        "endpoint",
        "EMBEDDING_ENDPOINT, for example http://127.0.0.1:11434/v1",
    ),
    ("embedder", "sentence-transformers"): ("model", "EMBEDDING_MODEL, a name or a folder"),
    ("reranker", "tei"): ("endpoint", "RERANKER_ENDPOINT, for example http://127.0.0.1:8082"),
}
"""What a provider cannot be without: its setting, and how it is set."""


def chosen(config: Config, slot: str) -> str:
    """The provider's name, `auto` resolved."""
    section = getattr(config, slot)
    if section.provider != "auto":
        return str(section.provider)
    match slot:
        case "stt" if section.endpoint:
            return "sherpa-server"
        case "stt":
            return "sherpa" if holds_model(section.model_dir) else "pocketsphinx"
        case "llm":
            return "openai" if section.endpoint else "extractive"
        case "tts" if section.endpoints:
            return "fish"
        case "tts":
            return "sherpa" if holds_model(section.model_dir) else "espeak"
        case "embedder":
            return "tei" if section.endpoint else "lexical"
        case "reranker":
            return "tei" if section.endpoint else "none"
    return "auto"


def links(config: Config, slot: str) -> list[Config]:
    """One configuration for each provider of the slot's chain, best first.

    Raises:
        ConfigError: A fallback that cannot be; names its path.
    """
    return [own for _, own in _places(config, slot)]


def _places(config: Config, slot: str) -> Iterator[tuple[str, Config]]:
    """With each, its path. Nobody stands in for himself: of `auto` a fallback may come out."""
    yield slot, config
    first = chosen(config, slot)
    for number, entry in enumerate(getattr(getattr(config, slot), "fallbacks", ())):
        if entry != first:
            yield f"{slot}.fallbacks[{number}]", _with(config, slot, number, entry)


def _with(config: Config, slot: str, number: int, entry: str | dict[str, Any]) -> Config:
    section = getattr(config, slot)
    given = {"provider": entry} if isinstance(entry, str) else entry
    if {"endpoint", "endpoints"} & set(given):  # somebody else's: our key is none of theirs
        own_keys = {"api_key", "cache_salt"} & set(section.__struct_fields__)
        given = {**dict.fromkeys(own_keys, ""), **given}
    tree = {**msgspec.to_builtins(section), "fallbacks": (), **given}
    try:
        own = msgspec.convert(tree, type(section), strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{slot}.fallbacks[{number}]: {error}") from None
    return msgspec.structs.replace(config, **{slot: own})


def problems(config: Config) -> Iterator[Problem]:
    """What is wrong with settings that only this place can judge: their paths, and why."""
    for slot, known in KNOWN.items():
        try:
            places = list(_places(config, slot))
        except ConfigError as error:
            path, _, what = str(error).partition(": ")
            yield path, what
            continue
        for path, own in places:
            name = chosen(own, slot)
            setting, remedy = NEEDS.get((slot, name), ("", ""))
            if name not in known:
                yield f"{path}.provider", f"there is no {name!r}; known are {_list(known)}"
            elif setting and not getattr(getattr(own, slot), setting):
                yield f"{path}.{setting}", f"provider {name} needs it; set {remedy}"


def _list(known: dict[str, Make]) -> str:
    return ", ".join(sorted(known))


def make_all(config: Config, slot: str) -> list[Any]:
    """The slot's providers, best first.

    Raises:
        ConfigError: Names the slot or the setting.
    """
    made = []
    for own in links(config, slot):
        try:
            made.append(KNOWN[slot][chosen(own, slot)](own))
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return made
