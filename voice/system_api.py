"""The running system over HTTP, for its operator.

GET  /api/system/status           calls, memory, the index's size, the model
POST /api/system/reload-config    reads the settings again; see voice/reload.py
"""

import asyncio
from pathlib import Path
from typing import Any

from litestar import Request, Response, get, post
from msgspec import Struct, to_builtins

from voice import metrics
from voice.api_errors import refused
from voice.desk import Desk
from voice.errors import ConfigError
from voice.transports.websocket import Refusal

MIB = 2**20


class SystemStatus(Struct, kw_only=True):
    status: str
    version: str
    profile: str
    uptime_s: float
    active_sessions: int
    max_sessions: int
    model: str
    """Empty where the language model has none."""
    prompt: str
    """The template's name and version, or agent.instructions."""
    memory_usage_mb: float | None
    """Of the server's own process, in MiB; null where the system does not tell."""
    disk_usage_mb: float
    """Of the index, in MiB."""
    rag: dict[str, Any]


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


@get("/api/system/status", summary="Calls, memory, the index's size, the model")
async def system_status(request: Request[Any, Any, Any]) -> SystemStatus:
    desk = _desk(request)
    memory_mb, disk_mb = await asyncio.to_thread(_sizes_mb, Path(desk.config.rag.index))
    return SystemStatus(
        status=desk.health().status,
        version=desk.version,
        profile=desk.config.profile,
        uptime_s=round(desk.uptime_s, 1),
        active_sessions=desk.sessions,
        max_sessions=desk.config.server.max_sessions,
        model=desk.models.current,
        prompt=desk.prompt.reference,
        memory_usage_mb=memory_mb,
        disk_usage_mb=disk_mb,
        rag=desk.documents.state(),
    )


def _sizes_mb(index: Path) -> tuple[float | None, float]:
    resident = metrics.REGISTRY.get_sample_value("process_resident_memory_bytes")
    size = 0
    for path in index.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:  # an old version of the index is removed meanwhile
            continue
    return None if resident is None else round(resident / MIB, 1), round(size / MIB, 1)


@post("/api/system/reload-config", status_code=200, summary="Read the settings again")
async def reload_config(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """422 with all that is wrong with the settings; then nothing has changed."""
    desk = _desk(request)
    if not desk.can_reload:
        detail = "This server was started without settings that could be read again."
        return refused(request, Refusal(409, "nothing_to_reload", detail))
    try:
        outcome = await desk.reload()
    except ConfigError as error:
        errors = str(error).splitlines()
        detail = f"Nothing was changed: {len(errors)} of the settings cannot be."
        refusal = Refusal(422, "invalid_value", detail)
        return refused(request, refusal, errors=errors, warnings=list(error.hints))
    return Response(to_builtins(outcome))


ROUTES = [system_status, reload_config]
