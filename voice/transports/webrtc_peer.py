"""One caller over WebRTC, from the offer to the end.

    answer(offer) ─▶ ICE, DTLS ─▶ connected: a session opens ─▶ talk ─▶ hung up, or gone
                        │                                       │ ▲
                        └ not within 10 s: closed               ▼ │ no packet for 8 s
                                                             suspended

Media is ours (webrtc_media.py), the transports are aiortc's (webrtc_connection.py), events go by
`oai-events` (webrtc_events.py).
"""

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiortc import RTCDataChannel
from msgspec import Struct

from providers.base import LISTEN_RATE_HZ
from voice import metrics, wire
from voice.answers import Outbox
from voice.carrier import Carrier
from voice.facts import Resumed, Suspended
from voice.playout import Frame
from voice.session import Session
from voice.settings_fields import AudioFormat
from voice.transports.metronome import metronome
from voice.transports.webrtc_connection import Connection
from voice.transports.webrtc_events import LABEL, EventChannel
from voice.transports.webrtc_media import Media, MediaFigures
from voice.transports.webrtc_offer import OfferError, codecs_of

LEAD_MS = 100
"""What is still heard when an answer is held back; the loop may be late by as much."""
CARRIER = Carrier(
    name="webrtc",
    listens=AudioFormat(rate=LISTEN_RATE_HZ),
    speaks=AudioFormat(),
    plays=True,
    lead_ms=LEAD_MS,
)
LINGER_S, FLUSH_S = 0.3, 1.0
"""At least, for the far end plays what it has of our last word; at most, for what it has not."""
WATCH_S = 0.5
ALIVE_S = 2.5
"""Who is there reports on our sound more often than that."""
MOST_CHANNELS = 8

__all__ = ["CARRIER", "Limits", "OfferError", "Peer", "PeerFigures"]

log = structlog.get_logger()

NewSession = Callable[[Outbox, Carrier], Session]


class Limits(Struct, frozen=True):
    set_up_s: float = 10.0
    """From the answer until ICE and DTLS are up."""
    suspend_s: float = 8.0
    """Without a packet of the peer's: neither sound nor a report on ours."""
    close_s: float = 2.0


LIMITS = Limits()


class PeerFigures(Struct, frozen=True):
    connected: bool
    suspended: bool
    dropped: int
    """Datagrams that were not the peer's."""
    media: MediaFigures | None = None
    """None: there was nothing to hear or to say yet."""


