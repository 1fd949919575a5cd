"""One answer on its way: passages, tokens, clauses, sound.

    retrieve ──▶ think ──clauses──▶ speak ──sound──▶ session
                  (LLM)              (TTS)

`think` and `speak` run side by side, a queue of clauses between them; `speak` waits while the
session has enough sound in store. What happens is told to the session as facts, stamped and ordered
there. Cancelling the task closes both streams, down to their HTTP responses.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from providers.base import (
    LLM,
    TTS,
    Fault,
    Finish,
    LLMRequest,
    Passage,
    ProviderError,
    Retriever,
    Slot,
    SpeechAudio,
    SpeechEvent,
    TextDelta,
    ToolCallDelta,
    WordTiming,
)
from voice import prompt
from voice.audio import Speaking, duration_ms
from voice.clauses import ClauseSplitter, pieces
from voice.patience import Patience, in_time
from voice.phrases import apology, hold
from voice.providers import Recited
from voice.settings import Settings

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…")

FIRST_CJK = "\u2e80"
"""From here on, scripts that put no spaces between words."""
NO_MORE_HOLDS = 1000
PIECE_BYTES = 8192
CHANCE_S = 0.4
"""An answer that begins late gets so long before a word breaks the silence instead of it."""

E = TypeVar("E")


class Retrieved(Struct, frozen=True):
    turn: int
    passages: tuple[Passage, ...]
    problem: str = ""
    """Why there may be fewer than there should be."""


class Thought(Struct, frozen=True):
    """The first token came."""

    turn: int


class Phrased(Struct, frozen=True):
    """The first clause is complete."""

    turn: int


class Said(Struct, frozen=True):
    """The next words of the answer: their sound begins, or they are all there is of it."""

    turn: int
    text: str
    holds: bool = False
    """It only breaks a silence: what was asked for still has to come."""


class Sounded(Struct, frozen=True):
    """The next sound, s16le at the wire's rate."""

    turn: int
    pcm: bytes


class Marked(Struct, frozen=True):
    """The answer's words up to offset `chars` end at `at_ms` of its sound."""

    turn: int
    chars: int
    at_ms: float


class Called(Struct, frozen=True):
    turn: int
    delta: ToolCallDelta


class Failed(Struct, frozen=True):
    """A provider gave up; an apology may follow."""

    turn: int
    error: ProviderError


class Broke(Struct, frozen=True):
    """Our bug; `what` is the exception's name."""

    turn: int
    what: str


class Ended(Struct, frozen=True):
    """Nothing more comes."""

    turn: int
    finish: Finish


Fact = Retrieved | Thought | Phrased | Said | Sounded | Marked | Called | Failed | Broke | Ended


class Task(Struct, frozen=True, kw_only=True):
    """What is to be answered, as things stood when the answer was asked for."""

    turn: int
    request: LLMRequest
    instructions: str
    settings: Settings
    language: str
    retrieve: bool
    context_tokens: int
    retrieval_limit_s: float
    tokens: Patience
    audio: Patience
    max_speech_s: float
    quiet_since: float
    """Loop time from which on the caller has heard nothing."""
    hold_after_s: float
    """Silence for so long is broken by a word; 0: never."""
    say: str = ""
    """What is said instead of an answer."""
    sentence_gap_ms: int
    clause_gap_ms: int


