"""What `kaiwa doctor` says of the telephone system that it is an extension of."""

import asyncio
import time
from typing import Any

import pytest
from aiosipua import SipMessage, SipRequest

from voice import checkup_registrar
from voice.checkup_machine import Finding
from voice.checkup_registrar import registrar_found
from voice.config_calls import SipConfig
from voice.transports.sip.digest import Digest
from voice.transports.sip.messages import REASONS, answer

PASSWORD = "battery staple"


class Registrar(asyncio.DatagramProtocol):
    """Args:
    status: For who knows the password.
    deaf: So many messages are lost.
    header: It asks for the password by.
    """

    def __init__(self, status: int = 200, deaf: int = 0, header: str = "WWW-Authenticate") -> None:
        self.asked: list[SipRequest] = []
        self._status, self._deaf, self._header = status, deaf, header
        self._digest = Digest("kaiwa-620", PASSWORD)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = SipMessage.parse(data)
        assert isinstance(request, SipRequest)
        self.asked.append(request)
        if len(self.asked) <= self._deaf:
            return
        self._transport.sendto(b"\xff\xfe no SIP", addr)
        if self._status == 503:
            self._transport.sendto(bytes(answer(request, 503)), addr)
            return
        now = time.time()
        proxied = request.headers.get_first("Proxy-Authorization")
        if proxied:
            request.headers.set_single("Authorization", proxied)
        if self._digest.knows(request, addr[0], now):
            self._transport.sendto(bytes(answer(request, self._status)), addr)
            return
        status = 401 if self._header.startswith("WWW") else 407
        REASONS.setdefault(407, "Proxy Authentication Required")
        headers = {self._header: self._digest.challenge(addr[0], now)}
        self._transport.sendto(bytes(answer(request, status, headers)), addr)


def asked(registrar: Registrar, password: str = PASSWORD, host: str = "127.0.0.1") -> Finding:
    async def scenario() -> Finding:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: registrar, local_addr=("127.0.0.1", 0)
        )
        try:
            port = transport.get_extra_info("sockname")[1]
            return await found(f"127.0.0.1:{port}", password, host)
        finally:
            transport.close()

    return asyncio.run(scenario())


async def found(where: str, password: str = PASSWORD, host: str = "127.0.0.1") -> Finding:
    sip = SipConfig(
        enabled=True,
        host=host,
        registrar=where,
        extension="kaiwa-620",
        extension_password=password,
    )
    (finding,) = await registrar_found(sip)
    return finding


@pytest.mark.parametrize("header", ["WWW-Authenticate", "Proxy-Authenticate"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_one_that_knows_our_password_is_well_and_nothing_is_changed_there(
    host: str, header: str
) -> None:
    registrar = Registrar(header=header)
    told = asked(registrar, host=host)
    assert told.mark == "✓" and "lets kaiwa-620 in" in told.found
    assert [request.method for request in registrar.asked] == ["REGISTER", "REGISTER"]
    for request in registrar.asked:
        assert not request.headers.get("Contact") and not request.headers.get("Expires")


def test_another_password_is_told_with_the_settings_that_hold_it() -> None:
    registrar = Registrar()
    told = asked(registrar, password="another one")
    assert told.mark == "✗" and "401 Unauthorized" in told.found
    assert "KAIWA_SIP_EXTENSION_PASSWORD" in told.remedy
    assert len(registrar.asked) == 2, "a wrong password is not tried again and again"


def test_what_is_lost_is_asked_for_again() -> None:
    assert asked(Registrar(deaf=1)).mark == "✓"


def test_one_that_answers_something_else_is_there() -> None:
    told = asked(Registrar(status=503))
    assert told.mark == "!" and "503 Service Unavailable" in told.found and told.remedy


def test_one_that_forbids_us_is_told() -> None:
    assert asked(Registrar(status=403)).mark == "✗"


@pytest.mark.real_time
def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_registrar, "LIMIT_S", 1.0)
    registrar = Registrar(deaf=100)
    told = asked(registrar)
    assert told.mark == "✗" and told.found == "no answer within 1 s"
    assert len(registrar.asked) == 2 and "KAIWA_SIP_REGISTRAR" in told.remedy


def test_a_port_where_nobody_listens_and_a_name_that_nobody_has_are_told() -> None:
    told = asyncio.run(found("127.0.0.1:9"))
    assert told.mark == "✗" and "nothing listens" in told.remedy
    told = asyncio.run(found("no.such.host.invalid"))
    assert told.mark == "✗" and "KAIWA_SIP_REGISTRAR" in told.remedy


def test_an_address_from_which_no_way_leads_there_is_told() -> None:
    told = asyncio.run(found("192.0.2.1"))
    assert told.mark == "✗" and "KAIWA_SIP_HOST" in told.remedy


def test_without_a_registrar_nobody_is_asked() -> None:
    assert asyncio.run(registrar_found(SipConfig(enabled=True))) == []
