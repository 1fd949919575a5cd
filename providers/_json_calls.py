"""Requests over kept connections, and their whole answers: what clients of HTTP servers share."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from providers._http import Failures, HttpFailure, open_session, own_words
from providers._said import all_words, complaints
from providers.base import Fault

_CLOSE_S = 2.0
_NONE: Mapping[str, str] = {}
_MAX_BYTES = 32 << 20
"""32 rows of 4096 numbers in text are 3 MB."""


class Answer(msgspec.Struct, frozen=True):
    """What came back, whole. `failure` is what to raise where the status is not 200."""

    status: int
    body: bytes
    failure: HttpFailure | None = None
    told: str = ""
    """With it, all that the server says is wrong; nothing of what we sent stands in there."""


class JsonCalls:
    """Args:
    root: What the paths are appended to.
    limit_s: For connecting, asking and the whole answer.
    connect_s: For the TCP and TLS connection.
    keep_alive_s: How long an idle connection is kept.
    """

    def __init__(
        self,
        failures: Failures,
        root: str,
        *,
        api_key: str,
        limit_s: float,
        connect_s: float = 2.0,
        keep_alive_s: float = 30.0,
    ) -> None:
        self.running = 0
        """Requests whose whole answer is awaited, pings aside."""
        self._failures = failures
        self._root = root
        self._limit_s = limit_s
        self._options: dict[str, Any] = {
            "api_key": api_key,
            "connect_s": connect_s,
            "keep_alive_s": keep_alive_s,
        }
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, limit_s: float | None = None) -> Answer:
        """Args:
        limit_s: Instead of the provider's own, where nobody waits for the answer.
        """
        return await self._call("GET", path, None, limit_s or self._limit_s)

    async def post(self, path: str, body: object) -> Answer:
        """Raises:
        HttpFailure: There is no answer, or only a part of one.
        """
        return await self._call("POST", path, msgspec.json.encode(body), self._limit_s)

    async def ping(self, url: str, limit_s: float) -> Answer:
        """`GET url`, whatever our requests are waiting for.

        Raises:
            HttpFailure: No connection, or a broken one.
            TimeoutError: Nothing came in time.
        """
        async with asyncio.timeout(limit_s):
            return await self._whole("GET", url, None)

    async def send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] = _NONE
    ) -> aiohttp.ClientResponse:
        """The answer's head, whatever its status; the caller closes it.

        Raises:
            HttpFailure: No answer came.
        """
        return await self._send(method, self._root + path, body, headers)

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await session.close()

    async def _call(self, method: str, path: str, body: bytes | None, limit_s: float) -> Answer:
        self.running += 1
        try:
            async with asyncio.timeout(limit_s):
                return await self._whole(method, self._root + path, body)
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT,
                f"no answer from {self._root}{path} in {limit_s:g} s: is it overloaded, or "
                "still loading the model?",
            ) from None
        finally:
            self.running -= 1

    async def _whole(self, method: str, url: str, body: bytes | None) -> Answer:
        response = await self._send(method, url, body)
        try:
            content = await self._content(response)
        finally:
            response.close()  # a connection whose answer was read to its end is kept
        if response.status == 200:
            return Answer(200, content)
        failure = self._failures.of_status(response, content)
        told = all_words(complaints(content, own_words(response)))
        return Answer(response.status, content, failure, told)

    async def _send(
        self, method: str, url: str, body: bytes | None, besides: Mapping[str, str] = _NONE
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = open_session(self._root, **self._options)
        session = self._session
        headers = {"Content-Type": "application/json", **besides} if body else {}

        async def send() -> aiohttp.ClientResponse:
            return await session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )

        try:
            try:
                return await send()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                # The server closed a kept connection just as we took it: ask again at once.
                return await send()
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                raise
            raise self._failures.of_connection(error) from None

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        try:
            while piece := await response.content.readany():
                content += piece
                if len(content) > _MAX_BYTES:
                    raise self._failures.make(
                        Fault.BROKEN, f"more than {_MAX_BYTES} bytes in one answer"
                    )
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            failure = self._failures.make(
                Fault.BROKEN,
                f"the answer broke off ({type(error).__name__}); see the log of {self._root}",
            )
            failure.is_cut = True
            raise failure from None
        return bytes(content)
