"""Telephone providers' webhooks: what they ask when a call comes in.

POST /v1/telephony/twilio/voice   TwiML that joins the call to /v1/telephony/twilio

Their signatures are looked at before anything else; keys and origins are for other doors.
"""

from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response, post

from voice.desk import Desk
from voice.transports.telephony.twilio_door import WEBHOOK
from voice.transports.websocket import Refusal

MOST_BODY_BYTES = 65_536
SIGNED: dict[str, Any] = {"signed": True}
"""Marks a route whose requests prove themselves, under whatever name they came in."""


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _has_room(desk: Desk) -> bool:
    try:
        desk.check_room()
    except Refusal:
        return False
    return True


def refused(_: Request[Any, Any, Any], refusal: Refusal) -> Response[dict[str, Any]]:
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return Response(body, status_code=refusal.status)


def _path(request: Request[Any, Any, Any]) -> str:
    query = request.scope["query_string"].decode("latin-1")
    return f"{request.scope['path']}?{query}" if query else request.scope["path"]


@post(
    WEBHOOK,
    status_code=200,
    media_type="text/xml",
    request_max_body_size=MOST_BODY_BYTES,
    opt=SIGNED,
    summary="Twilio's webhook for calls that come in",
)
async def twilio_voice(request: Request[Any, Any, Any]) -> str:
    desk = _desk(request)
    door = desk.switchboard.twilio
    if door is None:
        desk.switchboard.entrance("twilio")
        raise Refusal(404, "no_such_path", "This server takes no calls of this provider.")
    body = (await request.body()).decode("utf-8", "replace")
    fields = dict(parse_qsl(body, keep_blank_values=True))
    headers = {name.lower(): value for name, value in request.headers.items()}
    answer = door.answer(_path(request), fields, headers)
    return answer if _has_room(desk) else door.busy()


ROUTES = [twilio_voice]
HANDLERS: dict[Any, Any] = {Refusal: refused}
