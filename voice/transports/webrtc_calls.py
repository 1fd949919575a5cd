"""Every WebRTC call by its id, from the offer to its end.

    offer ─▶ how often? ─▶ room? ─▶ sdp.read ─▶ Peer.answer ─▶ answer ··· connected ──▶ … ──▶ gone
                                                     └─ not within connect_limit_s: given up ─┘

Who knows an id may end the call: it is 128 bits of chance, and told to its caller alone.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, Protocol, Self

import structlog

from voice import metrics, sdp, sdp_answer
from voice.answers import Outbox
from voice.carrier import Carrier
from voice.config import LOOPBACK, Config
from voice.config_calls import WebrtcConfig
from voice.ice_candidates import Reach
from voice.relay_credentials import ice_servers
from voice.sdp_lines import SdpError
from voice.session import Session
from voice.transports.offer_rates import Caller, OfferRates
from voice.transports.websocket import Refusal
from voice.webrtc_settings import port_range

ANSWER_LIMIT_S = 8.0
"""For gathering, which asks the server's own STUN and TURN servers, if there are any."""
MOST_SETUPS_OF_ONE = 10
"""Set-ups under way of one address."""
RETRY_S = 10
HANG_UP_LIMIT_S = 2.0
"""In which a call takes leave: it tells why, and sees whether that arrived."""
PEER_LATER_S = 5.0
"""A peer gives itself up so much later than it is given up here, where it is counted."""
TOO_MANY = "Too many offers from here; please call again later."
TOO_MANY_LOGINS = (
    "Too many logins at the TURN server were asked for from here. Use the last one: it holds until "
    "its expires_at, for as many calls as you like; or ask again later."
)

log = structlog.get_logger()


class Peer(Protocol):
    """voice/transports/webrtc_peer.py."""

    @property
    def connected(self) -> bool: ...
    async def answer(self, offer_sdp: str) -> str: ...
    def hang_up(self, code: int, reason: str) -> None: ...
    async def wait_closed(self) -> None: ...
    async def aclose(self, code: int, reason: str) -> None: ...


class _Call:
    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.peer: Peer | None = None
        self.late: asyncio.TimerHandle | None = None
        self.is_leaving = False

    @property
    def connected(self) -> bool:
        return self.peer is not None and self.peer.connected

    @property
    def is_coming(self) -> bool:
        return not self.connected and not self.is_leaving


