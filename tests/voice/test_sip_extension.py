"""The telephone system that we are an extension of, when it moves."""

import asyncio
import contextlib

from aiosipua import SipUAC

from mocks.clock import run_virtual
from voice.transports.sip.extension import Extension
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
        extension.close()
        await wire.stop()
        assert {host for host, _ in wire.sent} == {"192.0.2.1", "192.0.2.2"}
        assert peers.admit("192.0.2.2") and not peers.admit("192.0.2.1")

    run_virtual(main())
