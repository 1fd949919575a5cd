"""The telephone system that we are an extension of, when it moves."""

import asyncio
import contextlib
from itertools import pairwise

from aiosipua import SipMessage, SipRequest, SipResponse, SipUAC

from mocks.clock import now, run_virtual
from voice.transports.sip import messages
from voice.transports.sip.extension import CLOSE_LIMIT_S, REGISTER_S, Extension
from voice.transports.sip.messages import Peers, Source
from voice.transports.sip.wire import Wire


class Silent(Wire):
    """Nobody answers."""

    def __init__(self, peers: Peers) -> None:
        super().__init__(("127.0.0.1", 5060), peers=peers, told="", screen=lambda *a: None)
        self.sent: list[Source] = []

    def put(self, data: bytes, to: Source) -> None:
        self.sent.append(to)


class Moving(Extension):
    """Found at another address each time."""

    count = 0

    async def _look_up(self) -> Source:
        self.count += 1
        return f"192.0.2.{self.count}", 5060


def test_only_where_the_registrar_is_now_may_call_without_a_password() -> None:
    async def main() -> None:
        peers = Peers([])
        wire = Silent(peers)
        extension = Moving("pbx", "1", "secret", wire=wire, uac=SipUAC(wire), peers=peers)
        keeping = asyncio.create_task(extension.keep())
        await asyncio.sleep(50)
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await extension.aclose()
        await wire.stop()
        assert {host for host, _ in wire.sent} == {"192.0.2.1", "192.0.2.2"}
        assert peers.admit("192.0.2.2") and not peers.admit("192.0.2.1")

    run_virtual(main())


class System(Silent):
    """A registrar that asks for the password each time, and lists another telephone first."""

    def __init__(self, peers: Peers) -> None:
        super().__init__(peers)
        self.uac = SipUAC(self)
        self.on_message = self._answered
        self.bound: list[tuple[float, int]] = []
        """When, and for how long."""

    def _answered(self, message: SipRequest | SipResponse, source: Source) -> None:
        assert isinstance(message, SipResponse)
        self.uac.handle_response(message, source)

    def put(self, data: bytes, to: Source) -> None:
        asked = SipMessage.parse(data)
        assert isinstance(asked, SipRequest)
        answer = messages.answer(asked, 200 if asked.headers.get("authorization") else 401)
        for_s = int(asked.headers.get_first("expires") or "")
        if answer.status_code == 200:
            self.bound.append((now(), for_s))
            answer.headers.append("Contact", "<sip:other@192.0.2.9>;expires=3600")
            if for_s:
                answer.headers.append("Contact", f"<sip:kaiwa@127.0.0.1>;expires={for_s}")
        challenge = 'Digest realm="pbx", nonce="n", algorithm=MD5, qop="auth"'
        answer.headers.set_single("WWW-Authenticate", challenge)
        asyncio.get_running_loop().call_later(0.02, self.receive, bytes(answer), to)


class Found(Extension):
    async def _look_up(self) -> Source:
        return "192.0.2.1", 5060


def registered(stop_after_s: float) -> list[tuple[float, int]]:
    async def main() -> list[tuple[float, int]]:
        peers = Peers([])
        wire = System(peers)
        extension = Found("pbx", "1", "secret", wire=wire, uac=wire.uac, peers=peers)
        keeping = asyncio.create_task(extension.keep())
        await asyncio.sleep(stop_after_s)
        keeping.cancel()
        begun = now()
        await extension.aclose()
        assert now() - begun < CLOSE_LIMIT_S
        await wire.stop()
        wire.uac.close()
        return wire.bound

    return run_virtual(main())


def test_who_stops_is_called_no_more_though_the_registrar_asks_for_the_password_again() -> None:
    assert [for_s for _, for_s in registered(10)] == [REGISTER_S, 0]


def test_it_registers_anew_in_time_whatever_another_telephone_of_the_extension_has() -> None:
    """other   |------------------------------------------ 3600 s -------
    we      |----270----|----270----|----270----|               0"""
    times = [at_s for at_s, for_s in registered(900) if for_s]
    assert [round(b - a) for a, b in pairwise(times)] == [270, 270, 270]
