"""Any server with OpenAI's chat-completions API: vLLM, llama.cpp, Ollama, OpenRouter, OpenAI …

    request ──connect_s──▶ ──first_token_s──▶ token ──token_gap_s──▶ token … [DONE]
            └──────────────────────────── total_s ────────────────────────────┘

Closing the generator closes the connection, which is what makes vLLM abort the request. Only before
the first token is a request tried again: afterwards the caller has heard the beginning. What a
server refuses to be told (`_dialect`) is left out from then on.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from providers._chat import ChatReply, Chunk
from providers._chat_model import ChatModel
from providers._chat_request import CallExtras, chat_body, marks_of
from providers._chat_server import ChatServer, is_same_model
from providers._chat_stream import ChatStream, body_of
from providers._dialect import Dialect
from providers._http import Failures, HttpFailure, api_root, check_key
from providers._openai_health import OpenAIHealth
from providers._probe import TokenProbe
from providers._retry import Retry, retried
from providers.base import Fault, LLMEvent, LLMRequest, Message, ProviderError, ProviderInfo, Slot

log = structlog.get_logger(__name__)

_NAME = "openai"
_PROBE_TOKENS = 16
"""OpenAI's and Groq's newer models refuse less: github.com/BerriAI/litellm/pull/24365."""
_OUT_OF_TOKENS = "output limit was reached"
"""So OpenAI refuses what a reasoning model could not think out with so few; it did run, though."""


class OpenAICompatibleLLM:
    """Args:
    endpoint: Address with or without `/v1` or `/v1/chat/completions`.
    model: As the server calls it; empty: the first one it offers.
    api_key: Sent as a bearer token; never logged, never in an error.
    reasoning_effort: `low`, `medium`, `high` …; empty: not sent. With gpt-oss the caller waits
        for the reasoning: use `low`.
    include_reasoning: False: vLLM sends none. It is thought all the same, and then nothing shows
        that the model is at work, so `first_token_s` must cover it.
    max_tokens: Of the answer, where the request sets none; one is always sent, since a request
        whose abort got lost would go on without end.
    temperature: Where the request sets none; None: the server's own.
    priority: vLLM, lower first; needs its --scheduling-policy priority.
    cache_salt: vLLM shares its prefix cache only among requests of the same salt.
    extra: Further fields of the body.
    connect_s: For the TCP and TLS connection.
    first_token_s: From the request to the first token, attempts and pauses included.
    token_gap_s: From token to token, reasoning included.
    total_s: For the whole answer.
    max_response_bytes: Of the whole answer.
    retry: How often, before the first token.
    chance: Gives 0..1, for the jitter of the pauses.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str = "",
        api_key: str = "",
        reasoning_effort: str = "",
        include_reasoning: bool | None = None,
        max_tokens: int = 512,
        temperature: float | None = None,
        priority: int | None = None,
        cache_salt: str = "",
        extra: Mapping[str, Any] | None = None,
        connect_s: float = 2.0,
        first_token_s: float = 10.0,
        token_gap_s: float = 5.0,
        total_s: float = 120.0,
        max_response_bytes: int = 4 << 20,
        retry: Retry | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        check_key(api_key, "LLM_API_KEY")
        root = api_root(endpoint, "LLM_ENDPOINT", "/chat/completions")
        self._failures = Failures(Slot.LLM, _NAME, root, "LLM_ENDPOINT", api_key)
        self._server = ChatServer(root, self._failures, api_key=api_key, connect_s=connect_s)
        self._health = OpenAIHealth(
            self._server.calls, self._failures, root, "LLM_ENDPOINT", has_key=bool(api_key)
        )
        self._model = ChatModel(model, self._server, self._health, self._failures)
        options = {
            "max_tokens": max_tokens,
            "reasoning_effort": reasoning_effort or None,
            "include_reasoning": include_reasoning,
            "temperature": temperature,
            "priority": priority,
            "cache_salt": cache_salt or None,
        }
        self._defaults = {
            **{name: value for name, value in options.items() if value is not None},
            **(extra or {}),
        }
        self._first_token_s = first_token_s
        self._token_gap_s = token_gap_s
        self._total_s = total_s
        self._max_response_bytes = max_response_bytes
        self._retry = retry or Retry()
        self._chance = chance
        self._dialect = Dialect()
        self._call_extras = CallExtras()
        self._probe = TokenProbe()

    @property
    def info(self) -> ProviderInfo:
        root = self._server.root
        return ProviderInfo(slot=Slot.LLM, provider=_NAME, endpoint=root, model=self._model.name)

    async def start(self) -> None:
        """Connects, so that the first caller does not wait for it, and checks the model's name."""
        await self.check()

    async def check(self) -> None:
        """Asks for the list of models; where there is none for us, or a caller had no answer, for a
        few tokens: an engine may hang behind a server that lists it.
        """
        if await self._model.is_listed() and not self._probe.is_doubted:
            return
        if self._probe.is_due(asyncio.get_running_loop().time()):
            await self._ask_for_tokens()

    @property
    def check_every_s(self) -> float:
        """Seconds from one check to the next; more where answers have a price."""
        return self._health.check_every_s

    @property
    def ping(self) -> Callable[[], Awaitable[None]] | None:
        """Asks whether the server lives, which costs it nothing; None: its answers have a price.

        Raises:
            ProviderError: It is dead, or says that it is not well.
        """
        return None if self._health.is_paid else self._health.ping

    async def models(self) -> list[str] | None:
        """What the server offers now; None: it has no list.

        Raises:
            ProviderError: It could not be asked.
        """
        return await self._model.offered()

    def use_model(self, model: str) -> None:
        """From the next request on; empty: the first one that the server offers."""
        if not is_same_model(self._model.name, model):
            self._dialect = Dialect()  # what one model refuses, another may take
        self._model.name = model

    def model_among(self, offered: Sequence[str], wanted: str) -> str:
        """What a model is called in the server's list; empty: it is not there."""
        if wanted in offered:
            return wanted
        return next((name for name in offered if is_same_model(wanted, name)), "")

    async def aclose(self) -> None:
        await self._server.aclose()

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        loop = asyncio.get_running_loop()
        end_by = loop.time() + self._total_s
        with self._noted():
            answer, chunks = await self._open(request)
            self._probe.succeeded(loop.time())
            with contextlib.closing(answer):
                reply = ChatReply()
                while chunks:
                    self._health.work.heard(loop.time())
                    for chunk in chunks:
                        for event in reply.receive(chunk):
                            yield event
                    chunks = await self._next(answer, reply, end_by)
                if not answer.is_done and not reply.finish_reason:
                    where = self._server.root
                    raise self._failures.make(
                        Fault.BROKEN, f"the answer broke off in the middle; see the log of {where}"
                    )
                self._call_extras.remember(reply.call_extras)
                for event in reply.end():
                    yield event
                await answer.finish()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """What becomes of a request tells checks and pings something, too."""
        try:
            with self._health.work.going_on():
                yield
        except ProviderError:
            self._probe.doubted(asyncio.get_running_loop().time())
            raise

    async def _open(self, request: LLMRequest) -> tuple[ChatStream, list[Chunk]]:
        """The answer and its first chunks, after as many attempts as it takes."""
        try:
            return await retried(
                lambda: self._attempt(request),
                retry=self._retry,
                limit_s=self._first_token_s,
                chance=self._chance,
            )
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT,
                f"no token from {self._server.root} in {self._first_token_s:g} s: is it "
                "overloaded, or still loading the model?",
            ) from None

    async def _attempt(self, request: LLMRequest) -> tuple[ChatStream, list[Chunk]]:
        if not self._model.name:
            await self.check()
        answer = await self._ask(request)
        try:
            await answer.expect_events()
            return answer, await answer.first()
        except BaseException:
            answer.close()
            raise

    async def _ask(self, request: LLMRequest) -> ChatStream:
        """The accepted request; a field that the server does not take is left out at once."""
        marks = {} if self._health.is_paid else marks_of(request)
        while True:
            whole = chat_body(request, self._model.name, self._defaults, self._call_extras)
            body = self._dialect.adapted(whole)
            response = await self._server.complete(msgspec.json.encode(body), marks)
            if response.status == 200:
                return ChatStream(response, self._failures, self._max_response_bytes)
            try:
                refusal = await body_of(response)
                if self._dialect.learn(body, response.status, refusal):
                    log.warning("llm_fields_not_taken", fields=self._dialect.learnt)
                    continue
                if response.status == 404:
                    await self._model.explain_missing()
                raise self._failures.of_status(response, refusal)
            finally:
                response.close()

    async def _next(self, answer: ChatStream, reply: ChatReply, end_by: float) -> list[Chunk]:
        gap_by = asyncio.get_running_loop().time() + self._token_gap_s
        try:
            async with asyncio.timeout_at(min(gap_by, end_by)):
                return await answer.read()
        except TimeoutError:
            limit = (
                f"nothing more for {self._token_gap_s:g} s"
                if gap_by < end_by
                else f"the answer was not over after {self._total_s:g} s"
            )
            failure = self._failures.make(
                Fault.TIMEOUT, f"{limit}: is {self._server.root} overloaded?"
            )
        except HttpFailure as error:
            failure = error
        if reply.finish_reason:  # all words are there; only the count of tokens is lost
            return []
        raise failure

    async def _ask_for_tokens(self) -> None:
        hello = LLMRequest(messages=(Message(role="user", content="Hi"),), max_tokens=_PROBE_TOKENS)
        loop = asyncio.get_running_loop()
        try:
            async with contextlib.aclosing(self.stream(hello)) as events:
                async for _ in events:
                    pass
        except ProviderError as error:
            if _OUT_OF_TOKENS in error.message:
                self._probe.succeeded(loop.time())
                return
            self._probe.failed(loop.time(), error)
            raise
        except asyncio.CancelledError:  # who checks has waited long enough
            slow = self._failures.make(Fault.TIMEOUT, f"no token from {self._server.root} in time")
            self._probe.failed(loop.time(), slow)
            raise
