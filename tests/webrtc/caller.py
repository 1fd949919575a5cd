"""A caller over WebRTC that knows what was on the wire: the RTP is its own, the rest aiortc's.

    speak(payloads)  ──▶ RTP, one packet each 20 ms ──▶ server
    received         ◀── RTP, as it came, not decoded ◀──
    events           ◀── the data channel "oai-events" ──▶ post(event)

No codec and no jitter buffer runs here: a hundred of them are cheap, and every packet is accounted
for.
"""

import asyncio
import json
import re
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)

LIMIT_S = 30.0
FRAME_S = 0.02
FRAME_SAMPLES = 960
BROWSERS_RTO_S = 1.0
"""After which a lost first packet of the channel is sent again, in Chromium (dcSCTP, T1). aiortc
waits for 3 s, as RFC 4960 had it."""
OPUS = re.compile(r"a=rtpmap:(\d+) opus/48000", re.IGNORECASE)


class Received(msgspec.Struct, frozen=True):
    number: int
    """Sequence number, from the first one on without a wrap."""
    timestamp: int
    """At 48 kHz, without a wrap."""
    payload: bytes
    at: float
    """Monotonic."""


class Noted(msgspec.Struct, frozen=True):
    type: str
    event: dict[str, Any]
    at: float


class Refused(Exception):
    """The offer, with the status and the body."""


class Caller:
    """One call. Use `connect` once, then `speak` and `post`, then `close`."""

    def __init__(self, *, keep: bool = True, channel: bool = True) -> None:
        """
        Args:
            keep: Keep the payloads that come; otherwise only count.
            channel: With the channel of events.
        """
        self.received: list[Received] = []
        self.count = 0
        self.events: list[Noted] = []
        self.setup_s = 0.0
        """From before the offer was made until media can flow and the channel is open."""
        self.location = self.answer = ""
        """Where the server names the call; the SDP it answered with."""
        self.sent = 0
        self._keep = keep
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = _Idle()
        self._peer.addTrack(self._track)
        self._channel: RTCDataChannel | None = None
        self._opened = asyncio.Event()
        if channel:
            self._channel = self._peer.createDataChannel("oai-events")
            sctp: Any = self._peer.sctp
            sctp._rto = BROWSERS_RTO_S
            self._channel.on("open", self._opened.set)
            self._channel.on("message", self._note)
        self._connected = asyncio.Event()
        self._peer.on("connectionstatechange", self._changed)
        self.ended = asyncio.Event()
        self._news = asyncio.Event()
        self._payload_type = 96
        self._number = self._timestamp = 0

    @property
    def state(self) -> str:
        return str(self._peer.connectionState)

    async def connect(
        self, url: str, http: aiohttp.ClientSession, *, token: str = "", limit_s: float = LIMIT_S
    ) -> None:
        """Offers itself at `url`.

        Raises:
            Refused: The server did not take the offer.
            TimeoutError: It did, but no media flows.
        """
        begun = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                await self._connect(url, http, token)
        except TimeoutError:
            channel = self._channel.readyState if self._channel is not None else "none"
            states = f"connection {self.state}, ICE {self._peer.iceConnectionState}"
            raise TimeoutError(
                f"not connected within {limit_s:g} s: {states}, channel {channel}"
            ) from None
        self.setup_s = time.monotonic() - begun

    async def _connect(self, url: str, http: aiohttp.ClientSession, token: str) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        offer = self._peer.localDescription.sdp
        async with http.post(url, data=offer, headers=headers) as answer:
            text = await answer.text()
            if not answer.ok:
                raise Refused(f"{answer.status} {text}")
            self.location, self.answer = answer.headers.get("Location", ""), text
        if found := OPUS.search(text):
            self._payload_type = int(found[1])
        # aiortc has no public way round its decoder, which would cost more than all the rest.
        receiver: Any = self._peer.getReceivers()[0]
        receiver._handle_rtp_packet = self._receive
        await self._peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        await self._connected.wait()
        if self._channel is not None:
            await self._opened.wait()

    async def send(self, payload: bytes | None) -> None:
        """One packet of 20 ms; None: 20 ms in which nothing is sent, as a caller who uses DTX."""
        sender = self._peer.getSenders()[0]
        if payload is not None and self.state == "connected":
            head = struct.pack(
                "!BBHII", 0x80, self._payload_type, self._number, self._timestamp, sender._ssrc
            )
            await sender.transport._send_rtp(head + payload)
            self._number = self._number + 1 & 0xFFFF
            self.sent += 1
        self._timestamp = self._timestamp + FRAME_SAMPLES & 0xFFFFFFFF

    def post(self, event: dict[str, Any]) -> None:
        assert self._channel is not None
        self._channel.send(json.dumps(event))

    def of(self, kind: str) -> list[Noted]:
        return [note for note in self.events if note.type == kind]

    async def until(
        self,
        kind: str,
        holds: Callable[[dict[str, Any]], bool] = bool,
        *,
        since: int = 0,
        limit_s: float = LIMIT_S,
    ) -> Noted:
        """The first such event from number `since` on, waited for where it is not there yet."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    for note in self.events[since:]:
                        if note.type == kind and holds(note.event):
                            return note
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seen = [note.type for note in self.events[since:]]
            raise TimeoutError(f"no {kind} within {limit_s:g} s, but {seen[-30:]}") from None

    async def close(self) -> None:
        self._track.stop()
        await self._peer.close()

    # --- what comes -------------------------------------------------------------------------------

    async def _receive(self, packet: Any, arrival_time_ms: int) -> None:
        self.count += 1
        if not self._keep:
            return
        number, timestamp = packet.sequence_number, packet.timestamp
        if self.received:
            last = self.received[-1]
            number = last.number + _step(number - last.number, 16)
            timestamp = last.timestamp + _step(timestamp - last.timestamp, 32)
        self.received.append(Received(number, timestamp, packet.payload, time.monotonic()))

    def _note(self, message: str) -> None:
        event = json.loads(message)
        self.events.append(Noted(event["type"], event, time.monotonic()))
        self._news.set()

    def _changed(self) -> None:
        if self.state == "connected":
            self._connected.set()
        elif self.state in ("failed", "closed"):
            self.ended.set()


class _Idle(MediaStreamTrack):
    """A microphone for the offer's sake; `Caller.send` makes the packets."""

    kind = "audio"

    async def recv(self) -> Any:
        await asyncio.get_running_loop().create_future()


def _step(distance: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (distance + half & (1 << bits) - 1) - half


async def speak(callers: Sequence[Caller], payloads: Sequence[bytes | None]) -> None:
    """All the payloads to each of them in real time, the callers spread over the 20 ms.

    Returns when the last one has been said, so that what is spoken next does not come early.
    """
    begun = time.monotonic()
    for frame, payload in enumerate(payloads):
        for place, caller in enumerate(callers):
            ahead = begun + (frame + place / len(callers)) * FRAME_S - time.monotonic()
            if ahead > 0.001:
                await asyncio.sleep(ahead)
            await caller.send(payload)
    await asyncio.sleep(begun + len(payloads) * FRAME_S - time.monotonic())
