"""The mock of Twilio's REST interface, by Twilio's own client."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from mocks.serve_twilio import ACCOUNT, OURS, TOKEN, TwilioFault, TwilioServer


class Redirected(TwilioHttpClient):  # type: ignore[misc]  # it has no types
    """Twilio's client, sent to another address."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def request(self, method: str, url: str, *given: Any, **more: Any) -> Any:
        return super().request(method, self._root + urlsplit(url).path, *given, **more)


def with_client(
    talk: Callable[[Client, TwilioServer], Any], token: str = TOKEN, **options: Any
) -> Any:
    async def main() -> Any:
        async with TwilioServer(**options) as server:
            client = Client(ACCOUNT, token, http_client=Redirected(server.url))
            return await asyncio.to_thread(talk, client, server)

    return asyncio.run(main())


def test_twilios_own_client_makes_moves_and_ends_a_call() -> None:
    def talk(client: Client, server: TwilioServer) -> None:
        made = client.calls.create(to="+49301234567", from_=OURS, url="https://example.com/voice")
        assert made.status == "queued" and made.direction == "outbound-api"
        assert client.calls(made.sid).fetch().to == "+49301234567"
        server.answer(made.sid)
        moved = client.calls(made.sid).update(twiml="<Response><Hangup/></Response>")
        assert moved.status == "in-progress"
        assert client.calls(made.sid).update(status="completed").status == "completed"

    with_client(talk)


@pytest.mark.parametrize(
    ("to", "code", "status"),
    [("12345", 21211, 400), ("", 21201, 400), ("+9990001112", 21215, 400)],
)
def test_its_refusals_are_twilios_to_that_client(to: str, code: int, status: int) -> None:
    def talk(client: Client, _: TwilioServer) -> None:
        with pytest.raises(TwilioRestException) as refused:
            client.calls.create(to=to, from_=OURS, url="https://example.com/voice")
        assert (refused.value.code, refused.value.status) == (code, status)

    with_client(talk, forbidden=("+999",))


def test_who_has_no_token_is_told_20003() -> None:
    def talk(client: Client, server: TwilioServer) -> None:
        with pytest.raises(TwilioRestException) as refused:
            client.calls.create(to="+49301234567", from_=OURS, url="https://example.com/voice")
        assert (refused.value.code, refused.value.status) == (20003, 401)
        assert server.forms == []

    with_client(talk, token="wrong")


def test_what_is_over_or_unknown_is_no_call() -> None:
    def talk(client: Client, _: TwilioServer) -> None:
        made = client.calls.create(to="+49301234567", from_=OURS, url="https://example.com/voice")
        client.calls(made.sid).update(status="completed")
        for sid, code in ((made.sid, 21220), ("CA" + "f" * 32, 20404)):
            with pytest.raises(TwilioRestException) as refused:
                client.calls(sid).update(status="completed")
            assert refused.value.code == code

    with_client(talk)


def test_a_fault_is_met_as_often_as_it_says() -> None:
    def talk(client: Client, server: TwilioServer) -> None:
        server._set_faults(TwilioFault(kind="error", code=20429, times=1))
        with pytest.raises(TwilioRestException) as refused:
            client.calls.create(to="+49301234567", from_=OURS, url="https://example.com/voice")
        assert refused.value.status == 429
        client.calls.create(to="+49301234567", from_=OURS, url="https://example.com/voice")

    with_client(talk)
