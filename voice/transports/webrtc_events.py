"""The data channel `oai-events`: the client's events to the session, the session's to the client.

    server   session.created …   waits, bounded, until the client has opened the channel, in order
    client   decoded as a WebSocket's frames are: voice/transports/websocket.py, Inlet
    neither  a client without a data channel (WHIP) gets no events, and is a caller like any other

A client that takes nothing for `SEND_LIMIT_S` while its network is alive is dropped.
"""

from collections import deque
from collections.abc import Callable

import structlog
from aiortc import RTCDataChannel

from voice.session import Session
from voice.transports.budget import Budget
from voice.transports.websocket import Inlet

LABEL = "oai-events"
WAITING_BYTES = 1024 * 1024
"""Events kept for a channel that is not open yet; then it is taken for one that never will be."""
UNSENT_BYTES = 8 * 1024 * 1024
HELD_BYTES = 16 * 1024 * 1024
"""What may come in while a long event is decoded."""
SEND_LIMIT_S = 5.0
EVENT_COST_BYTES = 512

log = structlog.get_logger()


class EventChannel:
    """Args:
    end: Ends the call.
    now: A monotonic clock in seconds.
    """

    def __init__(self, end: Callable[[int, str], None], now: Callable[[], float]) -> None:
        self._end, self._now = end, now
        self._channel: RTCDataChannel | None = None
        self._inlet: Inlet | None = None
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._early: deque[bytes] = deque()
        self._closed = False
        """Nothing more is taken."""
        self._held_bytes: int | None = None
        self._budget = Budget(now())
        self._put_bytes = self._taken_bytes = 0
        self._taken_at = now()

    # --- in ---------------------------------------------------------------------------------------

    def attach(self, session: Session) -> None:
        """From here on events go to the call; what came before comes first."""
        self._inlet = Inlet(session, self, binary=False)
        while self._early:
            self._inlet.text(self._early.popleft())

    def open(self, channel: RTCDataChannel) -> None:
        """The client has opened it; one more, after it was given up, is as good as none."""
        if self._closed:
            return
        self._channel = channel
        channel.on("close", self._gone)
        while self._waiting:
            self._put(self._waiting.popleft())
        self._waiting_bytes = 0

    def take(self, message: str | bytes) -> None:
        """One message of the client's."""
        data = message.encode() if isinstance(message, str) else message
        if self._closed:
            return
        if self._budget.spend(len(data) + EVENT_COST_BYTES, self._now()):
            self._flooded()
        elif self._inlet is None:
            self._early.append(data)
        else:
            if self._held_bytes is not None:
                self._held_bytes += len(data)
                if self._held_bytes > HELD_BYTES:
                    self._flooded()
                    return
            self._inlet.text(data)

    def _flooded(self) -> None:
        self._closed = True  # to more of it; why it ends can still be told
        self._end(1008, "too many events at once")

    def hold(self, *, held: bool) -> None:
        """A long event is being decoded; the channel cannot be stopped, only bounded."""
        self._held_bytes = 0 if held else None

    @property
    def is_open(self) -> bool:
        return self._channel is not None

    # --- out --------------------------------------------------------------------------------------

    def put(self, event: bytes) -> None:
        text = event.decode()
        if self._channel is not None:
            self._put(text)
        elif not self._closed:
            self._waiting.append(text)
            self._waiting_bytes += len(text)
            if self._waiting_bytes > WAITING_BYTES:
                self._gone()

    def _put(self, text: str) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        try:
            channel.send(text)
        except ValueError as error:  # longer than the client said it takes
            log.warning("event_too_long", bytes=len(text), why=str(error))
            return
        self._put_bytes += len(text.encode())
        if channel.bufferedAmount > UNSENT_BYTES:
            self._end(1006, "it stopped reading")

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._channel is None else self._channel.bufferedAmount

    def watch(self, now: float, *, network_is_alive: bool) -> None:
        """Asked now and then."""
        taken = self._put_bytes - self.unsent_bytes
        if taken != self._taken_bytes or not self.unsent_bytes or not network_is_alive:
            self._taken_bytes, self._taken_at = taken, now
        elif now - self._taken_at > SEND_LIMIT_S:
            self._end(1006, "it stopped reading")

    def _gone(self) -> None:
        """The call lives on, by its sound alone."""
        self._closed = True
        self._channel = None
        self._waiting.clear()
        self._early.clear()

    def close(self) -> None:
        self._gone()
        if self._inlet is not None:
            self._inlet.close()
