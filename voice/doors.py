"""Where calls come in: the paths of WebSocket calls, and the ports that are no HTTP.

HTTP routes are in voice/http.py; what each door does is in voice/transports.
"""

import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from voice.desk import Desk
from voice.facts import KeyPressed
from voice.transports import websocket
from voice.transports.sip.door import SipDoor
from voice.transports.telephony import (
    asterisk_door,
    audiosocket_door,
    telnyx_door,
    twilio_door,
    vonage_door,
)
from voice.transports.telephony import socket as telephone

REALTIME = "/v1/realtime"

Socket = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application for one WebSocket path."""
Listener = AbstractAsyncContextManager[Any]
"""A port, open as long as it is entered; entering it raises ConfigError where it cannot be had."""


def sockets(desk: Desk) -> dict[str, Socket]:
    async def realtime(scope: Any, receive: Any, send: Any) -> None:
        await websocket.serve(
            scope,
            receive,
            send,
            admit=desk.admit,
            new_session=desk.new_session,
            send_limit_s=desk.config.server.send_limit_s,
        )

    def phone(provider: str) -> Socket:
        return partial(telephone.serve, provider=provider, desk=desk)

    return {
        REALTIME: realtime,
        twilio_door.SOCKET: phone("twilio"),
        telnyx_door.SOCKET: phone("telnyx"),
        vonage_door.SOCKET: phone("vonage"),
        asterisk_door.SOCKET: phone("asterisk"),
    }


def listeners(desk: Desk) -> list[Listener]:
    return [
        desk.calls,
        contextlib.aclosing(desk.switchboard),
        audiosocket_door.listening(desk),
        *([_sip(desk)] if desk.config.sip.enabled else []),
    ]


def _sip(desk: Desk) -> Listener:
    door = SipDoor(
        desk.config,
        check_room=desk.check_room,
        new_session=desk.new_session,
        press=lambda session, key: session.post(KeyPressed(key)),
    )
    desk.coming.append(lambda: door.coming)
    return door