class Reply:
    """Args:
    post: Takes the facts, in order.
    room: Waits until the session wants more sound.
    recitals: What Kaiwa says by itself, as sound.
    """

    def __init__(
        self,
        task: Task,
        *,
        llm: LLM,
        tts: TTS,
        retriever: Retriever | None,
        post: Callable[[Fact], None],
        room: Callable[[], Awaitable[None]],
        recitals: Recited | None = None,
    ) -> None:
        self._task = task
        self._llm, self._tts, self._retriever = llm, tts, retriever
        self._post, self._room, self._recitals = post, room, recitals
        self._turn = task.turn
        self._spoken = task.settings.spoken
        self._clauses: asyncio.Queue[str | None] = asyncio.Queue()
        self._finish = Finish()
        self._phrased = self._called = self._audible = False
        self._said = ""
        self._sound_ms = self._sound_until = 0.0
        self._holds = 0

    async def run(self) -> None:
        now, quiet_s = asyncio.get_running_loop().time(), self._task.hold_after_s
        self._sound_until = max(self._task.quiet_since, now + CHANCE_S - quiet_s)
        if self._task.say:
            await self._recite(self._task.say)
            return
        request = await self._prepared()
        if self._spoken:
            await self._think_and_speak(request)
        else:
            await self._write(request)
        self._post(Ended(self._turn, self._finish))

    async def _recite(self, text: str) -> None:
        if self._spoken:
            self._phrase([text])
            self._clauses.put_nowait(None)
            await self._speak()
        else:
            self._say(text)
        self._post(Ended(self._turn, self._finish))

    # --- retrieve ---------------------------------------------------------------------------------

    async def _prepared(self) -> LLMRequest:
        task = self._task
        passages: tuple[Passage, ...] = ()
        problem = ""
        if task.retrieve and self._retriever is not None and task.request.question:
            try:
                passages = await self._retriever.search(
                    task.request.question, limit_s=task.retrieval_limit_s
                )
            except TimeoutError:
                problem = f"retrieval took longer than {task.retrieval_limit_s:g} s (rag.limit_ms)"
            except ProviderError as error:
                problem = str(error)
        self._post(Retrieved(self._turn, passages, problem))
        shown = prompt.messages(
            task.instructions, task.request.messages, passages, max_tokens=task.context_tokens
        )
        return msgspec.structs.replace(
            task.request, messages=shown, passages=passages, language=task.language
        )

    # --- think ------------------------------------------------------------------------------------

    async def _tokens(self, request: LLMRequest) -> AsyncGenerator[str, None]:
        """The words as the model gives them; whatever else it gives is posted or kept."""
        thought = False
        stream = _timed(self._llm, self._llm.stream(request), self._task.tokens)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if not thought:
                    thought = True
                    self._post(Thought(self._turn))
                match event:
                    case TextDelta():
                        yield event.text
                    case ToolCallDelta():
                        self._called = True
                        self._post(Called(self._turn, event))
                    case Finish():
                        self._finish = event

    def _nothing_said(self) -> str:
        """What to say where the model gave no words: nothing if it called a function.

        Raises:
            ProviderError: It gave neither, and no reason.
        """
        if self._called:
            return ""
        if self._finish.reason == "content_filter":
            return apology(self._task.language)
        why = f"answered without a word (finish_reason {self._finish.reason})"
        raise ProviderError(Slot.LLM, self._llm.info.provider, Fault.BROKEN, why)

    async def _write(self, request: LLMRequest) -> None:
        """Text only: every token as it comes."""
        try:
            async with contextlib.aclosing(self._tokens(request)) as tokens:
                async for text in tokens:
                    self._say(text)
            if not self._said.strip() and (words := self._nothing_said()):
                self._say(words)
        except ProviderError as error:
            self._post(Failed(self._turn, error))
            if not self._said.strip():
                self._say(apology(self._task.language))

    async def _think_and_speak(self, request: LLMRequest) -> None:
        thinking = asyncio.create_task(self._think(request), name=f"think-{self._turn}")
        try:
            if await self._speak():
                await thinking
        finally:
            thinking.cancel()
            await asyncio.gather(thinking, return_exceptions=True)

    async def _think(self, request: LLMRequest) -> None:
        splitter = ClauseSplitter()
        try:
            async with contextlib.aclosing(self._tokens(request)) as tokens:
                async for text in tokens:
                    for number, piece in enumerate(pieces(text)):
                        if number:  # others have their turn
                            await asyncio.sleep(0)
                        self._phrase(splitter.feed(piece))
            self._phrase(splitter.flush())
            if not self._phrased and (words := self._nothing_said()):
                self._phrase([words])
        except ProviderError as error:
            # What was said so far stands; half a clause is not worth saying.
            self._post(Failed(self._turn, error))
            self._phrase([(" " if self._phrased else "") + apology(self._task.language)])
        finally:
            self._clauses.put_nowait(None)

    def _phrase(self, clauses: list[str]) -> None:
        if clauses and not self._phrased:
            self._phrased = True
            self._post(Phrased(self._turn))
        for clause in clauses:
            self._clauses.put_nowait(clause)

    # --- speak ------------------------------------------------------------------------------------

    async def _speak(self) -> bool:
        """Returns:
        Whether all clauses were said; if not, no further one is wanted.
        """
        speaking = Speaking(self._tts.rate_hz, self._task.settings.audio.output.format)
        limit_ms = self._task.max_speech_s * 1000
        said_all = False
        try:
            while (clause := await self._next_clause(speaking)) is not None:
                await self._speak_clause(clause, speaking)
                if self._sound_ms > limit_ms:
                    self._finish = Finish("length", self._finish.usage)
                    break
            else:
                said_all = True
        except ProviderError as error:
            self._post(Failed(self._turn, error))
            await self._apologise_without_the_voice(speaking)
        self._sound(speaking.flush())
        return said_all

    async def _apologise_without_the_voice(self, speaking: Speaking) -> None:
        words = apology(self._task.language)
        pcm = self._recitals.spare(words) if self._recitals else None
        if pcm is not None and not self._said.endswith(words):
            await self._recite_kept(f" {words}" if self._said else words, pcm, speaking)

    async def _next_clause(self, speaking: Speaking) -> str | None:
        """Says something meanwhile, where the caller has heard nothing for too long."""
        while True:
            words, until = self._next_hold()
            try:
                async with asyncio.timeout_at(until):
                    return await self._clauses.get()
            except TimeoutError:
                self._holds += 1
                try:
                    await self._speak_clause(words, speaking, holds=True)
                except ProviderError:  # the answer may still find a voice
                    self._holds = NO_MORE_HOLDS

    def _next_hold(self) -> tuple[str, float | None]:
        """What is said into a silence, and when it is due."""
        words, quiet_s = hold(self._task.language, self._holds), self._task.hold_after_s
        return words, self._sound_until + quiet_s if quiet_s and words else None

    def _apart(self, clause: str) -> str:
        """With a space in front, where words that broke a silence are said before or after it."""
        before, after = self._said[-1:], clause[:1]
        spaced = before < FIRST_CJK and after < FIRST_CJK
        joined = before and after and not before.isspace() and not after.isspace()
        return f" {clause}" if self._holds and spaced and joined else clause

    async def _speak_clause(self, clause: str, speaking: Speaking, *, holds: bool = False) -> None:
        provider = self._tts.info.provider
        self._sound(speaking.convert(self._gap()))  # heard while the voice makes the next clause
        async with contextlib.aclosing(self._voiced(clause)) as events:
            begun = event = await self._first(events, speaking)
            from_ms = self._sound_ms
            from_chars = self._say(self._apart(clause), holds=holds) if begun else 0
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
            self._post(Marked(self._turn, len(self._said), self._sound_ms))

    async def _first(
        self, events: AsyncGenerator[SpeechEvent, None], speaking: Speaking
    ) -> SpeechEvent | None:
        """Where the voice keeps us waiting, what is kept as sound breaks the silence meanwhile."""
        _, due = self._next_hold()
        if self._recitals is None or due is None:
            return await anext(events, None)
        first = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                words, due = self._next_hold()
                pcm = self._recitals.spare(words)
                now = asyncio.get_running_loop().time()
                wait_s = max(0.0, due - now) if due is not None and pcm else None
                done, _ = await asyncio.wait({first}, timeout=wait_s)
                if done:
                    return first.result()
                self._holds += 1
                await self._recite_kept(words, pcm or b"", speaking, holds=True)
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    async def _recite_kept(
        self, words: str, pcm: bytes, speaking: Speaking, *, holds: bool = False
    ) -> None:
        self._say(self._apart(words), holds=holds)
        for piece in _pieces(pcm):
            await self._room()
            self._sound(speaking.convert(piece))
        self._post(Marked(self._turn, len(self._said), self._sound_ms))

    def _voiced(self, clause: str) -> AsyncGenerator[SpeechEvent, None]:
        task, out = self._task, self._task.settings.audio.output
        if self._recitals is not None and out.speed == 1.0:
            pcm = self._recitals.sound(clause.strip(), out.voice)
            if pcm is not None:
                return _as_events(pcm)
        stream = self._tts.stream(clause, voice=out.voice, language=task.language, speed=out.speed)
        return _timed(self._tts, stream, task.audio)

    def _gap(self) -> bytes:
        """Silence behind the last clause: voices give single clauses none, or next to none."""
        said = self._said.rstrip()
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

    def _say(self, text: str, *, holds: bool = False) -> int:
        """Posts further words; returns the offset at which they begin in the answer.

        A clause brings the space before it along, so that clauses joined are the answer.
        """
        before = len(self._said)
        self._said += text
        self._post(Said(self._turn, text, holds))
        return before


def _pieces(pcm: bytes) -> Iterator[bytes]:
    return (pcm[start : start + PIECE_BYTES] for start in range(0, len(pcm), PIECE_BYTES))


async def _as_events(pcm: bytes) -> AsyncGenerator[SpeechEvent, None]:
    for piece in _pieces(pcm):
        yield SpeechAudio(piece)


def _timed(
    provider: LLM | TTS, stream: AsyncGenerator[E, None], patience: Patience
) -> AsyncGenerator[E, None]:
    """A chain keeps the time of each of its links."""
    if getattr(provider, "keeps_time", False):
        return stream
    return in_time(stream, patience, provider.info.provider)
