"""Kaiwa as an extension of a telephone system: a FRITZ!Box, an Asterisk … (RFC 3261 §10).

    REGISTER ─▶ 401 ─▶ REGISTER with the password ─▶ 200: it rings here for `granted` seconds
    at 90 % of that, anew; what fails is tried again after 5 s, 10 s, … 5 min
    REGISTER, Expires 0 ─▶ 401 ─▶ with the password ─▶ 200: when we stop, it rings here no more

aiosipua's Registration asks, answers the challenge and refreshes; it neither looks its registrar up
nor tries again.
"""

import asyncio
import contextlib
import socket

import structlog
from aiosipua import Registration, RegistrationState, SipDigestAuth, SipResponse, SipUAC

from voice.sip_registrar import split
from voice.transports.sip.messages import Peers, Source
from voice.transports.sip.wire import GIVE_UP_S, Wire

REGISTER_S = 300
RETRY_S = (5.0, 300.0)
CLOSE_LIMIT_S = 1.0

log = structlog.get_logger()


class Binding(Registration):
    """aiosipua's, that tells of its end, and goes by no other telephone's time: a registrar lists
    all of an extension's, in any order (RFC 3261 §10.3), and aiosipua takes the first."""

    def _on_success(self, response: SipResponse) -> None:
        super()._on_success(response)
        if self.state is RegistrationState.UNREGISTERED and self.on_expired is not None:
            self.on_expired(self)

    def _granted_expires(self, response: SipResponse) -> int:
        return min(super()._granted_expires(response), self.expires)


class Extension:
    """Args:
    registrar: Its name or address, with a port where that is not 5060.
    uac: Whose responses come from `wire`.
    peers: The registrar becomes one: it calls without knowing our callers' password.
    """

    def __init__(
        self, registrar: str, name: str, password: str, *, wire: Wire, uac: SipUAC, peers: Peers
    ) -> None:
        self._host, self._port = split(registrar)
        self._name, self._auth = name, SipDigestAuth(name, password)
        self._wire, self._uac, self._peers = wire, uac, peers
        self._registration: Binding | None = None
        self._news: asyncio.Queue[str] = asyncio.Queue()
        """Empty: registered; else why not."""
        self.registered = False

    async def keep(self) -> None:
        """Registers, for as long as it runs."""
        wait_s = RETRY_S[0]
        while True:
            problem = await self._register()
            if not problem:
                wait_s = RETRY_S[0]
                log.info("sip_registered", registrar=self._host)
                while not (problem := await self._news.get()):
                    pass  # refreshed
            self.registered = False
            log.warning("sip_not_registered", registrar=self._host, why=problem, retry_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])

    async def _register(self) -> str:
        """Why not; empty: it is."""
        self._forget()
        try:
            address = await self._look_up()
        except OSError as error:
            return f"its address is not found: {error.strerror or error}"
        self._peers.also = {address[0]}  # and no longer where it was
        self._registration = registration = Binding(
            self._uac,
            f"sip:{self._name}@{self._host}",
            address,
            expires=REGISTER_S,
            auth=self._auth,
            contact_uri="sip:kaiwa@here",  # the wire knows where that is
        )
        registration.on_registered = lambda _: self._tell("")
        registration.on_failed = lambda _, status, reason: self._tell(_why(status, reason))
        registration.on_expired = lambda _: self._tell("it did not answer in time")
        registration.register()
        try:
            async with asyncio.timeout(GIVE_UP_S):
                return await self._news.get()
        except TimeoutError:
            return "it does not answer"

    def _tell(self, problem: str) -> None:
        self.registered = not problem
        self._news.put_nowait(problem)

    async def _look_up(self) -> Source:
        family = socket.AF_INET6 if ":" in self._wire.local_addr[0] else socket.AF_INET
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            self._host, self._port, family=family, type=socket.SOCK_DGRAM
        )
        host, port = found[0][4][:2]
        return str(host), int(port)

    def _forget(self) -> None:
        """One that failed, with its timers and what it had to say."""
        if self._registration is not None:
            self._registration._cancel_timers()
            self._uac._registrations.pop(self._registration.call_id, None)
            self._registration = None
        while not self._news.empty():
            self._news.get_nowait()

    async def aclose(self) -> None:
        """It rings here no more; within 1 s, whether the registrar answers or not."""
        if self._registration is not None and self.registered:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    self._registration.unregister()
                    await self._news.get()
        self._forget()


def _why(status: int, reason: str) -> str:
    if status in (401, 403, 407):
        return f"{status}: set KAIWA_SIP_EXTENSION and KAIWA_SIP_EXTENSION_PASSWORD as it has them"
    return f"{status} {reason}"
