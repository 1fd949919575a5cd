"""Telephone providers' webhooks: what they ask when a call comes in.

    POST /v1/telephony/twilio/voice        TwiML  ┐
    POST /v1/telephony/telnyx/voice        TeXML  ├ that joins the call to the provider's socket
    GET, POST /v1/telephony/vonage/voice   NCCO   ┘

Their signatures are looked at before anything else; keys and origins are for other doors.
"""

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response, get, post

from voice import api_errors, metrics
from voice.desk import Desk
from voice.transports.telephony import telnyx_door, twilio_door, vonage_door
from voice.transports.telephony.entrance import Answered, Asked
from voice.transports.websocket import Refusal

MOST_BODY_BYTES = 65_536
MOST_FIELDS = 200
SIGNED: dict[str, Any] = {"signed": True}
"""Marks a route whose requests prove themselves, under whatever name they came in."""
XML, JSON = "text/xml", "application/json"


@post(
    twilio_door.WEBHOOK,
    status_code=200,
    request_max_body_size=MOST_BODY_BYTES,
    opt=SIGNED,
    summary="Twilio's webhook for calls that come in",
)
async def twilio_voice(request: Request[Any, Any, Any]) -> Response[str]:
    return await _answer(request, "twilio", _board(request).twilio, XML)


@post(
    telnyx_door.WEBHOOK,
    status_code=200,
    request_max_body_size=MOST_BODY_BYTES,
    opt=SIGNED,
    summary="Telnyx's TeXML webhook for calls that come in",
)
async def telnyx_voice(request: Request[Any, Any, Any]) -> Response[str]:
    return await _answer(request, "telnyx", _board(request).telnyx, XML)


@post(
    vonage_door.WEBHOOK,
    status_code=200,
    request_max_body_size=MOST_BODY_BYTES,
    opt=SIGNED,
    summary="Vonage's answer webhook",
)
async def vonage_voice(request: Request[Any, Any, Any]) -> Response[str]:
    return await _answer(request, "vonage", _board(request).vonage, JSON)


@get(vonage_door.WEBHOOK, opt=SIGNED, summary="Vonage's answer webhook, as it is set to GET")
async def vonage_voice_get(request: Request[Any, Any, Any]) -> Response[str]:
    return await _answer(request, "vonage", _board(request).vonage, JSON)


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _board(request: Request[Any, Any, Any]) -> Any:
    return _desk(request).switchboard


async def _answer(
    request: Request[Any, Any, Any], provider: str, door: Answered | None, kind: str
) -> Response[str]:
    desk = _desk(request)
    if door is None:
        desk.switchboard.tell_shut(provider)
        raise Refusal(404, "no_such_path", "This server takes no calls of this provider.")
    asked = await _asked(request)
    answer = door.answer(asked)
    return Response(answer if _has_room(desk) else door.busy(asked), media_type=kind)


async def _asked(request: Request[Any, Any, Any]) -> Asked:
    body = await request.body()
    query = request.scope["query_string"].decode("latin-1")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Asked(request.scope["path"], query, headers, body, _fields(body, query, headers))


def _fields(body: bytes, query: str, headers: dict[str, str]) -> dict[str, str]:
    if headers.get("content-type", "").startswith(JSON):
        try:
            fields = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return {name: value for name, value in fields.items() if isinstance(value, str)}
    text = body.decode("utf-8", "replace") if body else query
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:  # more of them, which no provider sends
        return {}


def _has_room(desk: Desk) -> bool:
    try:
        desk.check_room()
    except Refusal as refusal:
        metrics.REFUSED.labels(refusal.code).inc()
        return False
    return True


def _refused(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Any]:
    metrics.REFUSED.labels(refusal.code).inc()
    return api_errors.refused(request, refusal)


ROUTES = [twilio_voice, telnyx_voice, vonage_voice, vonage_voice_get]
HANDLERS: dict[Any, Any] = {Refusal: _refused}
