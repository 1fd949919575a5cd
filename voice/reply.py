"""One answer on its way: passages, tokens, clauses, sound.

    retrieve ──▶ think ──clauses──▶ speak ──sound──▶ session
                  (LLM)              (TTS)

`think` and `speak` run side by side, a queue of clauses between them; `speak` waits while the
session has enough sound in store. What happens is told to the session as facts, stamped and ordered
there. Cancelling the task closes both streams, down to their HTTP responses.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

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
    TextDelta,
    ToolCallDelta,
    WordTiming,
)
from voice import prompt
from voice.audio import Speaking, duration_ms
from voice.clauses import ClauseSplitter
from voice.phrases import apology
from voice.settings import Settings


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
    first_audio_limit_s: float
    max_speech_s: float


class Reply:
    """Args:
    post: Takes the facts, in order.
    room: Waits until the session wants more sound.
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
    ) -> None:
        self._task = task
        self._llm, self._tts, self._retriever = llm, tts, retriever
        self._post, self._room = post, room
        self._turn = task.turn
        self._spoken = task.settings.spoken
        self._clauses: asyncio.Queue[str | None] = asyncio.Queue()
        self._finish = Finish()
        self._said = ""
        self._sound_ms = 0.0

    async def run(self) -> None:
        request = await self._prepared()
        if self._spoken:
            await self._think_and_speak(request)
        else:
            await self._write(request)
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
        request = task.request
        return LLMRequest(
            messages=shown,
            question=request.question,
            passages=passages,
            language=task.language,
            tools=request.tools,
            tool_choice=request.tool_choice,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
        )

    # --- think ------------------------------------------------------------------------------------

    async def _write(self, request: LLMRequest) -> None:
        """Text only: every token as it comes."""
        thought = False
        try:
            async with contextlib.aclosing(self._llm.stream(request)) as events:
                async for event in events:
                    if not thought:
                        thought = True
                        self._post(Thought(self._turn))
                    match event:
                        case TextDelta():
                            self._say(event.text)
                        case ToolCallDelta():
                            self._post(Called(self._turn, event))
                        case Finish():
                            self._finish = event
        except ProviderError as error:
            self._post(Failed(self._turn, error))
            if not self._said:
                self._say(apology(self._task.language))

    async def _think_and_speak(self, request: LLMRequest) -> None:
        thinking = asyncio.create_task(self._think(request), name=f"think-{self._turn}")
        try:
            await self._speak()
            await thinking
        finally:
            thinking.cancel()
            await asyncio.gather(thinking, return_exceptions=True)

    async def _think(self, request: LLMRequest) -> None:
        splitter = ClauseSplitter()
        thought = phrased = False
        try:
            async with contextlib.aclosing(self._llm.stream(request)) as events:
                async for event in events:
                    if not thought:
                        thought = True
                        self._post(Thought(self._turn))
                    match event:
                        case TextDelta():
                            for clause in splitter.feed(event.text):
                                phrased = phrased or self._phrase()
                                self._clauses.put_nowait(clause)
                        case ToolCallDelta():
                            self._post(Called(self._turn, event))
                        case Finish():
                            self._finish = event
            for clause in splitter.flush():
                phrased = phrased or self._phrase()
                self._clauses.put_nowait(clause)
        except ProviderError as error:
            # What was said so far stands; half a clause is not worth saying.
            self._post(Failed(self._turn, error))
            self._clauses.put_nowait(" " + apology(self._task.language))
        finally:
            self._clauses.put_nowait(None)

    def _phrase(self) -> bool:
        self._post(Phrased(self._turn))
        return True

    # --- speak ------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        speaking = Speaking(self._tts.rate_hz, self._task.settings.audio.output.format)
        limit_ms = self._task.max_speech_s * 1000
        try:
            while (clause := await self._clauses.get()) is not None:
                await self._speak_clause(clause, speaking)
                if self._sound_ms > limit_ms:
                    self._finish = Finish("length", self._finish.usage)
                    return
        except ProviderError as error:
            self._post(Failed(self._turn, error))
        self._sound(speaking.flush())

    async def _speak_clause(self, clause: str, speaking: Speaking) -> None:
        task = self._task
        out = task.settings.audio.output
        begun = False
        from_chars, from_ms = 0, self._sound_ms
        stream = self._tts.stream(clause, voice=out.voice, language=task.language, speed=out.speed)
        limit = asyncio.timeout(task.first_audio_limit_s)
        try:
            async with contextlib.aclosing(stream) as events, limit:
                async for event in events:
                    if not begun:
                        begun = True
                        limit.reschedule(None)
                        from_chars = self._say(clause)
                    match event:
                        case WordTiming():
                            mark_ms = from_ms + event.at * 1000
                            self._post(Marked(self._turn, from_chars + event.start, mark_ms))
                        case SpeechAudio():
                            await self._room()
                            self._sound(speaking.convert(event.pcm))
        except TimeoutError:
            what = f"no sound within {task.first_audio_limit_s:g} s (tts.first_audio_limit_s)"
            name = self._tts.info.provider
            raise ProviderError(Slot.TTS, name, Fault.TIMEOUT, what) from None
        if begun:
            self._post(Marked(self._turn, len(self._said), self._sound_ms))

    def _sound(self, pcm: bytes) -> None:
        if pcm:
            self._sound_ms += duration_ms(pcm, self._task.settings.audio.output.format.rate_hz)
            self._post(Sounded(self._turn, pcm))

    def _say(self, text: str) -> int:
        """Posts further words; returns the offset at which they begin in the answer.

        A clause brings the space before it along, so that clauses joined are the answer.
        """
        before = len(self._said) + len(text) - len(text.lstrip())
        self._said += text
        self._post(Said(self._turn, text))
        return before
