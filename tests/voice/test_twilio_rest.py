"""Calls made, moved and ended over Twilio's REST interface; and what is never asked twice."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mocks.clock import Sockets, now, run_virtual
from mocks.serve_twilio import ACCOUNT, OURS, TOKEN, TwilioFault, TwilioServer
from voice.transports.telephony.twilio_rest import TRIES, Call, TwilioError, TwilioRest, Why

TO = "+49301234567"
URL = "https://voice.example.com/v1/telephony/twilio/voice"

Talk = Callable[[TwilioRest, TwilioServer], Awaitable[Any]]


def with_twilio(talk: Talk, *faults: TwilioFault, token: str = TOKEN, **options: Any) -> Any:
    async def main() -> Any:
        async with TwilioServer(**options) as server:
            await server.inject(*faults)
            rest = TwilioRest(ACCOUNT, token, root=server.url)
            try:
                return await talk(rest, server)
            finally:
                await rest.aclose()

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


async def make(rest: TwilioRest, **options: Any) -> Call:
    return await rest.call(**{"to": TO, "caller": OURS, "url": URL, "ring_s": 30, **options})


async def refused(asked: Awaitable[Any]) -> TwilioError:
    with pytest.raises(TwilioError) as failure:
        await asked
    assert TOKEN not in str(failure.value) and TO not in str(failure.value)
    return failure.value


def test_a_call_is_made_with_our_webhook_and_the_machines_flag() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest, machine_detection="DetectMessageEnd")
        assert made.status == "queued" and made.sid in server.calls
        wanted = {"To": TO, "From": OURS, "Url": URL, "Method": "POST", "Timeout": "30"}
        assert server.forms == [{**wanted, "MachineDetection": "DetectMessageEnd"}]

    with_twilio(talk)


def test_a_call_is_ended_and_one_that_is_over_is_no_error() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest)
        for _ in range(2):
            await rest.hang_up(made.sid)
        assert server.calls[made.sid]["status"] == "completed"
        await rest.hang_up("CA" + "f" * 32)

    with_twilio(talk)


@pytest.mark.parametrize(
    ("address", "twiml"),
    [
        (TO, f'<Dial action="{URL}" callerId="{OURS}"><Number>{TO}</Number></Dial>'),
        ("sip:a&b@example.com", f'<Dial action="{URL}" callerId="{OURS}"><Sip>sip:a&amp;b@'),
    ],
)
def test_a_call_is_given_to_a_number_or_a_sip_address(address: str, twiml: str) -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest)
        server.answer(made.sid)
        await rest.transfer(made.sid, address, caller=OURS, back=URL)
        assert twiml in server.forms[-1]["Twiml"]

    with_twilio(talk)


def test_a_call_that_nobody_has_answered_cannot_be_transferred() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest)
        error = await refused(rest.transfer(made.sid, TO, caller=""))
        assert error.why is Why.OVER and error.code == 21220

    with_twilio(talk)


@pytest.mark.parametrize(
    ("options", "code", "why", "said"),
    [
        ({"to": "+4930", "caller": OURS}, 21211, Why.NUMBER, "no telephone number"),
        ({"caller": "+15550001111"}, 21210, Why.SETTINGS, "telephony.outbound_from"),
        ({"url": "nowhere"}, 21205, Why.SETTINGS, "telephony.public_url"),
        ({"to": "+9991234567"}, 21215, Why.SETTINGS, "console"),
    ],
)
def test_a_refusal_says_whose_it_is_and_what_to_do(
    options: dict[str, str], code: int, why: Why, said: str
) -> None:
    async def talk(rest: TwilioRest, _: TwilioServer) -> None:
        error = await refused(make(rest, **options))
        assert (error.code, error.why) == (code, why)
        assert said in str(error)

    with_twilio(talk, forbidden=("+999",))


def test_wrong_credentials_are_named_by_their_settings() -> None:
    async def talk(rest: TwilioRest, _: TwilioServer) -> None:
        error = await refused(make(rest))
        assert error.why is Why.SETTINGS and "telephony.twilio_auth_token" in str(error)

    with_twilio(talk, token="wrong")


def test_too_many_requests_are_tried_again_later_and_nobody_is_called_twice() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> float:
        await make(rest)
        assert len(server.calls) == 1 and server.requests == TRIES
        return now()

    busy = TwilioFault(kind="error", code=20429, times=2, retry_after="2")
    assert with_twilio(talk, busy) == pytest.approx(4.0, abs=0.1)


def test_a_server_that_wants_a_long_pause_is_not_waited_for() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        error = await refused(make(rest))
        assert error.why is Why.BUSY and server.requests == 1

    with_twilio(talk, TwilioFault(kind="error", code=20429, retry_after="60"))


@pytest.mark.parametrize("kind", ["error", "reset", "stall", "garbage"])
@pytest.mark.parametrize("is_done", [False, True])
def test_a_call_that_may_have_been_made_is_not_made_again(kind: Any, is_done: bool) -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        error = await refused(make(rest))
        assert error.why is Why.UNREACHABLE
        assert server.requests == 1 and len(server.calls) == is_done

    with_twilio(talk, TwilioFault(kind=kind, is_done=is_done))


def test_an_answer_that_comes_in_pieces_is_whole() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest)
        assert made.sid in server.calls

    with_twilio(talk, TwilioFault(kind="drip", is_done=True))


def test_an_end_is_asked_for_again_for_it_does_no_harm() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        made = await make(rest)
        await server.inject(TwilioFault(kind="error"), TwilioFault(kind="reset"))
        await rest.hang_up(made.sid)
        assert server.calls[made.sid]["status"] == "completed"

    with_twilio(talk)


def test_nobody_there_is_tried_again_and_then_told() -> None:
    async def talk(rest: TwilioRest, server: TwilioServer) -> None:
        await server.refuse()
        begun = now()
        error = await refused(make(rest))
        assert error.why is Why.UNREACHABLE and "no connection" in str(error)
        assert now() - begun == pytest.approx(1.5, abs=0.1)
        await server.reopen()
        await make(rest)

    with_twilio(talk)


def test_no_answer_is_given_up_in_time() -> None:
    async def talk(rest: TwilioRest, _: TwilioServer) -> float:
        error = await refused(make(rest))
        assert "no answer within 10 s" in str(error)
        return now()

    assert with_twilio(talk, TwilioFault(kind="stall")) == pytest.approx(10.0, abs=0.1)
