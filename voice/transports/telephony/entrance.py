"""A provider's door as a call meets it, before there is a session or anything is asked of anybody.

upgrade   check_upgrade   403 where it is not signed as the provider signs
started   check_start     1008 where the call is not the one that was let in
"""

from collections.abc import Mapping
from typing import Any, Protocol

from voice.transports.telephony.adapter import Adapter, Started
from voice.transports.websocket import Refusal


class Entrance(Protocol):
    subprotocol: str
    """Chosen where it is offered; empty: none."""

    def new_adapter(self) -> Adapter: ...

    def check_upgrade(self, scope: Any) -> None:
        """Raises:
        Refusal: 403.
        """

    def check_start(self, started: Started) -> None:
        """Raises:
        Refusal: Its words are for the log; the caller is told nothing.
        """


def headers_of(scope: Any) -> Mapping[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}


def forged(what: str) -> Refusal:
    return Refusal(403, "not_signed", f"{what} See docs/telephony.md.")
