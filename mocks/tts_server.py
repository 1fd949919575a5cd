"""How a mock server of speech sends its audio, and what goes wrong between it and its client."""

import asyncio
import random
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from mocks.http_server import HttpServer
from mocks.tts_audio import TtsFault
from mocks.wire_faults import WireFault, hang_up, reset


class TtsServer(HttpServer[TtsFault]):
    """Args:
    latency_ms: From the request to the first byte, and 0..jitter_ms on top.
    rtf: Seconds of work for a second of audio.
    piece_ms: Audio sent at a time.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        latency_ms: float = 50.0,
        jitter_ms: float = 0.0,
        rtf: float = 0.05,
        piece_ms: float = 100.0,
        api_key: str = "",
        faults: Iterable[TtsFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(TtsFault, api_key=api_key)
        self.rate_hz = rate_hz
        self.latency_ms = latency_ms
        self.jitter_ms = jitter_ms
        self.rtf = rtf
        self.piece_ms = piece_ms
        self.faults = tuple(faults)
        """May be replaced; requests go on counting."""
        self.bodies: list[dict[str, Any]] = []
        """Of the last hundred requests, decoded."""
        self._random = random.Random(seed)

    @abstractmethod
    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        """In the words of this server."""

    def _unauthorized(self) -> web.Response:
        return self._failure(401, "Invalid token")

    def _set_faults(self, *faults: TtsFault) -> None:
        self.faults = faults

    def _lasting_fault(self) -> WireFault | None:
        for fault in self.faults:
            if fault.request == 0:
                match fault.kind:
                    case "hang":
                        return WireFault(kind="hang")
                    case "hang_up" | "reset":
                        return WireFault(kind="reset")
                    case "error":
                        return WireFault(kind="status", status=fault.status)
        return None

    def _next_fault(self) -> TtsFault | None:
        """Of the request that begins now."""
        return next((fault for fault in self.faults if fault.concerns(self.requests)), None)

    def _keep(self, body: dict[str, Any]) -> None:
        self.bodies = [*self.bodies[-99:], body]

    def _latency_s(self, fault: TtsFault | None) -> float:
        delay_ms = self.latency_ms + self._random.uniform(0, self.jitter_ms)
        if fault is not None and fault.kind == "slow":
            delay_ms *= fault.factor
        return delay_ms / 1000

    async def _instead(
        self, request: web.Request, fault: TtsFault | None
    ) -> web.StreamResponse | None:
        """The answer of a request that never comes to audio."""
        match fault.kind if fault is not None else "":
            case "hang_up":
                return hang_up(request)
            case "hang":
                await asyncio.Event().wait()
            case "error" if fault is not None:
                return self._failure(fault.status, "CUDA out of memory")
            case "busy" if fault is not None:
                return self._failure(429, "Too many requests", fault.retry_after)
            case "html":
                return web.Response(text="<html>It works!</html>", content_type="text/html")
        return None

    async def _play(
        self,
        request: web.Request,
        response: web.StreamResponse,
        body: bytes,
        fault: TtsFault | None,
        frame: Callable[[bytes], bytes] = bytes,
        end: bytes = b"",
    ) -> web.StreamResponse:
        """The body in pieces, as fast as they are made, with what goes wrong in mid-stream."""
        await response.prepare(request)
        size = max(2, 2 * int(self.rate_hz * self.piece_ms / 1000))
        stops_at = len(body)
        if fault is not None and fault.kind in ("stall", "reset", "cut", "drip", "error_event"):
            stops_at = min(stops_at, 2 * int(fault.at_s * self.rate_hz))
        for start in range(0, stops_at, size):
            piece = body[start : min(start + size, stops_at)]
            await response.write(frame(piece))
            await asyncio.sleep(len(piece) / 2 / self.rate_hz * self.rtf)
        match fault.kind if fault is not None else "":
            case "stall":
                await asyncio.Event().wait()
            case "reset":
                reset(request)
                return web.Response()
            case "cut":
                return await _cut(request)
            case "drip":
                for value in body[stops_at:]:
                    await response.write(bytes([value]))
                    await asyncio.sleep(1.0)
            case "malformed":
                await response.write(b"data: {\xff\xfe\n\n" if end else b"\xff")
            case "error_event":
                end = sse_event("speech.audio.error", error={"message": "it broke", "code": 500})
            case "unended":
                end = b""
        if end:
            await response.write(end)
        await response.write_eof()
        return response


def sse_event(kind: str, **fields: Any) -> bytes:
    body = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


async def _cut(request: web.Request) -> web.StreamResponse:
    """A chunk of 4096 bytes is announced, ten come, then the connection is closed in good order."""
    if request.transport is not None:
        request.transport.write(b"1000\r\n" + bytes(10))
        request.transport.close()
    await asyncio.sleep(0)
    return web.Response()
