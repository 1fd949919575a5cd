"""What TTS over HTTP shares: audio out of a response, piece by piece, in time and checked.

    request ──first_s──▶ first audio ──gap_s──▶ piece … end

Behind the first audio two clocks run, both only while we wait for the server: no piece may take
longer than `gap_s`, and all of them together may not fall `gap_s` behind the speech they carry. A
server that drips a byte a second passes the first and fails the second.
"""

import asyncio
import contextlib
from typing import Protocol

import aiohttp
import msgspec

from providers._http import Failures, HttpFailure, error_text
from providers._probe import TokenProbe
from providers._tts_sanity import AudioCheck, UnsoundError
from providers.base import Fault, ProviderError

CHECK_TEXT = "Ready."
CHECK_S = 10.0
CLOSE_S = 2.0
FRESH_S = 30.0
LONGEST_DOUBT_S = 8.0
"""A repaired server is noticed this soon."""
_ERROR_BYTES = 64 * 1024
_EOF_S = 0.2
"""For the end of the body behind the last event, so that the connection can be used again."""


class SpeechProbe(TokenProbe):
    """When to ask for a word only to know that the voice works: oftener than a model for a token.

    Args:
        fresh_s: So long a success, whoever's it was, is believed.
    """

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        super().__init__()
        self._fresh_s = fresh_s

    def succeeded(self, now: float) -> None:
        super().succeeded(now)
        self._ask_at = now + self._fresh_s

    def failed(self, now: float, failure: ProviderError) -> None:
        super().failed(now, failure)
        self._ask_at = min(self._ask_at, now + LONGEST_DOUBT_S)


class Decoder(Protocol):
    """From a body's bytes to s16le."""

    is_done: bool
    """Its own end came; what follows is of no interest."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class ReportedError(Exception):
    """The server reports a failure in the middle of its stream."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class SpeechReply:
    """The audio behind one response.

    Args:
        first_by: Loop time until which the first audio must be there.
        first_s: The same as the limit the operator set, for the error.
        gap_s: As above.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        decoder: Decoder,
        check: AudioCheck,
        failures: Failures,
        *,
        first_by: float,
        first_s: float,
        gap_s: float,
    ) -> None:
        self._response = response
        self._decoder = decoder
        self._check = check
        self._failures = failures
        self._first_by = first_by
        self._first_s = first_s
        self._gap_s = gap_s
        self._waited_s = 0.0

    async def next(self) -> bytes:
        """The next whole samples; none when the speech is over and sound.

        Raises:
            ProviderError: If it is late, cut or not speech.
        """
        try:
            while not self._decoder.is_done and (data := await self._read()):
                if pcm := self._check.feed(self._decoder.feed(data)):
                    return pcm
            if rest := self._check.feed(self._decoder.end()):
                return rest
            self._check.end()
        except UnsoundError as error:
            raise self._broken(str(error)) from None
        except ReportedError as error:
            raise self._failures.make(error.fault, str(error)) from None
        await self._finish()
        return b""

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        now = loop.time()
        has_begun = self._check.seconds > 0
        ahead_s = self._check.seconds - self._waited_s
        limit_s = self._gap_s + min(0.0, ahead_s)
        try:
            async with asyncio.timeout_at(now + limit_s if has_begun else self._first_by):
                return await self._response.content.readany()
        except TimeoutError:
            raise self._late(has_begun) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(f"the connection broke ({type(error).__name__})") from None
        finally:
            if has_begun:
                self._waited_s += loop.time() - now

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_EOF_S):
                while await self._response.content.readany():
                    pass

    def _late(self, has_begun: bool) -> HttpFailure:
        if has_begun:
            return self._failures.make(
                Fault.TIMEOUT,
                f"the speech fell {self._gap_s:g} s behind: is the server overloaded?",
            )
        return late_start(self._failures, self._first_s)

    def _broken(self, what: str) -> HttpFailure:
        return self._failures.make(Fault.BROKEN, f"{what}; see the server's log")


def late_start(failures: Failures, first_s: float) -> HttpFailure:
    return failures.make(
        Fault.TIMEOUT,
        f"no audio in {first_s:g} s: is the server overloaded, or still loading the model?",
    )


async def request(
    session: aiohttp.ClientSession,
    failures: Failures,
    method: str,
    url: str,
    body: bytes | None = None,
    content_type: str = "",
) -> aiohttp.ClientResponse:
    """The answer's head. Raises ProviderError if no server gives one."""
    headers = {"Content-Type": content_type} if body is not None else {}
    try:
        try:
            return await session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            # The server closed a kept connection just as we took it: ask again at once.
            return await session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
    except (aiohttp.ClientError, OSError) as error:
        raise failures.of_connection(error) from None


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """As much of a short body as came."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while len(body) < _ERROR_BYTES and (piece := await response.content.readany()):
            body += piece
    return bytes(body[:_ERROR_BYTES])


async def fetch(
    session: aiohttp.ClientSession, failures: Failures, url: str, limit_s: float
) -> tuple[aiohttp.ClientResponse, bytes]:
    """A short answer to a GET, whatever its status.

    Raises:
        ProviderError: UNREACHABLE, or TIMEOUT after `limit_s`.
    """
    try:
        async with asyncio.timeout(limit_s):
            response = await request(session, failures, "GET", url)
            try:
                return response, await body_of(response)
            finally:
                response.release()
    except TimeoutError:
        raise failures.make(Fault.TIMEOUT, f"no answer from {url} in {limit_s:g} s") from None


def words_of(body: bytes) -> str:
    """The server's own words, Fish's `{"statusCode", "message", "error"}` among them."""
    try:
        said = msgspec.json.decode(body, type=_Said).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = ""
    return said or error_text(body)


class _Said(msgspec.Struct):
    message: str = ""


async def close_session(session: aiohttp.ClientSession) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await session.close()
