"""Calls that an operator has made: over HTTP, to a mock of Twilio, whose phone then speaks."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from mocks.llm import EchoLLM, Reply
from mocks.phone_call import WEBHOOK, Account, CallRefused, TwilioCall
from mocks.phone_sound import hum
from mocks.serve_twilio import ACCOUNT, OURS, TOKEN, TwilioFault, TwilioServer
from providers.base import ToolCall
from tests.served import written
from voice.build import build
from voice.call_command import run_call
from voice.config import load
from voice.desk import Desk
from voice.errors import KaiwaError
from voice.server import server_for
from voice.transports.telephony.outbound import masked
from voice.transports.telephony.twilio_door import TRANSFERS, count_of

KEY = "k" * 32
PUBLIC = "https://voice.example.com"
TO, SALES = "+49301234567", "+49307654321"
TWILIO = Account(sid=ACCOUNT, auth_token=TOKEN, public_url=PUBLIC)
SETTINGS = {
    "public_url": PUBLIC,
    "twilio_account_sid": ACCOUNT,
    "twilio_auth_token": TOKEN,
    "outbound_from": OURS,
    "outbound_prefixes": ["+49", "+4179"],
    "transfer": {"sales": SALES},
}


class Stand:
    """The server under test, and Twilio."""

    def __init__(self, desk: Desk, url: str, twilio: TwilioServer, http: Any) -> None:
        self.desk, self.url, self.twilio, self._http = desk, url, twilio, http

    async def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> Any:
        """Returns:
        Status, headers, and the JSON body.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = self.url + path
        async with self._http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.read()
            return answer.status, answer.headers, msgspec.json.decode(text) if text else None

    async def call(self, to: str = TO, **more: Any) -> Any:
        return await self.ask("POST", "/api/telephony/calls", {"to": to, **more})

    async def refused(self, to: str = TO) -> tuple[int, str]:
        status, _, body = await self.call(to)
        return status, body["error"]["code"]


def with_server(
    folder: Path,
    talk: Callable[[Stand], Awaitable[None]],
    *,
    llm: EchoLLM | None = None,
    telephony: dict[str, Any] | None = None,
    **sections: Any,
) -> None:
    async def main() -> None:
        async with TwilioServer(forbidden=("+4999",)) as twilio, aiohttp.ClientSession() as http:
            settings = {**SETTINGS, "twilio_api": twilio.url, **(telephony or {})}
            parts = {"server": {"api_keys": [KEY]}, "telephony": settings, **sections}
            config = load(file=written(folder, parts), environment={})
            built = build(config)
            await built.start()
            providers = built.providers
            if llm is not None:
                providers = msgspec.structs.replace(providers, llm=llm)
            desk = Desk(config, providers, built.by_slot, None)
            server = server_for(desk)
            listener = socket.create_server(("127.0.0.1", 0))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.01)
            try:
                async with asyncio.timeout(60):
                    port = listener.getsockname()[1]
                    await talk(Stand(desk, f"http://127.0.0.1:{port}", twilio, http))
            finally:
                server.should_exit = True
                await serving
                await desk.switchboard.aclose()
                await built.aclose()

    asyncio.run(main())


