"""A voice without words: a hum whose length is that of the text."""

import re
from collections.abc import AsyncGenerator, Iterable

import numpy as np

from mocks.faults import LAST, ScriptedFault
from mocks.provider import MockProvider
from providers.base import ProviderError, Slot, SpeechAudio, SpeechEvent, WordTiming


class ToneTTS(MockProvider):
    """Hums every clause, `ms_per_char` for each of its characters.

    Args:
        first_audio_ms: From the request to the first piece.
        rtf: Seconds of work for a second of audio; 0.05 is twenty times faster than real time.
        ms_per_char: 65 is an English speaker at about 150 words a minute.
        piece_ms: Audio in one SpeechAudio.
        word_timings: Whether a WordTiming comes for every word.
    """

    def __init__(
        self,
        *,
        first_audio_ms: float = 30.0,
        rtf: float = 0.05,
        ms_per_char: float = 65.0,
        piece_ms: float = 100.0,
        rate_hz: int = 24_000,
        word_timings: bool = True,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.TTS, "tone", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self.first_audio_ms = first_audio_ms
        self.rtf = rtf
        self.ms_per_char = ms_per_char
        self.piece_ms = piece_ms
        self._rate_hz = rate_hz
        self._word_timings = word_timings
        self._second = _hum(rate_hz)
        self.texts: list[str] = []
        """Every clause asked for, in order."""
        self.running = 0
        self.finished = 0
        self.aborted = 0
        """Closed by the caller before their end."""

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    def duration_s(self, text: str, speed: float = 1.0) -> float:
        """How long `text` takes to say."""
        return len(text) * self.ms_per_char / 1000 / speed if text.strip() else 0.0

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """A fault's item is a piece of audio."""
        self.texts.append(text)
        course = self.faults.begin()
        samples = round(self.duration_s(text, speed) * self._rate_hz)
        piece = round(self.piece_ms * self._rate_hz / 1000)
        is_over = False
        self.running += 1
        try:
            for item, start in enumerate(range(0, samples, piece)):
                delay_ms = self.first_audio_ms if item == 0 else self.rtf * self.piece_ms
                if not await course.reach(item, delay_ms):
                    is_over = True
                    return
                end = min(start + piece, samples)
                for timing in self._timings(text, speed, start, end):
                    yield timing
                yield SpeechAudio(self._cut(start, end))
            await course.reach(LAST, 0)
            is_over = True
            self.finished += 1
        except ProviderError:
            is_over = True
            raise
        finally:
            self.running -= 1
            self.aborted += not is_over

    def _timings(self, text: str, speed: float, start: int, end: int) -> list[WordTiming]:
        """Timings of the words that begin in samples start..end."""
        if not self._word_timings:
            return []
        char_s = self.ms_per_char / 1000 / speed
        return [
            WordTiming(start=word.start(), end=word.end(), at=word.start() * char_s)
            for word in re.finditer(r"\S+", text)
            if start <= word.start() * char_s * self._rate_hz < end
        ]

    def _cut(self, start: int, end: int) -> bytes:
        size = 2 * self._rate_hz
        at, stop = 2 * start, 2 * end
        audio = b""
        while at < stop:
            offset = at % size
            take = min(stop - at, size - offset)
            audio += self._second[offset : offset + take]
            at += take
        return audio


def _hum(rate_hz: int) -> bytes:
    """One second that loops without a click: 140 Hz and its harmonics, four syllables."""
    seconds = np.arange(rate_hz) / rate_hz
    voice = sum(np.sin(2 * np.pi * 140 * n * seconds) / n for n in range(1, 9))
    syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * seconds)
    wave = voice * syllables
    pcm: bytes = (wave / np.abs(wave).max() * 12_000).astype("<i2").tobytes()
    return pcm
