"""Telephones that call without a provider: SIP, RFC 3261.

wire.py, streams.py   UDP and TCP, what comes twice, what must be sent twice
screen.py             who may call, and what can be had
aiosipua              dialogs: INVITE, ACK, BYE, CANCEL, UPDATE, session timers
call.py, media.py     one call and its sound
extension.py          as an extension of a telephone system
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog
from aiosipua import IncomingCall, SdpMessage, SipRequest, SipResponse, SipUAC

from voice.carrier import Carrier
from voice.config import LOOPBACK, Config
from voice.errors import ConfigError
from voice.session import Session
from voice.transports.sip import sdp
from voice.transports.sip.call import SipCall
from voice.transports.sip.dialogs import SESSION_S, Dialogs, speak_aside
from voice.transports.sip.extension import Extension
from voice.transports.sip.messages import (
    Peers,
    Source,
    own_address,
    to_tag,
)
from voice.transports.sip.ports import NoPorts, RtpPorts
from voice.transports.sip.screen import Screen
from voice.transports.sip.streams import TcpWire
from voice.transports.sip.wire import UdpWire, Wire
from voice.webrtc_settings import port_range

STOP_S = 2.0
log = structlog.get_logger()

NewSession = Callable[[SipCall, Carrier], Session]


class SipDoor:
    """A port for SIP, as long as it is entered.

    Args:
        check_room: Raises Refusal.
        press: Told of keys.
    """

    def __init__(
        self,
        config: Config,
        *,
        check_room: Callable[[], None],
        new_session: NewSession,
        press: Callable[[Session, str], None] = lambda session, key: None,
    ) -> None:
        self._config = config.sip
        self._new_session, self._press = new_session, press
        sip = self._config
        self.peers = Peers(sip.peers)
        self._ports = RtpPorts(sip.host, *(port_range(sip.rtp_ports) or (0, 0)))
        self.calls: dict[str, SipCall] = {}
        """By Call-ID."""
        self._screen = Screen(sip, peers=self.peers, calls=self.calls, check_room=check_room)
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialogs: dict[str, Dialogs] = {}
        """By protocol."""
        self.address: Source = (sip.host, sip.port)
        self.extension: Extension | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def coming(self) -> int:
        """Calls that were let in, and have no session yet."""
        return sum(call.is_coming for call in self.calls.values())

    # --- open and closed --------------------------------------------------------------------------

    async def __aenter__(self) -> "SipDoor":
        sip = self._config
        speak_aside()
        try:
            udp = await self._listen(UdpWire, (sip.host, sip.port))
            self.address = udp.local_addr
            if sip.tcp:
                await self._listen(TcpWire, self.address)
            if sip.registrar:
                self._register(udp)
        except OSError as error:
            await self._close()
            raise ConfigError(
                f"sip.port: {sip.host}:{sip.port} cannot be had: {error.strerror or error}. "
                "Set KAIWA_SIP_HOST to an address of this machine and KAIWA_SIP_PORT to a free "
                "port, or stop what uses it."
            ) from None
        if sip.host not in LOOPBACK and not sip.username:
            log.info("sip_open_to_peers", peers=list(sip.peers))
        log.info("sip_ready", host=self.address[0], port=self.address[1], tcp=sip.tcp)
        return self

    async def _listen(self, kind: type[Wire], address: Source) -> Wire:
        told = self._config.public_address
        wire = kind(address, peers=self.peers, told=told, screen=self._look)
        dialogs = Dialogs(wire)
        dialogs.on_invite, dialogs.on_reinvite = self._begin, self._go_on
        dialogs.on_bye = lambda call, request: self._gone(call, 1000, "the caller hung up")
        dialogs.on_cancel = lambda request, source: self._cancelled(request)
        dialogs.on_session_expired = lambda call: self._gone(call, 1006, "the session expired")
        dialogs.on_update = self._updated
        self._dialogs[wire.protocol] = dialogs
        await dialogs.start()
        return wire

    def _register(self, wire: Wire) -> None:
        sip = self._config
        uac = self._dialogs[wire.protocol].uac = SipUAC(wire)
        self.extension = Extension(
            sip.registrar,
            sip.extension,
            sip.extension_password,
            wire=wire,
            uac=uac,
            peers=self.peers,
        )
        task = asyncio.create_task(self.extension.keep(), name="sip-extension")
        self._keeping = task

    async def __aexit__(self, *how: Any) -> None:
        if self._keeping is not None and self.extension is not None:
            self._keeping.cancel()
            await self.extension.aclose()
        for call in list(self.calls.values()):
            call.bye(1001, "the server is stopping")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        await self._close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for dialogs in self._dialogs.values():
            with contextlib.suppress(OSError):
                await dialogs.stop()

    # --- dialogs ----------------------------------------------------------------------------------

    def _look(self, wire: Wire, request: SipRequest, source: Source) -> SipResponse | None:
        answered = self._screen.look(wire, request, source)
        if answered is None and request.method == "INVITE" and not to_tag(request):
            refreshes = self._screen.invited(request.call_id or "").refreshes
            self._dialogs[wire.protocol].session_expires = SESSION_S if refreshes else None
        return answered

    def _begin(self, incoming: IncomingCall) -> None:
        invited, sip = self._screen.invited(incoming.call_id), self._config
        Dialogs.mend_route(incoming)
        try:
            pair = self._ports.take()
        except NoPorts:
            log.warning("sip_no_ports", rtp_ports=sip.rtp_ports)
            incoming.reject(503, "Service Unavailable")
            for dialogs in self._dialogs.values():
                dialogs.forget(incoming)
            return
        call = SipCall(
            incoming,
            invited.offer,
            invited.agreed,
            ours=own_address(incoming.source_addr[0], sip.public_address, self.address[0]),
            pair=pair,
            limits=sip,
            new_session=self._new_session,
            press=self._press,
            forget=self._forget,
        )
        self.calls[incoming.call_id] = call
        task = asyncio.create_task(call.serve(), name="sip-call")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("sip_call_broke", exc_info=error)

    def _forget(self, call: SipCall) -> None:
        self.calls.pop(call.incoming.call_id, None)
        for dialogs in self._dialogs.values():
            dialogs.forget(call.incoming)

    def _go_on(self, incoming: IncomingCall) -> None:
        """A re-INVITE that `_consider` let through."""
        call = self.calls.get(incoming.call_id)
        if call is None:
            return
        call.accept(self._described(call, incoming, incoming.invite) or call.repeat())

    def _updated(self, incoming: IncomingCall, request: SipRequest) -> SdpMessage | None:
        call = self.calls.get(incoming.call_id)
        return None if call is None else self._described(call, incoming, request)

    def _described(
        self, call: SipCall, incoming: IncomingCall, request: SipRequest
    ) -> SdpMessage | None:
        Dialogs.mend_target(incoming, request)
        via = request.via[0]
        source = (via.received or incoming.source_addr[0], int(via.rport or 0))
        if (offer := sdp.offer_of(request)) is None:
            return None
        return call.agree(offer, call.consider(offer, source[0], self.peers.admit), source)

    def _gone(self, incoming: IncomingCall, code: int, reason: str) -> None:
        if (call := self.calls.get(incoming.call_id)) is not None:
            call.hung_up(code, reason)

    def _cancelled(self, request: SipRequest) -> None:
        if (call := self.calls.get(request.call_id or "")) is not None:
            call.hung_up(1000, "the caller hung up before it began")