def test_who_is_called_and_answers_talks_to_the_agent(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        status, _, made = await stand.call(machine_detection="Enable")
        assert (status, made["status"]) == (201, "queued")
        (form,) = stand.twilio.forms
        assert form["To"] == TO and form["From"] == OURS and form["MachineDetection"] == "Enable"
        assert form["Url"] == PUBLIC + WEBHOOK
        stand.twilio.answer(made["call"])
        async with TwilioCall.dial(stand.url, TWILIO, made["call"]) as phone:
            await phone.until(lambda: phone.ear.heard)
            status, _, _ = await stand.ask("DELETE", f"/api/telephony/calls/{made['call']}")
            assert status == 204
            assert stand.twilio.calls[made["call"]]["status"] == "completed"
            await phone.hang_up()

    with_server(tmp_path, talk, agent={"greeting": "Hello, this is Kaiwa."})


def test_the_model_transfers_a_caller_and_twilio_dials(tmp_path: Path) -> None:
    calls = ToolCall("call_1", "transfer_call", '{"target": "sales"}')
    llm = EchoLLM([Reply(text="One moment.", tool_calls=(calls,))], first_token_ms=5)

    async def talk(stand: Stand) -> None:
        _, _, made = await stand.call()
        stand.twilio.answer(made["call"])
        async with TwilioCall.dial(stand.url, TWILIO, made["call"]) as phone:
            await phone.say(hum(0.8))
            await phone.until(lambda: phone.ended)
            assert phone.close_code == 1000
        form = stand.twilio.forms[-1]
        assert f"<Number>{SALES}</Number>" in form["Twiml"]
        assert f'action="{PUBLIC}{WEBHOOK}?{TRANSFERS}=1"' in form["Twiml"]

    with_server(tmp_path, talk, llm=llm, agent={"tools": ["transfer_call"]})


def test_a_transfer_that_twilio_refuses_leaves_the_caller_with_the_agent(tmp_path: Path) -> None:
    calls = ToolCall("call_1", "transfer_call", '{"target": "sales"}')
    llm = EchoLLM(
        [Reply(text="One moment.", tool_calls=(calls,)), "They cannot be reached."],
        first_token_ms=5,
    )

    async def talk(stand: Stand) -> None:
        _, _, made = await stand.call()
        stand.twilio.answer(made["call"])
        async with TwilioCall.dial(stand.url, TWILIO, made["call"]) as phone:
            await stand.twilio.inject(TwilioFault(kind="error", code=20500))
            await phone.say(hum(0.8))
            await phone.until(lambda: len(llm.requests) == 2)
            assert "it could not be done" in llm.requests[1].messages[-1].content
            assert not phone.ended
            await phone.hang_up()

    with_server(tmp_path, talk, llm=llm, agent={"tools": ["transfer_call"]})


@pytest.mark.parametrize(
    ("to", "status", "code"),
    [
        ("+15551234567", 403, "number_not_allowed"),
        ("+4178123456", 403, "number_not_allowed"),
        ("+4999123456", 502, "twilio_settings"),
    ],
)
def test_nobody_is_called_whom_the_operator_does_not_allow(
    to: str, status: int, code: str, tmp_path: Path
) -> None:
    async def talk(stand: Stand) -> None:
        assert await stand.refused(to) == (status, code)
        assert not stand.twilio.calls

    with_server(tmp_path, talk)


def test_what_is_no_number_is_told_by_its_field(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        for wrong in (
            "030 1234567",
            "+49 30 123",
            "sip:a@b",
            "",
            "+49301234567;ext=1",
            f"{TO}\n",
            "+4930123٣٣٣",
        ):
            status, _, body = await stand.call(wrong)
            assert status == 422 and body["error"]["param"] == "to"
            assert "international form" in body["error"]["message"]
            assert "as in +49301234567" in body["error"]["message"]
            assert "regex" not in str(body) and "[0-9]" not in str(body)
            assert set(body["error"]) == {"type", "code", "message", "param"}
        for wrong_body, named in (({"to": TO, "from": TO}, "from"), ({}, "to"), ({"to": 7}, "to")):
            status, _, body = await stand.ask("POST", "/api/telephony/calls", wrong_body)
            assert status == 422 and named in body["error"]["message"], body
        status, _, _ = await stand.ask("DELETE", "/api/telephony/calls/CA..%2f..%2fCalls")
        assert status in (400, 404)
        assert not stand.twilio.forms

    with_server(tmp_path, talk)


def test_all_that_is_wrong_with_a_call_is_told_at_once(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        path = "/api/telephony/calls"
        wrong = {"machine_detection": "yes", "to": "030", "from": TO}
        status, _, body = await stand.ask("POST", path, wrong)
        assert (status, body["error"]["param"]) == (422, "machine_detection")
        assert body["error"]["message"].split("; ") == [
            "machine_detection cannot be 'yes'",
            'it can be "", "Enable", "DetectMessageEnd"',
            "to must be a telephone number in international form: +, the country, the number, "
            "7 to 15 digits and no spaces, as in +49301234567",
            "from is unknown",
            "known are to, machine_detection.",
        ]
        status, _, body = await stand.ask("POST", path, {"machine_detection": 1, "two": TO})
        assert status == 422
        for told in ("machine_detection must be text", "two is unknown", "to is missing"):
            assert told in body["error"]["message"]
        no_objects: list[Any] = [[], "x", 7, None]
        for no_object in no_objects:
            status, _, body = await stand.ask("POST", path, no_object)
            assert status == 422 and "object" in body["error"]["message"]
            assert body["error"]["param"] is None
        assert not stand.twilio.forms

    with_server(tmp_path, talk)


def test_calls_are_so_many_in_a_minute(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        for _ in range(2):
            assert (await stand.call())[0] == 201
        status, headers, body = await stand.call()
        assert (status, body["error"]["code"]) == (429, "too_many_calls")
        assert 50 <= int(headers["retry-after"]) <= 60
        assert len(stand.twilio.calls) == 2

    with_server(tmp_path, talk, telephony={"outbound_per_minute": 2})


def test_who_has_no_key_calls_nobody(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        for key in ("", "wrong" * 8):
            status, _, _ = await stand.ask("POST", "/api/telephony/calls", {"to": TO}, key)
            assert status == 401
        assert not stand.twilio.forms

    with_server(tmp_path, talk)


def test_a_server_without_keys_makes_no_calls_even_for_itself(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        assert await stand.refused() == (403, "needs_api_keys")

    with_server(tmp_path, talk, server={"api_keys": []})


def test_a_server_that_was_not_told_to_makes_no_calls(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        assert await stand.refused() == (403, "outbound_not_allowed")

    nothing = {"outbound_from": "", "outbound_prefixes": []}
    with_server(tmp_path, talk, telephony=nothing)
    with_server(tmp_path, talk, telephony={"twilio_auth_token": "", **nothing})


def test_a_full_server_calls_nobody(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        stand.desk.stopping = True
        assert await stand.refused() == (503, "stopping")
        stand.desk.stopping = False
        assert not stand.twilio.forms

    with_server(tmp_path, talk)


def test_an_answering_machine_is_hung_up_on_where_the_operator_says_so(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        _, _, made = await stand.call(machine_detection="Enable")
        for who, answered in (("machine_start", False), ("human", True), ("unknown", True)):
            fields = {"CallSid": made["call"], "AccountSid": ACCOUNT, "AnsweredBy": who}
            headers = TWILIO.signature(WEBHOOK, fields)
            async with stand._http.post(
                stand.url + WEBHOOK, data=fields, headers=headers
            ) as answer:
                assert ("<Stream" in await answer.text()) is answered

    with_server(tmp_path, talk, telephony={"outbound_machines": "hang_up"})


@pytest.mark.parametrize(("status", "back"), [("completed", False), ("busy", True)])
def test_who_was_transferred_comes_back_only_where_nobody_took_them(
    status: str, back: bool, tmp_path: Path
) -> None:
    llm = EchoLLM(["They are busy."], first_token_ms=5)

    async def talk(stand: Stand) -> None:
        call = "CA" + "7" * 32
        fields = {"CallSid": call, "AccountSid": ACCOUNT, "DialCallStatus": status}
        headers = TWILIO.signature(WEBHOOK, fields)
        async with stand._http.post(stand.url + WEBHOOK, data=fields, headers=headers) as answer:
            twiml = await answer.text()
        assert ("<Stream" in twiml) is back and ("<Hangup" in twiml)
        if back:
            given = dict(re.findall(r'<Parameter name="(.*?)" value="(.*?)"', twiml))
            async with TwilioCall.dial(stand.url, TWILIO, call, parameters=given) as phone:
                await phone.until(lambda: phone.ear.heard)
                await phone.hang_up()
            (request,) = llm.requests
            assert f"({status})" in request.messages[-1].content

    with_server(tmp_path, talk, llm=llm)


def test_a_caller_whom_nobody_takes_is_not_transferred_for_ever(tmp_path: Path) -> None:
    calls = ToolCall("call_1", "transfer_call", '{"target": "sales"}')
    again = Reply(text="I will try again.", tool_calls=(calls,))
    llm = EchoLLM([again, again, again, "They are not there."], first_token_ms=5)

    async def back(stand: Stand, call: str) -> dict[str, str]:
        """The way of a caller for whom the other end was busy, by the address that Twilio has."""
        given = [form["Twiml"] for form in stand.twilio.forms if "Twiml" in form][-1]
        action = re.findall(r'action="(.*?)"', given)[0].removeprefix(PUBLIC)
        fields = {"CallSid": call, "AccountSid": ACCOUNT, "DialCallStatus": "busy"}
        fields["DialCallSid"] = f"CA{len(stand.twilio.forms):032x}"
        headers = TWILIO.signature(action, fields)
        async with stand._http.post(stand.url + action, data=fields, headers=headers) as answer:
            return dict(re.findall(r'<Parameter name="(.*?)" value="(.*?)"', await answer.text()))

    async def talk(stand: Stand) -> None:
        _, _, made = await stand.call()
        stand.twilio.answer(made["call"])
        way: dict[str, str] = {}
        for count in range(3):
            assert count_of(way.get(TRANSFERS, "")) == count
            async with TwilioCall.dial(
                stand.url, TWILIO, made["call"], parameters=way or None
            ) as phone:
                if not way:
                    await phone.say(hum(0.8))
                await phone.until(lambda: phone.ended)  # noqa: B023  # at once
            way = await back(stand, made["call"])
        async with TwilioCall.dial(stand.url, TWILIO, made["call"], parameters=way) as phone:
            await phone.until(lambda: phone.ear.heard)
            await phone.hang_up()
        offered = [[tool.name for tool in request.tools] for request in llm.requests]
        assert offered == [["transfer_call"]] * 3 + [[]]
        assert len([form for form in stand.twilio.forms if "Twiml" in form]) == 3

    with_server(tmp_path, talk, llm=llm, agent={"tools": ["transfer_call"]})


@pytest.mark.parametrize(
    ("query", "offered"),
    [("", True), ("?kaiwa_transfers=2", True), ("?kaiwa_transfers=3", False)],
)
def test_how_often_a_call_was_transferred_is_known_to_every_process(
    query: str, offered: bool, tmp_path: Path
) -> None:
    """This one has never heard of the call."""
    llm = EchoLLM(["They are busy."], first_token_ms=5)

    async def talk(stand: Stand) -> None:
        call = "CA" + "8" * 32
        fields = {"CallSid": call, "AccountSid": ACCOUNT, "DialCallStatus": "busy"}
        headers = TWILIO.signature(WEBHOOK + query, fields)
        url = stand.url + WEBHOOK + query
        async with stand._http.post(url, data=fields, headers=headers) as answer:
            way = dict(re.findall(r'<Parameter name="(.*?)" value="(.*?)"', await answer.text()))
        async with TwilioCall.dial(stand.url, TWILIO, call, parameters=way) as phone:
            await phone.until(lambda: phone.ear.heard)
            await phone.hang_up()
        (request,) = llm.requests
        assert [tool.name for tool in request.tools] == ["transfer_call"] * offered

    with_server(tmp_path, talk, llm=llm, agent={"tools": ["transfer_call"]})


@pytest.mark.parametrize("text", ["", "-1", "x", "3.5", "²", "9" * 400, "00012"])
def test_a_count_that_is_none_is_none(text: str) -> None:
    assert count_of(text) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"CallStatus": "ringing"}, "<Reject"),
        ({}, "<Reject"),
        ({"CallStatus": "in-progress"}, "<Say>All lines are busy"),
        ({"CallStatus": "in-progress", "DialCallStatus": "busy"}, "<Say>All lines are busy"),
    ],
)
def test_a_call_that_was_answered_already_is_told_that_there_is_no_room(
    more: dict[str, str], said: str, tmp_path: Path
) -> None:
    """Twilio rejects a call that rings; whom we have called, or who comes back, is on the line."""

    async def talk(stand: Stand) -> None:
        stand.desk.stopping = True
        fields = {"CallSid": "CA" + "9" * 32, "AccountSid": ACCOUNT, **more}
        headers = TWILIO.signature(WEBHOOK, fields)
        async with stand._http.post(stand.url + WEBHOOK, data=fields, headers=headers) as answer:
            twiml = await answer.text()
        assert said in twiml and ("<Hangup" in twiml) is ("<Say" in twiml)
        stand.desk.stopping = False

    with_server(tmp_path, talk)


@pytest.mark.parametrize(
    "more",
    [{"DialCallStatus": "completed"}, {"DialCallStatus": "answered"}, {"AnsweredBy": "fax"}],
)
def test_who_wants_nothing_more_is_not_told_that_all_lines_are_busy(
    more: dict[str, str], tmp_path: Path
) -> None:
    """caller ── transferred ── talks to sales ── sales hangs up; meanwhile the server is full."""

    async def talk(stand: Stand) -> None:
        stand.desk.stopping = True
        fields = {
            "CallSid": "CA" + "9" * 32,
            "AccountSid": ACCOUNT,
            "CallStatus": "in-progress",
            **more,
        }
        headers = TWILIO.signature(WEBHOOK, fields)
        async with stand._http.post(stand.url + WEBHOOK, data=fields, headers=headers) as answer:
            twiml = await answer.text()
        assert "<Hangup" in twiml and "<Say" not in twiml and "<Reject" not in twiml
        stand.desk.stopping = False

    with_server(tmp_path, talk, telephony={"outbound_machines": "hang_up"})


def test_the_command_has_a_running_server_call(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        made = await run_call(stand.url, KEY, TO, "Enable")
        assert made == {"call": next(iter(stand.twilio.calls)), "status": "queued"}
        for key, to, said in (
            ("", TO, "KAIWA_API_KEY"),
            (KEY, "+15551234567", "telephony.outbound_prefixes"),
            (KEY, "030", "to"),
        ):
            with pytest.raises(KaiwaError, match=said):
                await run_call(stand.url, key, to)
        with pytest.raises(KaiwaError, match="is no Kaiwa"):
            await run_call(stand.twilio.url + "/x", KEY, TO)
        await stand.twilio.refuse()
        with pytest.raises(KaiwaError, match="--url"):
            await run_call(stand.twilio.url, KEY, TO)

    with_server(tmp_path, talk)


def test_a_number_is_never_whole_in_the_log() -> None:
    assert masked(TO) == "+49…67"
    assert masked("+12") == "…"


def test_a_forged_webhook_joins_nobody(tmp_path: Path) -> None:
    async def talk(stand: Stand) -> None:
        _, _, made = await stand.call()
        other = Account(sid=ACCOUNT, auth_token="0" * 32, public_url=PUBLIC)
        with pytest.raises(CallRefused):
            async with TwilioCall.dial(stand.url, other, made["call"]):
                pass

    with_server(tmp_path, talk)
