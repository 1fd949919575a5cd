"""One WebSocket connection, without a task or a queue in between.

uvicorn's sans-I/O protocol does the handshake, framing and keepalive. Once a call is attached, its
frames go straight to the session and the session's straight to the socket: no ASGI message, no
queue, no task switch, fifty times a second for every caller. Whole frames of live audio pass the
protocol by.

    reads    a budget slows a flood down by not reading on; nobody is cut off for being quick
             small slices, so that one caller's flood of frames is no pause for the others
    writes   a client that takes nothing for `send_limit_s` is aborted; `close` would wait for it
    pongs    count as writes, so that a ping flood cannot grow memory
    the end  whatever is still unsent or unread, the socket is gone `LINGER_S` later
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from voice.transports.budget import Budget
from voice.transports.frames import TEXT, frame_of, is_between_frames, whole_frame

FRAME_BYTES = 512
"""What a frame costs of the budget beside its bytes: the time it takes, however short it is."""
PIECE_BYTES = 2048
"""Parsed in one go: at most 340 empty pings, measured: 2 ms."""
SLICE_BYTES = 65_536
"""Of the budget, spent before others have their turn."""
LINGER_S = 1.0
LIVE_BYTES, LIVE_FRAMES = 8192, 16
"""What comes in one go and is taken as it stands; more goes by slices."""
MOST_REASON_BYTES = 123  # RFC 6455 §5.5.1
UNSENT_BYTES = 8 * 1024 * 1024
"""More than this waiting for a client is more than any client needs."""


class Line(WebSocketsSansIOProtocol):
    """Handed to the application in `scope["extensions"]["kaiwa.line"]`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._text: Callable[[bytes], None] | None = None
        self._binary: Callable[[bytes], None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._send_limit_s = 5.0
        self._stuck_timer: asyncio.TimerHandle | None = None
        self._sounds: deque[tuple[bool, bytes]] = deque()
        self._budget = Budget(self.loop.time())
        self._resting: asyncio.TimerHandle | None = None
        self._held = False
        self._live_bytes = 0
        self._between_frames = False
        """Known to be; else the protocol is asked."""
        self._unread = bytearray()
        self._next_slice: asyncio.Handle | None = None
        self.dropped = False
        """Aborted because the client stopped reading."""

    # --- the call ---------------------------------------------------------------------------------

    def attach(
        self,
        *,
        text: Callable[[bytes], None],
        binary: Callable[[bytes], None],
        send_limit_s: float,
    ) -> asyncio.Future[None]:
        """From here on frames go to the call. What came before them comes first.

        Returns:
            Done when the connection is over.
        """
        self._text, self._binary, self._send_limit_s = text, binary, send_limit_s
        self._live_bytes = min(LIVE_BYTES, self.conn.max_message_size or LIVE_BYTES)
        self._gone = self.loop.create_future()
        while not self.queue.empty():
            message = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                self._give(message)
            elif message["type"] == "websocket.disconnect":
                self._hang_up()
        self.read_paused = False
        self._read_or_rest()
        return self._gone

    def _give(self, message: Any) -> None:
        text, data = message.get("text"), message.get("bytes")
        assert self._text is not None and self._binary is not None
        if text is not None:
            self._text(text.encode())
        elif data is not None:
            self._binary(data)

    def _hang_up(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if self.close_timer is None and not self.disconnected:
            self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    # --- out --------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        """The client's goodbye counts as soon as it is read: what it said before it, in the same
        packet, is dealt with after that."""
        said_goodbye = self.conn.state is not State.OPEN
        return said_goodbye or self.close_sent or self.disconnected or self.transport.is_closing()

    def put(self, data: bytes, *, binary: bool = False, sound: bool = False) -> None:
        """One frame to the client. While it takes nothing, sound waits where `clear` finds it."""
        if self._is_over:
            return
        if sound and not self.writable.is_set():
            self._sounds.append((binary, data))
            return
        self._write(data, binary)

    def _write(self, data: bytes, binary: bool) -> None:
        self.transport.write(frame_of(data, binary=binary))
        self._check_unsent()

    def clear(self) -> None:
        """Drops the sound that has not left."""
        self._sounds.clear()

    def end(self, code: int, reason: str) -> None:
        """Says goodbye behind what was sent, and does not wait long for the answer."""
        if self._is_over:
            return
        self.conn.send_close(code, reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore"))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._hang_up()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck_timer is None:
            self._stuck_timer = self.loop.call_later(self._send_limit_s, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None
        while self._sounds and self.writable.is_set() and not self._is_over:
            binary, data = self._sounds.popleft()
            self._write(data, binary)

    def _check_unsent(self) -> None:
        if self.transport.get_write_buffer_size() > UNSENT_BYTES:
            self._abort()

    def _abort(self) -> None:
        if not self.transport.is_closing():
            self.dropped = True
        self.transport.abort()
        self._hang_up()

    # --- in ---------------------------------------------------------------------------------------

    async def run_asgi(self) -> None:
        self.scope["extensions"]["kaiwa.line"] = self  # type: ignore[assignment]  # ASGI types it narrower
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # refused: answered too, which uvicorn calls an error

    @property
    def ended(self) -> tuple[int, str]:
        """The close code and reason, whoever sent them; 1006 where nobody did."""
        if self.dropped:
            return 1006, "it stopped reading"
        conn = self.conn
        close = conn.close_rcvd if conn.close_rcvd_then_sent else conn.close_sent
        return (close.code, close.reason) if close is not None else (1006, "")

    def data_received(self, data: bytes) -> None:
        if self._text is None:
            super().data_received(data)
            return
        if not self._unread and len(data) <= self._live_bytes and not self._rests:
            data = self._take_live(data)
            if not data:
                return
        self._unread += data
        if self._next_slice is None and not self._rests:
            self._take_slice()

    def _take_live(self, data: bytes) -> bytes:
        """Gives whole frames to the call; what is left is no such frame, or one too many."""
        assert self._text is not None and self._binary is not None
        if not self._between_frames and not is_between_frames(self.conn):
            return data
        self._between_frames = True
        start = 0
        for _ in range(LIVE_FRAMES):
            if self._held or self._is_over or (found := whole_frame(data, start)) is None:
                break
            kind, payload, end = found
            if not self._budget.affords(end - start + FRAME_BYTES, self.loop.time):
                break
            start = end
            (self._text if kind == TEXT else self._binary)(payload)
        return data[start:]

    def _take_slice(self) -> None:
        """Reads on, frame by frame, until others must have their turn."""
        self._next_slice = None
        self._between_frames = False
        left = self._budget.at(self.loop.time()) - SLICE_BYTES
        while self._unread and self._budget.bytes > left and not self._rests:
            piece = bytes(self._unread[:PIECE_BYTES])
            del self._unread[:PIECE_BYTES]
            self._spend(len(piece))
            if self.conn.parser_exc is None:  # else it is only waited for the client to see why
                super().data_received(piece)
                self._check_unsent()
        if self._unread and not self._rests:
            self._next_slice = self.loop.call_soon(self._take_slice)
        self._read_or_rest()

    def handle_events(self) -> None:
        self._spend(FRAME_BYTES * len(self.conn.events))
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        if self._text is None or self._binary is None:
            super().send_receive_event_to_app()
            return
        data, self.frames = b"".join(self.frames), []
        if not self.close_sent:
            (self._text if self.curr_msg_data_type == "text" else self._binary)(data)

    def hold(self, *, held: bool) -> None:
        """Stops reading while the call cannot take more."""
        self._held = held
        self._read_or_rest()

    @property
    def _rests(self) -> bool:
        return self._held or self._resting is not None

    def _spend(self, count: int) -> None:
        rest_s = self._budget.spend(count, self.loop.time())
        if rest_s and self._resting is None:
            self._resting = self.loop.call_later(rest_s, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._read_or_rest()

    def _read_or_rest(self) -> None:
        if self.transport.is_closing() or self._text is None:
            self._unread.clear()
        elif self._rests or self._next_slice is not None:
            self.transport.pause_reading()
        elif self._unread:
            self._next_slice = self.loop.call_soon(self._take_slice)
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._stuck_timer, self._resting, self._next_slice):
            if timer is not None:
                timer.cancel()
        self._sounds.clear()
        self._unread.clear()
        self._hang_up()

    def handle_close(self, event: Any) -> None:
        super().handle_close(event)
        self._hang_up()

    def handle_parser_exception(self) -> None:
        """Says why, and goes on taking what comes: closed over unread bytes, a socket is reset,
        and the client never learns the reason."""
        if self._gone is None:
            super().handle_parser_exception()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.close_sent = True
        self._hang_up()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._hang_up()

    def shutdown(self) -> None:
        if self._gone is None:
            super().shutdown()
        else:
            self.end(1001, "the server is stopping")
