"""A chat-completions server as its client sees it: two addresses over kept connections."""

from collections.abc import Mapping

import aiohttp
import msgspec

from providers._chat import Model, models_decoder
from providers._http import Failures
from providers._json_calls import JsonCalls
from providers.base import Fault

_LIST_S = 5.0
_KEEP_ALIVE_S = 90.0
"""Longer than the 30 s between two checks, which so keep a connection for the next call."""


class ChatServer:
    """Args:
    root: The address below which the API lies.
    failures: Makes the errors raised here.
    """

    def __init__(self, root: str, failures: Failures, *, api_key: str, connect_s: float) -> None:
        self.root = root
        self.calls = JsonCalls(
            failures,
            root,
            api_key=api_key,
            limit_s=_LIST_S,
            connect_s=connect_s,
            keep_alive_s=_KEEP_ALIVE_S,
        )
        self._failures = failures

    async def complete(self, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer's head, whatever its status; the caller closes it.

        Raises:
            HttpFailure: No answer came.
        """
        return await self.calls.send("POST", "/chat/completions", body, headers)

    async def models(self) -> list[Model] | None:
        """Those it offers; None where there is no such list.

        Raises:
            HttpFailure: REFUSED where there is one, but not for us: Anthropic's wants its own
                header, while its chat takes the key as everybody's does.
        """
        answer = await self.calls.get("/models")
        if answer.status in (404, 405, 501):
            return None
        if answer.failure is not None:
            raise answer.failure
        try:
            return models_decoder.decode(answer.body).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._failures.make(
                Fault.BROKEN,
                f"{self.root}/models is no list of models: is LLM_ENDPOINT the address of an "
                "OpenAI-compatible API?",
            ) from None

    async def aclose(self) -> None:
        await self.calls.aclose()


def is_same_model(wanted: str, offered: str) -> bool:
    """Ollama offers `llama3:latest` for llama3, Gemini `models/gemini-…` for gemini-…"""
    return offered == wanted or offered in (f"{wanted}:latest", f"models/{wanted}")
