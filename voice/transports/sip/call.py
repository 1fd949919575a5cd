"""One call: an INVITE that was let in, its sound, its session, and how it ends.

INVITE ─▶ 100, 200 ─▶ ACK      ports are taken and bound before the 200
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

LEAD_MS = 100
"""Sound is given so far ahead of the caller: five beats, which a late loop makes up for."""
CARRIER = Carrier(
    "sip",
    listens=AudioFormat("audio/pcm", LISTEN_RATE_HZ),
    speaks=AudioFormat("audio/pcm", OUTPUT_RATE_HZ),
    plays=True,
    lead_ms=LEAD_MS,
)
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
        self._version = 1
        self._new_session, self._on_press, self._forget = new_session, press, forget
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[tuple[int, str]] = loop.create_future()
        self._agreed: asyncio.Future[Agreed] = loop.create_future()
        if agreed is not None:
            self._agreed.set_result(agreed)
        self._media: Media | None = None
        self._session: Session | None = None
        self._last_words: tuple[int, str] | None = None

    # --- from the first ring to the end -----------------------------------------------------------

    async def serve(self) -> None:
        try:
            if not self._over.done():  # else it was cancelled before it began
                self.incoming.accept(self._description())
            if not self._agreed.done():
                await asyncio.wait((self._agreed, self._over), return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                await self._talk(self._agreed.result())
        finally:
            for bound in self._pair or ():
                bound.close()
            self._forget(self)

    @property
    def is_coming(self) -> bool:
        """It will have a session, and has none yet."""
        return self._session is None and not self._over.done()

    @property
    def is_waiting(self) -> bool:
        """For the answer to our offer."""
        return not self._agreed.done() and not self._over.done()

    def _description(self) -> SdpMessage:
        number = self._ours[1]
        if self._offer is None or not self._agreed.done():
            return sdp.offered(self.codings, self._ours, session=number)
        return sdp.answer(
            self._offer, self._agreed.result(), self._ours, session=number, version=self._version
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
        if self._media is not None:  # what is agreed stays, if it can
            now = self._media.agreed.coding.name
            codings = (now, *(name for name in codings if name != now))
        return sdp.agree(offer, codings, peer=peer, admits=admits)

    def agree(self, offer: SdpMessage, agreed: Agreed, source: Source) -> SdpMessage:
        """Goes on as `consider` found: elsewhere, on hold, or off it.

        Returns:
            Our description.
        """
        self._version += 1
        self.incoming.source_addr = source
        if not self._agreed.done():
            self._agreed.set_result(agreed)
        elif self._media is not None:
            self._media.agree(agreed, source[0])
        number = self._ours[1]
        return sdp.answer(offer, agreed, self._ours, session=number, version=self._version)

    def repeat(self) -> SdpMessage | None:
        """Our description again; None: there is none yet."""
        if self._media is None:
            return None
        number = self._ours[1]
        return sdp.repeated(self._media.agreed, self._ours, session=number, version=self._version)

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
