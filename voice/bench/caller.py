"""A caller on its socket: frames at their due times, events stamped as they arrive.

It drives the sans-I/O core of `websockets` from a bare asyncio.Protocol. Two things come of that:
an event is stamped in the very callback that reads it, without a queue and a task in between, and
an append event is masked and framed once for all callers, so that sending it is one write.
"""

import asyncio
import math
import os
import socket
import struct
import time
from array import array
from collections.abc import Callable
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.uri import WebSocketURI

from voice.bench.config import BenchError
from voice.bench.tongue import Heard, Tongue
from voice.bench.turn import Plan
from voice.bench.turns import Caller, Leaving

CONNECT_LIMIT_S = 20.0
CLOSE_LIMIT_S = 2.0
EVENT_LIMIT_BYTES = 16 * 1024 * 1024
BACKLOG_LIMIT_BYTES = 2 * 1024 * 1024
"""Written and not yet taken: half a minute of audio. The server has stopped reading."""


def _refusal(error: Exception) -> str:
    """Why there is no session, and what to do about it."""
    status = error.response.status_code if isinstance(error, InvalidStatus) else 0
    advice = {
        401: "; give the server's API key",
        403: "; give an API key that may open sessions, or Twilio's auth token",
        404: "; the path should end in /v1/realtime, or the server knows no such door",
        503: "; the server is full or not ready",
    }
    return f"{error}{advice.get(status, '')}"


class Line(asyncio.Protocol):
    """One connection: handshake, session, then the caller's conversation.

    Args:
        tongue: What is said on it.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        plan: Plan,
        tongue: Tongue,
        on_turn: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = ClientProtocol(uri, max_size=EVENT_LIMIT_BYTES)
        self._plan = plan
        self._tongue = tongue
        self._upgraded = False
        self._on_turn = on_turn
        self._transport: asyncio.Transport | None = None
        self._fragments: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._mic_from = 0.0
        self._frame_s = 0.0
        self._frame = 0
        self._turns_over = 0
        self._window_is_open = False
        self._hanging_up = False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.ready_at = self.gone_at = math.inf
        self.connect_ms: float | None = None
        """From when the call was due."""
        self.caller: Caller | None = None
        self.lags = array("f")
        """Seconds each frame of the window was late."""

    @property
    def silence_ms(self) -> float | None:
        """That ends a turn, as the server tells."""
        return self._tongue.silence_ms

    # --- the microphone ----------------------------------------------------------------------

    def start_talking(self, *, phase: float, frame_s: float) -> None:
        """Frames are due on whole milliseconds: the finest that event loops' timers can hit."""
        self._frame_s = frame_s
        self._mic_from = math.ceil((time.monotonic() + phase) * 1000) / 1000
        self.caller = Caller(self._plan, self._mic_from)
        self._timer = self._loop.call_at(self._mic_from, self._tick)

    def open_window(self) -> None:
        self._window_is_open = True
        if self.caller is not None:
            self.caller.open_window()

    def close_window(self) -> None:
        """No further turn is measured; how late frames are, still is."""
        if self.caller is not None:
            self.caller.close_window()

    def _tick(self) -> None:
        if self.caller is None or self._transport is None or self.closed.done():
            return
        due = self._mic_from + self._frame * self._frame_s
        self._take(self._tongue.tick(time.monotonic()))
        while (now := time.monotonic()) >= due:
            speech_frame = self.caller.next_frame(due)
            if speech_frame is None:
                self._transport.write(self._tongue.background(self._frame))
            else:
                self._transport.write(self._tongue.speech(speech_frame))
            if self._window_is_open:
                self.lags.append(now - due)
            self._frame += 1
            due = self._mic_from + self._frame * self._frame_s
        if self._transport.get_write_buffer_size() > BACKLOG_LIMIT_BYTES:
            self._end("the server stopped reading")
            return
        if self.caller.measured > self._turns_over:
            self._turns_over = self.caller.measured
            self._on_turn()
        if self.caller.leaving is not None:
            self._leave(self.caller.leaving)
            return
        self._timer = self._loop.call_at(due, self._tick)

    # --- the socket --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own.
        request = self._protocol.connect()
        request.headers.update(self._tongue.headers)
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._protocol.receive_data(data)
        if not self._upgraded and self._protocol.state is State.OPEN:
            self._upgraded = True
            self._take(Heard(answers=self._tongue.begin()))
        for event in self._protocol.events_received():
            self._handle(event, now)
        self._flush()
        if self._protocol.handshake_exc is not None:
            self._end(_refusal(self._protocol.handshake_exc))
        elif self._upgraded:
            self._look_ready(now)

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection broke: {error}" if error else self._close_reason())

    @property
    def close_code(self) -> int:
        """That the server gave; 1006 without a goodbye."""
        close = self._protocol.close_rcvd
        return CloseCode.ABNORMAL_CLOSURE if close is None else close.code

    def _close_reason(self) -> str:
        close = self._protocol.close_rcvd
        reason = "" if close is None else close.reason
        return f"closed by the server: {self.close_code:d} {reason}".rstrip()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    def _handle(self, event: Event, now: float) -> None:
        if not isinstance(event, Frame):
            return
        if event.opcode is Opcode.CLOSE:
            self._end(self._close_reason())
        elif event.opcode in (Opcode.TEXT, Opcode.CONT):
            self._fragments.append(bytes(event.data))
            if event.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self._receive(message, now)

    def _receive(self, message: bytes, now: float) -> None:
        if self._hanging_up:
            return
        try:
            self._take(self._tongue.receive(message, now))
        except BenchError as error:
            self._end(str(error))

    def _take(self, heard: Heard) -> None:
        assert self._transport is not None
        for frame in heard.answers:
            self._transport.write(frame)
        if self.caller is None:
            return
        for event, at in heard.events:
            for message in self.caller.receive(event, at):
                if (said := self._tongue.say(message)) is not None:
                    self._transport.write(said)

    def _look_ready(self, now: float) -> None:
        if self._tongue.ready and not self.ready.done():
            self.ready_at = now
            self.ready.set_result(None)

    def _end(self, reason: str) -> None:
        """Whatever ends the connection ends here, once."""
        if self.closed.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        if self.caller is not None and not self._hanging_up:
            self.caller.close(reason)
        if not self.ready.done():
            self.ready.set_exception(BenchError(reason))
        self.closed.set_result(None)
        self.gone_at = time.monotonic()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _leave(self, how: Leaving) -> None:
        if how is Leaving.RUDELY:
            self._break_off()
        else:
            self._send_close()
            self._timer = self._loop.call_later(CLOSE_LIMIT_S, self._break_off)

    def _send_close(self) -> None:
        if self._hanging_up:
            return
        self._hanging_up = True
        self._take(Heard(answers=self._tongue.goodbye()))
        self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        self._flush()

    def _break_off(self) -> None:
        """The server gets a reset, in the middle of whatever it is sending."""
        if self._transport is None or self.closed.done():
            return
        self._hanging_up = True
        if (raw := self._transport.get_extra_info("socket")) is not None:
            # uvloop's sockets take no options; another descriptor of the same one does.
            with socket.socket(fileno=os.dup(raw.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def give_up(self) -> None:
        """No session came of it."""
        self._break_off()
        if not self.closed.done():
            self.closed.set_result(None)

    async def hang_up(self) -> None:
        """Close as a client does, and wait for the server's close frame for 2 s at most."""
        if self._timer is not None:
            self._timer.cancel()
        if self.closed.done() or self._transport is None:
            return
        self._send_close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.closed
        except TimeoutError:
            self._transport.abort()
