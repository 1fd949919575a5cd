"""Which of a chat server's models is asked, and whether the server has it."""

import contextlib
from collections.abc import Sequence

from providers._chat_server import ChatServer, is_same_model
from providers._http import Failures, HttpFailure
from providers._openai_health import OpenAIHealth
from providers.base import Fault


class ChatModel:
    """Args:
    name: As the server calls it; empty: the first one it offers.
    health: Learns from the list what kind of server it is.
    """

    def __init__(
        self, name: str, server: ChatServer, health: OpenAIHealth, failures: Failures
    ) -> None:
        self.name = name
        self._server = server
        self._health = health
        self._failures = failures

    async def offered(self) -> list[str] | None:
        """Names of what there is; None: the server has no list.

        Raises:
            HttpFailure: It could not be asked.
        """
        models = await self._server.models()
        if models is None:
            return None
        self._health.learn(model.owned_by for model in models)
        return [model.id for model in models]

    async def is_listed(self) -> bool:
        """False: there is no list, or none for us. Takes the first model if none is named.

        Raises:
            HttpFailure: It could not be asked, or has others only.
        """
        try:
            offered = await self.offered()
        except HttpFailure as failure:
            if failure.fault is not Fault.REFUSED or not self.name:
                raise
            return False
        if offered is None:
            if not self.name:
                raise self._failures.make(
                    Fault.REFUSED,
                    f"{self._server.root} lists no models: set LLM_MODEL to one's name",
                )
            return False
        if not self.name:
            if not offered:
                raise self._failures.make(
                    Fault.REFUSED, f"{self._server.root} offers no model: load one there"
                )
            self.name = offered[0]
        self._expect_among(offered)
        return True

    async def explain_missing(self) -> None:
        """Raises if the list explains that the server does not know the model."""
        offered = None
        with contextlib.suppress(HttpFailure):
            offered = await self.offered()
        self._expect_among(offered or [])

    def _expect_among(self, offered: Sequence[str]) -> None:
        if not offered or any(is_same_model(self.name, name) for name in offered):
            return
        names = ", ".join(offered[:10]) + (" …" if len(offered) > 10 else "")
        raise self._failures.make(
            Fault.REFUSED,
            f"no model {self.name!r} at {self._server.root}; set LLM_MODEL to one of: {names}",
        )
