"""One streamed answer: from the response's bytes to chunks, with its limits and its failures."""

import asyncio
import contextlib
from typing import Any

import aiohttp

from providers._chat import Chunk, chunk_decoder
from providers._http import (
    Failures,
    HttpFailure,
    error_message,
    error_text,
    fault_of_status,
    own_words,
)
from providers._sse import SseParser
from providers.base import Fault

ERROR_BYTES = 64 * 1024
_EOF_S = 0.2
"""For the end of the body behind [DONE], so that the connection can be used again."""
_OVERLOADED = ("rate_limit", "overloaded", "resource_exhausted", "capacity", "unavailable")
_REFUSED = ("invalid_request", "badrequest", "notfound", "authentication", "permission")


class ChatStream:
    """The chunks behind one response; every way out of it ends in `close()`."""

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

    async def expect_events(self) -> None:
        """Raises if what comes is no stream of events, with what it says instead."""
        kind = self._response.content_type
        if kind in ("application/json", "text/html"):
            said = error_text(await body_of(self._response), own_words(self._response))
            raise self._failures.make(
                Fault.BROKEN,
                f"the server answered {kind} instead of a stream ({said}): "
                "is LLM_ENDPOINT the address of an OpenAI-compatible API?",
            )

    async def first(self) -> list[Chunk]:
        """All chunks up to those with the first token; none if the answer is empty."""
        chunks = more = await self.read()
        while more and not any(chunk.has_token for chunk in more):
            more = await self.read()
            chunks = chunks + more
        if not more and not self.is_done:
            raise self._cut("the answer ended before its first token")
        return chunks

    async def read(self) -> list[Chunk]:
        """The next chunks, at least one; none when the stream is over."""
        while not self.is_done:
            if self._failure is not None:
                raise self._failure
            try:
                piece = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise self._cut(f"the connection broke ({type(error).__name__})") from None
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
                if (problem := chunk.problem) is not None:
                    self._failure = self._reported(problem)
                    break
                chunks.append(chunk)
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
            self._failure = self._broken(f"no chat-completion chunk: {error}")
        return chunks

    def _reported(self, error: Any) -> HttpFailure:
        said = error_message(error, own_words(self._response))
        return self._failures.make(fault_of_error(error), f"the server reports: {said}")

    def _broken(self, what: str) -> HttpFailure:
        return self._failures.make(Fault.BROKEN, f"{what}; see the server's log")

    def _cut(self, what: str) -> HttpFailure:
        failure = self._broken(what)
        failure.is_cut = True
        return failure

    async def finish(self) -> None:
        """Reads to the end of the body, so that the connection is kept."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_EOF_S):
                while await self._response.content.readany():
                    pass

    def close(self) -> None:
        """Closes the connection, unless the whole body was read and it is already kept."""
        self._response.close()


def fault_of_error(error: Any) -> Fault:
    """By `code`, a status with vLLM and OpenRouter, a word with OpenAI; or by `type`."""
    if not isinstance(error, dict):
        return Fault.BROKEN
    code = error.get("code")
    if isinstance(code, int) and code >= 300:
        return fault_of_status(code)
    words = f"{code} {error.get('type')}".lower().replace(" ", "_")
    if any(word in words for word in _OVERLOADED):
        return Fault.OVERLOADED
    return Fault.REFUSED if any(word in words for word in _REFUSED) else Fault.BROKEN


async def body_of(response: aiohttp.ClientResponse, limit: int = ERROR_BYTES) -> bytes:
    """As much of it as may be of use, or came before the connection broke."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while len(body) < limit and (piece := await response.content.readany()):
            body += piece
    return bytes(body[:limit])