class Peer:
    """One connection, and the Outbox of its session.

    Args:
        new_session: Asked once, when the peer is connected.
        settings: What the client asked for with its offer: a session object.
        ice_servers: RTCIceServer, or what makes one; none: no server is asked for anything.
        gone: Told once, when all is given back.
        limits: Of time.
    """

    def __init__(
        self,
        *,
        new_session: NewSession,
        settings: dict[str, Any] | None,
        ice_servers: list[Any],
        gone: Callable[["Peer", int, str], None],
        limits: Limits = LIMITS,
    ) -> None:
        self._new_session, self.settings, self._on_gone = new_session, settings, gone
        self.connection = Connection(
            ice_servers, rtp=self._take_rtp, rtcp=self._take_rtcp, changed=self._state_changed
        )
        self.connection.pc.on("datachannel", self._channel_opened)
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._limits = limits
        self._events = EventChannel(self.hang_up, time.monotonic)
        self._media: Media | None = None
        self.session: Session | None = None
        self._set_up: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._goodbye: tuple[float, int, str] | None = None
        """Since when, and how."""
        self._watch_at = 0.0
        self._channels = 0
        self._is_closed = asyncio.Event()
        self.suspended = False

    # --- set-up -----------------------------------------------------------------------------------

    async def answer(self, offer_sdp: str) -> str:
        """The whole answer, with our candidates in it.

        Raises:
            OfferError: There is no answer to it; the peer is closed.
        """
        try:
            answer = await self.connection.answer(offer_sdp)
            self._media = self._media_of(answer)
        except OfferError as error:
            await self.aclose(1002, error.code)
            raise
        except Exception as error:  # whatever aiortc makes of an offer that is none
            log.info("offer_refused", why=type(error).__name__)  # its words may hold addresses
            await self.aclose(1002, "bad_offer")
            message = "This offer cannot be answered: it must be SDP as a browser makes it."
            raise OfferError("bad_offer", message) from error
        self._set_up = self._loop.call_later(self._limits.set_up_s, self._not_set_up)
        return answer

    def _media_of(self, answer: str) -> Media:
        ssrc = self.connection.ssrc
        return Media(
            codecs_of(answer),
            ssrc=ssrc,
            name=f"{ssrc:08x}",
            send=self.connection.send,
            send_rtcp=self.connection.send_rtcp,
            hear=self._hear,
        )

    def _not_set_up(self) -> None:
        self._end(1002, "not connected in time")

    @property
    def connected(self) -> bool:
        """Whether ICE and DTLS are up."""
        return self.session is not None and self._closing is None

    def _state_changed(self) -> None:
        state = self.connection.state
        if state == "connected" and self.session is None and self._closing is None:
            self._context.run(self._connected)
        elif state in ("failed", "closed"):
            self._end(1006, f"connection {state}")

    def _connected(self) -> None:
        assert self._media is not None
        if self._set_up is not None:
            self._set_up.cancel()
        self._media.alive_at = time.monotonic()
        self.session = self._new_session(self, CARRIER)
        metrics.PEERS.inc()
        self.session.open(self.settings)
        self._events.attach(self.session)
        metronome().join(self, lambda now: self._context.run(self._beaten, now))

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        self._channels += 1
        if self._channels > MOST_CHANNELS:
            if self._channels == MOST_CHANNELS + 1:
                self.hang_up(1008, "too many data channels")
            return
        if channel.label != LABEL or self._events.is_open:
            return
        channel.on("message", lambda message: self._context.run(self._events.take, message))
        self._context.run(self._events.open, channel)

    # --- media ------------------------------------------------------------------------------------

    def _take_rtp(self, data: bytes) -> None:
        if self.session is not None and self._media is not None:
            self._context.run(self._media.take_rtp, data)

    def _take_rtcp(self, data: bytes) -> None:
        if self.session is not None and self._media is not None:
            self._media.take_rtcp(data)

    def _hear(self, pcm: bytes) -> None:
        if self.session is not None:
            self.session.hear(pcm)

    def _beaten(self, now: float) -> None:
        assert self._media is not None
        self._media.beat(now)
        if now >= self._watch_at:
            self._watch_at = now + WATCH_S
            self._watch(now, self._media)
        if self._goodbye is not None:
            self._say_goodbye(*self._goodbye, now)

    def _watch(self, now: float, media: Media) -> None:
        assert self.session is not None
        silent_s = now - media.alive_at
        if (silent_s > self._limits.suspend_s) != self.suspended:
            self.suspended = not self.suspended
            self.session.post(Suspended() if self.suspended else Resumed())
            what = "call_suspended" if self.suspended else "call_resumed"
            log.info(what, session=self.session.id)
        self._events.watch(now, network_is_alive=silent_s < ALIVE_S)
        if excess := self.connection.excess(now):
            self._end(1009, excess)

    # --- the session's outbox ---------------------------------------------------------------------

    def send(self, event: wire.ServerEvent) -> None:
        self._events.put(wire.encode(event))

    def sound(self, event: wire.AudioDelta, frame: Frame, form: AudioFormat) -> None:
        if self._media is not None and self._media.sound(frame.pcm):
            metronome().hasten(self)

    def clear(self) -> None:
        if self._media is not None:
            self._media.clear()

    def end(self, code: int, reason: str) -> None:
        """Behind what was said and sent."""
        if self._goodbye is None:
            self._goodbye = (time.monotonic(), code, reason)
            if not self.connected:
                self._end(code, reason)

    def _say_goodbye(self, since: float, code: int, reason: str, now: float) -> None:
        if now >= since + FLUSH_S or (now >= since + LINGER_S and not self._unsent):
            self._end(code, reason)

    @property
    def _unsent(self) -> int:
        assert self._media is not None
        waiting = self._media.unsent_bytes + self._events.unsent_bytes
        return waiting + self.connection.unacknowledged

    # --- the end ----------------------------------------------------------------------------------

    def hang_up(self, code: int, reason: str) -> None:
        """Ends the call from outside: nothing more is heard of it, but why."""
        if self.session is None:
            self._end(code, reason)
        else:
            self.clear()
            self.session.hang_up(code, reason)

    async def wait_closed(self) -> None:
        await self._is_closed.wait()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Gives everything back, within 2 s. Idempotent; raises nothing."""
        self._end(code, reason)
        assert self._closing is not None
        await asyncio.wait([self._closing])

    def _end(self, code: int, reason: str) -> None:
        if self._closing is None:
            closing = self._close(code, reason)
            self._closing = self._loop.create_task(closing, context=self._context)

    async def _close(self, code: int, reason: str) -> None:
        if self._set_up is not None:
            self._set_up.cancel()
        metronome().leave(self)
        self._events.close()
        if self.session is not None and self._media is not None:
            metrics.PEERS.dec()
            told = msgspec.to_builtins(self._media.figures())
            log.info("webrtc_quality", session=self.session.id, **told)
        try:
            async with asyncio.timeout(self._limits.close_s), asyncio.TaskGroup() as group:
                group.create_task(self._close_session(code, reason))
                group.create_task(self.connection.aclose())
        except TimeoutError:
            log.warning("close_took_too_long")
            self.connection.abort()
        self._is_closed.set()
        self._on_gone(self, code, reason)

    async def _close_session(self, code: int, reason: str) -> None:
        if self.session is not None:
            try:
                await self.session.close(code, reason)
            except Exception:  # our bug: the rest is given back all the same
                log.exception("close_broke")

    def figures(self) -> PeerFigures:
        return PeerFigures(
            connected=self.connected,
            suspended=self.suspended,
            dropped=self.connection.dropped,
            media=self._media.figures() if self._media is not None else None,
        )
