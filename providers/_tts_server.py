"""A speech server as its client sees it: an address, kept connections, its faults in our words."""

import asyncio
import contextlib

import aiohttp

from providers._http import (
    Failures,
    HttpFailure,
    api_root,
    check_key,
    error_text,
    open_session,
    own_words,
)
from providers._json_calls import Answer, JsonCalls
from providers.base import Fault, Slot

VARIABLE = "TTS_ENDPOINT"
CLOSE_S = 2.0
_ERROR_BYTES = 64 * 1024
_NO_AUDIO = ("application/json", "text/html")


class SpeechServer:
    """Args:
    provider: Its name in errors.
    endpoint: Address with or without `/v1` or `path`.
    path: Below the root, where speech is asked for.
    kind: What ought to stand there, for errors.
    """

    def __init__(
        self, provider: str, endpoint: str, path: str, kind: str, *, api_key: str, connect_s: float
    ) -> None:
        check_key(api_key, "TTS_API_KEY")
        self.root = api_root(endpoint, VARIABLE, path)
        self.failures = Failures(Slot.TTS, provider, self.root, VARIABLE, api_key)
        self._path = path
        self._kind = kind
        self._api_key = api_key
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None
        """For speech."""
        self.calls = JsonCalls(
            self.failures, self.root, api_key=api_key, limit_s=CLOSE_S, connect_s=connect_s
        )
        """For all else, over connections of its own."""

    async def ask(
        self, body: bytes, content_type: str, *, first_by: float, first_s: float
    ) -> tuple[aiohttp.ClientResponse, bytes | None]:
        """The response with audio, which the caller closes; or one without, and its body.

        Args:
            first_by: Loop time until which there must be one.
            first_s: The limit as the operator set it, for the error.
        Raises:
            HttpFailure: UNREACHABLE or TIMEOUT.
        """
        try:
            async with asyncio.timeout_at(first_by):
                response = await self._post(body, content_type)
                if response.status == 200 and response.content_type not in _NO_AUDIO:
                    return response, None
                try:
                    return response, await _body_of(response)
                finally:
                    response.release()
        except TimeoutError:
            raise late_start(self.failures, first_s) from None

    def refusal(self, response: aiohttp.ClientResponse, body: bytes, hint: str = "") -> HttpFailure:
        """For a response of `ask` that is not what was asked for.

        Args:
            hint: Of ours, behind the server's own words.
        """
        if response.status != 200:
            return self.failures.of_status(response, body, hint)
        said = error_text(body, own_words(response))
        return self.failures.make(
            Fault.BROKEN,
            f"{response.content_type} instead of audio ({said}): is {VARIABLE} the address of "
            f"{self._kind}?",
        )

    async def get(self, path: str, limit_s: float) -> Answer:
        """A short answer, whatever its status.

        Raises:
            HttpFailure: UNREACHABLE or BROKEN, or TIMEOUT after `limit_s`.
        """
        try:
            return await self.calls.ping(self.root + path, limit_s)
        except TimeoutError:
            raise self.failures.make(
                Fault.TIMEOUT,
                f"no answer from {self.root}{path} in {limit_s:.2g} s: the server hangs, or speaks "
                f"for somebody else; restart it, or check {VARIABLE}",
            ) from None

    async def aclose(self) -> None:
        await self.calls.aclose()
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await session.close()

    async def _post(self, body: bytes, content_type: str) -> aiohttp.ClientResponse:
        """The answer's head. Raises HttpFailure if no server gives one."""
        if self._session is None:
            self._session = open_session(
                self.root, api_key=self._api_key, connect_s=self._connect_s
            )
        post, url = self._session.post, self.root + self._path
        headers = {"Content-Type": content_type}
        try:
            try:
                return await post(url, data=body, headers=headers, allow_redirects=False)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                # The server closed a kept connection just as we took it: ask again at once.
                return await post(url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError) as error:
            raise self.failures.of_connection(error) from None


def late_start(failures: Failures, first_s: float) -> HttpFailure:
    return failures.make(
        Fault.TIMEOUT,
        f"no audio in {first_s:g} s: is the server overloaded, or still loading the model? What "
        "it may take is set by tts.first_audio_limit_s",
    )


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """As much of a short body as came."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while len(body) < _ERROR_BYTES and (piece := await response.content.readany()):
            body += piece
    return bytes(body[:_ERROR_BYTES])
