"""One utterance on its way to a sherpa-onnx streaming server and back.

    feed  -> kept -> float32 -> socket         sent as fast as the server reads
    reply -> Transcript -> Partial             a reply per decode step, also of silence

A lost connection is opened again and hears the utterance from its beginning, once. A server that
is there but says nothing, or falls behind, is not asked again: that would double the silence, and
whoever called may know another recogniser.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from providers._sherpa_replies import DONE, Casing, Progress, Transcript
from providers._sherpa_socket import Sockets, abort, close, failure
from providers.base import LISTEN_RATE_HZ, Fault, Hypothesis, ProviderError, SttFailure

REPLAY_S = 60
"""A longer utterance is not kept, and so not repeated. 1.9 MB."""
TICK_S = 0.1
"""How often the limits are looked at while no reply comes."""
ANSWERABLE_S = 1.5
"""Audio that must bring a reply; the largest decode step of streaming models is 1.28 s."""
DONE_GRACE_S = 0.02
"""The C++ server's `Done!` may overtake its last text: two of its threads send."""
RECONNECT_PAUSE_S = 0.1
FINAL_LIMIT_FACTOR = 3
"""Times `stall_limit_s`: the longest wait for a final while replies still come."""
_BYTES_PER_S = 2 * LISTEN_RATE_HZ
_PIECE_BYTES = _BYTES_PER_S // 4
_WHY_SLOW = "give it fewer callers, more --nn-pool-size (--num-work-threads), or a smaller model"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; `SherpaServerSTT` explains them."""

    connect_s: float
    stall_s: float
    unsent_s: float
    tail: bytes
    """Silence sent behind the last sample, as float32, unless the C++ server is known to listen:
    that one adds 0.8 s itself, and would need more decode steps for more."""


class _Lost(Exception):
    """The connection died under the utterance."""


class Utterance:
    """Args:
    deliver: Gets every changed partial, then the final or a failure; nothing after `cancel()`.
    """

    def __init__(
        self,
        number: int,
        sockets: Sockets,
        limits: Limits,
        casing: Casing,
        deliver: Callable[["Utterance", Hypothesis | SttFailure], None],
    ) -> None:
        self.number = number
        self._sockets, self._limits, self._deliver = sockets, limits, deliver
        self._casing = casing
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._kept_from = 0
        self._fed = self._sent = 0
        """Bytes since the utterance began."""
        self._waiting: deque[tuple[int, float]] = deque()
        """(position behind it, when it was spoken) of what is not yet sent. Of audio that comes
        in one burst, as it does when it is heard again, as if it had been spoken from then on."""
        self._spoken_until = 0.0
        self._ended_at: float | None = None
        self._wake = asyncio.Event()
        self._is_cancelled = False
        self._tries_left = 2
        self._partial = ""
        self.task = self._loop.create_task(self._run(), name=f"sherpa-server utterance {number}")

    def feed(self, pcm: bytes) -> None:
        self._kept += pcm
        self._fed += len(pcm)
        self._spoken_until = max(self._spoken_until, self._loop.time()) + len(pcm) / _BYTES_PER_S
        self._waiting.append((self._fed, self._spoken_until))
        self._wake.set()

    def end(self) -> None:
        self._ended_at = self._loop.time()
        self._wake.set()

    def cancel(self) -> None:
        self._is_cancelled = True
        self.task.cancel()

    async def _run(self) -> None:
        try:
            await self._hear()
        except ProviderError as error:
            self._tell(SttFailure(self.number, error))

    def _tell(self, result: Hypothesis | SttFailure) -> None:
        if not self._is_cancelled:
            self._deliver(self, result)

    # --- connections ----------------------------------------------------------------------------

    async def _hear(self) -> None:
        spare = self._sockets.take_spare()
        connection = spare or await self._sockets.connect()
        while True:
            self._begin_attempt()
            try:
                await self._converse(connection)
                return
            except _Lost as lost:
                # A spare connection that was dead all the time is no fault of this utterance.
                if connection is not spare or self._transcript.replies:
                    self._tries_left -= 1
                if not self._tries_left or self._kept_from:
                    times = "" if self._kept_from else " twice"
                    text = f"connection lost{times} in one utterance ({lost}); see the server's log"
                    raise failure(Fault.BROKEN, text) from lost
                self._sockets.drop_spares()
            except ProviderError:
                self._sockets.drop_spares()
                raise
            finally:
                await abort(connection)
            connection = await self._connect_again()

    async def _connect_again(self) -> ClientConnection:
        """The server was there a moment ago: it may be just starting again."""
        give_up_at = self._loop.time() + self._limits.connect_s
        while True:
            try:
                return await self._sockets.connect()
            except ProviderError as error:
                may_come = error.fault in (Fault.UNREACHABLE, Fault.OVERLOADED)
                if not may_come or self._loop.time() + RECONNECT_PAUSE_S > give_up_at:
                    raise
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _begin_attempt(self) -> None:
        self._transcript = Transcript()
        self._sent = 0
        self._is_done_sent = False
        self._sent_by_reply = 0
        self._unanswered_from: float | None = None
        self._replied_at = now = self._loop.time()
        positions = [*range(_BYTES_PER_S, self._fed, _BYTES_PER_S), self._fed] if self._fed else []
        self._waiting = deque((position, now + position / _BYTES_PER_S) for position in positions)
        self._spoken_until = now + self._fed / _BYTES_PER_S

    # --- one connection -------------------------------------------------------------------------

    async def _converse(self, connection: ClientConnection) -> None:
        """Until the final is told. The Python server closes then; the C++ one leaves it to us."""
        sender = self._loop.create_task(self._send(connection), name="sherpa-server sender")
        try:
            await self._receive(connection)
            final = self._casing.apply(self._transcript.text)
        finally:
            sender.cancel()
            await asyncio.wait((sender,))
        self._tell(Hypothesis(self.number, final, True))
        await close(connection)

    async def _send(self, connection: ClientConnection) -> None:
        try:
            while True:
                self._wake.clear()
                while self._sent < self._fed:
                    await self._send_piece(connection)
                if self._ended_at is not None:
                    break
                await self._wake.wait()
            if self._limits.tail and not self._transcript.is_cpp:
                await connection.send(self._limits.tail)
            self._is_done_sent = True
            await connection.send(DONE)
        except ConnectionClosed:
            return  # the receiver hears of it too

    async def _send_piece(self, connection: ClientConnection) -> None:
        start = self._sent - self._kept_from
        piece = bytes(self._kept[start : start + _PIECE_BYTES])
        await connection.send(as_float32(piece))
        self._sent += len(piece)
        while self._waiting and self._waiting[0][0] <= self._sent:
            self._waiting.popleft()
        sent = self._sent - self._kept_from
        if self._fed > REPLAY_S * _BYTES_PER_S and sent > _BYTES_PER_S:
            del self._kept[:sent]  # too long to be repeated
            self._kept_from = self._sent

    async def _receive(self, connection: ClientConnection) -> None:
        """Until the transcript is complete.

        Raises:
            _Lost: If the connection died before.
            ProviderError: If a limit passed, or what came is no reply.
        """
        transcript = self._transcript
        while transcript.progress is not Progress.COMPLETE:
            answered = transcript.progress is Progress.ANSWERED
            try:
                async with asyncio.timeout(DONE_GRACE_S if answered else TICK_S):
                    message = await connection.recv(decode=False)
            except TimeoutError:
                if answered:
                    break
                if connection.protocol.state is State.CLOSING:
                    connection.transport.abort()  # it said goodbye, but keeps the socket open
                self._check_limits()
                continue
            except ConnectionClosed as closed:
                if self._is_end(closed):
                    break
                raise _Lost(_reason(closed)) from closed
            self._take(message)
            self._check_limits()
        if not self._is_done_sent:
            raise _Lost("the server ended it first")

    def _is_end(self, closed: ConnectionClosed) -> bool:
        """Whether this close is how the Python server says that the last text was the final."""
        if not self._is_done_sent or not self._transcript.replies:
            return False
        if self._transcript.progress is Progress.ANSWERED:
            return True
        return closed.rcvd is not None and closed.rcvd.code == CloseCode.NORMAL_CLOSURE

    def _take(self, message: bytes) -> None:
        try:
            self._transcript.receive(message)
        except ValueError as error:
            raise failure(Fault.BROKEN, f"{error}; check STT_ENDPOINT") from None
        self._replied_at = self._sockets.heard_at = self._loop.time()
        self._sent_by_reply = self._sent
        self._unanswered_from = None
        text = self._casing.apply(self._transcript.text)
        # A repeated utterance's text grows anew: what was already told is not told shorter.
        is_behind = self._tries_left < 2 and self._partial.startswith(text)
        if text != self._partial and not is_behind:
            self._partial = text
            self._tell(Hypothesis(self.number, text, False))

    def _check_limits(self) -> None:
        """Raises:
        ProviderError: If the server fell behind or silent.
        """
        now, stall_s = self._loop.time(), self._limits.stall_s
        unsent = self._fed - self._sent
        waited_s = now - self._waiting[0][1] if self._waiting else 0.0
        if waited_s > self._limits.unsent_s or unsent > REPLAY_S * _BYTES_PER_S:
            unsent_s = unsent / _BYTES_PER_S
            text = f"it reads slower than is spoken ({unsent_s:.1f} s unsent); {_WHY_SLOW}"
            raise failure(Fault.OVERLOADED, text)
        if self._ended_at is not None:
            if now - max(self._ended_at, self._replied_at) > stall_s:
                raise self._silent("no final")
            if now - self._ended_at > stall_s * FINAL_LIMIT_FACTOR:
                waited_s = now - self._ended_at
                text = f"still decoding {waited_s:.1f} s after the end; {_WHY_SLOW}"
                raise failure(Fault.OVERLOADED, text)
        elif self._sent - self._sent_by_reply < ANSWERABLE_S * _BYTES_PER_S:
            self._unanswered_from = None
        elif self._unanswered_from is None:
            self._unanswered_from = now
        elif now - self._unanswered_from > stall_s:
            raise self._silent("no reply to the audio sent")

    def _silent(self, what: str) -> ProviderError:
        text = f"{what} within {self._limits.stall_s:g} s; see the server's log or restart it"
        return failure(Fault.TIMEOUT, text)


def as_float32(pcm: bytes) -> bytes:
    """16-bit samples as the float32 in [-1, 1) that both servers read."""
    samples = np.frombuffer(pcm, "<i2").astype("<f4")
    samples *= np.float32(1 / 32768)
    return samples.tobytes()


def _reason(closed: ConnectionClosed) -> str:
    if closed.rcvd is not None:
        return f"closed by the server, code {closed.rcvd.code} {closed.rcvd.reason}".rstrip()
    return "cut off without a goodbye"
