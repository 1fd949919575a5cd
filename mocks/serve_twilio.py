"""Twilio's REST interface for calls, as a client sees it: form bodies, basic auth, its errors.

    POST /2010-04-01/Accounts/{sid}/Calls.json           201, status "queued"
    POST /2010-04-01/Accounts/{sid}/Calls/{call}.json    200: ended by Status, moved on by Twiml
    GET  /2010-04-01/Accounts/{sid}/Calls/{call}.json    200
    GET  /2010-04-01/Accounts/{sid}.json                 200: the account, which is active

It calls nobody: a test says when somebody answers (`answer`), and mocks/phone_call.py speaks.

Source: https://www.twilio.com/docs/voice/api/call-resource
"""

import asyncio
import base64
import hmac
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

import msgspec
from aiohttp import web

from mocks.http_server import HttpServer
from mocks.wire_faults import reset

ACCOUNT = "AC" + "0" * 32
TOKEN = "f" * 32
OURS = "+15005550006"
"""The number of the account's."""
OVER = ("completed", "busy", "failed", "no-answer", "canceled")

_MESSAGES = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource {path} was not found"),
    20429: (429, "Too Many Requests"),
    20001: (400, "Invalid parameter"),
    20500: (500, "An internal server error has occurred"),
    21201: (400, "No 'To' number is specified"),
    21205: (400, "Url is not a valid URL: "),
    21211: (400, "The phone number you are attempting to call, {to}, is not valid."),
    21210: (400, "The source phone number provided, {caller}, is not yet verified for your "
            "account."),
    21213: (400, "No 'From' number is specified"),
    21215: (400, "Account not authorized to call {to}. Perhaps you need to enable some "
            "international permissions"),
    21220: (400, "Call is not in-progress. Cannot redirect."),
}  # fmt: skip


class TwilioFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the next `times` requests meet instead of an answer."""

    kind: Literal["refuse", "error", "reset", "stall", "garbage", "drip"]
    """`drip`: the answer comes in pieces, with pauses between them; `is_done` goes with it."""
    times: int = 1
    code: int = 20500
    """Twilio's own."""
    retry_after: str = ""
    is_done: bool = False
    """Whether what was asked for happens all the same."""

    @property
    def status(self) -> int:
        return _MESSAGES[self.code][0]


