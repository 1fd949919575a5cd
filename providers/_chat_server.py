"""A chat-completions server as its client sees it: two addresses over kept connections."""

import asyncio
import contextlib

import aiohttp
import msgspec

from providers._chat import models_decoder
from providers._chat_stream import body_of
from providers._http import Failures, open_session
from providers.base import Fault

_LIST_S = 5.0
_CLOSE_S = 2.0
_KEEP_ALIVE_S = 90.0
"""Longer than the 30 s between two checks, which so keep a connection for the next call."""
_MAX_LIST_BYTES = 4 << 20
"""OpenRouter lists hundreds of models in half a megabyte."""


class ChatServer:
    """Args:
    root: The address below which the API lies.
    failures: Makes the errors raised here.
    """

    def __init__(self, root: str, failures: Failures, *, api_key: str, connect_s: float) -> None:
        self.root = root
        self._failures = failures
        self._api_key = api_key
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, body: bytes) -> aiohttp.ClientResponse:
        """The answer's head, whatever its status; the caller closes it.

        Raises:
            HttpFailure: No answer came.
        """
        return await self._send("POST", "/chat/completions", body)

    async def models(self) -> list[str] | None:
        """Names of the models; None where there is no such list.

        Raises:
            HttpFailure: REFUSED where there is one, but not for us: Anthropic's wants its own
                header, while its chat takes the key as everybody's does.
        """
        try:
            async with asyncio.timeout(_LIST_S):
                response = await self._send("GET", "/models", None)
                try:
                    body = await body_of(response, _MAX_LIST_BYTES)
                finally:
                    response.release()
        except TimeoutError:
            raise self._failures.make(
                Fault.TIMEOUT, f"{self.root} did not list its models in {_LIST_S:g} s"
            ) from None
        if response.status in (404, 405, 501):
            return None
        if response.status != 200:
            raise self._failures.of_status(response, body)
        try:
            return [model.id for model in models_decoder.decode(body).data]
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._failures.make(
                Fault.BROKEN,
                f"{self.root}/models is no list of models: is LLM_ENDPOINT the address of an "
                "OpenAI-compatible API?",
            ) from None

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await session.close()

    async def _send(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = open_session(
                api_key=self._api_key, connect_s=self._connect_s, keep_alive_s=_KEEP_ALIVE_S
            )
        headers = {"Content-Type": "application/json"} if body else {}
        send = self._session.request
        url = self.root + path
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


def is_same_model(wanted: str, offered: str) -> bool:
    """Ollama offers `llama3:latest` for llama3, Gemini `models/gemini-…` for gemini-…"""
    return offered == wanted or offered in (f"{wanted}:latest", f"models/{wanted}")
