"""Replies are composed and set to work here, whether they were asked for or not yet."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from math import inf
from typing import Any

import structlog
from msgspec import Struct

from providers.base import LLMRequest, Message, Retriever, Slot, Tool
from voice.chain import CALL
from voice.config import Config
from voice.conversation import Conversation
from voice.house import House
from voice.patience import Patience
from voice.providers import Providers
from voice.reply import Reply
from voice.reply_facts import Broke, Fact, Task
from voice.requests import ReplyOptions


class Working(Struct, frozen=True):
    reply: Reply
    task: asyncio.Task[None]


class Replies:
    """One session's."""

    def __init__(
        self,
        session_id: str,
        *,
        config: Config,
        providers: Providers,
        conversation: Conversation,
        house: House,
    ) -> None:
        self._config, self._providers, self._conversation = config, providers, conversation
        self._name, self._house = session_id, house
        self._log = structlog.get_logger().bind(session=session_id)
        self.tasks: set[asyncio.Task[None]] = set()
        """All that have not given their streams back."""

    def asker(self, turn: int) -> dict[str, Any]:
        """Whose request it is; see `voice.chain.CALL`."""
        return {"session": self._name, "turn": turn}

    def foresee(self, turn: int, options: ReplyOptions, question: str, language: str) -> Task:
        """For words that are no item of the conversation yet."""
        history = (*self._conversation.messages(), Message(role="user", content=question))
        return self._task(turn, options, history, question, language, "", inf)

    def compose(
        self, turn: int, options: ReplyOptions, *, language: str, say: str, quiet_since: float
    ) -> Task:
        history = options.messages
        if history is None:
            history = tuple(self._conversation.messages())
        question = options.question or self._conversation.question()[1]
        return self._task(turn, options, history, question, language, say, quiet_since)

    def _task(
        self,
        turn: int,
        options: ReplyOptions,
        history: tuple[Message, ...],
        question: str,
        language: str,
        say: str,
        quiet_since: float,
    ) -> Task:
        config, chosen = self._config, options.settings
        tuned = self._providers.tuned() if self._providers.tuned else config.llm
        limit = chosen.max_output_tokens
        request = LLMRequest(
            messages=history,
            question=question,
            tools=self._tools(options),
            tool_choice=chosen.tool_choice,
            max_tokens=tuned.max_tokens if limit == "inf" else int(limit),
            temperature=tuned.temperature,
            session=self._name,
            turn=turn,
        )
        is_question = not history or history[-1].role == "user"
        return Task(
            turn=turn,
            request=request,
            instructions=chosen.instructions,
            settings=chosen,
            language=language,
            retrieve=config.rag.enabled and is_question,
            context_tokens=tuned.context_tokens,
            retrieval_limit_s=config.rag.limit_ms / 1000,
            tokens=Patience(
                Slot.LLM, "token", config.llm.first_token_limit_s, config.llm.token_limit_s
            ),
            audio=Patience(
                Slot.TTS, "audio", config.tts.first_audio_limit_s, config.tts.audio_limit_s
            ),
            max_speech_s=config.agent.max_reply_s,
            quiet_since=quiet_since,
            hold_after_s=config.agent.hold_after_ms / 1000,
            say=say,
            sentence_gap_ms=config.tts.sentence_gap_ms,
            clause_gap_ms=config.tts.clause_gap_ms,
        )

    def house_tools(self, options: ReplyOptions) -> tuple[Tool, ...]:
        """Those that are offered beside the client's, whose names stand above them. Where the
        client says which are to be called, or asks beside the conversation, there are none."""
        if not options.keep or options.settings.tool_choice != "auto":
            return ()
        taken = {tool.name for tool in options.settings.tools}
        return tuple(tool for tool in self._house.tools() if tool.name not in taken)

    def _tools(self, options: ReplyOptions) -> tuple[Tool, ...]:
        own = tuple(
            Tool(name=tool.name, description=tool.description, parameters=tool.parameters)
            for tool in options.settings.tools
            if tool.type == "function"
        )
        return own + self.house_tools(options)

    def start(
        self,
        task: Task,
        *,
        retriever: Retriever | None,
        post: Callable[[Fact], None],
        room: Callable[[], Awaitable[None]],
    ) -> Working:
        providers = self._providers
        reply = Reply(
            task,
            llm=providers.llm,
            tts=providers.tts,
            retriever=retriever,
            post=post,
            room=room,
            recitals=providers.recitals,
        )
        name = f"{self._name}-reply-{task.turn}"
        running = asyncio.create_task(self._run(reply, task.turn, post), name=name)
        self.tasks.add(running)
        running.add_done_callback(self.tasks.discard)
        return Working(reply, running)

    async def _run(self, reply: Reply, turn: int, post: Callable[[Fact], None]) -> None:
        CALL.set(self.asker(turn))  # in this task's own context
        try:
            await reply.run()
        except Exception as error:  # our bug: it ends this answer, not the call
            self._log.exception("reply_broke", turn=turn)
            post(Broke(turn, type(error).__name__))

    async def aclose(self, others: Set[asyncio.Task[Any]] = frozenset()) -> None:
        """Within 2 s.

        Args:
            others: Waited for, too.
        """
        for task in self.tasks:
            task.cancel()
        if ending := self.tasks | others:
            await asyncio.wait(ending, timeout=2.0)
