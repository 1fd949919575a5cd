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

    def check_upgrade(self, scope: Any) -> str:
        """Returns:
            The call that may start here; empty: its start must prove itself.
        Raises:
            Refusal: 403.
        """

    def check_start(self, started: Started, admitted: str) -> None:
        """Args:
            admitted: What `check_upgrade` said.
        Raises:
            Refusal: Its words are for the log; the far end is told the code alone.
        """


class Answered(Protocol):
    """A provider that asks a webhook what to do with a call."""

    def answer(self, request: "Asked") -> str:
        """What the provider is told: the way to the media socket.

        Raises:
            Refusal: 403.
        """

    def busy(self, request: "Asked") -> str:
        """What it is told when there is no room."""


class Asked:
    """A webhook's request as it came.

    Args:
        path: Below the server's address.
        fields: Of the body, or of the query.
    """

    def __init__(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        fields: Mapping[str, str],
    ) -> None:
        self.path, self.query, self.headers = path, query, headers
        self.body, self.fields = body, fields

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


def headers_of(scope: Any) -> Mapping[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}


def socket_url(public_url: str, path: str) -> str:
    """As providers connect to it, and sign it."""
    return f"ws{public_url.rstrip('/').removeprefix('http')}{path}"


def forged(what: str) -> Refusal:
    return Refusal(403, "not_signed", f"{what} See docs/telephony.md.")


BUSY = "All lines are busy. Please call again."
"""Said where a call cannot be refused without a word."""
REPLAYED = "This request has been answered before."
WRONG_TICKET = "This stream's ticket is not for this call, too old, or used."
