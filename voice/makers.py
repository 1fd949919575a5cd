"""Every provider there is, by the name it has in the configuration. Nothing else names one.

What a configuration means by them, and what is wrong with it: voice/judging.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

from providers.base import LLM, STT, TTS, VAD, Embedder, Reranker, TurnModel
from voice import judging
from voice.config import Config, Problem, TtsConfig
from voice.errors import ConfigError
from voice.judging import NEEDS, chosen, explained, links, places
from voice.mock_faults import scripted, wrong_faults
from voice.model_folders import model_folder, turn_model_file

__all__ = ["KNOWN", "NEEDS", "chosen", "links", "make_all", "problems"]

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
        **_patience(tts),
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
        **_patience(tts),
    )


def _patience(tts: TtsConfig) -> dict[str, Any]:
    """With a voice's server."""
    return {
        "first_audio_s": tts.first_audio_limit_s,
        "audio_gap_s": tts.audio_limit_s,
        "first_word_s": tts.first_word_limit_s,
        "connect_s": tts.connect_limit_s,
    }


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


def _smart_turn(config: Config) -> TurnModel:
    from providers.turn_smart import SmartTurn

    file = turn_model_file(config.turn.model)
    if file is None:
        raise ValueError(f"model {config.turn.model} holds none; kaiwa models pull smart-turn")
    return SmartTurn(file)


def _mock_stt(config: Config) -> STT:
    from mocks.stt import QUESTIONS, EchoSTT

    mock = config.mock
    return EchoSTT(
        turns=QUESTIONS if mock.stt_text is None else (mock.stt_text,),
        word_ms=mock.stt_partial_ms,
        final_delay_ms=mock.stt_final_ms,
        **scripted(config, "stt"),
    )


def _mock_llm(config: Config) -> LLM:
    from mocks.llm import EchoLLM

    mock = config.mock
    return EchoLLM(
        first_token_ms=mock.llm_first_token_ms,
        token_ms=mock.llm_token_ms,
        **scripted(config, "llm"),
    )


def _mock_tts(config: Config) -> TTS:
    from mocks.tts import ToneTTS

    return ToneTTS(first_audio_ms=config.mock.tts_first_audio_ms, **scripted(config, "tts"))


def _mock_embedder(config: Config) -> Embedder:
    from mocks.embed import HashEmbedder

    return HashEmbedder()


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
    "turn": {"smart-turn": _smart_turn, "none": lambda config: None},
}


def problems(config: Config) -> Iterator[Problem]:
    """What is wrong with settings that only this place can judge: their paths, and why."""
    yield from judging.problems(config, KNOWN)
    yield from wrong_faults(config)


def make_all(config: Config, slot: str) -> list[Any]:
    """The slot's providers, best first.

    Raises:
        ConfigError: Names the slot or the setting.
    """
    made = []
    for path, own in places(config, slot):
        try:
            made.append(KNOWN[slot][chosen(own, slot)](own))
        except ValueError as error:
            raise ConfigError("{}: {}".format(*explained(path, slot, error))) from None
    return made
