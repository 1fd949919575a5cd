"""espeak-ng: a hundred languages, no model, hundreds of times faster than speech.

Japanese is spoken from kana only: for each kanji espeak says "Chinese letter", so text with kanji
is not intelligible. Word timings count such text as one word.
"""

import asyncio
import contextlib
import unicodedata
from collections import Counter
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

VOICE_OF_SCRIPT = {
    "LATIN": DEFAULT_VOICE,
    "KANA": "ja",
    "CJK": "cmn",
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "HEBREW": "he",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
}
"""By the first word of its letters' Unicode names; both kana are KANA, ideographs CJK."""

_LANGUAGES_OF_SCRIPTS = {
    "KANA CJK": "ja",
    "CJK": "zh cmn yue hak",
    "HANGUL": "ko",
    "CYRILLIC": "ru uk be bg mk ky ba cv",
    "CYRILLIC LATIN": "sr bs kk uz tt tk mn az nog kaa ro",
    "GREEK": "el grc",
    "HEBREW": "he iw yi",
    "ARABIC": "ar fa ur ug ps",
    "ARABIC LATIN": "ku",
    "ARABIC DEVANAGARI": "sd",
    "DEVANAGARI": "hi mr ne kok sa",
    "BENGALI": "bn as bpy",
    "GURMUKHI ARABIC": "pa",
    "GUJARATI": "gu",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "MYANMAR": "my shn",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy hyw",
    "ETHIOPIC": "am ti",
}
SCRIPTS_OF_LANGUAGE = {
    language: frozenset(scripts.split())
    for scripts, languages in _LANGUAGES_OF_SCRIPTS.items()
    for language in languages.split()
}
"""All others are written in Latin letters; so is any with the subtag `Latn`."""
LATIN = frozenset({"LATIN"})


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script that has a voice."""
    scripts: Counter[str] = Counter()
    for character in unicodedata.normalize("NFKC", text):
        if character.isalpha():
            script = unicodedata.name(character, "?").replace("-", " ").split()[0]
            script = "KANA" if script in ("HIRAGANA", "KATAKANA") else script
            if script in VOICE_OF_SCRIPT:
                scripts[script] += 1
    return scripts


def voice_of_script(scripts: Counter[str]) -> str:
    """The voice for most of the letters. Japanese has both kana and ideographs, Chinese has not."""
    if scripts["KANA"]:
        scripts = scripts + Counter(KANA=scripts["CJK"])
    return VOICE_OF_SCRIPT[scripts.most_common(1)[0][0]] if scripts.total() else DEFAULT_VOICE


def contradicts(scripts: Counter[str], tag: str) -> bool:
    """Whether most of the letters are of a script that the language is not written in."""
    primary, *subtags = tag.split("-")
    own = LATIN if "latn" in subtags else SCRIPTS_OF_LANGUAGE.get(primary, LATIN)
    return 2 * sum(scripts[script] for script in own) < scripts.total()


def voices_for(text: str, voice: str, language: str) -> tuple[str, ...]:
    """What to try, best first: the voice asked for, the language's, the script's.

    Where text and language contradict each other, the script's comes before the language's, which
    would spell it letter by letter. "+f3" alone is a variant of what follows.
    """
    tag = language.lower().replace("_", "-")
    primary = tag.split("-")[0]
    names = [VOICE_OF_LANGUAGE.get(tag, tag), VOICE_OF_LANGUAGE.get(primary, primary)]
    spoken = [name for name in names if name]
    scripts = letters_by_script(text)
    written = voice_of_script(scripts)
    own = [written, *spoken] if contradicts(scripts, tag) else [*spoken, written]
    own.append(DEFAULT_VOICE)
    if voice.startswith("+"):
        return (*(name + voice for name in own), *own)
    return (voice, *own) if voice else tuple(own)


def is_voice(name: str) -> bool:
    """Whether espeak has this voice, as in `en-us`, `en-us+f3`, or variant of any, as in `+f3`.

    Loads espeak (10 ms). Raises OSError if it cannot be loaded.
    """
    return _espeak.shared().is_voice(DEFAULT_VOICE + name if name.startswith("+") else name)


class EspeakTTS:
    """Implements `providers.base.TTS`."""

    ping = None
    """There is no process that could die alone, and a word costs a millisecond."""

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
