"""Whole calls of a simulated Twilio against a server of its own process: signed, spoken, cut."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from html import unescape

import pytest

from mocks.phone import Phone, TwilioStream
from mocks.phone_call import Account, CallRefused, TwilioCall
from mocks.phone_others import AsteriskChannel, TelnyxStream, VonageSocket
from mocks.phone_sound import hum, loudness
from mocks.stt import QUESTIONS
from tests.phones import (
    ACCOUNT,
    ASTERISK,
    KEY_ID,
    KEY_SECRET,
    OTHER_TOKEN,
    PUBLIC,
    SETTINGS,
    TELNYX,
    TOKEN,
    VONAGE,
    WSS,
    basic,
    called,
    form,
    post,
    ringing,
    telnyx,
    vonage,
)
from tests.served import SIGTERM, Served, eventually
from tests.telephone import PCM

pytestmark = pytest.mark.real_time
Serve = Callable[..., Served]
Headers = dict[str, str]
ASTERISK_KEY = {"Authorization": basic()["Authorization"]}
PCM_HUM = PCM * 60
TWILIO = Account(ACCOUNT, TOKEN, PUBLIC)
WITH_KEY = Account(ACCOUNT, TOKEN, PUBLIC, KEY_ID, KEY_SECRET)
ANSWERS_S = [len(f"You said: {question}.") * 0.065 for question in QUESTIONS]


@pytest.fixture(scope="module")
def server(serving: Serve) -> Served:
    return serving(telephony=SETTINGS)


def number(digit: str) -> str:
    return "CA" + digit * 32


def calling(
    server: Served,
    scenario: Callable[[TwilioCall], Awaitable[None]],
    account: Account = TWILIO,
    call: str = number("1"),
) -> TwilioCall:
    async def run() -> TwilioCall:
        async with TwilioCall.dial(server.url, account, call) as phone:
            await scenario(phone)
            return phone

    return asyncio.run(run())


async def ask(call: TwilioCall) -> None:
    """A question; returns when its answer is being heard."""
    before = len(call.ear.heard)
    await call.say(hum(1.2))
    await call.until(lambda: len(call.ear.heard) > before)


async def listen(call: TwilioCall) -> None:
    """Returns when nothing has been heard for half a second."""
    loop = asyncio.get_running_loop()
    await call.until(lambda: loop.time() - call.ear.heard[-1].until > 0.5)


@pytest.mark.parametrize("account", [TWILIO, WITH_KEY], ids=["sha1", "sha256"])
def test_a_caller_asks_cuts_in_asks_again_and_hangs_up(server: Served, account: Account) -> None:
    async def scenario(call: TwilioCall) -> None:
        await ask(call)
        await call.until(lambda: call.ear.heard_ms > 400)
        await ask(call)
        await listen(call)
        await call.hang_up()

    call = calling(server, scenario, account)
    first, second = call.ear.heard
    assert call.stream.wrong == []
    assert len(call.ear.cleared_at) == 1
    assert first.until <= call.ear.cleared_at[0] + 0.02
    assert first.until - first.at < ANSWERS_S[0] - 0.5, "it was cut"
    assert second.until - second.at == pytest.approx(ANSWERS_S[1], abs=0.3)
    assert 2000 < loudness(first.data) < 8000, "the hum of the voice, not noise"
    assert len(call.ear.marks) >= call.ear.heard_ms // 200
    assert server.logged("session_closed", why="the caller hung up")["code"] == 1000


def telnyx_way(server: Served) -> tuple[str, Headers]:
    body = form(ringing("v2:1"))
    answer = post(server.url, f"{TELNYX}/voice", body, telnyx(body))
    found = re.search(r'<Stream url="([^"]*)"', answer.body.decode())
    assert found is not None
    return unescape(found[1]).removeprefix(WSS), {}


def vonage_phone(server: Served) -> VonageSocket:
    told = called("uuid-1")
    answer = post(server.url, f"{VONAGE}/voice", told, vonage(told), "application/json")
    return VonageSocket("uuid-1", answer.json[0]["endpoint"][0]["headers"])


OTHERS: dict[str, Callable[[Served], tuple[tuple[str, Headers], Phone]]] = {
    "telnyx": lambda server: (telnyx_way(server), TelnyxStream("v2:1")),
    "vonage": lambda server: ((VONAGE, vonage(None)), vonage_phone(server)),
    "asterisk": lambda server: ((ASTERISK, ASTERISK_KEY), AsteriskChannel()),
    "asterisk in lines": lambda server: ((ASTERISK, ASTERISK_KEY), AsteriskChannel(is_json=False)),
}


@pytest.mark.parametrize("provider", OTHERS)
def test_so_does_a_caller_of_any_other_provider(server: Served, provider: str) -> None:
    async def run() -> TwilioCall:
        (path, headers), phone = OTHERS[provider](server)
        async with TwilioCall.over(server.url, path, headers, phone) as call:
            loud = PCM_HUM if provider == "vonage" else hum(1.2)
            for _ in range(2):
                before = len(call.ear.heard)
                await call.say(loud)
                await call.until(lambda: len(call.ear.heard) > before)  # noqa: B023  # at once
                await call.until(lambda: call.ear.heard_ms > 400)
            await listen(call)
            await call.hang_up()
            return call

    call = asyncio.run(run())
    assert call.stream.wrong == []
    (cleared_at,) = call.ear.cleared_at
    second_s = sum(one.until - one.at for one in call.ear.heard if one.at > cleared_at)
    assert second_s == pytest.approx(ANSWERS_S[1], abs=0.3)


def test_what_was_heard_of_an_answer_is_told_by_the_marks(server: Served) -> None:
    async def scenario(call: TwilioCall) -> None:
        await ask(call)
        await call.until(lambda: call.ear.heard_ms > 600)
        await call.say(hum(1.2))
        await call.until(lambda: call.ear.cleared_at)
        await call.hang_up()

    before = len(server.lines)
    call = calling(server, scenario, call=number("2"))

    def cut() -> list[str]:
        return [line for line in server.lines[before:] if '"outcome": "interrupted"' in line]

    turn = json.loads(eventually(cut, "the turn's record")[0])
    assert turn["cut_in_ms"] == pytest.approx(call.ear.heard_ms, abs=120)
    assert any(span["name"] == "heard" for span in turn["spans"])


def test_a_caller_who_says_goodbye_hears_one_and_is_hung_up_on(serving: Serve) -> None:
    server = serving(
        telephony=SETTINGS,
        mock={"stt_text": "goodbye"},
        agent={"hang_up_phrases": ["goodbye"], "goodbye_phrase": "Thank you for calling."},
    )

    async def scenario(call: TwilioCall) -> None:
        await ask(call)
        await call.until(lambda: call.ended)

    call = calling(server, scenario)
    said_s = len("Thank you for calling.") * 0.065
    assert call.ear.heard_ms / 1000 == pytest.approx(said_s, abs=0.25), "to its end"
    assert call.close_code == 1000


def test_the_caller_is_greeted_first(serving: Serve) -> None:
    server = serving(telephony=SETTINGS, agent={"greeting": "Good day."})

    async def scenario(call: TwilioCall) -> None:
        await call.until(lambda: call.ear.heard)
        await listen(call)
        await call.hang_up()

    call = calling(server, scenario)
    assert call.ear.heard_ms / 1000 == pytest.approx(len("Good day.") * 0.065, abs=0.1)


def test_strangers_hear_nothing(server: Served) -> None:
    async def scenario(call: TwilioCall) -> None:
        raise AssertionError("let in")

    with pytest.raises(CallRefused, match="403"):
        calling(server, scenario, Account(ACCOUNT, OTHER_TOKEN, PUBLIC))


def test_a_server_that_stops_lets_the_call_finish_its_sentence(serving: Serve) -> None:
    server = serving(fresh=True, telephony=SETTINGS)

    async def scenario(call: TwilioCall) -> None:
        await ask(call)
        server.signal(SIGTERM)
        await call.until(lambda: call.ended)

    call = calling(server, scenario)
    assert call.close_code == 1001
    assert call.ear.heard_ms / 1000 == pytest.approx(ANSWERS_S[0], abs=0.25)
    assert server.wait() == 0


def test_no_number_and_no_ticket_stands_in_the_log(server: Served) -> None:
    async def scenario(call: TwilioCall) -> None:
        await call.hang_up()

    call = calling(server, scenario, call=number("3"))
    told = "".join(server.lines)
    assert isinstance(call.stream, TwilioStream) and call.stream.parameters
    for secret in (TOKEN, KEY_SECRET, "5005550006", *call.stream.parameters.values()):
        assert secret not in told
