"""Requests, before they reach a dialog: most are answered here, and what goes on can be had.

any        405 no such method · 416 no such address · 420 asks for what we have not
INVITE     401 unknown · 415, 488 no sound for us · 482 twice
           486 all lines busy · 503 overloaded, stopping, or too many of there have sent no ACK
re-INVITE  488 where it cannot be had; the call goes on as it was
OPTIONS    200, or 486 and 503 as an INVITE     INFO   keys of old telephones
CANCEL     200, too late
"""

import re
import time
from collections.abc import Callable, Mapping

import structlog
from aiosipua import SdpMessage, SipRequest, SipResponse

from voice import metrics
from voice.addresses import network_of
from voice.config_calls import SipConfig
from voice.transports.sip import sdp
from voice.transports.sip.call import ACK_LIMIT_S, SipCall
from voice.transports.sip.digest import Digest
from voice.transports.sip.messages import (
    ALLOW,
    METHODS,
    SUPPORTED,
    Peers,
    Refused,
    Source,
    answer,
    check_require,
    check_scheme,
    to_tag,
    tokens,
)
from voice.transports.sip.sdp import Agreed
from voice.transports.sip.wire import Wire
from voice.transports.websocket import Refusal

_SIGNAL = re.compile(r"^\s*(?:Signal\s*=\s*)?([0-9*#A-D])\s*$", re.MULTILINE | re.IGNORECASE)
"""application/dtmf-relay and application/dtmf."""

ABILITIES = {"Allow": ALLOW, "Accept": "application/sdp", "Supported": ", ".join(SUPPORTED)}

MOST_UNACKNOWLEDGED = 10
"""Of one address, overdue: as WebRTC lets one have of set-ups. A telephone has one at most, a
telephone system one of many calls, where a packet got lost; all of them where it cannot find us."""

log = structlog.get_logger()


class Invited:
    """An INVITE that was let in, until its dialog begins: before the next message is read."""

    def __init__(
        self, request: SipRequest, offer: SdpMessage | None, agreed: Agreed | None
    ) -> None:
        self.call_id, self.offer, self.agreed = request.call_id or "", offer, agreed
        self.refreshes = "timer" in tokens(request, "supported")
        """Whether the caller has session timers."""


