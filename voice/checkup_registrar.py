"""Whether the telephone system that we are an extension of is there, and knows our password.

    REGISTER without a Contact ─▶ 401 ─▶ with the password ─▶ 200

That asks what is registered and changes nothing (RFC 3261 §10.2.3), so a Kaiwa that is serving
keeps its place.
"""

import asyncio
import errno
import socket
from typing import Any

from aiosipua import (
    SipDigestAuth,
    SipMessage,
    SipRequest,
    SipResponse,
    build_credentials,
    generate_branch,
    generate_call_id,
    generate_tag,
    parse_auth,
)
from aiosipua.header_codec import stringify_auth
from aiosipua.utils import format_addr

from voice.checkup_machine import NO_ANSWER, Finding, Findings, aside
from voice.config_calls import SipConfig
from voice.sip_registrar import split
from voice.transports.sip.messages import Source
from voice.transports.sip.wire import T1, T2

LIMIT_S = 6.0
LOGIN = "KAIWA_SIP_EXTENSION and KAIWA_SIP_EXTENSION_PASSWORD must be as the registrar has them"
WHERE = "KAIWA_SIP_REGISTRAR must be the telephone system's name or address, with its port"


async def registrar_found(sip: SipConfig) -> Findings:
    if not sip.registrar:
        return []
    what = f"SIP registrar {sip.registrar}"
    try:
        async with asyncio.timeout(LIMIT_S):
            return [_told(sip, what, await _ask(sip))]
    except TimeoutError:
        remedy = f"is UDP open on the way there? {WHERE}"
        return [Finding("✗", what, f"{NO_ANSWER} {LIMIT_S:g} s", remedy)]
    except socket.gaierror as error:
        return [Finding("✗", what, f"its address is not found: {error.strerror}", WHERE)]
    except OSError as error:
        remedy = WHERE
        if error.errno in (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH):
            remedy = f"KAIWA_SIP_HOST ({sip.host}) must be an address that leads there, or 0.0.0.0"
        elif isinstance(error, ConnectionRefusedError):
            remedy = f"nothing listens at that port: {WHERE}"
        return [Finding("✗", what, error.strerror or str(error), remedy)]


def _told(sip: SipConfig, what: str, response: SipResponse) -> Finding:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    if status < 300:
        return Finding("✓", what, f"lets {sip.extension} in")
    if status in (401, 403, 404, 407):
        return Finding("✗", what, f"does not let {sip.extension} in: {said}", LOGIN)
    remedy = "whether it lets us in, the log tells: sip_registered, sip_not_registered"
    return Finding("!", what, f"is there, and answers {said}", remedy)


class _Line(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[SipResponse | Exception] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            message = SipMessage.parse(data)
        except Exception:  # whatever a stranger's message breaks; the next one may be the answer
            return
        if isinstance(message, SipResponse):
            self.answers.put_nowait(message)

    def error_received(self, exc: Exception) -> None:
        self.answers.put_nowait(exc)


class _Asking:
    """One REGISTER after the other, of one Call-ID."""

    def __init__(self, sip: SipConfig, transport: asyncio.DatagramTransport, line: _Line) -> None:
        self._name, self._host = sip.extension, split(sip.registrar)[0]
        self._transport, self._line = transport, line
        ours: Source = transport.get_extra_info("sockname")[:2]
        self._ours = format_addr(*ours)
        self._call_id, self._tag, self._count = generate_call_id(ours[0]), generate_tag(), 0

    async def ask(self, authorization: tuple[str, str] | None = None) -> SipResponse:
        """Again and again, until the last answer."""
        data, wait_s = bytes(self._request(authorization)), T1
        while True:
            self._transport.sendto(data)
            try:
                async with asyncio.timeout(wait_s):
                    return await self._final()
            except TimeoutError:
                wait_s = min(2 * wait_s, T2)

    async def _final(self) -> SipResponse:
        while True:
            answer = await self._line.answers.get()
            if isinstance(answer, Exception):
                raise answer
            cseq = answer.cseq
            ours = answer.call_id == self._call_id and cseq is not None and cseq.seq == self._count
            if ours and answer.status_code >= 200:
                return answer

    @property
    def uri(self) -> str:
        return f"sip:{f'[{self._host}]' if ':' in self._host else self._host}"

    def _request(self, authorization: tuple[str, str] | None) -> SipRequest:
        self._count += 1
        request = SipRequest(method="REGISTER", uri=self.uri)
        us = f"<sip:{self._name}@{self.uri.removeprefix('sip:')}>"
        via = f"SIP/2.0/UDP {self._ours};branch={generate_branch()};rport"
        request.headers.append("Via", via)
        for name, value in {
            "From": f"{us};tag={self._tag}",
            "To": us,
            "Call-ID": self._call_id,
            "CSeq": f"{self._count} REGISTER",
            "Max-Forwards": "70",
            "User-Agent": "kaiwa",
            "Content-Length": "0",
        }.items():
            request.headers.set_single(name, value)
        if authorization is not None:
            request.headers.set_single(*authorization)
        return request


async def _ask(sip: SipConfig) -> SipResponse:
    """Raises:
    OSError: It is not found, or not reached.
    """
    host, port = split(sip.registrar)
    family = socket.AF_INET6 if ":" in sip.host else socket.AF_INET
    places = await aside(
        lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    )
    address = str(places[0][4][0]), int(places[0][4][1])
    loop = asyncio.get_running_loop()
    transport, line = await loop.create_datagram_endpoint(
        _Line, local_addr=(sip.host, 0), remote_addr=address
    )
    try:
        asking = _Asking(sip, transport, line)
        response = await asking.ask()
        proof = _proof(sip, asking.uri, response)
        return response if proof is None else await asking.ask(proof)
    finally:
        transport.close()


def _proof(sip: SipConfig, uri: str, response: SipResponse) -> tuple[str, str] | None:
    """The header that says that we know the password; None: nothing is asked that we know."""
    asks, answers = {
        401: ("WWW-Authenticate", "Authorization"),
        407: ("Proxy-Authenticate", "Proxy-Authorization"),
    }.get(response.status_code, ("", ""))
    auth = SipDigestAuth(sip.extension, sip.extension_password)
    for value in response.headers.get(asks) if asks else ():
        given = build_credentials(auth, parse_auth(value), "REGISTER", uri)
        if given is not None:
            return answers, stringify_auth(given)
    return None
