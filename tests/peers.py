"""A WebRTC call in one process: our Peer on scripted providers, and aiortc's own client.

    async with call() as (peer, client):
        client.loud = True       its microphone, 20 ms frames in real time
        client.events            (seconds, event) as they came on `oai-events`
        client.heard             (seconds, loudness) of each frame it was given to play
        client.deaf = True       its network is gone: nothing leaves, nothing arrives

What the client does with packets is aiortc's: its jitter buffer holds four frames back.
"""

import asyncio
import contextlib
import fractions
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from mocks.vad import LoudnessVAD
from voice import metrics
from voice.answers import Outbox
from voice.carrier import Carrier
from voice.config import Config
from voice.providers import Providers
from voice.session import Session
from voice.transports.webrtc_peer import Peer

LIMIT_S = 10.0
RATE_HZ, SAMPLES = 48_000, 960
LOUD = (9000 * np.sin(2 * np.pi * 250 * np.arange(SAMPLES) / RATE_HZ)).astype("<i2").tobytes()
SILENT = bytes(2 * SAMPLES)
AUDIBLE = 50.0


class Microphone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.loud = False
        self._count = 0
        self._begun = 0.0

    async def recv(self) -> AudioFrame:
        self._begun = self._begun or time.monotonic()
        await asyncio.sleep(self._begun + self._count * 0.02 - time.monotonic())
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.sample_rate, frame.pts = RATE_HZ, self._count * SAMPLES
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        frame.planes[0].update(LOUD if self.loud else SILENT)
        self._count += 1
        return frame


class Client:
    def __init__(self, *, channel: bool = True, microphone: bool = True) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = Microphone()
        self.begun = time.monotonic()
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.heard: list[tuple[float, float]] = []
        self._playing: asyncio.Task[None] | None = None
        self.pc.addTransceiver(self.microphone if microphone else "audio")
        self.channel: RTCDataChannel | None = None
        if channel:
            self.channel = self.pc.createDataChannel("oai-events")
            self.channel.on("message", self._take)
        self.pc.on("track", self._play)

    def _take(self, message: str) -> None:
        self.events.append((self.now, json.loads(message)))

    def _play(self, track: MediaStreamTrack) -> None:
        self._playing = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                samples = frame.to_ndarray().astype(float)
                self.heard.append((self.now, float(np.sqrt((samples**2).mean()))))

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    @property
    def now(self) -> float:
        return time.monotonic() - self.begun

    def send(self, kind: str, **fields: Any) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps({"type": kind, **fields}))

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for _, event in self.events]

    def last_heard(self) -> float:
        """When the last frame with sound in it came; 0: none has."""
        return max((at for at, level in self.heard if level > AUDIBLE), default=0.0)

    @property
    def levels(self) -> list[float]:
        return [level for _, level in self.heard]

    @property
    def ice(self) -> Any:
        return self.pc.getTransceivers()[0].receiver.transport.transport._connection

    def cut_off(self) -> None:
        """Its network is gone, without a word."""
        for protocol in self.ice._protocols:
            protocol.datagram_received = lambda data, address: None
            protocol.transport = _Nowhere(protocol.transport)

    def come_back(self) -> None:
        for protocol in self.ice._protocols:
            del protocol.datagram_received
            protocol.transport = protocol.transport.real

    async def aclose(self) -> None:
        await self.pc.close()
        if self._playing is not None:
            await self._playing


class _Nowhere:
    def __init__(self, real: Any) -> None:
        self.real = real

    def sendto(self, data: bytes, address: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class House:
    """Makes sessions on scripted providers, and is told which peers have gone."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.gone: list[tuple[int, str]] = []
        self.llm, self.stt = EchoLLM(), EchoSTT()

    def new_session(self, outbox: Outbox, carrier: Carrier) -> Session:
        session = Session(
            f"sess_{len(self.sessions):010}",
            config=Config(),
            providers=Providers(LoudnessVAD(), self.stt, self.llm, ToneTTS(), None),
            outbox=outbox,
            figures=metrics.Figures(),
            now=time.monotonic,
            carrier=carrier,
        )
        self.sessions.append(session)
        return session

    def peer(self, settings: dict[str, Any] | None = None, **more: Any) -> Peer:
        return Peer(
            new_session=self.new_session,
            settings=settings,
            ice_servers=[],
            gone=lambda peer, code, reason: self.gone.append((code, reason)),
            **more,
        )


async def until(holds: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """What `holds` gives, as soon as it is something."""
    ends = time.monotonic() + limit_s
    while not (found := holds()):
        assert time.monotonic() < ends, f"not within {limit_s} s: {what}"
        await asyncio.sleep(0.01)
    return found


@contextlib.asynccontextmanager
async def call(
    house: House | None = None, *, channel: bool = True, microphone: bool = True, **more: Any
) -> AsyncIterator[tuple[Peer, Client]]:
    """Connected, and its first event there."""
    peer = (house or House()).peer(**more)
    client = Client(channel=channel, microphone=microphone)
    try:
        await client.take(await peer.answer(await client.offer()))
        await until(lambda: peer.connected, "the peer is connected")
        if channel:
            await until(lambda: client.events, "the first event")
        yield peer, client
    finally:
        await client.aclose()
        await peer.aclose()
