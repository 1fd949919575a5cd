"""Everything that is not the call itself: the page, health, metrics, the record of turns.

    /                    the page                   /api/performance      partial, final, tts_start
    /health  /ready      for probes                 /api/sources/{path}   a document's text
    /metrics             Prometheus                 /api/bench/known-delays   of the mock profile
    /docs                OpenAPI

Where keys are set, /metrics and /api ask for one; /health and /ready answer all, without addresses.
"""

import time
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.config.compression import CompressionConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.static_files import create_static_files_router
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from voice import metrics
from voice.desk import Desk
from voice.health import without_addresses

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


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _health_body(request: Request[Any, Any, Any]) -> dict[str, Any]:
    desk = _desk(request)
    body: dict[str, Any] = msgspec.to_builtins(desk.health())
    return body if desk.door.knows(_headers(request)) else without_addresses(body)


@get("/health", summary="What is configured, and how it fares; 200 as long as the process lives")
async def health(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return _health_body(request)


@get("/ready", summary="Whether to send callers here; 503 while it is not")
async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    body = _health_body(request)
    desk = _desk(request)
    body["rag"] = desk.rag_state()
    return Response(body, status_code=200 if desk.takes_calls() else 503)


@get("/metrics", guards=[needs_key], media_type=CONTENT_TYPE_LATEST, sync_to_thread=True)
def metrics_page() -> bytes:
    return generate_latest(metrics.REGISTRY)


@get("/api/performance", guards=[needs_key], summary="p50, p95, p99 of partial, final, tts_start")
async def performance(
    request: Request[Any, Any, Any], hours: float | None = None
) -> dict[str, Any]:
    desk = _desk(request)
    window_s = None if hours is None else hours * 3600
    figures = desk.figures.summary(time.monotonic(), window_s)
    body = {"turns": desk.figures.turns, "sessions": desk.sessions, "unit": "ms"}
    return {**body, "figures": msgspec.to_builtins(figures)}


@get("/api/sources/{source:path}", guards=[needs_key], media_type=MediaType.TEXT)
async def source_text(request: Request[Any, Any, Any], source: str) -> str:
    text = _desk(request).source_text(source.lstrip("/"))
    if text is None:
        raise NotFoundException(f"No document {source!r} is in the index.")
    return text


@get("/api/bench/known-delays", summary="The mock providers' delays; 404 in any other profile")
async def known_delays(request: Request[Any, Any, Any]) -> dict[str, float]:
    delays = _desk(request).known_delays
    if delays is None:
        raise NotFoundException("Delays are known in profile mock only.")
    return delays


async def _secure(response: Response[Any]) -> Response[Any]:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def application(desk: Desk) -> Litestar:
    """The HTTP side, as an ASGI application."""
    page = create_static_files_router(
        path="/", directories=[WEB], html_mode=True, include_in_schema=False
    )
    app = Litestar(
        route_handlers=[
            health,
            ready,
            metrics_page,
            performance,
            source_text,
            known_delays,
            page,
        ],
        openapi_config=OpenAPIConfig(
            title="Kaiwa", version=desk.version, path="/docs", render_plugins=[JsonRenderPlugin()]
        ),
        after_request=_secure,
        compression_config=CompressionConfig(backend="gzip", minimum_size=2048),
        logging_config=None,
    )
    app.state.desk = desk
    return app
