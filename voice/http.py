"""Everything that is not the call itself: the page, health, metrics, the record of turns.

    /                    the page                   /api/performance      partial, final, tts_start
    /health  /ready      for probes                 /api/sources/{path}   a document's text
    /metrics             Prometheus                 /api/bench/known-delays   of the mock profile
    /docs                OpenAPI                    /api/models…, /api/system/…   see docs/api.md
    /v1/realtime/…       WebRTC calls, client secrets: voice/calls_api.py

Where keys are set, /metrics and /api ask for one; /health and /ready answer all, without addresses.
"""

import errno
import time
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import (
    InternalServerException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, FromQuery
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from voice import (
    api_errors,
    calls_api,
    metrics,
    models_api,
    outbound_api,
    system_api,
    telephony_api,
)
from voice.desk import Desk
from voice.health import without_addresses
from voice.transports.websocket import Refusal

WEB = Path(__file__).parent.parent / "web"
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}


def _headers(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in connection.headers.items()}


def needs_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard for what is the operator's alone."""
    desk: Desk = connection.app.state.desk
    if not desk.door.knows(_headers(connection)):
        raise NotAuthorizedException("An API key is needed: Authorization: Bearer KEY")


def own_page(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard for what changes something: on 127.0.0.1, where no key may be asked for, any page in
    the operator's browser could send it."""
    desk: Desk = connection.app.state.desk
    changes = connection.scope.get("method") not in ("GET", "HEAD")
    if changes and not desk.door.allows_origin(_headers(connection)):
        raise PermissionDeniedException(
            "This Origin may change nothing; the operator can add it to allowed_origins."
        )


def right_name(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard for all: a page of elsewhere that had its name rebound to 127.0.0.1 reads nothing."""
    if handler.opt.get("signed"):
        return  # whoever cannot sign reads nothing, and a proxy may keep its own name
    desk: Desk = connection.app.state.desk
    if not desk.door.allows_host(_headers(connection)):
        raise PermissionDeniedException("This server answers to 127.0.0.1 and localhost only.")


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _health_body(request: Request[Any, Any, Any]) -> dict[str, Any]:
    desk = _desk(request)
    body: dict[str, Any] = msgspec.to_builtins(desk.health())
    return body if desk.door.knows(_headers(request)) else without_addresses(body)


@get(
    ["/health", "/api/health"],
    summary="What is configured, and how it fares; 200 as long as the process lives",
)
async def health(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return _health_body(request)


@get("/ready", summary="Whether to send callers here: 503 while stopping; what limps is told")
async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    body = _health_body(request)
    desk = _desk(request)
    body["rag"] = desk.documents.state()
    return Response(body, status_code=200 if desk.takes_calls() else 503)


@get("/metrics", guards=[needs_key], media_type=CONTENT_TYPE_LATEST, sync_to_thread=True)
def metrics_page() -> bytes:
    return generate_latest(metrics.REGISTRY)


@get("/api/performance", guards=[needs_key], summary="p50, p95, p99 of partial, final, tts_start")
async def performance(
    request: Request[Any, Any, Any], hours: FromQuery[float | None] = None
) -> dict[str, Any]:
    desk = _desk(request)
    window_s = None if hours is None else hours * 3600
    figures = desk.figures.summary(time.monotonic(), window_s)
    body = {"turns": desk.figures.turns, "sessions": desk.sessions, "unit": "ms"}
    return {**body, "figures": msgspec.to_builtins(figures)}


@get("/api/sources/{source:path}", guards=[needs_key], media_type=MediaType.TEXT)
async def source_text(request: Request[Any, Any, Any], source: FromPath[str]) -> str:
    name = source.lstrip("/")
    text = _desk(request).documents.source_text(name)
    if text is None:
        raise NotFoundException(f"No document {name!r} is in the index.")
    return text


@get(
    "/api/bench/known-delays",
    guards=[needs_key],
    summary="The mock providers' delays; 404 in any other profile",
)
async def known_delays(request: Request[Any, Any, Any]) -> dict[str, float]:
    delays = _desk(request).known_delays
    if delays is None:
        raise NotFoundException("Delays are known in profile mock only.")
    return delays


@get("/v1/realtime", summary="What the WebSocket upgrade would be answered, for browsers to ask")
async def realtime_status(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Browsers hide why an upgrade was refused; the same request without it is told."""
    try:
        _desk(request).admit(request.scope)
    except Refusal as refusal:
        return api_errors.refused(request, refusal)
    return Response({"upgrade": "websocket"}, status_code=426, headers={"upgrade": "websocket"})


async def _secure(message: Message, scope: Scope) -> None:
    """On every answer, errors too."""
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)


def _unreadable(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Names that no file can have, too long or with a null byte, are simply not there."""
    cause = error.__cause__
    absent = isinstance(error, ValueError) or getattr(cause, "errno", 0) == errno.ENAMETOOLONG
    status = 404 if absent else 500
    return api_errors.refused(request, Refusal(status, api_errors.CODES[status], "No such file."))


def application(desk: Desk) -> Litestar:
    """The HTTP side, as an ASGI application."""
    page = create_static_files_router(
        path="/",
        directories=[WEB],
        html_mode=True,
        include_in_schema=False,
        exception_handlers={InternalServerException: _unreadable, ValueError: _unreadable},
    )
    operators = Router(
        path="/",
        route_handlers=[*models_api.ROUTES, *system_api.ROUTES, *outbound_api.ROUTES],
        guards=[needs_key, own_page],
        exception_handlers=models_api.HANDLERS,
    )
    telephones = Router(
        path="/",
        route_handlers=telephony_api.ROUTES,
        exception_handlers=telephony_api.HANDLERS,
    )
    app = Litestar(
        route_handlers=[
            health,
            ready,
            metrics_page,
            performance,
            source_text,
            known_delays,
            realtime_status,
            operators,
            telephones,
            calls_api.ROUTER,
            page,
        ],
        openapi_config=OpenAPIConfig(
            title="Kaiwa", version=desk.version, path="/docs", render_plugins=[JsonRenderPlugin()]
        ),
        guards=[right_name],
        exception_handlers=api_errors.HANDLERS,
        before_send=[_secure],
        logging_config=None,
    )
    app.state.desk = desk
    return app
