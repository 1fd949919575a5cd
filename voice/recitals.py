"""The few sentences Kaiwa says by itself, kept as sound.

They are wanted when something fails, and the voice may be what fails; or when a silence has lasted
too long already, so that nobody should wait for a voice first. They are made before the first call
is let in, since a voice that speaks for one at a time would keep that call waiting; what cannot be
made then is tried again. Callers may speak other languages than the operator's: those sentences
are made afterwards, by a voice in this process where there is one.

    follow(voice) ──▶ all anew, one by one; until its turn comes, each stays as a spare
    said by a stand-in, since the first voice was away ──▶ anew by the first one, when it is back
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import structlog
from msgspec import Struct

from providers.base import TTS, ProviderError, SpeechAudio
from voice.chain import Chain
from voice.phrases import LANGUAGES, all_phrases
from voice.resample import Resampler

TRY_AGAIN_S, MOST_AGAIN_S = 30.0, 3600.0
"""The operator's language again and again, the others ever more rarely: a voice may not speak them.
"""
REST_S = 20.0
"""Before each of these that a server makes: it may speak for one at a time, and a caller wait."""
LIMIT_S = 10.0
"""For one sentence."""
START_LIMIT_S = 20.0
"""For all of them, while the server waits."""


log = structlog.get_logger()


class _Kept(Struct, frozen=True):
    pcm: bytes
    voice: str
    """As it was asked for."""
    by: TTS


class Recitals:
    """Implements `voice.providers.Recited`.

    Args:
    tts: The slot's provider; of a chain, the first voice that can.
    voice: As callers ask for it who ask for none.
    language: BCP 47 tag.
    """

    def __init__(self, tts: TTS, *, voice: str, language: str) -> None:
        self._tts, self._voice, self._language = tts, voice, language
        self._sounds: dict[str, _Kept] = {}
        self._task: asyncio.Task[None] | None = None
        self._former: set[asyncio.Task[None]] = set()
        """Cancelled, and not over yet."""
        self._tried = asyncio.Event()

    async def start(self) -> None:
        """Returns when all were made or tried once, or have taken too long. Idempotent."""
        if self._task is None:
            self._task = self._making()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_LIMIT_S):
                    await self._tried.wait()

    def _making(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self._make(), name="recitals")
        task.add_done_callback(_tell)
        return task

    def follow(self, *, voice: str, language: str) -> None:
        """From now on, calls ask for this."""
        if (voice, language) == (self._voice, self._language):
            return
        self._voice, self._language = voice, language
        if self._task is not None:
            self._former.add(self._task)
            self._task.add_done_callback(self._former.discard)
            self._task.cancel()
            self._task = self._making()

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._former, return_exceptions=True)

    def sound(self, text: str, voice: str) -> bytes | None:
        """s16le at the slot's rate, as that voice says it; None: not kept."""
        kept = self._sounds.get(text)
        return kept.pcm if kept is not None and kept.voice == voice else None

    def spare(self, text: str) -> bytes | None:
        """In whatever voice."""
        kept = self._sounds.get(text)
        return kept.pcm if kept is not None else None

    # --- made once ------------------------------------------------------------------------------

    async def _make(self) -> None:
        while self._missing():
            for text in self._missing():
                voices = list(_voices(self._tts))
                if self._tried.is_set():
                    await _let_callers_go_first(voices)
                await self._make_one(text, voices)
            self._tried.set()
            if self._missing():
                await asyncio.sleep(TRY_AGAIN_S)
        self._tried.set()
        again_s = TRY_AGAIN_S
        while not await self._make_others():
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, MOST_AGAIN_S)

    def _missing(self) -> list[str]:
        return [text for text in all_phrases(self._language) if not self._is_kept(text)]

    def _is_kept(self, text: str) -> bool:
        kept = self._sounds.get(text)
        return kept is not None and kept.voice == self._voice

    async def _make_others(self) -> bool:
        """Whether that is all of them, in every language."""
        made_all = True
        own = all_phrases(self._language)
        for language in LANGUAGES:
            for text in all_phrases(language):
                if text in own:
                    made_all = await self._is_the_firsts(text) and made_all
                    continue
                if self._is_kept(text):
                    continue
                voices = sorted(_voices(self._tts), key=_is_remote)
                await _let_callers_go_first(voices)
                await self._make_one(text, voices, language)
                made_all = made_all and self._is_kept(text)
        return made_all

    async def _is_the_firsts(self, text: str) -> bool:
        """Of the operator's language: made anew, where a stand-in has said it and it need not."""
        first = _first(self._tts)
        if self._sounds[text].by is not first and first in _voices(self._tts):
            await _let_callers_go_first([first])
            await self._make_one(text, [first])
        return self._sounds[text].by is first

    async def _make_one(self, text: str, voices: list[TTS], language: str = "") -> None:
        for tts in voices:
            pcm = b""
            with contextlib.suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(LIMIT_S):
                    pcm = await self._said(tts, text, language or self._language)
            if pcm:
                self._sounds[text] = _Kept(pcm, self._voice, tts)
                return

    async def _said(self, tts: TTS, text: str, language: str) -> bytes:
        pieces = []
        stream = tts.stream(text, voice=self._voice, language=language)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if isinstance(event, SpeechAudio):
                    pieces.append(event.pcm)
        return await asyncio.to_thread(_at_rate, b"".join(pieces), tts.rate_hz, self._tts.rate_hz)


def _first(tts: TTS) -> TTS:
    return tts.links[0].provider if isinstance(tts, Chain) else tts


def _voices(tts: TTS) -> Iterator[TTS]:
    """Asked past the chain: what fails here is no caller's trouble."""
    if isinstance(tts, Chain):
        yield from (link.provider for link in tts.links if not link.problem)
    else:
        yield tts


def _is_remote(tts: TTS) -> bool:
    return not tts.info.endpoint.startswith("in-process")


async def _let_callers_go_first(voices: Sequence[TTS]) -> None:
    if voices and _is_remote(voices[0]):
        await asyncio.sleep(REST_S)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("recitals_broke", exc_info=error)


def _at_rate(pcm: bytes, source_hz: int, target_hz: int) -> bytes:
    if source_hz == target_hz:
        return pcm
    return Resampler(source_hz, target_hz).whole(np.frombuffer(pcm, "<i2")).tobytes()
