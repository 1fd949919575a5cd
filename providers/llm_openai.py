"""Any server with OpenAI's chat-completions API: vLLM, llama.cpp, Ollama, OpenRouter, OpenAI …

    request ──connect_s──▶ ──first_token_s──▶ token ──token_gap_s──▶ token … [DONE]
            └──────────────────────────── total_s ────────────────────────────┘

Closing the generator closes the connection, which is what makes vLLM abort the request. Only before
the first token is a request tried again: afterwards the caller has heard the beginning.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
import msgspec

from providers._chat import ChatReply, Chunk, chunk_decoder, encode_request, models_decoder
from providers._http import (
    Failures,
    HttpFailure,
    api_root,
    check_key,
    error_message,
    error_text,
    fault_of_status,
    open_session,
)
from providers._probe import TokenProbe
from providers._sse import SseParser
from providers.base import (
    Fault,
    LLMEvent,
    LLMRequest,
    Message,
    ProviderError,
    ProviderInfo,
    Slot,
)

_NAME = "openai"
_RETRIED = (Fault.UNREACHABLE, Fault.OVERLOADED)
_BACKOFF_S = 0.1
_LONGEST_PAUSE_S = 2.0
"""A caller hears silence meanwhile; a server that asks for more has refused."""
_ERROR_BYTES = 64 * 1024
_CHECK_S = 5.0
_CLOSE_S = 2.0
_EOF_S = 0.2
"""For the end of the body behind [DONE], so that the connection can be used again."""


class OpenAICompatibleLLM:
    """Args:
    endpoint: Address with or without `/v1` or `/v1/chat/completions`.
    model: As the server calls it; empty: the first one it offers.
    api_key: Sent as a bearer token; never logged, never in an error.
    reasoning_effort: `low`, `medium`, `high` …; empty: not sent.
    max_tokens: Of the answer, where the request sets none.
    temperature: Where the request sets none; None: the server's own.
    extra: Further fields of the body, e.g. {"priority": 0} for vLLM.
    connect_s: For the TCP and TLS connection.
    first_token_s: From the request to the first token, attempts and pauses included.
    token_gap_s: From token to token, reasoning included.
    total_s: For the whole answer.
    max_response_bytes: Of the whole answer.
    retries: Attempts after the first.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str = "",
        api_key: str = "",
        reasoning_effort: str = "",
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        connect_s: float = 2.0,
        first_token_s: float = 10.0,
        token_gap_s: float = 5.0,
        total_s: float = 120.0,
        max_response_bytes: int = 4 << 20,
        retries: int = 2,
    ) -> None:
        check_key(api_key, "LLM_API_KEY")
        self._root = api_root(endpoint, "LLM_ENDPOINT", "/chat/completions")
        self._api_key = api_key
        self._model = model
        options = {
            "reasoning_effort": reasoning_effort or None,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        self._defaults = {
            **{name: value for name, value in options.items() if value is not None},
            **(extra or {}),
        }
        self._connect_s = connect_s
        self._first_token_s = first_token_s
        self._token_gap_s = token_gap_s
        self._total_s = total_s
        self._max_response_bytes = max_response_bytes
        self._retries = retries
        self._failures = Failures(Slot.LLM, _NAME, self._root, "LLM_ENDPOINT", api_key)
        self._session: aiohttp.ClientSession | None = None
        self._probe = TokenProbe()

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.LLM, provider=_NAME, endpoint=self._root, model=self._model)

    async def start(self) -> None:
        """Connects, so that the first caller does not wait for it, and checks the model's name."""
        await self.check()

    async def check(self) -> None:
        """Asks for the list of models; where there is none, for one token.

        A token costs money or a GPU's time, so it is asked for only where no caller's answer has
        told lately, and ever more seldom while it does not come.
        """
        offered = await self._offered_models()
        if offered is None:
            if self._probe.is_due(asyncio.get_running_loop().time()):
                await self._ask_for_one_token()
        elif not self._model:
            if not offered:
                raise self._failures.make(
                    Fault.REFUSED, f"{self._root} offers no model: load one there"
                )
            self._model = offered[0]
        else:
            self._expect_model(offered)

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await session.close()

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer, chunks = await self._open(request, began + self._first_token_s)
            self._probe.succeeded(loop.time())
            try:
                reply = ChatReply()
                while chunks:
                    for chunk in chunks:
                        for event in reply.receive(chunk):
                            yield event
                    chunks = await self._next(answer, began + self._total_s)
                if not answer.is_done and not reply.finish_reason:
                    raise self._failures.make(
                        Fault.BROKEN,
                        f"the answer broke off in the middle; see the log of {self._root}",
                    )
                for event in reply.end():
                    yield event
                await answer.finish()
            finally:
                answer.close()
        except ProviderError:
            self._probe.doubted(loop.time())
            raise

    async def _open(self, request: LLMRequest, first_by: float) -> "tuple[_Answer, list[Chunk]]":
        """The answer and its first chunks, after as many attempts as it takes."""
        loop = asyncio.get_running_loop()
        for attempt in range(self._retries + 1):
            try:
                async with asyncio.timeout_at(first_by):
                    return await self._attempt(request)
            except TimeoutError:
                raise self._failures.make(
                    Fault.TIMEOUT,
                    f"no token from {self._root} in {self._first_token_s:g} s: is it overloaded, "
                    "or still loading the model?",
                ) from None
            except HttpFailure as failure:
                pause_s = self._pause_s(failure, attempt)
                if pause_s is None or loop.time() + pause_s > first_by:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _pause_s(self, failure: HttpFailure, attempt: int) -> float | None:
        """Seconds before the next attempt; None if there is none."""
        if attempt >= self._retries or failure.fault not in _RETRIED:
            return None
        asked_s = failure.retry_after_s or 0.0
        if asked_s > _LONGEST_PAUSE_S:
            return None
        backoff_s: float = _BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0)
        return max(asked_s, backoff_s)

    async def _attempt(self, request: LLMRequest) -> "tuple[_Answer, list[Chunk]]":
        if not self._model:
            await self.check()
        body = encode_request(request, self._model, self._defaults)
        response = await self._send("POST", "/chat/completions", body)
        answer = _Answer(response, self._failures, self._max_response_bytes)
        try:
            if response.status == 404:
                await self._explain_missing_model()
            await self._expect_stream(response)
            chunks = await answer.read()
            while chunks and not any(chunk.has_token for chunk in chunks):
                more = await answer.read()
                chunks = chunks + more if more else []
            return answer, chunks
        except BaseException:
            answer.close()
            raise

    async def _next(self, answer: "_Answer", end_by: float) -> "list[Chunk]":
        loop = asyncio.get_running_loop()
        gap_by = loop.time() + self._token_gap_s
        try:
            async with asyncio.timeout_at(min(gap_by, end_by)):
                return await answer.read()
        except TimeoutError:
            limit = (
                f"nothing more for {self._token_gap_s:g} s"
                if gap_by < end_by
                else f"the answer was not over after {self._total_s:g} s"
            )
            raise self._failures.make(
                Fault.TIMEOUT, f"{limit}: is {self._root} overloaded?"
            ) from None

    async def _send(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = open_session(api_key=self._api_key, connect_s=self._connect_s)
        headers = {"Content-Type": "application/json"} if body else {}
        send = self._session.request
        url = self._root + path
        try:
            try:
                return await send(method, url, data=body, headers=headers, allow_redirects=False)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                # The server closed a kept connection just as we took it: ask again at once.
                return await send(method, url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise self._failures.of_connection(error) from None

    async def _expect_stream(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            raise self._failures.of_status(response, await self._body(response))
        if response.content_type in ("application/json", "text/html"):
            said = error_text(await self._body(response))
            raise self._failures.make(
                Fault.BROKEN,
                f"{self._root} answered {response.content_type} instead of a stream ({said}): "
                "is LLM_ENDPOINT the address of an OpenAI-compatible API?",
            )

    async def _body(self, response: aiohttp.ClientResponse, limit: int = _ERROR_BYTES) -> bytes:
        """As much of it as may be of use."""
        body = bytearray()
        with contextlib.suppress(aiohttp.ClientError, OSError):
            while len(body) < limit and (piece := await response.content.readany()):
                body += piece
        return bytes(body[:limit])

    async def _offered_models(self) -> list[str] | None:
        """Names of the models; None if the server has no such list."""
        try:
            async with asyncio.timeout(_CHECK_S):
                response = await self._send("GET", "/models", None)
                try:
                    body = await self._body(response, self._max_response_bytes)
                finally:
                    response.release()
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT, f"{self._root} did not list its models in {_CHECK_S:g} s"
            ) from None
        if response.status in (404, 405):
            return None
        if response.status != 200:
            raise self._failures.of_status(response, body)
        try:
            return [model.id for model in models_decoder.decode(body).data]
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._failures.make(
                Fault.BROKEN,
                f"{self._root}/models is no list of models: is LLM_ENDPOINT the address of an "
                "OpenAI-compatible API?",
            ) from None

    async def _ask_for_one_token(self) -> None:
        if not self._model:
            raise self._failures.make(
                Fault.REFUSED, f"{self._root} lists no models: set LLM_MODEL_PATH to one's name"
            )
        hello = LLMRequest(messages=(Message(role="user", content="Hi"),), max_tokens=1)
        loop = asyncio.get_running_loop()
        try:
            async with contextlib.aclosing(self.stream(hello)) as events:
                async for _ in events:
                    pass
        except ProviderError as error:
            self._probe.failed(loop.time(), error)
            raise
        except asyncio.CancelledError:  # who checks has waited long enough
            slow = self._failures.make(Fault.TIMEOUT, f"no token from {self._root} in time")
            self._probe.failed(loop.time(), slow)
            raise

    async def _explain_missing_model(self) -> None:
        """Raises if the list of models explains a 404."""
        offered = await self._offered_models()
        if offered is not None:
            self._expect_model(offered)

    def _expect_model(self, offered: list[str]) -> None:
        if not offered or any(_is_same_model(self._model, name) for name in offered):
            return
        names = ", ".join(offered[:10]) + (" …" if len(offered) > 10 else "")
        raise self._failures.make(
            Fault.REFUSED,
            f"no model {self._model!r} at {self._root}; set LLM_MODEL_PATH to one of: {names}",
        )


class _Answer:
    """The stream behind one response, chunk by chunk."""

    def __init__(
        self, response: aiohttp.ClientResponse, failures: Failures, max_bytes: int
    ) -> None:
        self._response = response
        self._failures = failures
        self._parser = SseParser()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._failure: HttpFailure | None = None
        """Comes when what came before it has been read."""
        self.is_done = False
        """[DONE] came."""

    async def read(self) -> list[Chunk]:
        """The next chunks, at least one; none when the stream is over."""
        while not self.is_done:
            if self._failure is not None:
                raise self._failure
            try:
                piece = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise self._broken(f"the connection broke ({type(error).__name__})") from None
            if not piece:
                return []
            if chunks := self._decode(piece):
                return chunks
        return []

    def _decode(self, piece: bytes) -> list[Chunk]:
        self._bytes += len(piece)
        if self._bytes > self._max_bytes:
            raise self._broken(f"more than {self._max_bytes} bytes in one answer")
        chunks: list[Chunk] = []
        try:
            for payload in self._parser.feed(piece):
                if payload == b"[DONE]":
                    self.is_done = True
                    break
                chunk = chunk_decoder.decode(payload)
                if chunk.error is not None:
                    self._failure = self._reported(chunk.error)
                    break
                chunks.append(chunk)
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
            self._failure = self._broken(f"no chat-completion chunk: {error}")
        return chunks

    def _reported(self, error: Any) -> HttpFailure:
        code = error.get("code") if isinstance(error, dict) else None
        fault = fault_of_status(code) if isinstance(code, int) else Fault.BROKEN
        return self._failures.make(fault, f"the server reports: {error_message(error)}")

    def _broken(self, what: str) -> HttpFailure:
        return self._failures.make(Fault.BROKEN, f"{what}; see the server's log")

    async def finish(self) -> None:
        """Reads to the end of the body, so that the connection is kept."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_EOF_S):
                while await self._response.content.readany():
                    pass

    def close(self) -> None:
        """Closes the connection, unless the whole body was read and it is already kept."""
        self._response.close()


def _is_same_model(wanted: str, offered: str) -> bool:
    """Ollama offers `llama3:latest` for llama3, Gemini `models/gemini-…` for gemini-…"""
    return offered == wanted or offered in (f"{wanted}:latest", f"models/{wanted}")
