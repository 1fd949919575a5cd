"""One call: an INVITE that was let in, its sound, its session, and how it ends.

INVITE ─▶ 100, 200             ports are taken and bound; what is said now waits in their buffers
ACK    ─▶ session, sound       none within 1 s: the line is whoever's needs it; within 32 s: BYE
sound  ─▶ hear                 no packet for `suspend_s`: paused, as on hold; it goes on with the
                               next one; none for `silent_limit_s`: over, with a BYE
hold                           the answer is cut, nothing is heard and nothing said until resumed
BYE    ◀─▶                     theirs, or ours behind the last word of a session that has ended
"""

import asyncio
from collections.abc import Callable

import structlog
from aiosipua import DialogState, IncomingCall, SdpMessage

from providers.base import LISTEN_RATE_HZ
from voice import wire
from voice.addresses import network_of
from voice.carrier import Carrier
from voice.config_calls import SipConfig
from voice.facts import Resumed, Suspended
from voice.playout import Frame
from voice.session import Session
from voice.settings_fields import OUTPUT_RATE_HZ, AudioFormat
from voice.transports.sip import sdp
from voice.transports.sip.media import Media
from voice.transports.sip.messages import Source
from voice.transports.sip.ports import Pair
from voice.transports.sip.sdp import Agreed
from voice.transports.sip.wire import GIVE_UP_S

LEAD_MS = 100
"""Sound is given so far ahead of the caller: five beats, which a late loop makes up for."""
CARRIER = Carrier(
    "sip",
    listens=AudioFormat("audio/pcm", LISTEN_RATE_HZ),
    speaks=AudioFormat("audio/pcm", OUTPUT_RATE_HZ),
    plays=True,
    lead_ms=LEAD_MS,
)
ACK_GRACE_S = 1.0
"""An ACK that got lost is here by then: the 200 is repeated after 0.5 s, and the ACK with it."""
ACK_LIMIT_S = GIVE_UP_S
HELD_LIMIT_S = 1800.0
"""A call that nobody takes up again."""

log = structlog.get_logger()

NewSession = Callable[["SipCall", Carrier], Session]


