"""One request, one JSON answer: for the servers of embeddings and rankings."""

import asyncio
import contextlib

import aiohttp
import msgspec

from providers._http import Failures, HttpFailure, open_session
from providers.base import Fault

_CLOSE_S = 2.0
_MAX_BYTES = 32 << 20
"""32 rows of 4096 numbers in text are 3 MB."""


class Answer(msgspec.Struct, frozen=True):
    """What came back, whole. `failure` is what to raise where the status is not 200."""

    status: int
    body: bytes
    failure: HttpFailure | None = None


class JsonCalls:
    """Args:
    root: What the paths are appended to.
    limit_s: For connecting, asking and the whole answer.
    """

    def __init__(self, failures: Failures, root: str, *, api_key: str, limit_s: float) -> None:
        self._failures = failures
        self._root = root
        self._api_key = api_key
        self._limit_s = limit_s
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str) -> Answer:
        return await self._call("GET", path, None)

    async def post(self, path: str, body: object) -> Answer:
        """Raises:
        HttpFailure: There is no answer, or only a part of one.
        """
        return await self._call("POST", path, msgspec.json.encode(body))

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await session.close()

    async def _call(self, method: str, path: str, body: bytes | None) -> Answer:
        try:
            async with asyncio.timeout(self._limit_s):
                response = await self._send(method, path, body)
                try:
                    content = await self._content(response)
                finally:
                    response.close()  # a connection whose answer was read to its end is kept
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT,
                f"no answer from {self._root}{path} in {self._limit_s:g} s: is it overloaded, or "
                "still loading the model?",
            ) from None
        if response.status == 200:
            return Answer(200, content)
        return Answer(response.status, content, self._failures.of_status(response, content))

    async def _send(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = open_session(api_key=self._api_key)
        session, url = self._session, self._root + path
        headers = {"Content-Type": "application/json"} if body else {}

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
