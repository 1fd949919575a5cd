"""What is wrong with a request: `{"error": {type, code, message, param}}`, on every path.

Pages of origins that the operator lists can read it.
"""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from voice import metrics
from voice.body_fields import WrongFields
from voice.desk import Desk
from voice.entrance import headers_of
from voice.errors import ClientError
from voice.transports.websocket import Refusal
from voice.wrong_fields import told

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]
Answer = Response[Any]

CALLS = "/v1/realtime/calls"
EXPOSED_HEADERS = "Location, Link, Retry-After"
CODES = {
    401: "invalid_api_key",
    403: "forbidden",
    404: "no_such_path",
    405: "method_not_allowed",
    413: "request_too_large",
    500: "internal_error",
}


def cors(request: AnyRequest) -> dict[str, str]:
    """What lets a page of a listed origin read the answer."""
    desk: Desk = request.app.state.desk
    origin = request.headers.get("origin")
    if origin is None or not desk.door.allows_origin(headers_of(request.scope)):
        return {"vary": "Origin"}
    return {
        "vary": "Origin",
        "access-control-allow-origin": origin,
        "access-control-expose-headers": EXPOSED_HEADERS,
    }


def refused(request: AnyRequest, refusal: Refusal, **beside: Any) -> Answer:
    """
    Args:
        beside: What a program reads of it besides, next to `error`.
    """
    if request.method == "POST" and request.url.path == CALLS:
        metrics.REFUSED.labels(refusal.code).inc()
        client = (request.scope.get("client") or ("?",))[0]
        log.info("call_refused", status=refusal.status, why=refusal.code, client=client)
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    error = {
        "type": kind,
        "code": refusal.code,
        "message": refusal.message,
        "param": refusal.param,
    }
    headers = cors(request)
    if refusal.retry_s:
        headers["retry-after"] = str(refusal.retry_s)
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response({"error": error, **beside}, status_code=refusal.status, headers=headers)


def _wrong_setting(request: AnyRequest, error: ClientError) -> Answer:
    return refused(request, Refusal(400, error.code, error.message, param=error.param))


def unusual(request: AnyRequest, error: HTTPException) -> Answer:
    """What Litestar says no to: a body too large, a form that is none, another method."""
    message, headers = error.detail, dict(error.headers or {})
    if "allow" in headers:
        message = f"{request.method} is not taken here; this path takes {headers['allow']}."
    code = CODES.get(error.status_code, "invalid_request")
    answer = refused(request, Refusal(error.status_code, code, message))
    answer.headers.update(headers)
    return answer


def _wrong_fields(request: AnyRequest, error: WrongFields) -> Answer:
    return refused(request, Refusal(422, "invalid_value", told(error.found), param=error.param))


def _fault(request: AnyRequest, error: Exception) -> Answer:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return refused(request, Refusal(500, CODES[500], "The server failed; its log says why."))


HANDLERS: dict[Any, Any] = {
    Refusal: refused,
    WrongFields: _wrong_fields,
    ClientError: _wrong_setting,
    HTTPException: unusual,
    Exception: _fault,
}
