"""A WebRTC server with nothing but media, for comparing libraries: each peer hears, and is heard.

    python -m tests.webrtc.engine aiortc|wrtc|kaiwa

    POST /        SDP → SDP
    GET /stats    frames sent and received over all peers, how late the loop runs

`kaiwa` is the server's own peer, on aiortc's transports, without a session behind it. `wrtc` is no
dependency of Kaiwa: pip install "wrtc[aiortc]" into an environment of its own.
"""

import argparse
import asyncio
import fractions
import importlib
import time
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

FRAME_S = 0.02
RATE_HZ = 48_000


class Engine:
    """What came and went, over all peers."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        self.peers: set[Any] = set()
        self.sent = self.received = 0
        self.heard_rms: list[float] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.voice = voice(rate_hz)

    async def answer(self, offer: str) -> str:
        raise NotImplementedError

    def hear(self, samples: NDArray[Any]) -> None:
        self.received += 1
        if self.received % 500 == 0:
            self.heard_rms.append(float(np.sqrt(np.mean(samples.astype(np.float32) ** 2))))

    def block(self, number: int) -> NDArray[np.int16]:
        """20 ms of what everybody is told, [n]."""
        self.sent += 1
        return self.voice[number % len(self.voice)]

    def keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class TrackEngine(Engine):
    """A library with aiortc's interface: a task for each track, frames of PyAV."""

    def __init__(self, library: Any) -> None:
        super().__init__()
        self.library = library

    async def answer(self, offer: str) -> str:
        library = self.library
        peer = library.RTCPeerConnection(library.RTCConfiguration(iceServers=[]))
        self.peers.add(peer)
        peer.addTrack(self._speaker())
        peer.on("track", lambda track: self.keep(self._listen(track)))

        async def changed() -> None:
            if peer.connectionState in ("failed", "closed"):
                self.peers.discard(peer)
                await peer.close()

        peer.on("connectionstatechange", changed)
        await peer.setRemoteDescription(library.RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return str(peer.localDescription.sdp)

    async def _listen(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except self.library.mediastreams.MediaStreamError:
                return
            self.hear(frame.to_ndarray())

    def _speaker(self) -> Any:
        from av import AudioFrame

        engine = self

        class Speaker(self.library.MediaStreamTrack):  # type: ignore[misc, name-defined]  # by name
            kind = "audio"

            def __init__(self) -> None:
                super().__init__()
                self.number = 0
                self.begun = 0.0

            async def recv(self) -> Any:
                now = time.monotonic()
                self.begun = self.begun or now
                ahead = self.begun + self.number * FRAME_S - now
                if ahead > 0:
                    await asyncio.sleep(ahead)
                block = engine.block(self.number).reshape(1, -1)
                frame = AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate = RATE_HZ
                frame.pts = self.number * block.shape[1]
                frame.time_base = fractions.Fraction(1, RATE_HZ)
                self.number += 1
                return frame

        return Speaker()


class PeerEngine(Engine):
    """Our own peer, fed 20 ms every 20 ms, a little ahead, as a session feeds it."""

    def __init__(self) -> None:
        super().__init__(rate_hz=24_000)

    async def answer(self, offer: str) -> str:
        from voice.transports.webrtc_peer import Peer

        made = Peer(
            new_session=lambda outbox, carrier: _Listener(self, outbox),  # type: ignore[arg-type, return-value]  # a session's face
            settings=None,
            ice_servers=[],
            gone=lambda gone, code, reason: self.peers.discard(gone),
        )
        self.peers.add(made)
        return await made.answer(offer)


class _Listener:
    """What a peer takes for its session."""

    def __init__(self, engine: PeerEngine, outbox: Any) -> None:
        self._engine, self._outbox = engine, outbox
        self._open = True

    def open(self, settings: Any) -> None:
        self._engine.keep(self._talk())

    def hear(self, pcm: bytes) -> None:
        self._engine.hear(np.frombuffer(pcm, np.int16))

    def post(self, fact: Any) -> None:
        pass

    async def close(self, code: int, reason: str) -> None:
        self._open = False

    async def _talk(self) -> None:
        from voice.playout import Frame

        begun, number = time.monotonic(), 0
        while self._open:
            while number * FRAME_S < time.monotonic() - begun + 0.1:
                pcm = self._engine.block(number).tobytes()
                self._outbox.sound(None, Frame(pcm=pcm, at_ms=0, turn=0), None)
                number += 1
            await asyncio.sleep(FRAME_S)


def voice(rate_hz: int) -> list[NDArray[np.int16]]:
    """Blocks of 20 ms that cost a coder what speech costs: syllables of a rich, breathy tone."""
    rng = np.random.default_rng(1)
    at = np.arange(2 * rate_hz) / rate_hz
    tone = sum(np.sin(2 * np.pi * 120 * n * at) / n for n in range(1, 20))
    wave = (tone + 0.3 * rng.normal(size=len(at))) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at))
    samples = (wave / np.abs(wave).max() * 16_000).astype(np.int16)
    return list(np.split(samples, 100))


class Lateness:
    """Of the loop, since it was asked last."""

    def __init__(self) -> None:
        self._late_ms: list[float] = []

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self._late_ms.append((time.monotonic() - due) * 1000)

    def p99_ms(self) -> float:
        late, self._late_ms = sorted(self._late_ms) or [0.0], []
        return round(late[int(len(late) * 0.99)], 1)


def application(engine: Engine, lateness: Lateness) -> web.Application:
    async def offer(request: web.Request) -> web.Response:
        answer = await engine.answer(await request.text())
        return web.Response(text=answer, content_type="application/sdp")

    async def stats(request: web.Request) -> web.Response:
        rms, engine.heard_rms = engine.heard_rms or [0.0], []
        return web.json_response(
            {
                "peers": len(engine.peers),
                "sent": engine.sent,
                "received": engine.received,
                "heard_rms": round(float(np.mean(rms))),
                "late_p99_ms": lateness.p99_ms(),
            }
        )

    app = web.Application()
    app.add_routes([web.post("/", offer), web.get("/stats", stats)])
    return app


async def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("library", choices=["aiortc", "wrtc", "kaiwa"])
    asked.add_argument("--host", default="127.0.0.1")
    asked.add_argument("--port", type=int, default=0)
    chosen = asked.parse_args()
    if chosen.library == "kaiwa":
        engine: Engine = PeerEngine()
    else:
        modules = {"aiortc": "aiortc", "wrtc": "webrtc.aiortc"}
        engine = TrackEngine(importlib.import_module(modules[chosen.library]))
    lateness = Lateness()
    runner = web.AppRunner(application(engine, lateness), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, chosen.host, chosen.port).start()
    print("ready", runner.addresses[0][1], flush=True)
    await lateness.watch()


if __name__ == "__main__":
    asyncio.run(main())