class SipCall:
    """The session's Outbox. Events have no way to a telephone: only sound does.

    Args:
        agreed: None: the caller asked us to offer, and answers with the ACK.
            forget: Told once there is nothing left to answer.
    """

    def __init__(
        self,
        incoming: IncomingCall,
        offer: SdpMessage | None,
        agreed: Agreed | None,
        *,
        ours: str,
        pair: Pair,
        limits: SipConfig,
        new_session: NewSession,
        press: Callable[[Session, str], None],
        forget: Callable[["SipCall"], None],
    ) -> None:
        self.incoming, self._offer = incoming, offer
        self.codings, self._limits = limits.codecs, limits
        self._ours: Source = (ours, pair[0].getsockname()[1])
        self._pair: Pair | None = pair
        self.network = network_of(incoming.source_addr[0])
        self._version = 1
        self._new_session, self._on_press, self._forget = new_session, press, forget
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[tuple[int, str]] = loop.create_future()
        self._acknowledged: asyncio.Future[None] = loop.create_future()
        self._now, self._began_at = loop.time, loop.time()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._agreed = agreed
        self._media: Media | None = None
        self._session: Session | None = None
        self._last_words: tuple[int, str] | None = None

    # --- from the first ring to the end -----------------------------------------------------------

    async def serve(self) -> None:
        try:
            if not self._over.done():  # else it was cancelled before it began
                self.accept(self._description())
            settled = (self._acknowledged, self._over)
            await asyncio.wait(settled, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                assert self._agreed is not None
                await self._talk(self._agreed)
        finally:
            self._expect_no_ack()
            self.give_up()
            self._forget(self)

    def accept(self, described: SdpMessage | None) -> None:
        """Ends with a BYE where no ACK comes (RFC 3261 §13.3.1.4): the caller, whose ACK did not
        find us, believes to be talking. aiosipua only lets go, and 3.5 s too late."""
        self.incoming.accept(described)
        if self._ack_timer is None:
            loop = asyncio.get_running_loop()
            self._ack_timer = loop.call_later(ACK_LIMIT_S, self._unacknowledged)

    def _unacknowledged(self) -> None:
        log.info("sip_no_ack", waited_s=ACK_LIMIT_S, hint="does it find sip.public_address?")
        self._bye(1006, "no ACK came")

    def _expect_no_ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    def acknowledge(self) -> None:
        """An ACK of this call: it begins, or goes on."""
        self._expect_no_ack()
        if not self._acknowledged.done():
            self._acknowledged.set_result(None)

    def give_up(self) -> None:
        """Its ports, to another call; where an ACK comes all the same, a BYE is due."""
        for bound in self._pair or ():
            bound.close()
        self._pair = None

    @property
    def is_coming(self) -> bool:
        """It will have a session, and has none yet."""
        return self._session is None and not self._over.done() and not self.is_overdue

    @property
    def is_overdue(self) -> bool:
        """Its ACK is: it has no claim to a line until it comes."""
        waits = not self._acknowledged.done() and not self._over.done()
        return waits and self._now() - self._began_at >= ACK_GRACE_S

    @property
    def has_line(self) -> bool:
        return self._pair is not None or self._session is not None

    @property
    def is_waiting(self) -> bool:
        """For the answer to our offer."""
        return self._agreed is None and not self._over.done()

    def _description(self) -> SdpMessage:
        number = self._ours[1]
        if self._offer is None or self._agreed is None:
            return sdp.offered(self.codings, self._ours, session=number)
        return sdp.answer(
            self._offer, self._agreed, self._ours, session=number, version=self._version
        )

    async def _talk(self, agreed: Agreed) -> None:
        session = self._session = self._new_session(self, CARRIER)
        media: Media | None = None
        code, reason = 1011, "internal error"
        try:
            media = self._media = Media(
                agreed,
                peer=self.incoming.source_addr[0],
                hear=session.hear,
                press=self.press,
                beat=self._beat,
            )
            pair, self._pair = self._pair, None
            assert pair is not None
            await media.open(pair)
            session.open()
            code, reason = await self._over
        finally:
            self._bye(code, reason)  # where an exception brought us here
            if media is not None:
                media.close()
                self._tell(session, media)
            await session.close(code, reason)

    def _tell(self, session: Session, media: Media) -> None:
        counts = media.counts
        log.info(
            "sip_call_over",
            session=session.id,
            codec=media.agreed.coding.name,
            packets_in=counts.received,
            packets_out=media.packets,
            lost=counts.lost,
            late=counts.late,
            strangers=media.remote.strangers,
        )

    # --- what the caller does ---------------------------------------------------------------------

    def knows(self, tag: str) -> bool:
        """Whether a request that bears our `tag` is of this call, answered and not over. aiosipua
        would take any other INVITE of this Call-ID for a new call, which nobody has let in."""
        dialog = self.incoming.dialog
        return dialog.state is DialogState.CONFIRMED and tag == dialog.local_tag

    def consider(self, offer: SdpMessage, peer: str, admits: Callable[[str], bool]) -> Agreed:
        """Raises:
        Refused: 488, it cannot be had without a new call.
        """
        codings: tuple[str, ...] = self.codings
        if self._agreed is not None:  # what is agreed stays, if it can
            now = self._agreed.coding.name
            codings = (now, *(name for name in codings if name != now))
        return sdp.agree(offer, codings, peer=peer, admits=admits)

    def agree(self, offer: SdpMessage, agreed: Agreed, source: Source) -> SdpMessage:
        """Goes on as `consider` found: elsewhere, on hold, or off it.

        Returns:
            Our description.
        """
        self._version += 1
        self.incoming.source_addr = source
        self._agreed = agreed
        if self._media is not None:
            self._media.agree(agreed, source[0])
        number = self._ours[1]
        return sdp.answer(offer, agreed, self._ours, session=number, version=self._version)

    def repeat(self) -> SdpMessage | None:
        """Our description again; None: there is none yet."""
        if self._agreed is None:
            return None
        number = self._ours[1]
        return sdp.repeated(self._agreed, self._ours, session=number, version=self._version)

    def press(self, key: str) -> None:
        if self._session is not None:
            self._on_press(self._session, key)

    def hung_up(self, code: int, reason: str) -> None:
        """The call is gone; nobody is left to tell."""
        if not self._over.done():
            self._over.set_result((code, reason))

    def _beat(self, now: float) -> None:
        media = self._media
        assert media is not None
        if self._last_words is not None and not media.is_playing:
            self._bye(*self._last_words)
            return
        on_hold = media.agreed.direction != "sendrecv"
        silent = now - media.heard_at >= self._limits.suspend_s and not media.resting
        if media.paused != (on_hold or silent):
            self._pause(on_hold or silent, "hold" if on_hold else "no sound")
        limit_s = HELD_LIMIT_S if on_hold else self._limits.silent_limit_s
        if now - media.alive_at >= limit_s:
            self._bye(1001, "no sound came")

    def _pause(self, paused: bool, why: str) -> None:
        assert self._media is not None and self._session is not None
        self._media.paused = paused
        self._media.clear()
        log.info("sip_paused" if paused else "sip_resumed", session=self._session.id, why=why)
        self._session.post(Suspended() if paused else Resumed())

    # --- the session's Outbox ---------------------------------------------------------------------

    def send(self, event: wire.ServerEvent) -> None:
        """A telephone shows nothing."""

    def sound(self, event: wire.AudioDelta, frame: Frame, form: AudioFormat) -> None:
        if self._media is not None and self._last_words is None:
            self._media.play(frame.pcm)

    def clear(self) -> None:
        if self._media is not None:
            self._media.clear()

    def end(self, code: int, reason: str) -> None:
        """Behind what was given to be heard, a tenth of a second at most."""
        if self._last_words is None:
            self._last_words = (code, reason)

    def bye(self, code: int, reason: str) -> None:
        """At once."""
        self._bye(code, reason)

    def _bye(self, code: int, reason: str) -> None:
        if not self._over.done():
            self.incoming.hangup()
            self._over.set_result((code, reason))