class TwilioServer(HttpServer[TwilioFault]):
    """Args:
    forbidden: Prefixes of numbers that the account may not call.
    """

    def __init__(self, *, forbidden: tuple[str, ...] = ()) -> None:
        super().__init__(TwilioFault)
        self.calls: dict[str, dict[str, Any]] = {}
        """By sid, as they are told."""
        self.forms: list[dict[str, str]] = []
        """Of every request that had the right credentials, in order."""
        self.status = "active"
        """Of the account."""
        self._forbidden = forbidden
        self._faults: list[TwilioFault] = []
        calls = f"/2010-04-01/Accounts/{ACCOUNT}/Calls"
        router = self._app.router
        router.add_post(f"{calls}.json", self._counted(self._create))
        router.add_post(calls + "/{call}.json", self._counted(self._update))
        router.add_get(calls + "/{call}.json", self._counted(self._fetch))
        router.add_get(f"/2010-04-01/Accounts/{ACCOUNT}.json", self._counted(self._account))
        router.add_route("*", "/2010-04-01/{path:.*}", self._nowhere)

    def answer(self, call: str) -> None:
        """Somebody has picked up."""
        self.calls[call]["status"] = "in-progress"

    # --- faults -----------------------------------------------------------------------------------

    def _set_faults(self, *faults: TwilioFault) -> None:
        self._faults = [fault for fault in faults for _ in range(fault.times)]

    def _lasting_fault(self) -> None:
        return None

    async def _met(self, request: web.Request) -> tuple[TwilioFault | None, web.Response | None]:
        fault = self._faults.pop(0) if self._faults else None
        if fault is None or fault.is_done:
            return fault, None
        return fault, await self._faulty(request, fault)

    async def _faulty(self, request: web.Request, fault: TwilioFault) -> web.Response:
        match fault.kind:
            case "reset":
                reset(request)
                return web.Response()
            case "stall":
                await asyncio.Event().wait()
                return web.Response()
            case "garbage":
                return web.Response(text="<html>It works!</html>", content_type="text/html")
            case _:
                headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
                return _error(fault.code, headers=headers)

    # --- requests ---------------------------------------------------------------------------------

    def _is_ours(self, request: web.Request) -> bool:
        sent = request.headers.get("Authorization", "")
        wanted = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        return hmac.compare_digest(sent.encode(), wanted.encode())

    async def _nowhere(self, request: web.Request) -> web.Response:
        return _error(20404 if self._is_ours(request) else 20003, path=request.path)

    async def _account(self, request: web.Request) -> web.Response:
        if not self._is_ours(request):
            return _error(20003)
        _, response = await self._met(request)
        if response is not None:
            return response
        named = {"sid": ACCOUNT, "friendly_name": "simulated", "type": "Full"}
        return web.json_response({**named, "status": self.status})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if not self._is_ours(request):
            return _error(20003)
        form = await _form(request)
        self.forms.append(form)
        fault, response = await self._met(request)
        if response is not None:
            return response
        to, caller = form.get("To", ""), form.get("From", "")
        if code := self._wrong(to, caller, form):
            return _error(code, to=to, caller=caller)
        sid = f"CA{len(self.calls) + 1:032x}"
        self.calls[sid] = _told(sid, to, caller)
        if fault is not None and fault.kind == "drip":
            return await _dripped(request, self.calls[sid])
        if fault is not None:
            return await self._faulty(request, fault)
        return web.json_response(self.calls[sid], status=201)

    def _wrong(self, to: str, caller: str, form: dict[str, str]) -> int:
        if not to:
            return 21201
        if not caller:
            return 21213
        if not re.fullmatch(r"\+[1-9]\d{6,14}", to):
            return 21211
        if caller != OURS:
            return 21210
        if to.startswith(self._forbidden) and self._forbidden:
            return 21215
        url = form.get("Url", "")
        return 0 if "Twiml" in form or re.match(r"https?://[^/\s]+", url) else 21205

    async def _update(self, request: web.Request) -> web.Response:
        if not self._is_ours(request):
            return _error(20003)
        form = await _form(request)
        self.forms.append(form)
        _, response = await self._met(request)
        if response is not None:
            return response
        call = self.calls.get(request.match_info["call"])
        if call is None:
            return _error(20404, path=request.path)
        if call["status"] in OVER:
            return _error(21220)
        if "Twiml" in form and call["status"] != "in-progress":
            return _error(21220)
        if form.get("Status") == "completed":
            call["status"] = "completed"
        elif "Twiml" not in form:
            return _error(20001)
        return web.json_response(call)

    async def _fetch(self, request: web.Request) -> web.Response:
        if not self._is_ours(request):
            return _error(20003)
        call = self.calls.get(request.match_info["call"])
        return _error(20404, path=request.path) if call is None else web.json_response(call)


async def _dripped(request: web.Request, call: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
    await response.prepare(request)
    body = msgspec.json.encode(call)
    for start in range(0, len(body), 300):
        await response.write(body[start : start + 300])
        await asyncio.sleep(0.05)
    return response


async def _form(request: web.Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.post()).items()}


def _error(code: int, *, headers: dict[str, str] | None = None, **words: str) -> web.Response:
    status, message = _MESSAGES[code]
    body = {
        "code": code,
        "message": message.format(**words) if words else message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return web.json_response(body, status=status, headers=headers)


def _told(sid: str, to: str, caller: str) -> dict[str, Any]:
    """The resource as Twilio tells it right after it was made."""
    uri = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid}"
    return {
        "sid": sid,
        "date_created": None,
        "date_updated": None,
        "parent_call_sid": None,
        "account_sid": ACCOUNT,
        "to": to,
        "to_formatted": to,
        "from": caller,
        "from_formatted": caller,
        "phone_number_sid": "PN" + "0" * 32,
        "status": "queued",
        "start_time": None,
        "end_time": None,
        "duration": None,
        "price": None,
        "price_unit": "USD",
        "direction": "outbound-api",
        "answered_by": None,
        "annotation": None,
        "api_version": "2010-04-01",
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": "0",
        "trunk_sid": None,
        "uri": f"{uri}.json",
        "subresource_uris": {
            "recordings": f"{uri}/Recordings.json",
            "notifications": f"{uri}/Notifications.json",
        },
        "date": format_datetime(datetime.now(UTC)),
    }
