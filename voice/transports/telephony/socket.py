"""A provider's media WebSocket: from the request to the end of the call.

refused before the upgrade   404 no such provider here · 403 not signed · 503 no room
ended by us                  1008 no start in time, another's call, no frames of this provider
                             1013 no room any more
"""

import asyncio
from typing import Any

import msgspec
import structlog

from voice import metrics
from voice.desk import Desk
from voice.facts import Returned
from voice.transports.line import Line
from voice.transports.telephony.adapter import Adapter, Garbled, Started, Unsupported
from voice.transports.telephony.leg import Leg, carrier_of, read
from voice.transports.telephony.twilio_door import RETURNED
from voice.transports.websocket import Receive, Refusal, Send, refuse

MOST_BEFORE_START = 20
"""Frames; a provider sends one or two."""

log = structlog.get_logger()


async def serve(scope: Any, receive: Receive, send: Send, *, provider: str, desk: Desk) -> None:
    await receive()  # websocket.connect
    try:
        entrance = desk.switchboard.entrance(provider)
        if entrance is None:
            raise Refusal(404, "no_such_path", "This server takes no calls of this provider.")
        admitted = entrance.check_upgrade(scope)
        desk.check_room()
    except Refusal as refusal:
        await refuse(scope, send, refusal)
        return
    offered = scope.get("subprotocols") or []
    chosen = entrance.subprotocol if entrance.subprotocol in offered else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    line: Line = scope["extensions"]["kaiwa.line"]
    adapter = entrance.new_adapter()
    try:
        started = await _started(receive, adapter, desk.config.telephony.start_limit_s)
        if started is not None:
            entrance.check_start(started, admitted)
            desk.check_room()  # others may have started since the upgrade
    except Refusal as refusal:
        metrics.REFUSED.labels(refusal.code).inc()
        log.info("call_refused", provider=provider, why=refusal.code, detail=refusal.message)
        line.end(1013 if refusal.status == 503 else 1008, refusal.code)
        return
    if started is not None:
        await _hold(line, adapter, started, desk)


async def _started(receive: Receive, adapter: Adapter, limit_s: float) -> Started | None:
    """Which call this is; None: it left before it said so.

    Raises:
        Refusal: It did not say so in time or in few words, or it cannot be had.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await _first_facts(receive, adapter)
    except TimeoutError:
        raise Refusal(400, "no_start", f"It did not start within {limit_s:g} s.") from None


async def _first_facts(receive: Receive, adapter: Adapter) -> Started | None:
    why = "no frame of this provider's"
    for _ in range(MOST_BEFORE_START):
        message = await receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        data = message.get("bytes") if text is None else text.encode()
        try:
            facts = read(adapter, data or b"", binary=text is None)
        except Unsupported as error:
            raise Refusal(400, "unsupported_call", str(error)) from None
        except Garbled as error:
            why = str(error)
            continue
        if started := next((fact for fact in facts if isinstance(fact, Started)), None):
            return started
    raise Refusal(400, "no_start", f"It did not start: {why}")


async def _hold(line: Line, adapter: Adapter, started: Started, desk: Desk) -> None:
    board = desk.switchboard
    leg = Leg(adapter, line, started)
    carrier = msgspec.structs.replace(
        carrier_of(adapter, started, board.config.lead_ms),
        transfers=board.transfers(adapter.name, started),
    )
    session = desk.new_session(
        leg, carrier, lambda target: board.transfer(session, started, target)
    )
    leg.attach(session)
    leave = board.enter(leg)
    try:
        session.open()
        if why := started.parameters.get(RETURNED):
            session.post(Returned(why))
        await line.attach(
            text=leg.text, binary=leg.binary, send_limit_s=desk.config.server.send_limit_s
        )
    finally:
        leg.close()
        leave()
        await session.close(*line.ended)
        if line.dropped:
            metrics.DROPPED_CLIENTS.inc()
