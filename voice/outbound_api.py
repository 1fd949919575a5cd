"""Calls that an operator has made over HTTP.

POST   /api/telephony/calls          {"to": "+49…"}   201 {"call": "CA…", "status": "queued"}
DELETE /api/telephony/calls/{call}   204: it is over
POST   /api/telephony/audiosocket    201 {"uuid": "…"}: for one call of Asterisk's
"""

import time
from typing import Annotated, Any, Literal

from litestar import Request, delete, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from voice.body_fields import all_fields
from voice.desk import Desk
from voice.transports.telephony.outbound import Outbound
from voice.transports.telephony.passes import LIFE_S
from voice.transports.websocket import Refusal

MOST_BODY_BYTES = 4096
NUMBER = (
    "a telephone number in international form: +, the country, the number, 7 to 15 digits "
    "and no spaces, as in +49301234567"
)


class NewCall(Struct, forbid_unknown_fields=True):
    to: Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}(?!\n)$", description=NUMBER)]
    """E.164."""
    machine_detection: Literal["", "Enable", "DetectMessageEnd"] = ""
    """Twilio's answering machine detection: it costs money, and some seconds before the first
    word."""


class Made(Struct):
    call: str
    """Twilio's name of it."""
    status: str


def _outbound(request: Request[Any, Any, Any]) -> tuple[Desk, Outbound]:
    desk: Desk = request.app.state.desk
    if not desk.config.server.api_keys:
        message = "Calls cost money: set KAIWA_API_KEYS, and send one of them."
        raise Refusal(403, "needs_api_keys", message)
    outbound = desk.switchboard.outbound
    if outbound is None:
        message = (
            "This server makes no calls: set telephony.public_url, telephony.twilio_account_sid "
            "and telephony.twilio_auth_token."
        )
        raise Refusal(403, "outbound_not_allowed", message)
    return desk, outbound


@post(
    "/api/telephony/calls",
    status_code=201,
    summary="Calls a number, and talks to who answers",
    request_max_body_size=MOST_BODY_BYTES,
    before_request=all_fields(NewCall),
)
async def make_call(request: Request[Any, Any, Any], data: JSONBody[NewCall]) -> Made:
    desk, outbound = _outbound(request)
    desk.check_room()
    made = await outbound.call(data.to, data.machine_detection)
    return Made(made.sid, made.status)


@delete("/api/telephony/calls/{call:str}", status_code=204, summary="Ends a call")
async def end_call(request: Request[Any, Any, Any], call: FromPath[str]) -> None:
    _, outbound = _outbound(request)
    if not (call.startswith("CA") and call.isalnum() and len(call) == 34):
        message = "A call's name is CA and 32 letters and digits, as POST /api/telephony/calls says"
        raise Refusal(400, "invalid_value", f"{message}.")
    await outbound.hang_up(call)


class OneCall(Struct):
    uuid: str
    good_for_s: float


@post("/api/telephony/audiosocket", status_code=201, summary="A UUID for one AudioSocket call")
async def audiosocket_uuid(request: Request[Any, Any, Any]) -> OneCall:
    desk: Desk = request.app.state.desk
    config = desk.config.telephony
    if config.audiosocket_port is None or not config.audiosocket_one_time:
        message = (
            "This server gives out none: set telephony.audiosocket_port and "
            "telephony.audiosocket_one_time."
        )
        raise Refusal(403, "no_audiosocket", message)
    return OneCall(desk.switchboard.passes.issue(time.monotonic()), LIFE_S)


ROUTES = [make_call, end_call, audiosocket_uuid]
