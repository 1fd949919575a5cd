"""espeak-ng: a hundred languages, no model, hundreds of times faster than speech.

Japanese is spoken from kana only: for each kanji espeak says "Chinese letter", so text with kanji
is not intelligible. Word timings count such text as one word.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import numpy as np

from providers import _espeak
from providers._espeak import Espeak, Request, Word
from providers.base import (
    Fault,
    ProviderError,
    ProviderInfo,
    Slot,
    SpeechAudio,
    SpeechEvent,
    WordTiming,
)

RATE_HZ = 22_050
DEFAULT_VOICE = "en-us"
LEAD_MS = 20
"""Silence kept before the first sound; espeak begins with up to 110 ms. It ends with 7 ms, which
stays: gaps between clauses are the caller's."""
AUDIBLE = 50
"""Of 32767: below it is silence."""

VOICE_OF_LANGUAGE = {
    "en": "en-us",
    "zh": "cmn",
    "zh-hk": "yue",
    "zh-mo": "yue",
    "no": "nb",
    "fil": "en-us",
    "iw": "he",
    "in": "id",
}
"""Where the BCP 47 tag is not espeak's own name."""

SCRIPTS = (
    ("ぁ", "ヿ", "ja"),
    ("가", "힣", "ko"),
    ("一", "鿿", "cmn"),
    ("\u0400", "\u04ff", "ru"),
    ("\u0370", "\u03ff", "el"),
    ("\u0590", "\u05ff", "he"),
    ("\u0600", "\u06ff", "ar"),
    ("\u0900", "\u097f", "hi"),
    ("\u0e00", "\u0e7f", "th"),
)
"""First character, last character, voice; the first script that occurs decides."""


def voice_of_script(text: str) -> str:
    """Kana before ideographs: Japanese has both, Chinese only the latter."""
    for first, last, voice in SCRIPTS:
        if any(first <= character <= last for character in text):
            return voice
    return DEFAULT_VOICE


def voices_for(text: str, voice: str, language: str) -> tuple[str, ...]:
    """What to try, best first: the voice asked for, the language's, the script's.

    "+f3" alone is a variant of the language's voice.
    """
    tag = language.lower().replace("_", "-")
    primary = tag.split("-")[0]
    own = [VOICE_OF_LANGUAGE.get(tag, tag), VOICE_OF_LANGUAGE.get(primary, primary)]
    own = [*(name for name in own if name), voice_of_script(text), DEFAULT_VOICE]
    if voice.startswith("+"):
        return (*(name + voice for name in own), *own)
    return (voice, *own) if voice else tuple(own)


class EspeakTTS:
    """Implements `providers.base.TTS`."""

    def __init__(self) -> None:
        self._espeak: Espeak | None = None

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.TTS, provider="espeak", model="espeak-ng 1.52")

    @property
    def rate_hz(self) -> int:
        return self._espeak.rate_hz if self._espeak is not None else RATE_HZ

    async def start(self) -> None:
        if self._espeak is not None:
            return
        try:
            self._espeak = await asyncio.to_thread(_espeak.shared)
        except OSError as error:
            raise _error(Fault.BROKEN, f"{error}; reinstall espeakng-loader") from error
        await self.check()

    async def check(self) -> None:
        size = 0
        try:
            async with asyncio.timeout(5), contextlib.aclosing(self.stream("ready")) as events:
                async for event in events:
                    size += len(event.pcm) if isinstance(event, SpeechAudio) else 0
        except TimeoutError:
            raise _error(Fault.TIMEOUT, "no audio within 5 s; the CPU is overloaded") from None
        if size < 2 * self.rate_hz // 10:
            raise _error(Fault.BROKEN, "less than 100 ms of audio for a word")

    async def aclose(self) -> None:
        # The library stays: it is the process's, and another instance may be using it.
        self._espeak = None

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. `speed` below 0.46 (80 words a minute) is 0.46."""
        if self._espeak is None:
            raise _error(Fault.CRASHED, "not running; call start() before stream()")
        if not 0.25 <= speed <= 4:
            raise _error(Fault.REFUSED, f"speed must be 0.25..4, got {speed}")
        if not text.strip():
            return
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[bytes, list[Word]] | Exception | None] = asyncio.Queue()

        def receive(piece: tuple[bytes, list[Word]] | Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed; nobody listens
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        request = Request(text, voices_for(text, voice, language), speed, receive)
        clause = _Clause(self._espeak.rate_hz, len(text))
        self._espeak.submit(request)
        try:
            while (piece := await pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise _error(Fault.BROKEN, str(piece)) from piece
                for event in clause.take(*piece):
                    yield event
        finally:
            request.is_cancelled = True


class _Clause:
    """Raw pieces in, events out: leading silence cut, words in order and once."""

    def __init__(self, rate_hz: int, characters: int) -> None:
        self._rate_hz = rate_hz
        self._characters = characters
        self._silence: bytes | None = b""
        """What came so far, while all of it is silent."""
        self._cut_samples = 0
        self._words: list[Word] = []
        self._end = 0

    def take(self, pcm: bytes, words: list[Word]) -> list[SpeechEvent]:
        self._words += words
        if self._silence is not None:
            pcm = self._after_silence(self._silence + pcm)
        if not pcm:
            return []
        timings = [timing for word in self._words if (timing := self._timing(word))]
        self._words.clear()
        return [*timings, SpeechAudio(pcm)]

    def _after_silence(self, pcm: bytes) -> bytes:
        loud = np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32)) > AUDIBLE
        if not loud.any():
            self._silence = pcm
            return b""
        self._silence = None
        self._cut_samples = max(0, int(loud.argmax()) - LEAD_MS * self._rate_hz // 1000)
        return pcm[2 * self._cut_samples :]

    def _timing(self, word: Word) -> WordTiming | None:
        """None for a word espeak spells out in further events, which lie in what was told."""
        start, end = word.start, min(word.end, self._characters)
        if start < self._end or end <= start:
            return None
        self._end = end
        return WordTiming(start, end, max(0, word.sample - self._cut_samples) / self._rate_hz)


def _error(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.TTS, "espeak", fault, message)
