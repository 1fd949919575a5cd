"""How calls over WebRTC are set up and ended, and what pages need for it.

    POST   /v1/realtime/calls                an offer: application/sdp, or a form with `sdp` and
                                             `session` → 201, Location, the answer
    POST   /v1/realtime/calls/{id}/hangup    the call's end; DELETE /v1/realtime/calls/{id}, too
    POST   /v1/realtime/client_secrets       a short-lived key with settings, for a page to hold
    GET    /v1/realtime/ice                  STUN and TURN servers, as RTCPeerConnection takes them

The shapes are OpenAI's and WHIP's (RFC 9725, without PATCH); what is wrong is told as
`{"error": {type, code, message, param}}`. Pages of other origins may ask that the operator lists.
"""

import secrets
import time
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post, route
from litestar.enums import HttpMethod
from litestar.params import FromPath

from voice import metrics
from voice.api_errors import HANDLERS, cors
from voice.call_bodies import FORM, MOST_FORM_BYTES, SDP, ExpiresAfter, offer_of, wanted_secret
from voice.client_secrets import MOST_SETTINGS_BYTES, PREFIX
from voice.desk import Desk
from voice.entrance import headers_of
from voice.relay_credentials import ice_servers, links
from voice.security import Guest, brought, digest
from voice.transports.offer_rates import Caller
from voice.transports.websocket import Refusal

AnyRequest = Request[Any, Any, Any]
Answer = Response[Any]

ALLOWED_HEADERS = "Authorization, Content-Type, X-OpenAI-Agents-SDK"
PREFLIGHT_S = 600


def _desk(request: AnyRequest) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


# --- calls ----------------------------------------------------------------------------------------


@post(
    "/v1/realtime/calls",
    status_code=201,
    media_type=SDP,
    request_max_body_size=MOST_FORM_BYTES,
    multipart_form_part_limit=4,
    summary="A WebRTC offer, answered: raw SDP, or a form with `sdp` and `session`",
)
async def open_call(request: AnyRequest) -> Answer:
    desk = _desk(request)
    guest = desk.check_door(request.scope)
    caller = _caller(request, guest)
    desk.calls.check(caller)
    offer, settings = await offer_of(request, guest.settings, desk.prepared)
    call_id, answer = await desk.calls.open(offer, settings, caller)
    metrics.WEBRTC_OFFERS.labels("answered").inc()
    headers = {"location": f"/v1/realtime/calls/{call_id}", **cors(request)}
    if offered := links(_servers(desk)[0]):
        headers["link"] = ", ".join(offered)
    return Response(answer, status_code=201, media_type=SDP, headers=headers)


def _caller(request: AnyRequest, guest: Guest) -> Caller:
    client = request.scope.get("client") or ("?", 0)
    return Caller(client[0], guest.key)


@post("/v1/realtime/calls/{call_id:str}/hangup", status_code=200, summary="Ends a call")
async def hang_up(request: AnyRequest, call_id: FromPath[str]) -> Answer:
    return await _end(request, call_id)


@delete("/v1/realtime/calls/{call_id:str}", status_code=200, summary="Ends a call, as WHIP has it")
async def delete_call(request: AnyRequest, call_id: FromPath[str]) -> Answer:
    return await _end(request, call_id)


async def _end(request: AnyRequest, call_id: str) -> Answer:
    desk = _desk(request)
    desk.check_place(request.scope)
    headers = headers_of(request.scope)
    key = desk.calls.opened_by(call_id)
    # A client secret may have expired since: it still ends what it has begun.
    is_opener = bool(key) and key in [digest(one) for one in brought(headers)]
    if not is_opener and not desk.door.knows(headers):
        desk.check_door(request.scope)
        key = None  # another caller's secret: to them there is no such call
    if key is None or not await desk.calls.end(call_id):
        raise Refusal(404, "call_not_found", "There is no such call; it may be over already.")
    return Response({"id": call_id, "status": "ended"}, headers=cors(request))


# --- for pages ------------------------------------------------------------------------------------


@post(
    "/v1/realtime/client_secrets",
    status_code=200,
    request_max_body_size=MOST_SETTINGS_BYTES + 4096,
    summary="A short-lived key that opens calls with these settings; needs an API key",
)
async def client_secret(request: AnyRequest) -> Answer:
    desk = _desk(request)
    desk.check_place(request.scope)
    if not desk.door.knows(headers_of(request.scope)):
        message = "An API key is needed: Authorization: Bearer KEY; a client secret will not do."
        raise Refusal(401, "invalid_api_key", message)
    wanted, effective = wanted_secret(await request.body(), desk.prepared)
    settings = wanted.session or {}
    if len(msgspec.json.encode(settings)) > MOST_SETTINGS_BYTES:
        message = f"session may have {MOST_SETTINGS_BYTES // 1024} KiB here."
        raise Refusal(413, "string_above_max_length", message, param="session")
    seconds = (wanted.expires_after or ExpiresAfter()).seconds
    token = PREFIX + secrets.token_hex(16)
    if wait_s := desk.client_secrets.keep(token, settings, seconds, time.monotonic()):
        message = "Too many client secrets are valid at once; ask again when some have expired."
        raise Refusal(429, "rate_limit_exceeded", message, int(wait_s) + 1)
    expires_at = int(time.time()) + seconds
    body = {"value": token, "expires_at": expires_at, "session": effective}
    return Response(body, headers={"cache-control": "no-store"})


@get(
    "/v1/realtime/ice",
    summary="STUN and TURN servers, as RTCPeerConnection takes them",
)
async def ice(request: AnyRequest) -> Answer:
    desk = _desk(request)
    guest = desk.check_door(request.scope)
    servers, expires_at = _servers(desk)
    if any("credential" in server for server in servers):
        desk.calls.check_login(_caller(request, guest))
    headers = {"cache-control": "no-store", **cors(request)}
    return Response({"iceServers": servers, "expires_at": expires_at}, headers=headers)


def _servers(desk: Desk) -> tuple[list[dict[str, Any]], int]:
    """And until when their logins hold, in seconds since 1970."""
    webrtc = desk.config.webrtc
    expires_at = int(time.time()) + webrtc.turn_credential_s
    user = secrets.token_hex(4)  # coturn counts its quotas by it
    return ice_servers(webrtc.ice_servers, webrtc.turn_secret, user, expires_at), expires_at


# --- pages of other origins -----------------------------------------------------------------------


@route(
    [
        "/v1/realtime/calls",
        "/v1/realtime/calls/{call_id:str}",
        "/v1/realtime/calls/{call_id:str}/hangup",
        "/v1/realtime/ice",
    ],
    http_method=[HttpMethod.OPTIONS],
    status_code=204,
    include_in_schema=False,
)
async def preflight(request: AnyRequest) -> Response[None]:
    """Asked by browsers, without a key, before a page of another origin may ask with one."""
    _desk(request).check_place(request.scope)
    allowed = {
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": ALLOWED_HEADERS,
        "access-control-max-age": str(PREFLIGHT_S),
    }
    accepts = {"accept-post": f"{SDP}, {FORM}"}
    return Response(None, status_code=204, headers={**allowed, **accepts, **cors(request)})


ROUTER = Router(
    path="/",
    route_handlers=[preflight, open_call, hang_up, delete_call, client_secret, ice],
    exception_handlers=HANDLERS,
)
