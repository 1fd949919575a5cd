"""Whether a STUN or TURN server answers, lets callers in, and sees this machine where it says.

stun:   a binding request, over UDP       stuns:  over TLS
turn:   an allocation, with a login as callers are given it; taken back at once
"""

import asyncio
import contextlib
import socket
import ssl
import time
from typing import Any

from msgspec import Struct

from voice.checkup_machine import NO_ANSWER, Finding, Findings, Mark, aside
from voice.config_calls import WebrtcConfig
from voice.ice_candidates import is_public
from voice.relay_credentials import credentials
from voice.webrtc_settings import ICE_SERVER, is_relay

LIMIT_S = 5.0
CLOSE_LIMIT_S = 1.0
PORT, TLS_PORT = 3478, 5349
"""RFC 8489 §5, RFC 8656 §3.1."""
REFUSED = (401, 403, 441)
"""Of logins: Unauthorized, Forbidden, Wrong Credentials."""


class Server(Struct, frozen=True):
    scheme: str
    host: str
    port: int
    transport: str

    @property
    def has_tls(self) -> bool:
        return self.scheme.endswith("s")


class Seen(Struct, frozen=True):
    """What it says."""

    address: str
    """At which it sees this machine."""
    server: str
    """Its own."""
    relay: str = ""


def server_of(url: str) -> Server:
    """Args:
    url: One that `webrtc_problems` lets pass.
    """
    found = ICE_SERVER.fullmatch(url)
    assert found is not None
    scheme = url.partition(":")[0]
    host, port, query = found[1] or found[3], found[2] or found[4], found[5] or ""
    usual = "tcp" if scheme.endswith("s") else "udp"
    return Server(
        scheme,
        host.strip("[]"),
        int(port[1:]) if port else TLS_PORT if scheme.endswith("s") else PORT,
        query.rpartition("=")[2] or usual,
    )


async def ice_server_found(webrtc: WebrtcConfig, url: str) -> Findings:
    from aioice.stun import TransactionFailed, TransactionTimeout

    loop = asyncio.get_running_loop()
    begun = loop.time()
    mark: Mark = "✗" if is_relay(url) else "!"
    server = server_of(url)
    reach = f"is UDP or TCP {server.port} open on the way there, and does the server run?"
    try:
        async with asyncio.timeout(LIMIT_S):
            seen = await _ask(server, webrtc)
    except (TimeoutError, TransactionTimeout):
        return [Finding(mark, url, f"{NO_ANSWER} {LIMIT_S:g} s", reach)]
    except TransactionFailed as failed:
        code, why = failed.response.attributes["ERROR-CODE"]
        return [Finding(mark, url, f"it refuses: {code} {why}", _remedy(code))]
    except socket.gaierror as error:
        remedy = "KAIWA_ICE_SERVERS must name a server that callers find, too"
        return [Finding(mark, url, f"no address for {server.host}: {error.strerror}", remedy)]
    except ssl.SSLError as error:
        remedy = "it must speak TLS there, with a certificate for its name that browsers believe"
        return [Finding(mark, url, f"TLS: {error.reason or error}", remedy)]
    except OSError as error:  # ConnectionError, too
        return [Finding(mark, url, f"{error.strerror or error}", reach)]
    took_ms = 1000 * (loop.time() - begun)
    what = f"a relay at {seen.relay}" if seen.relay else "answered"
    return [Finding("✓", url, f"{what} in {took_ms:.0f} ms"), *doubts(webrtc, url, seen)]


def _remedy(code: int) -> str:
    if code in REFUSED:
        return (
            "KAIWA_TURN_SECRET must be its static-auth-secret, with use-auth-secret set there, and "
            "both clocks right"
        )
    return "its log says why; 486, 508: its quotas (user-quota, total-quota) or ports are used up"


