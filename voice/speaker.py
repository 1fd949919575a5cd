"""The voice's side of a reply: clauses in, sound out, and a word into a silence that lasts."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from enum import Enum, auto
from math import inf

from providers.base import (
    TTS,
    Fault,
    ProviderError,
    Slot,
    SpeechAudio,
    SpeechEvent,
    WordTiming,
)
from voice.audio import Speaking, duration_ms
from voice.patience import timed
from voice.phrases import apology, hold
from voice.providers import Recited
from voice.reply_facts import Fact, Failed, Marked, Said, Sounded, Task

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…")

FIRST_CJK = "\u2e80"
"""From here on, scripts that put no spaces between words."""
NO_MORE_HOLDS = 1000
PIECE_BYTES = 8192
CHANCE_S = 0.4
"""An answer that begins late gets so long before a word breaks the silence instead of it."""


class Spoken(Enum):
    """How far it came; behind anything but ALL no further clause is wanted."""

    ALL = auto()
    TOO_LONG = auto()
    BROKE_OFF = auto()


class Speaker:
    """Args:
    clauses: What is to be said; None behind the last.
    post: Takes the facts, in order.
    room: Waits until more sound is wanted.
    recitals: What Kaiwa says by itself, as sound.
    """

    def __init__(
        self,
        task: Task,
        tts: TTS,
        clauses: asyncio.Queue[str | None],
        *,
        post: Callable[[Fact], None],
        room: Callable[[], Awaitable[None]],
        recitals: Recited | None = None,
    ) -> None:
        self._task, self._tts, self._clauses = task, tts, clauses
        self._post, self._room, self._recitals = post, room, recitals
        self._turn = task.turn
        self._audible = False
        self.said = ""
        self._sound_ms = 0.0
        self._sound_until = inf
        self._holds = 0
        self._silence: asyncio.Timeout | None = None
        """While something is waited for: until a word breaks the silence."""

    def caller_waits(self, quiet_since: float) -> None:
        """Until this is told, nobody has asked, and no silence is too long.

        Args:
            quiet_since: Loop time from which on the caller has heard nothing.
        """
        now = asyncio.get_running_loop().time()
        self._sound_until = max(quiet_since, now + CHANCE_S - self._task.hold_after_s)
        if self._sound_ms:
            self._sound_until = now + self._sound_ms / 1000
        if self._silence is not None:
            self._silence.reschedule(self._next_hold()[1])

    async def speak(self) -> Spoken:
        speaking = Speaking(self._tts.rate_hz, self._task.settings.audio.output.format)
        limit_ms = self._task.max_speech_s * 1000
        spoken = Spoken.ALL
        try:
            while (clause := await self._next_clause(speaking)) is not None:
                await self._speak_clause(clause, speaking)
                if self._sound_ms > limit_ms:
                    spoken = Spoken.TOO_LONG
                    break
        except ProviderError as error:
            spoken = Spoken.BROKE_OFF
            self._post(Failed(self._turn, error))
            await self._apologise_without_the_voice(speaking)
        self._sound(speaking.flush())
        return spoken

    def say(self, text: str, *, holds: bool = False) -> int:
        """Posts further words; returns the offset at which they begin in the answer.

        A clause brings the space before it along, so that clauses joined are the answer.
        """
        before = len(self.said)
        self.said += text
        self._post(Said(self._turn, text, holds))
        return before

    async def _apologise_without_the_voice(self, speaking: Speaking) -> None:
        words = apology(self._task.language)
        pcm = self._recitals.spare(words) if self._recitals else None
        if pcm is not None and not self.said.endswith(words):
            await self._recite_kept(f" {words}" if self.said else words, pcm, speaking)

    # --- silence ----------------------------------------------------------------------------------

    def _next_hold(self) -> tuple[str, float | None]:
        """What is said into a silence, and when it is due."""
        words, quiet_s = hold(self._task.language, self._holds), self._task.hold_after_s
        due = self._sound_until + quiet_s
        return words, due if quiet_s and words and due < inf else None

    async def _next_clause(self, speaking: Speaking) -> str | None:
        """Says something meanwhile, where the caller has heard nothing for too long."""
        while True:
            words, due = self._next_hold()
            try:
                async with asyncio.timeout_at(due) as self._silence:
                    return await self._clauses.get()
            except TimeoutError:
                self._holds += 1
                try:
                    await self._speak_clause(words, speaking, holds=True)
                except ProviderError:  # the answer may still find a voice
                    self._holds = NO_MORE_HOLDS
            finally:
                self._silence = None

    async def _first(
        self, events: AsyncGenerator[SpeechEvent, None], speaking: Speaking
    ) -> SpeechEvent | None:
        """Where the voice keeps us waiting, what is kept as sound breaks the silence meanwhile."""
        if self._recitals is None or not self._task.hold_after_s:
            return await anext(events, None)
        first = asyncio.ensure_future(anext(events, None))
        try:
            while not first.done():
                words, due = self._next_hold()
                pcm = self._recitals.spare(words)
                try:
                    async with asyncio.timeout_at(due if pcm else None) as limit:
                        self._silence = limit if pcm else None
                        await asyncio.wait({first})
                except TimeoutError:
                    if not first.done():
                        self._holds += 1
                        await self._recite_kept(words, pcm or b"", speaking, holds=True)
                finally:
                    self._silence = None
            return first.result()
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    # --- one clause -------------------------------------------------------------------------------

    def _apart(self, clause: str) -> str:
        """With a space in front, where words that broke a silence are said before or after it."""
        before, after = self.said[-1:], clause[:1]
        spaced = before < FIRST_CJK and after < FIRST_CJK
        joined = before and after and not before.isspace() and not after.isspace()
        return f" {clause}" if self._holds and spaced and joined else clause

    async def _speak_clause(self, clause: str, speaking: Speaking, *, holds: bool = False) -> None:
        provider = self._tts.info.provider
        self._sound(speaking.convert(self._gap()))  # heard while the voice makes the next clause
        async with contextlib.aclosing(self._voiced(clause)) as events:
            begun = event = await self._first(events, speaking)
            from_ms = self._sound_ms
            from_chars = self.say(self._apart(clause), holds=holds) if begun else 0
            while event is not None:
                match event:
                    case WordTiming():
                        mark_ms = from_ms + event.at * 1000
                        self._post(Marked(self._turn, from_chars + event.start, mark_ms))
                    case SpeechAudio():
                        self._audible = self._audible or bool(event.pcm.strip(b"\0"))
                        await self._room()
                        self._sound(speaking.convert(event.pcm))
                event = await anext(events, None)
        if not self._audible:
            what = f"gave no sound for a clause of {len(clause)} characters"
            raise ProviderError(Slot.TTS, provider, Fault.BROKEN, what)
        if begun:
            self._post(Marked(self._turn, len(self.said), self._sound_ms))

    async def _recite_kept(
        self, words: str, pcm: bytes, speaking: Speaking, *, holds: bool = False
    ) -> None:
        self.say(self._apart(words), holds=holds)
        for piece in _pieces(pcm):
            await self._room()
            self._sound(speaking.convert(piece))
        self._post(Marked(self._turn, len(self.said), self._sound_ms))

    def _voiced(self, clause: str) -> AsyncGenerator[SpeechEvent, None]:
        task, out = self._task, self._task.settings.audio.output
        if self._recitals is not None and out.speed == 1.0:
            pcm = self._recitals.sound(clause.strip(), out.voice)
            if pcm is not None:
                return _as_events(pcm)
        stream = self._tts.stream(clause, voice=out.voice, language=task.language, speed=out.speed)
        return timed(self._tts, stream, task.audio)

    def _gap(self) -> bytes:
        """Silence behind the last clause: voices give single clauses none, or next to none."""
        said = self.said.rstrip()
        if not said:
            return b""
        ended = said.endswith(SENTENCE_ENDS)
        gap_ms = self._task.sentence_gap_ms if ended else self._task.clause_gap_ms
        return bytes(2 * (self._tts.rate_hz * gap_ms // 1000))

    def _sound(self, pcm: bytes) -> None:
        if pcm:
            sound_ms = duration_ms(pcm, self._task.settings.audio.output.format.rate_hz)
            self._sound_ms += sound_ms
            now = asyncio.get_running_loop().time()
            self._sound_until = max(self._sound_until, now) + sound_ms / 1000
            self._post(Sounded(self._turn, pcm))


def _pieces(pcm: bytes) -> Iterator[bytes]:
    return (pcm[start : start + PIECE_BYTES] for start in range(0, len(pcm), PIECE_BYTES))


async def _as_events(pcm: bytes) -> AsyncGenerator[SpeechEvent, None]:
    for piece in _pieces(pcm):
        yield SpeechAudio(piece)