class Screen:
    """Args:
    calls: By Call-ID.
    check_room: Raises Refusal.
    """

    def __init__(
        self,
        config: SipConfig,
        *,
        peers: Peers,
        calls: Mapping[str, SipCall],
        check_room: Callable[[], None],
    ) -> None:
        self._config, self._peers = config, peers
        self._calls, self._check_room = calls, check_room
        self._digest = Digest(config.username, config.password) if config.username else None
        self._invited: Invited | None = None

    def invited(self, call_id: str) -> Invited:
        """What was found of the INVITE that was let in last."""
        assert self._invited is not None and self._invited.call_id == call_id
        return self._invited

    def look(self, wire: Wire, request: SipRequest, source: Source) -> SipResponse | None:
        """The answer; None: it may go on.

        Raises:
            ValueError: It makes no sense.
        """
        if any(not request.headers.get_first(name) for name in ("From", "To", "Call-ID", "CSeq")):
            return answer(request, 400)
        try:
            if request.method not in METHODS:
                raise Refused(405, {"Allow": ALLOW})
            check_scheme(request)
            check_require(request)
            match request.method:
                case "INVITE":
                    self._let_in(request, source)
                case "ACK":
                    self._take_ack(request, source)
                case "CANCEL" if wire.has_answered(request, "INVITE"):
                    return answer(request, 200)  # too late: RFC 3261 §9.2
                case "OPTIONS":
                    if not to_tag(request):
                        self._find_room(source)  # RFC 3261 §11.2
                    return answer(request, 200, ABILITIES)
                case "INFO":
                    return self._take_info(request)
                case "UPDATE":
                    self._consider(request, source)
        except Refused as refused:
            return self._refuse(request, refused)
        return None

    def _refuse(self, request: SipRequest, refused: Refused) -> SipResponse:
        if request.method == "INVITE" and refused.status != 401:
            metrics.REFUSED.labels(f"sip_{refused.status}").inc()
            log.info("call_refused", carrier="sip", status=refused.status)
        return answer(request, refused.status, refused.headers)

    def _let_in(self, request: SipRequest, source: Source) -> None:
        call_id = request.call_id or ""
        if to_tag(request):
            self._consider(request, source)
            return
        if call_id in self._calls:
            raise Refused(482)
        self._authenticate(request, source)
        offer = sdp.offer_of(request)
        agreed = None if offer is None else self._agree(offer, source)
        if (idle := self._find_room(source)) is not None:
            idle.give_up()
        self._invited = Invited(request, offer, agreed)

    def _authenticate(self, request: SipRequest, source: Source) -> None:
        if self._digest is None or source[0] in self._peers.also:
            return
        now = time.time()
        if not self._digest.knows(request, source[0], now):
            response = {"WWW-Authenticate": self._digest.challenge(source[0], now)}
            raise Refused(401, response)

    def _find_room(self, source: Source) -> SipCall | None:
        """Returns:
        Whose line would have to be given up for it.
        """
        overdue = [call for call in self._calls.values() if call.is_overdue]
        network = network_of(source[0])
        if sum(call.network == network for call in overdue) >= MOST_UNACKNOWLEDGED:
            raise Refused(503, {"Retry-After": f"{ACK_LIMIT_S:.0f}"})
        try:
            self._check_room()
        except Refusal as refusal:
            status = 486 if refusal.code == "server_busy" else 503
            raise Refused(status, {"Retry-After": str(refusal.retry_s or 5)}) from None
        if sum(call.has_line for call in self._calls.values()) < self._config.most_calls:
            return None
        for call in overdue:  # the oldest first
            if call.has_line:
                return call
        raise Refused(486, {"Retry-After": "10"})

    def _agree(self, offer: SdpMessage, source: Source) -> Agreed:
        return sdp.agree(offer, self._config.codecs, peer=source[0], admits=self._peers.admit)

    def _consider(self, request: SipRequest, source: Source) -> None:
        """In a dialog: what it asks for can be had, or it is refused and all stays as it is."""
        call = self._calls.get(request.call_id or "")
        if call is None or not call.knows(to_tag(request)):
            raise Refused(481)
        if (offer := sdp.offer_of(request)) is not None:
            call.consider(offer, source[0], self._peers.admit)

    def _take_ack(self, request: SipRequest, source: Source) -> None:
        call = self._calls.get(request.call_id or "")
        if call is None or not call.knows(to_tag(request)):
            return
        if call.is_overdue and not self._has_room_for(call):
            call.bye(1013, "all lines are busy")
            return
        if call.is_waiting:
            self._take_late_answer(call, request, source)
        call.acknowledge()

    def _has_room_for(self, call: SipCall) -> bool:
        """Others may have come meanwhile."""
        try:
            self._check_room()
        except Refusal:
            return False
        return call.has_line

    def _take_late_answer(self, call: SipCall, request: SipRequest, source: Source) -> None:
        """To our offer, which a call without one asked for."""
        try:
            offer = sdp.offer_of(request)
            if offer is None:
                raise Refused(488)
            call.agree(offer, call.consider(offer, source[0], self._peers.admit), source)
        except Refused:
            call.bye(1002, "no sound could be agreed on")

    def _take_info(self, request: SipRequest) -> SipResponse:
        call = self._calls.get(request.call_id or "")
        if call is None or not call.knows(to_tag(request)):
            raise Refused(481)
        kind = (request.content_type or "").strip().lower()
        if not kind.startswith("application/dtmf"):
            raise Refused(415, {"Accept": "application/dtmf-relay"})
        if key := _SIGNAL.search(request.text[:256]):
            call.press(key[1].upper())
        return answer(request, 200)
