"""A WebRTC server with nothing but media, for comparing libraries: each peer hears, and is heard.

    python -m tests.webrtc.engine aiortc|wrtc

    POST /        SDP → SDP
    GET /stats    frames sent and received over all peers, how late the loop runs

`wrtc` is no dependency of Kaiwa: pip install "wrtc[aiortc]" into an environment of its own.
"""

import argparse
import asyncio
import fractions
import importlib
import time
from typing import Any

import av
import numpy as np
from aiohttp import web

FRAME_S = 0.02
RATE_HZ = 48_000


class Engine:
    def __init__(self, library: Any) -> None:
        self.library = library
        self.peers: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.sent = self.received = 0
        self.heard_rms: list[float] = []
        self.late_ms: list[float] = []
        self.voice = _voice()

    async def offer(self, request: web.Request) -> web.Response:
        library = self.library
        peer = library.RTCPeerConnection(library.RTCConfiguration(iceServers=[]))
        self.peers.add(peer)
        speaker = self._speaker()
        peer.addTrack(speaker)
        peer.on("track", lambda track: self._keep(self._listen(track)))

        async def changed() -> None:
            if peer.connectionState in ("failed", "closed"):
                self.peers.discard(peer)
                await peer.close()

        peer.on("connectionstatechange", changed)
        sdp = await request.text()
        await peer.setRemoteDescription(library.RTCSessionDescription(sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(text=peer.localDescription.sdp, content_type="application/sdp")

    async def stats(self, request: web.Request) -> web.Response:
        late, self.late_ms = sorted(self.late_ms) or [0.0], []
        rms, self.heard_rms = self.heard_rms or [0.0], []
        return web.json_response(
            {
                "peers": len(self.peers),
                "sent": self.sent,
                "received": self.received,
                "heard_rms": round(float(np.mean(rms))),
                "late_p99_ms": round(late[int(len(late) * 0.99)], 1),
            }
        )

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _listen(self, track: Any) -> None:
        while True:
            try:
                frame = await track.recv()
            except self.library.mediastreams.MediaStreamError:
                return
            self.received += 1
            samples = frame.to_ndarray()
            if self.received % 500 == 0:
                self.heard_rms.append(float(np.sqrt(np.mean(samples.astype(np.float32) ** 2))))

    def _speaker(self) -> Any:
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
                block = engine.voice[self.number % len(engine.voice)]
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate = RATE_HZ
                frame.pts = self.number * block.shape[1]
                frame.time_base = fractions.Fraction(1, RATE_HZ)
                self.number += 1
                engine.sent += 1
                return frame

        return Speaker()

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.late_ms.append((time.monotonic() - due) * 1000)


def _voice() -> list[np.ndarray[Any, np.dtype[np.int16]]]:
    """Blocks of 20 ms that cost a coder what speech costs: syllables of a rich, breathy tone."""
    rng = np.random.default_rng(1)
    at = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 120 * n * at) / n for n in range(1, 20))
    wave = (tone + 0.3 * rng.normal(size=len(at))) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at))
    samples = (wave / np.abs(wave).max() * 16_000).astype(np.int16)
    return [block.reshape(1, -1) for block in np.split(samples, 100)]


async def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("library", choices=["aiortc", "wrtc"])
    asked.add_argument("--port", type=int, default=0)
    chosen = asked.parse_args()
    library = importlib.import_module({"wrtc": "webrtc.aiortc"}.get(chosen.library, "aiortc"))
    engine = Engine(library)
    app = web.Application()
    app.add_routes(
        [
            web.post("/", engine.offer),
            web.get("/stats", engine.stats),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", chosen.port)
    await site.start()
    print("ready", runner.addresses[0][1], flush=True)
    await engine.watch()


if __name__ == "__main__":
    asyncio.run(main())
