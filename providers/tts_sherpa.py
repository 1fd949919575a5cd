"""Voices between espeak and a GPU: Kokoro, Piper and other VITS, Matcha, through sherpa-onnx.

What kind of model a directory holds is told by its files:

    kokoro   model.onnx, voices.bin, tokens.txt, espeak-ng-data/ (lexicon-*.txt)
    matcha   model-steps-3.onnx, tokens.txt, a vocoder (vocos*.onnx, hifigan*.onnx) or one above
    vits     one *.onnx, tokens.txt, espeak-ng-data/ (Piper) or lexicon.txt or neither (characters)

One clause is spoken at a time; a sentence is the smallest piece that can be heard or cut off.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from providers._sherpa_voice import VoiceFiles
from providers._voice_process import VoiceProcess
from providers._voice_speech import VoiceSpeech
from providers.base import Fault, ProviderInfo, Slot, SpeechEvent

_NAME = "sherpa"
_REMEDY = "download the model again, or choose another"
_UNKNOWN_RATE_HZ = 22_050
_VOCODERS = ("vocos*.onnx", "hifigan*.onnx")


class SherpaTTS:
    """Args:
    model_dir: A model as unpacked from sherpa-onnx's releases.
    threads: Cores that one sentence may use.
    voice: Number of a speaker, from 0; empty: the first.
    first_audio_s: From the request to the first audio, clauses of other callers included.
    """

    def __init__(
        self,
        model_dir: str | Path,
        *,
        threads: int = 1,
        voice: str = "",
        first_audio_s: float = 5.0,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        if voice and not _is_number(voice):
            raise ValueError(f"TTS_VOICE must be a speaker's number for sherpa-onnx, got {voice!r}")
        self._dir = Path(model_dir)
        self._threads = threads
        self._voice = voice
        self._process = VoiceProcess(_NAME, "providers._sherpa_voice", remedy=_REMEDY)
        self._speech = VoiceSpeech(self._process, first_audio_s=first_audio_s)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.TTS, provider=_NAME, model=self._dir.name)

    @property
    def rate_hz(self) -> int:
        """The model's, which is known once it is loaded."""
        ready = self._process.ready
        return ready.rate_hz if ready is not None else _UNKNOWN_RATE_HZ

    @property
    def restarts(self) -> int:
        """Times that its process died."""
        return self._process.restarts

    async def start(self) -> None:
        if not self._process.is_started:
            await self._process.start(await self._args())
            await self._check_speaker()
        await self.check()

    async def _args(self) -> Sequence[str]:
        try:
            files = await asyncio.to_thread(files_of, self._dir, self._threads)
        except ValueError as error:
            raise self._process.error(Fault.REFUSED, str(error)) from None
        return [msgspec.json.encode(files).decode()]

    async def _check_speaker(self) -> None:
        ready = self._process.ready
        if ready is not None and int(self._voice or 0) >= ready.voices:
            await self._process.aclose()
            raise self._process.error(
                Fault.REFUSED,
                f"TTS_VOICE must be 0..{ready.voices - 1} for {self._dir.name}, got {self._voice}",
            )

    async def check(self) -> None:
        await self._speech.check()

    async def ping(self) -> None:
        """Raises while its process is not alive, or stopped."""
        self._process.ping()

    async def aclose(self) -> None:
        await self._speech.aclose()
        await self._process.aclose()

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. A voice is a speaker's number; the model has its language."""
        ready = self._process.ready
        known = ready is not None and _is_number(voice) and int(voice) < ready.voices
        return self._speech.speak(text, voice if known else self._voice, speed)


def files_of(model_dir: Path, threads: int = 1) -> VoiceFiles:
    """What sherpa-onnx must be told of this directory.

    Raises:
        ValueError: If it holds no voice; says what is missing.
    """
    if not model_dir.is_dir():
        raise ValueError(
            f"no directory {model_dir}: put a voice of sherpa-onnx there (kaiwa models list has "
            "some, kaiwa models pull fetches one), or set TTS_MODEL_DIR to one's folder"
        )
    tokens = model_dir / "tokens.txt"
    if not tokens.is_file():
        raise ValueError(f"{model_dir} holds no tokens.txt: is it the directory of a voice?")
    voices, vocoder = model_dir / "voices.bin", _vocoder(model_dir)
    models = [path for path in sorted(model_dir.glob("*.onnx")) if path != vocoder]
    is_matcha = any(path.name.startswith("model-steps") for path in models)
    if is_matcha and vocoder is None:
        raise ValueError(
            f"{model_dir} is a Matcha model and needs a vocoder beside it: vocos*.onnx or "
            "hifigan*.onnx"
        )
    data_dir, dict_dir = model_dir / "espeak-ng-data", model_dir / "dict"
    return VoiceFiles(
        kind="kokoro" if voices.is_file() else "matcha" if is_matcha else "vits",
        model=str(_model(model_dir, models)),
        tokens=str(tokens),
        vocoder=str(vocoder) if is_matcha else "",
        voices=str(voices) if voices.is_file() else "",
        lexicon=",".join(str(path) for path in sorted(model_dir.glob("lexicon*.txt"))),
        data_dir=str(data_dir) if data_dir.is_dir() else "",
        dict_dir=str(dict_dir) if dict_dir.is_dir() else "",
        rule_fsts=",".join(str(path) for path in sorted(model_dir.glob("*.fst"))),
        rule_fars=",".join(str(path) for path in sorted(model_dir.glob("*.far"))),
        threads=threads,
    )


def _model(model_dir: Path, models: list[Path]) -> Path:
    """The only one, or of several the one that is not quantised: int8 is slower on most CPUs."""
    full = [path for path in models if not any(mark in path.name for mark in ("int8", "fp16"))]
    named = [path for path in models if path.name == "model.onnx"]
    for choice in (named, full, models):
        if len(choice) == 1:
            return choice[0]
    if not models:
        raise ValueError(f"{model_dir} holds no *.onnx: is the download complete?")
    names = ", ".join(path.name for path in models)
    raise ValueError(f"{model_dir} holds several models: keep one of {names}")


def _vocoder(model_dir: Path) -> Path | None:
    for place in (model_dir, model_dir.parent):
        for pattern in _VOCODERS:
            if found := sorted(place.glob(pattern)):
                return found[0]
    return None


def _is_number(voice: str) -> bool:
    return voice.isascii() and voice.isdigit()
