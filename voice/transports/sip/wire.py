"""SIP over UDP and TCP, below aiosipua's dialogs: what it leaves to whoever uses it.

    in    from whom        only from `peers`; anything else is dropped without an answer
          how much         64 messages a second from one address, 64 kB each, 64 connections
          again            a request that was seen is answered as before, and not carried out again
          malformed        dropped; the listener lives
    out   where to         to where the request came from, never to where its Via points
          again            over UDP, until it is answered: our own requests, our refusals (T1 0.5 s
                           doubled up to T2 4 s, given up after 32 s: RFC 3261 §17)

aiosipua 0.7.1 itself answers a repeated INVITE with 481, sends to any address a Via names, repeats
neither BYE nor REGISTER nor refusals, does not tell a caller's proxies that they stay on the way
(RFC 3261 §12.1.1), and logs a traceback for every malformed message.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import structlog
from aiosipua import SipMessage, SipRequest, SipResponse, SipTransport
from aiosipua.utils import format_addr

from voice import metrics
from voice.addresses import unmapped
from voice.transports.sip.messages import (
    Peers,
    Source,
    answer,
    check_length,
    mapped,
    own_address,
    stamp,
    transaction,
)

T1, T2, GIVE_UP_S = 0.5, 4.0, 32.0
MOST_BYTES = 65_536
MOST_CONNECTIONS = 64
MOST_TRANSACTIONS = 4096
"""That are remembered; the oldest goes first."""
MESSAGES_PER_S, MESSAGES_BURST = 64.0, 128.0
HEARD_OF = 1024
"""Addresses whose pace is remembered."""

log = structlog.get_logger()

Screen = Callable[["Wire", SipRequest, Source], SipResponse | None]
"""Answers a request itself; None: the dialogs do."""


class Pace:
    """Of one address: so many messages at once, so many a second."""

    def __init__(self, now: float) -> None:
        self._left, self._at = MESSAGES_BURST, now

    def allows(self, now: float) -> bool:
        self._left = min(MESSAGES_BURST, self._left + (now - self._at) * MESSAGES_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait_s(self, now: float) -> float:
        """Until it allows one again."""
        left = self._left + (now - self._at) * MESSAGES_PER_S
        return max(0.0, (1 - left) / MESSAGES_PER_S)


class Served:
    """A request that was seen, with its last answer."""

    __slots__ = ("again", "answer", "final", "proxies", "source", "until")

    def __init__(self, source: Source, until: float, proxies: list[str]) -> None:
        self.source, self.until, self.proxies = source, until, proxies
        self.answer = b""
        self.final = False
        self.again: asyncio.TimerHandle | None = None


class Wire(SipTransport, ABC):
    """Args:
    address: Where it listens; the port is known once it does.
    told: Our address as callers are told; empty: the one that they reach.
    screen: Sees every request first.
    """

    reliable = False
    protocol = "UDP"

    def __init__(self, address: Source, *, peers: Peers, told: str, screen: Screen) -> None:
        super().__init__(local_addr=address)
        self._peers, self._told, self._screen = peers, told, screen
        self._loop = asyncio.get_running_loop()
        self._served: dict[tuple[str, str, str], Served] = {}
        self._asked: dict[tuple[str, str, str], asyncio.TimerHandle] = {}
        self._paces: dict[str, Pace] = {}
        self.dropped = 0
        """Messages that were not read, or made no sense."""

    @abstractmethod
    def put(self, data: bytes, to: Source) -> None: ...

    # --- in ---------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Source) -> None:
        if not data.strip(b"\r\n\0 "):
            return  # it keeps a router's way open, RFC 5626
        if len(data) > MOST_BYTES or not self._may(source[0]):
            self._drop("peer", source)
            return
        try:
            message = SipMessage.parse(data)
            if isinstance(message, SipResponse):
                self._take_answer(message, source)
            else:
                self._take(message, source)
        except Exception as error:  # headers are parsed when they are asked for: a stranger's are
            self._drop("malformed", source, error)

    def _may(self, address: str) -> bool:
        if not self._peers.admit(address):
            return False
        if (pace := self._paces.get(address)) is None:
            pace = self._paces[address] = Pace(self._loop.time())
            if len(self._paces) > HEARD_OF:
                del self._paces[next(iter(self._paces))]
        return pace.allows(self._loop.time())

    def wait_s(self, address: str) -> float:
        """Until a message from there would be read."""
        pace = self._paces.get(address)
        return 0.0 if pace is None else pace.wait_s(self._loop.time())

    def _drop(self, why: str, source: Source, error: Exception | None = None) -> None:
        self.dropped += 1
        metrics.REFUSED.labels(f"sip_{why}").inc()
        log.debug("sip_dropped", why=why, source=source[0], error=repr(error) if error else None)

    def _take(self, request: SipRequest, source: Source) -> None:
        stamp(request, source)
        if request.method == "ACK":
            self._forget_refusal(transaction(request, "INVITE"))
        else:
            key = transaction(request, request.method)
            if (served := self._served.get(key)) is not None:
                if served.answer:
                    self.put(served.answer, served.source)
                return
            proxies = list(request.headers.get("record-route"))
            self._remember(key, Served(source, self._loop.time() + GIVE_UP_S, proxies))
        try:
            check_length(request)
            answered = self._screen(self, request, source)
        except ValueError as error:
            self._drop("malformed", source, error)
            answered = answer(request, 400)
        if answered is not None:
            if request.method != "ACK":
                self.send_reply(answered)
        elif self.on_message is not None:
            self.on_message(request, source)

    def _take_answer(self, response: SipResponse, source: Source) -> None:
        check_length(response)
        cseq = response.cseq
        if cseq is None:
            return
        name, _, method = transaction(response, cseq.method)
        waiting = self._asked.get((name, source[0], method))
        if waiting is not None and response.status_code >= 200:
            waiting.cancel()
            del self._asked[name, source[0], method]
        if self.on_message is not None:
            self.on_message(response, source)

    def has_answered(self, request: SipRequest, method: str) -> bool:
        """Whether `request`'s transaction, were it for `method`, has its final answer."""
        served = self._served.get(transaction(request, method))
        return served is not None and served.final

    def _remember(self, key: tuple[str, str, str], served: Served) -> None:
        self._served[key] = served
        now = self._loop.time()
        while self._served:
            oldest = next(iter(self._served))
            over = self._served[oldest].until < now or len(self._served) > MOST_TRANSACTIONS
            if not over or oldest == key:
                return
            self._forget_refusal(oldest)
            del self._served[oldest]

    # --- out --------------------------------------------------------------------------------------

    def send_reply(self, response: SipResponse) -> None:
        cseq = response.cseq
        if cseq is None:
            return
        key = transaction(response, cseq.method)
        if (served := self._served.get(key)) is None:
            return  # so long ago that nobody waits for it
        self._sign(response, served.source[0])
        if cseq.method == "INVITE" and 100 < response.status_code < 300:
            response.headers.remove("Record-Route")
            for proxy in served.proxies:
                response.headers.append("Record-Route", proxy)
        first, served.answer = not served.final, bytes(response)
        served.final = response.status_code >= 200
        self.put(served.answer, served.source)
        if not self.reliable and first and cseq.method == "INVITE" and response.status_code >= 300:
            served.again = self._loop.call_later(T1, self._repeat_refusal, key, T1, 0.0)

    def send(self, message: SipRequest | SipResponse, addr: Source) -> None:
        """A request of ours."""
        self._sign(message, addr[0])
        data = bytes(message)
        self.put(data, addr)
        if isinstance(message, SipRequest) and message.method != "ACK" and not self.reliable:
            name, _, method = transaction(message, message.method)
            self._ask_again((name, addr[0], method), data, addr, T1, 0.0)

    def _ask_again(
        self, key: tuple[str, str, str], data: bytes, to: Source, wait_s: float, waited_s: float
    ) -> None:
        def again() -> None:
            del self._asked[key]
            if waited_s + wait_s < GIVE_UP_S:
                self.put(data, to)
                self._ask_again(key, data, to, min(2 * wait_s, T2), waited_s + wait_s)

        self._asked[key] = self._loop.call_later(wait_s, again)

    def _repeat_refusal(self, key: tuple[str, str, str], wait_s: float, waited_s: float) -> None:
        served = self._served.get(key)
        if served is None or waited_s + wait_s >= GIVE_UP_S:
            return
        self.put(served.answer, served.source)
        next_s = min(2 * wait_s, T2)
        served.again = self._loop.call_later(
            next_s, self._repeat_refusal, key, next_s, waited_s + wait_s
        )

    def _forget_refusal(self, key: tuple[str, str, str]) -> None:
        served = self._served.get(key)
        if served is not None and served.again is not None:
            served.again.cancel()
            served.again = None

    def _sign(self, message: SipMessage, peer: str) -> None:
        """Our address as this peer knows it, wherever the library put the one we are bound to."""
        address = own_address(peer, self._told, self.local_addr[0])
        ours = format_addr(address, self.local_addr[1])
        suffix = "" if self.protocol == "UDP" else f";transport={self.protocol.lower()}"
        if message.headers.get("contact"):
            message.headers.set_single("Contact", f"<sip:kaiwa@{ours}{suffix}>")
        message.headers.set_single("User-Agent", "kaiwa")
        if isinstance(message, SipRequest):
            self._sign_way(message, ours)

    def _sign_way(self, request: SipRequest, ours: str) -> None:
        vias = list(request.headers.get("via"))
        _, _, rest = vias[0].partition(";")
        request.headers.remove("Via")
        request.headers.append("Via", f"SIP/2.0/{self.protocol} {ours};{rest}")

    async def stop(self) -> None:
        for timer in self._asked.values():
            timer.cancel()
        self._asked.clear()
        for key in self._served:
            self._forget_refusal(key)
        self._served.clear()


class UdpWire(Wire, asyncio.DatagramProtocol):
    _transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=self.local_addr
        )
        self._transport = transport
        self.local_addr = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.receive(data, (unmapped(str(addr[0])), int(addr[1])))

    def put(self, data: bytes, to: Source) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, mapped(to, self.local_addr))

    async def stop(self) -> None:
        await super().stop()
        if self._transport is not None:
            self._transport.close()
