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
from voice.audio import Speaking, audible_ms, duration_ms
from voice.patience import timed
from voice.phrases import apology, hold
from voice.providers import Recited
from voice.reply_facts import Fact, Failed, Marked, Said, Sounded, Task

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…")

FIRST_CJK = "\u2e80"
"""From here on, scripts that put no spaces between words."""
PIECE_BYTES = 8192
NEVER_S = 86_400.0
CHANCE_S = 0.4
"""An answer that begins late gets so long before a word breaks the silence instead of it; and the
voice for that word, before it comes as it is kept."""
MOST_QUIET_S = 2.8
"""But no silence lasts longer for the sake of a chance: a recogniser that stood in for another may
have needed most of it."""


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
        self._speaking = Speaking(tts.rate_hz, task.settings.audio.output.format)
        self.said = ""
        self._sound_ms = self._heard_ms = 0.0
        """Of all sound so far, and of it up to the last that can be heard."""
        self._plays_until = self._quiet_since = inf
        """Loop times at which they end."""
        self._from_ms = 0.0
        """Where in the sound the clause begins."""
        self._quiet_s, self._not_before = task.hold_after_s, 0.0
        self._holds = 0
        self._silence: asyncio.Timeout | None = None
        """While a clause is waited for: until a word breaks the silence."""
        self._watch: asyncio.TimerHandle | None = None
        """The same while the voice is waited for,"""
        self._begun = False
        """which has begun a clause."""
        self._audible = False

    def caller_waits(self, quiet_since: float) -> None:
        """Until this is told, nobody has asked, and no silence is too long.

        Args:
            quiet_since: Loop time from which on the caller has heard nothing.
        """
        now = asyncio.get_running_loop().time()
        chance_by = _chance_by(now, quiet_since)
        self._quiet_since = max(quiet_since, chance_by - self._quiet_s)
        self._plays_until = now + self._sound_ms / 1000
        if self._heard_ms:
            self._quiet_since = now + self._heard_ms / 1000
        if self._silence is not None:
            self._silence.reschedule(self._next_hold()[1])
        if self._watch is not None:
            self._watch_silence(self._begun)

    async def speak(self) -> Spoken:
        limit_ms = self._task.max_speech_s * 1000
        spoken = Spoken.ALL
        try:
            while (clause := await self._next_clause()) is not None:
                await self._speak_clause(clause)
                if self._sound_ms > limit_ms:
                    spoken = Spoken.TOO_LONG
                    break
        except ProviderError as error:
            spoken = Spoken.BROKE_OFF
            self._post(Failed(self._turn, error))
            self._apologise_without_the_voice()
        self._sound(self._speaking.flush())
        return spoken

    def say(self, text: str, *, holds: bool = False) -> int:
        """Posts further words; returns the offset at which they begin in the answer.

        A clause brings the space before it along, so that clauses joined are the answer.
        """
        before = len(self.said)
        self.said += text
        self._post(Said(self._turn, text, holds))
        return before

    def _apologise_without_the_voice(self) -> None:
        words = apology(self._task.language)
        pcm = self._recitals.spare(words) if self._recitals else None
        if pcm is not None and not self.said.endswith(words):
            self._recite_kept(f" {words}" if self.said else words, pcm)

    # --- silence ----------------------------------------------------------------------------------

    def _next_hold(self) -> tuple[str, float | None]:
        """What is said into a silence, and when it is due."""
        due = max(self._quiet_since + self._quiet_s, self._not_before)
        return hold(self._task.language, self._holds), due if self._quiet_s and due < inf else None

    async def _next_clause(self) -> str | None:
        """Says something meanwhile, where the caller has heard nothing for too long."""
        while True:
            words, due = self._next_hold()
            try:
                async with asyncio.timeout_at(due) as self._silence:
                    return await self._clauses.get()
            except TimeoutError:
                await self._hold(words)
            finally:
                self._silence = None

    async def _hold(self, words: str) -> None:
        """In the caller's own voice, unless that keeps them waiting as well."""
        said = self._holds + 1
        self._not_before = asyncio.get_running_loop().time() + CHANCE_S
        try:
            await self._speak_clause(words, holds=True)
        except ProviderError:  # the answer may still find a voice
            self._quiet_s = 0.0
        self._holds = max(self._holds, said)

    async def _next_event(
        self, events: AsyncGenerator[SpeechEvent, None], *, begun: bool
    ) -> SpeechEvent | None:
        """Where the voice keeps us waiting, what is kept as sound breaks the silence meanwhile."""
        if self._recitals is None or not self._quiet_s:
            return await anext(events, None)
        self._watch_silence(begun)
        try:
            return await anext(events, None)
        finally:
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None

    def _watch_silence(self, begun: bool) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._begun, due = begun, self._next_hold()[1]
        loop = asyncio.get_running_loop()
        never = loop.time() + NEVER_S
        self._watch = loop.call_at(never if due is None else due, self._break_silence)

    def _break_silence(self) -> None:
        """Within a clause as sound alone: its words are told, and are not moved."""
        words, due = self._next_hold()
        pcm = self._recitals.spare(words) if self._recitals else None
        if pcm is None or due is None:
            return
        self._holds += 1
        if self._begun:
            self._sound(self._speaking.flush())
            before_ms = self._sound_ms
            self._sound_kept(pcm)
            self._from_ms += self._sound_ms - before_ms
        else:
            self._recite_kept(self._apart(words), pcm, holds=True)
        self._watch_silence(self._begun)

    # --- one clause -------------------------------------------------------------------------------

    def _apart(self, clause: str, *, holds: bool = False) -> str:
        """With a space in front, where words that broke a silence are said before or after it."""
        before, after = self.said[-1:], clause[:1]
        spaced = before < FIRST_CJK and after < FIRST_CJK
        joined = before and after and not before.isspace() and not after.isspace()
        between = holds or self._holds
        return f" {clause}" if between and spaced and joined else clause

    async def _speak_clause(self, clause: str, *, holds: bool = False) -> None:
        provider, held = self._tts.info.provider, self._holds
        self._sound(self._speaking.convert(self._gap()))  # while the voice makes the next clause
        async with contextlib.aclosing(self._voiced(clause)) as events:
            begun = event = await self._next_event(events, begun=False)
            if holds and self._holds > held:
                return  # it came as it is kept
            self._from_ms = self._sound_ms
            from_chars = self.say(self._apart(clause, holds=holds), holds=holds) if begun else 0
            while event is not None:
                match event:
                    case WordTiming():
                        mark_ms = self._from_ms + event.at * 1000
                        self._post(Marked(self._turn, from_chars + event.start, mark_ms))
                    case SpeechAudio():
                        self._audible = self._audible or bool(event.pcm.strip(b"\0"))
                        await self._room()
                        self._sound(self._speaking.convert(event.pcm))
                event = await self._next_event(events, begun=True)
        if not self._audible:
            what = f"gave no sound for a clause of {len(clause)} characters"
            raise ProviderError(Slot.TTS, provider, Fault.BROKEN, what)
        if begun:
            self._sound(self._speaking.flush())  # what follows may be long in coming
            self._post(Marked(self._turn, len(self.said), self._sound_ms))

    def _recite_kept(self, words: str, pcm: bytes, *, holds: bool = False) -> None:
        self.say(words, holds=holds)
        self._sound_kept(pcm)
        self._post(Marked(self._turn, len(self.said), self._sound_ms))

    def _sound_kept(self, pcm: bytes) -> None:
        for piece in _pieces(pcm):
            self._sound(self._speaking.convert(piece))
        self._sound(self._speaking.flush())

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
            rate_hz = self._task.settings.audio.output.format.rate_hz
            sound_ms, heard_ms = duration_ms(pcm, rate_hz), audible_ms(pcm, rate_hz)
            begins = max(self._plays_until, asyncio.get_running_loop().time())
            if heard_ms:  # a pause does not break a silence
                self._heard_ms = self._sound_ms + heard_ms
                self._quiet_since = begins + heard_ms / 1000
            self._sound_ms += sound_ms
            self._plays_until = begins + sound_ms / 1000
            self._post(Sounded(self._turn, pcm))


def _chance_by(now: float, quiet_since: float) -> float:
    return max(now, min(now + CHANCE_S, quiet_since + MOST_QUIET_S))


def _pieces(pcm: bytes) -> Iterator[bytes]:
    return (pcm[start : start + PIECE_BYTES] for start in range(0, len(pcm), PIECE_BYTES))


async def _as_events(pcm: bytes) -> AsyncGenerator[SpeechEvent, None]:
    for piece in _pieces(pcm):
        yield SpeechAudio(piece)
