"""One answer on its way: passages, tokens, clauses, sound.

    retrieve ──▶ think ──clauses──▶ speak ──sound──▶ session
                  (LLM)              (TTS)

`Thinker` and `Speaker` run side by side, a queue of clauses between them; the latter waits while
the session has enough sound in store. What happens is told to the session as facts, stamped and
ordered there. Cancelling the task closes both streams, down to their HTTP responses.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from providers.base import LLM, TTS, Finish, LLMRequest, Passage, ProviderError, Retriever
from voice import prompt
from voice.phrases import apology
from voice.providers import Recited
from voice.reply_facts import Ended, Fact, Failed, Retrieved, Task
from voice.speaker import Speaker, Spoken
from voice.thinker import Thinker


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
        self._task, self._retriever, self._post = task, retriever, post
        self._turn = task.turn
        self._spoken = task.settings.spoken
        self.thinker = Thinker(task, llm, post)
        self.speaker = Speaker(
            task, tts, self.thinker.clauses, post=post, room=room, recitals=recitals
        )

    async def run(self) -> None:
        self.speaker.caller_waits(self._task.quiet_since)
        if self._task.say:
            await self._recite(self._task.say)
            return
        request = await self._prepared()
        if self._spoken:
            await self._think_and_speak(request)
        else:
            await self._write(request)
        self._post(Ended(self._turn, self.thinker.finish))

    async def _recite(self, text: str) -> None:
        if self._spoken:
            self.thinker.recite(text)
            await self.speaker.speak()
        else:
            self.speaker.say(text)
        self._post(Ended(self._turn, Finish()))

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

    async def _write(self, request: LLMRequest) -> None:
        """Text only: every token as it comes."""
        thinker, speaker = self.thinker, self.speaker
        try:
            async with contextlib.aclosing(thinker.tokens(request)) as tokens:
                async for text in tokens:
                    speaker.say(text)
            if not speaker.said.strip() and (words := thinker.nothing_said()):
                speaker.say(words)
        except ProviderError as error:
            self._post(Failed(self._turn, error))
            if not speaker.said.strip():
                speaker.say(apology(self._task.language))

    async def _think_and_speak(self, request: LLMRequest) -> None:
        thinker = self.thinker
        thinking = asyncio.create_task(thinker.think(request), name=f"think-{self._turn}")
        try:
            match await self.speaker.speak():
                case Spoken.ALL:
                    await thinking
                case Spoken.TOO_LONG:
                    thinker.finish = Finish("length", thinker.finish.usage)
        finally:
            thinking.cancel()
            await asyncio.gather(thinking, return_exceptions=True)