def doubts(webrtc: WebrtcConfig, url: str, seen: Seen) -> Findings:
    """Where what it sees is not what callers are told."""
    from voice.transports.webrtc_ice import machine_addresses

    found: Findings = []
    told, relay = webrtc.public_address, seen.relay.rpartition(":")[0].strip("[]")
    alike = not told or (":" in told) == (":" in seen.address)
    if is_public(seen.address) and alike and seen.address != told:
        if told:
            what = f"it sees this machine at {seen.address}, and callers are told {told}"
            remedy = f"if {told} is not passed on to it: KAIWA_PUBLIC_ADDRESS={seen.address}"
            found.append(Finding("!", url, what, remedy))
        elif seen.address not in machine_addresses():
            what = f"it sees this machine at {seen.address}, an address of a NAT's"
            remedy = f"KAIWA_PUBLIC_ADDRESS={seen.address}, and the UDP ports passed on"
            found.append(Finding("!", url, what, remedy))
    if relay and is_public(seen.server) and not is_public(relay):
        what = f"its relays are at {relay}, where nobody outside is"
        found.append(Finding("!", url, what, "coturn's external-ip (TURN_EXTERNAL_IP)"))
    return found


async def _ask(server: Server, webrtc: WebrtcConfig) -> Seen:
    kind = socket.SOCK_DGRAM if server.transport == "udp" else socket.SOCK_STREAM
    # Aside: a resolver that hangs must not keep the process.
    places = await aside(lambda: socket.getaddrinfo(server.host, server.port, type=kind))
    address = str(places[0][4][0])
    if server.scheme.startswith("turn"):
        return await _allocated(server, address, webrtc)
    if server.has_tls:
        return Seen(await _bound_by_tls(server), address)
    return Seen(await _bound_by_udp(address, server.port), address)


async def _allocated(server: Server, address: str, webrtc: WebrtcConfig) -> Seen:
    from aioice.turn import create_turn_endpoint

    until = int(time.time()) + webrtc.turn_credential_s
    login = credentials(webrtc.turn_secret, "doctor", until)
    transport, ear = await create_turn_endpoint(
        _Ear,
        # By its name where a certificate is compared with it.
        server_addr=(server.host if server.has_tls else address, server.port),
        username=login.username,
        password=login.credential,
        ssl=server.has_tls or None,
        transport=server.transport,
    )
    try:
        relay, mapped = transport.get_extra_info("sockname"), _mapped(transport)
        host = f"[{relay[0]}]" if ":" in relay[0] else relay[0]
        return Seen(mapped, address, f"{host}:{relay[1]}")
    finally:
        transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await ear.gone.wait()


def _mapped(transport: Any) -> str:
    found = transport.get_extra_info("related_address")
    return str(found[0]) if found else ""


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


class _Asking(asyncio.DatagramProtocol):
    """A binding request and its answer: aioice repeats the one until the other comes."""

    def __init__(self) -> None:
        from aioice.stun import Class, Message, Method, Transaction

        request = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
        self.transaction = Transaction(request, ("", 0), self)
        self._transport: asyncio.DatagramTransport | None = None
        self._id = request.transaction_id
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send_stun(self, message: Any, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(bytes(message))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        from aioice.stun import parse_message

        with contextlib.suppress(ValueError):
            message = parse_message(data)
            if message.transaction_id == self._id:
                self.transaction.response_received(message, (str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        if not self.broken.done():
            self.broken.set_exception(exc)


async def _bound_by_udp(address: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(_Asking, remote_addr=(address, port))
    answer = asyncio.ensure_future(asking.transaction.run())
    try:
        await asyncio.wait((answer, asking.broken), return_when=asyncio.FIRST_COMPLETED)
        if asking.broken.done():
            asking.broken.result()
        return _address_in(answer.result()[0])
    finally:
        answer.cancel()
        asking.broken.cancel()
        transport.close()


async def _bound_by_tls(server: Server) -> str:
    """Over a stream a message stands for itself: 20 bytes, and as many as they say (§6.2.2)."""
    from aioice.stun import Class, Message, Method, parse_message

    secure = ssl.create_default_context()
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=secure)
    try:
        request = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
        writer.write(bytes(request))
        head = await reader.readexactly(20)
        return _address_in(
            parse_message(head + await reader.readexactly(int.from_bytes(head[2:4], "big")))
        )
    except (asyncio.IncompleteReadError, ValueError):
        raise ConnectionError("what answers is no STUN server") from None
    finally:
        writer.close()


def _address_in(message: Any) -> str:
    told = message.attributes.get("XOR-MAPPED-ADDRESS") or message.attributes.get("MAPPED-ADDRESS")
    return str(told[0]) if told else ""
