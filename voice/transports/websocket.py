"""`WS /v1/realtime`: a client's frames to the session, the session's events to the client.

refused before the upgrade   401 no key or a wrong one · 403 Origin · 404 path
                             503 full, too late already, or stopping
ended by us                  1001 stopping · 1008 too many bad events · 1009 frame too long
                             1011 our bug
dropped                      a client that takes nothing for `send_limit_s`
"""

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qs

import structlog

from voice import metrics, wire
from voice.audio import to_wire
from voice.errors import ClientError
from voice.playout import Frame
from voice.security import Guest
from voice.session import Session
from voice.settings import AudioFormat
from voice.transports.line import Line

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BAD_EVENTS = 50
"""In a row, after which the client is not one of ours: 1008."""
LONG_FRAME = 16_384
"""Bytes beyond which a frame is decoded off the loop."""
PIECE_BYTES = 8192
"""Of a long frame's audio: 0.17 s at 24 kHz, 1 s of G.711; measured: under 1.5 ms to take."""
MAX_EVENT_BYTES = 262_144
"""Of anything but audio: it is handled in one go, and meanwhile the loop stands still."""
APPEND = b"input_audio_buffer.append"
_HEADER = struct.Struct("<II")

log = structlog.get_logger()


class Refusal(Exception):
    """Why somebody may not connect; said before the upgrade."""

    def __init__(
        self, status: int, code: str, message: str, retry_s: int = 0, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_s = retry_s
        """For Retry-After; 0: to come again changes nothing."""


class LineOutbox:
    """The session's Outbox on a Line."""

    def __init__(self, line: Line, *, binary: bool) -> None:
        self._line, self._binary = line, binary

    def send(self, event: wire.ServerEvent) -> None:
        self._line.put(wire.encode(event))

    def sound(self, event: wire.AudioDelta, frame: Frame, form: AudioFormat) -> None:
        data = to_wire(form, frame.pcm)
        if self._binary:
            packed = _HEADER.pack(frame.turn, frame.at_ms) + data
            self._line.put(packed, binary=True, sound=True)
        else:
            event.delta = wire.encode_audio(data)
            self._line.put(wire.encode(event), sound=True)

    def clear(self) -> None:
        self._line.clear()

    def end(self, code: int, reason: str) -> None:
        self._line.end(code, reason)


class Held(Protocol):
    """Where frames come from: a Line, a data channel."""

    def hold(self, *, held: bool) -> None:
        """Stop giving, as far as that can be."""


class Inlet:
    """A client's frames, decoded and in order, to the session."""

    def __init__(self, session: Session, line: Held, *, binary: bool) -> None:
        self._session, self._line, self._takes_binary = session, line, binary
        self._bad = 0
        self._decoding: asyncio.Task[None] | None = None
        self._behind: deque[tuple[bool, bytes]] = deque()

    def text(self, data: bytes) -> None:
        if self._decoding is not None:
            self._behind.append((False, data))
        elif len(data) > LONG_FRAME:
            self._take_long(data, is_binary=False)
        else:
            self._take(data)

    def binary(self, data: bytes) -> None:
        if self._decoding is not None:
            self._behind.append((True, data))
        elif not self._takes_binary:
            message = "Binary frames are audio where the address ends in ?audio=binary, only there."
            self._complain(wire.Undecodable("unexpected_binary", message, None, None))
        elif len(data) > LONG_FRAME:
            self._take_long(data, is_binary=True)
        else:
            self._session.hear(data)

    def _take(self, data: bytes) -> None:
        try:
            event = wire.decode(data)
        except wire.Undecodable as error:
            self._complain(error)
        else:
            self._good(event)

    def _good(self, event: wire.AnyClientEvent) -> None:
        self._bad = 0
        self._session.post(event)

    def _take_long(self, data: bytes, *, is_binary: bool) -> None:
        """A long frame holds up what comes behind it, and nobody else."""
        self._line.hold(held=True)
        self._decoding = asyncio.create_task(self._decode_elsewhere(data, is_binary))

    async def _decode_elsewhere(self, data: bytes, is_binary: bool) -> None:
        try:
            if is_binary:
                for piece in _pieces(data):
                    self._session.hear(piece)
                    await asyncio.sleep(0)
            else:
                await self._take_decoded(data)
        except Exception:  # our bug: it ends the call, which would else wait for ever
            log.exception("decoding_broke")
            self._session.hang_up(1011, "internal error")
        self._decoding = None
        while self._behind and self._decoding is None:
            was_binary, waiting = self._behind.popleft()
            (self.binary if was_binary else self.text)(waiting)
        if self._decoding is None:
            self._line.hold(held=False)

    async def _take_decoded(self, data: bytes) -> None:
        try:
            event = await asyncio.to_thread(_decode_long, data)
        except wire.Undecodable as error:
            self._complain(error)
            return
        if not isinstance(event, bytes):
            self._good(event)
            return
        self._bad = 0
        for piece in _pieces(event):
            self._session.hear(piece)
            await asyncio.sleep(0)

    def _complain(self, error: wire.Undecodable) -> None:
        self._session.complain(error, error.event_id)
        self._bad += 1
        if self._bad >= MAX_BAD_EVENTS:
            self._session.hang_up(1008, "too many events that are none")

    def close(self) -> None:
        if self._decoding is not None:
            self._decoding.cancel()


def _pieces(audio: bytes) -> Iterator[bytes]:
    """Between two of them others have their turn: ten seconds at once would take 40 ms."""
    for start in range(0, len(audio), PIECE_BYTES):
        yield audio[start : start + PIECE_BYTES]


def _decode_long(data: bytes) -> wire.AnyClientEvent | bytes:
    """An event, or an append's samples; what is not base64 is complained of in its turn."""
    if len(data) > MAX_EVENT_BYTES and APPEND not in data[:512] and APPEND not in data[-512:]:
        raise _too_large(data)
    event = wire.decode(data)
    if isinstance(event, wire.AudioAppend):
        with contextlib.suppress(ClientError):
            return wire.decode_audio(event.audio)
    elif len(data) > MAX_EVENT_BYTES:
        raise _too_large(data)
    return event


def _too_large(data: bytes) -> wire.Undecodable:
    message = (
        f"This event has {len(data)} bytes; all but input_audio_buffer.append may have "
        f"{MAX_EVENT_BYTES}."
    )
    return wire.Undecodable("event_too_large", message, None, None)


async def refuse(scope: Any, send: Send, refusal: Refusal) -> None:
    """An HTTP answer instead of the upgrade."""
    metrics.REFUSED.labels(refusal.code).inc()
    client = (scope.get("client") or ("?",))[0]
    log.info("call_refused", status=refusal.status, why=refusal.code, client=client)
    error = {"type": "invalid_request_error", "code": refusal.code, "message": refusal.message}
    body = wire.encode_json({"error": error})
    headers = [(b"content-type", b"application/json")]
    if refusal.retry_s:
        headers.append((b"retry-after", str(refusal.retry_s).encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start = {
        "type": "websocket.http.response.start",
        "status": refusal.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})


async def refuse_elsewhere(scope: Any, receive: Receive, send: Send) -> None:
    """For upgrades at any other path."""
    await receive()
    message = "Calls come in at /v1/realtime; this path takes none."
    await refuse(scope, send, Refusal(404, "no_such_path", message))


async def serve(
    scope: Any,
    receive: Receive,
    send: Send,
    *,
    admit: Callable[[Any], Guest],
    new_session: Callable[[LineOutbox], Session],
    send_limit_s: float,
) -> None:
    """One connection, from the request to its end.

    Args:
        admit: Raises Refusal.
    """
    await receive()  # websocket.connect
    try:
        guest = admit(scope)
    except Refusal as refusal:
        await refuse(scope, send, refusal)
        return
    offered = scope.get("subprotocols") or []
    chosen = "realtime" if "realtime" in offered else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    line: Line = scope["extensions"]["kaiwa.line"]
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    binary = query.get("audio") == ["binary"]
    session = new_session(LineOutbox(line, binary=binary))
    inlet = Inlet(session, line, binary=binary)
    try:
        session.open(guest.settings)
        await line.attach(text=inlet.text, binary=inlet.binary, send_limit_s=send_limit_s)
    finally:
        inlet.close()
        await session.close(*line.ended)
        if line.dropped:
            metrics.DROPPED_CLIENTS.inc()