class Calls:
    """Args:
    config: As it is now.
    check_room: Raises Refusal; it asks how many are `waiting`.
    now: A monotonic clock.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        new_session: Callable[[Outbox, Carrier], Session],
        check_room: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._config, self._new_session = config, new_session
        self._check_room = check_room
        self._calls: dict[str, _Call] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._offers, self._logins = OfferRates(now, TOO_MANY), OfferRates(now, TOO_MANY_LOGINS)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def waiting(self) -> int:
        """Those that have not connected yet."""
        return sum(call.is_coming for call in self._calls.values())

    def opened_by(self, call_id: str) -> str | None:
        """The key that the call was opened with; None: there is no such call."""
        call = self._calls.get(call_id)
        return None if call is None else call.caller.key

    # --- set-up -----------------------------------------------------------------------------------

    def check(self, caller: Caller) -> None:
        """Before anything is done for them; counts the offer.

        Raises:
            Refusal: 404 closed, 429 too often, 503 no room.
        """
        webrtc = self._config().webrtc
        if not webrtc.enabled:
            message = "WebRTC is closed on this server (webrtc.enabled); call over WebSocket."
            raise Refusal(404, "webrtc_disabled", message)
        self._offers.check(caller, webrtc)
        self._check_set_ups(caller, webrtc)

    def _check_set_ups(self, caller: Caller, webrtc: WebrtcConfig) -> None:
        waiting = [call for call in self._calls.values() if call.is_coming]
        alike = [call for call in waiting if call.caller.network == caller.network]
        of_this = 0 if caller.is_local else len(alike)
        if len(waiting) >= webrtc.most_setups or of_this >= MOST_SETUPS_OF_ONE:
            message = "Too many calls are being set up; please call again shortly."
            raise Refusal(503, "server_busy", message, RETRY_S)
        self._check_room()

    def check_login(self, caller: Caller) -> None:
        """Before a login at the TURN server is handed out that no offer asked for; counts it.

        Raises:
            Refusal: 429 too often.
        """
        self._logins.check(caller, self._config().webrtc)

    async def open(
        self, data: bytes, settings: dict[str, Any] | None, caller: Caller
    ) -> tuple[str, str]:
        """Args:
            data: The offer, as it came.
            settings: For the session, checked.
        Returns:
            The call's id, and the answer.
        Raises:
            Refusal: 400, 413 the offer; 503 no room, no port, or the answer took too long.
        """
        from voice.transports.webrtc_ice import GATHERING, NoPort, install
        from voice.transports.webrtc_offer import OfferError

        config = self._config()
        gathering, reach = places(config)
        try:
            offer = sdp.read(data, reach)
        except SdpError as error:
            status = 413 if error.code == "sdp_too_large" else 400
            raise Refusal(status, error.code, error.message, param="sdp") from None
        await asyncio.sleep(0)  # to read it took a millisecond, to answer it takes two
        # Again: others may have come while the offer did.
        self._check_set_ups(caller, config.webrtc)
        install()  # calls may have been let in by settings that were read again
        call_id = f"rtc_{secrets.token_hex(16)}"
        call = self._calls[call_id] = _Call(caller)
        metrics.WEBRTC_CALLS.inc()
        was = GATHERING.set(gathering)
        try:
            call.peer = self._peer(call_id, settings, config.webrtc)
            async with asyncio.timeout(ANSWER_LIMIT_S):
                answer = await call.peer.answer(offer.text)
        except OfferError as error:
            await self._drop(call_id, 1002, error.code)
            if isinstance(error.__cause__, NoPort):
                log.warning("webrtc_no_port", problem=str(error.__cause__))
                message = "No port is left for another call; please call again shortly."
                raise Refusal(503, "server_busy", message, RETRY_S) from None
            raise Refusal(400, error.code, error.message, param="sdp") from None
        except TimeoutError:
            await self._drop(call_id, 1013, "no answer in time")
            message = "The server could not answer in time; please call again shortly."
            raise Refusal(503, "server_busy", message, RETRY_S) from None
        except BaseException:  # ours, or we are cancelled: nothing of it stays either way
            await self._drop(call_id, 1011, "internal error")
            raise
        finally:
            GATHERING.reset(was)
        if call_id in self._calls:
            call.late = asyncio.get_running_loop().call_later(
                config.webrtc.connect_limit_s, self._give_up, call_id
            )
        webrtc = config.webrtc
        announced = sdp_answer.Announced(webrtc.public_address, beside=webrtc.announce_local)
        return call_id, sdp_answer.answered(offer, answer, announced)

    def _peer(self, call_id: str, settings: dict[str, Any] | None, webrtc: WebrtcConfig) -> Peer:
        from aiortc import RTCIceServer

        from voice.transports.webrtc_peer import Limits
        from voice.transports.webrtc_peer import Peer as WebrtcPeer

        expires_at = int(time()) + webrtc.turn_credential_s
        given = ice_servers(webrtc.own_ice_servers, webrtc.turn_secret, "kaiwa", expires_at)
        return WebrtcPeer(
            new_session=self._new_session,
            settings=settings,
            ice_servers=[RTCIceServer(**server) for server in given],
            gone=partial(self._gone, call_id),
            limits=Limits(set_up_s=webrtc.connect_limit_s + PEER_LATER_S),
        )

    # --- the end ----------------------------------------------------------------------------------

    def _gone(self, call_id: str, peer: Any, code: int, reason: str) -> None:
        """The peer is closed, or about to be."""
        self._forget(call_id)

    def _forget(self, call_id: str) -> _Call | None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            metrics.WEBRTC_CALLS.dec()
            if call.late is not None:
                call.late.cancel()
        return call

    def _give_up(self, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is not None and not call.connected:
            metrics.WEBRTC_OFFERS.labels("abandoned").inc()
            log.info("webrtc_abandoned", waited_s=self._config().webrtc.connect_limit_s)
            task = asyncio.create_task(self._drop(call_id, 1000, "not connected in time"))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _drop(self, call_id: str, code: int, reason: str) -> None:
        call = self._forget(call_id)
        if call is not None and call.peer is not None:
            await call.peer.aclose(code, reason)

    async def end(self, call_id: str) -> bool:
        """Hangs up for the caller, who is told so. False: there is no such call."""
        call = self._calls.get(call_id)
        if call is None:
            return False
        call.is_leaving = True
        how = 1000, "hung up"
        try:
            if call.peer is not None:
                call.peer.hang_up(*how)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HANG_UP_LIMIT_S):
                        await call.peer.wait_closed()
        finally:
            await self._drop(call_id, *how)
        return True

    async def __aenter__(self) -> Self:
        if self._config().webrtc.enabled:
            # Loaded now: it takes half a second, in which every other caller would hear nothing.
            from voice.transports import webrtc_ice, webrtc_peer  # noqa: F401

            webrtc_ice.install()
        return self

    async def __aexit__(self, *_: object) -> None:
        for call_id in list(self._calls):
            with contextlib.suppress(Exception):  # the next one is closed all the same
                await self._drop(call_id, 1001, "the server is stopping")
        if self._closing:
            await asyncio.wait(self._closing)


def places(config: Config) -> tuple[Any, Reach]:
    """Where a call's sockets may be, and whom they may send to."""
    from voice.transports.webrtc_ice import Gathering, is_private_only

    webrtc, loopback = config.webrtc, config.server.host in LOOPBACK
    gathering = Gathering(
        ports=port_range(webrtc.ports),
        addresses=webrtc.addresses,
        public=webrtc.public_address,
        loopback=loopback,
    )
    private = webrtc.private_peers
    if private is None:
        # Whom strangers can reach must not be made to look round its own network.
        for_strangers = webrtc.ice_servers or webrtc.own_ice_servers
        private = not for_strangers and is_private_only(gathering)
    return gathering, Reach(private=private, loopback=loopback)
