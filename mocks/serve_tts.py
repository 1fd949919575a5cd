"""Servers that hum: Fish Speech's `/v1/tts`, and `/v1/audio/speech` as vLLM-Omni has it.

Sources: fish-speech tools/server (one request at a time, which nothing stops; health waits; raw
PCM called audio/wav; strict floats; its error bodies), vLLM-Omni docs/serving/speech_api.md.
"""

import asyncio
import contextlib
import hmac
import random
import socket
import struct
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from aiohttp import web

MS_PER_CHAR = 65.0
AMPLITUDE = 8000
FISH_RATE_HZ = 44_100

FaultKind = Literal[
    "hang_up", "hang", "slow", "error", "busy", "html", "stall", "reset", "cut", "drip",
    "malformed", "error_event", "unended", "short", "long", "silence", "noise", "stuck",
    "clipped", "odd", "empty", "float", "wav", "mp3",
]  # fmt: skip


class TtsFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    hang_up      the connection is closed instead of an answer
    hang         accepted, never answered
    slow         the first byte takes `factor` times as long
    error, busy  500; 429 with Retry-After
    html         200 and a web page
    stall        nothing more comes behind `at_s` of audio
    reset        RST there
    cut          the connection is closed there, in the middle of a chunk
    drip         from there a byte a second
    malformed    an event that is neither JSON nor UTF-8, or bytes that are no audio
    error_event  `speech.audio.error` there; unended: no `speech.audio.done`
    short … mp3  what the audio is; `float` has NaN in it, `odd` ends in half a sample
    """

    kind: FaultKind
    request: int = 1
    """The request it begins with, counted from 1; 0: every request."""
    times: int = 1
    at_s: float = 0.3
    factor: float = 20.0
    retry_after: str = "1"

    def concerns(self, request: int) -> bool:
        return self.request == 0 or self.request <= request < self.request + self.times


class TtsServer(ABC):
    """What both have.

    Args:
        latency_ms: From the request to the first byte, and 0..jitter_ms on top.
        rtf: Seconds of work for a second of audio.
        piece_ms: Audio sent at a time.
        api_key: Asked for on every route, if there is one.
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
        self.rate_hz = rate_hz
        self.latency_ms = latency_ms
        self.jitter_ms = jitter_ms
        self.rtf = rtf
        self.piece_ms = piece_ms
        self.faults = tuple(faults)
        self.requests = 0
        self.running = 0
        """Requests that have not been answered to the end."""
        self.finished = 0
        self.aborted = 0
        """Given up by the client."""
        self.bodies: list[dict[str, Any]] = []
        """Of the last hundred requests, decoded."""
        self.url = ""
        self._api_key = api_key
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._app = web.Application(middlewares=[self._guard])
        self._app.router.add_get("/mock/state", self._state)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        # Without handler_cancellation an abandoned request would run on until its next write.
        self._runner = web.AppRunner(
            self._app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()
        address = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> "TtsServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def refuse(self) -> None:
        """No port is open any more, and no connection."""
        assert self._site is not None
        await self._site.stop()
        self._site = None
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def reopen(self) -> None:
        """At the same address."""
        assert self._runner is not None
        host, _, port = self.url.removeprefix("http://").partition(":")
        self._site = web.TCPSite(self._runner, host, int(port))
        await self._site.start()

    @property
    def connections(self) -> int:
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        is_open = not self._api_key or request.path.startswith("/mock")
        if not is_open and not hmac.compare_digest(sent, f"Bearer {self._api_key}"):
            return self._failure(401, "Invalid token")
        response: web.StreamResponse = await handler(request)
        return response

    @abstractmethod
    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        """In the words of this server."""

    async def _state(self, _: web.Request) -> web.Response:
        counts = ("requests", "running", "finished", "aborted", "connections")
        return web.json_response({name: getattr(self, name) for name in counts})

    def _begin(self) -> TtsFault | None:
        self.requests += 1
        for fault in self.faults:
            if fault.concerns(self.requests):
                return fault
        return None

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
                return _hang_up(request)
            case "hang":
                await asyncio.Event().wait()
            case "error":
                return self._failure(500, "CUDA out of memory")
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
                return _reset(request)
            case "cut":
                return await _cut(request)
            case "drip":
                for value in body[stops_at:]:
                    await response.write(bytes([value]))
                    await asyncio.sleep(1.0)
            case "malformed":
                await response.write(b"data: {\xff\xfe\n\n" if end else b"\xff")
            case "error_event":
                end = _event("speech.audio.error", error={"message": "it broke", "code": 500})
            case "unended":
                end = b""
        if end:
            await response.write(end)
        await response.write_eof()
        return response

    async def _counted(self, request: web.Request, work: Any) -> web.StreamResponse:
        self.running += 1
        try:
            response: web.StreamResponse = await work
            self.finished += 1
            return response
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        except ConnectionResetError:
            self.aborted += 1
            return _hang_up(request)
        finally:
            self.running -= 1


class FishServer(TtsServer):
    """Args:
    references: Ids of the voices there are; None: a server without that route, as S1's.
    max_text_length: 0: none.
    """

    def __init__(
        self,
        *,
        references: Iterable[str] | None = (),
        max_text_length: int = 0,
        rtf: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(rate_hz=FISH_RATE_HZ, rtf=rtf, **options)
        self.references = None if references is None else tuple(references)
        self.max_text_length = max_text_length
        self.generating = 0
        """Under way or waiting for it, listened to or not."""
        self.most_at_once = 0
        """Requests that were sent while another was under way, and this one."""
        self._engine = asyncio.Lock()
        router = self._app.router
        router.add_route("*", "/v1/health", self._health)
        router.add_post("/v1/tts", self._tts)
        if self.references is not None:
            router.add_get("/v1/references/list", self._list)

    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        body = {"statusCode": status, "message": message, "error": "Error"}
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(body, status=status, headers=headers)

    async def _health(self, _: web.Request) -> web.Response:
        async with self._engine:  # the loop that would answer is generating
            return web.json_response({"status": "ok"})

    async def _list(self, request: web.Request) -> web.Response:
        body = {"success": True, "reference_ids": list(self.references or ()), "message": "Success"}
        if request.query.get("format") == "json":
            return web.json_response(body)
        return web.Response(body=msgspec.msgpack.encode(body), content_type="application/msgpack")

    async def _tts(self, request: web.Request) -> web.StreamResponse:
        fault = self._begin()
        return await self._counted(request, self._answer(request, fault))

    async def _answer(self, request: web.Request, fault: TtsFault | None) -> web.StreamResponse:
        data = await request.read()
        if (instead := await self._instead(request, fault)) is not None:
            return instead
        if request.content_type not in ("application/json", "application/msgpack"):
            return self._failure(415, f"Unsupported content type {request.content_type}")
        try:
            if request.content_type == "application/json":
                body = msgspec.json.decode(data, type=dict[str, Any])
            else:
                body = msgspec.msgpack.decode(data, type=dict[str, Any])
            self._keep(body)
            asked = msgspec.convert(body, _FishRequest, strict=True)
            _expect_floats(body)
        except msgspec.MsgspecError as error:
            return self._failure(422, str(error))
        if self.max_text_length and len(asked.text) > self.max_text_length:
            limit = self.max_text_length
            return self._failure(400, f"Text is too long, max length is {limit}")
        if asked.streaming and asked.format != "wav":
            return self._failure(400, "Streaming only supports WAV format")
        audio = audio_of(asked.text, self.rate_hz, fault)
        generation = asyncio.create_task(self._generate(len(audio) / 2 / self.rate_hz, fault))
        self._tasks.add(generation)
        generation.add_done_callback(self._tasks.discard)
        await asyncio.shield(generation)
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        return await self._play(request, response, audio, fault)

    async def _generate(self, audio_s: float, fault: TtsFault | None) -> None:
        """Runs to its end, whoever has gone."""
        self.generating += 1
        self.most_at_once = max(self.most_at_once, self.generating)
        try:
            async with self._engine:
                await asyncio.sleep(self._latency_s(fault) + audio_s * self.rtf)
        finally:
            self.generating -= 1


class _FishReference(msgspec.Struct):
    audio: Any
    text: str

    def __post_init__(self) -> None:
        is_base64 = isinstance(self.audio, str) and len(self.audio) > 255
        if not is_base64 and not isinstance(self.audio, bytes):
            raise ValueError("audio: neither bytes nor base64")


class _FishRequest(msgspec.Struct):
    text: str
    chunk_length: int = 200
    format: Literal["wav", "pcm", "mp3", "opus"] = "wav"
    references: list[_FishReference] = []
    reference_id: str | None = None
    seed: int | None = None
    use_memory_cache: Literal["on", "off"] = "off"
    normalize: bool = True
    streaming: bool = False
    max_new_tokens: int = 1024
    top_p: float = 0.8
    repetition_penalty: float = 1.1
    temperature: float = 0.8


def _expect_floats(body: dict[str, Any]) -> None:
    for name in ("top_p", "repetition_penalty", "temperature"):
        if not isinstance(body.get(name, 0.5), float):
            raise msgspec.ValidationError(f"{name}: Input should be a valid number (strict float)")


class SpeechServer(TtsServer):
    """Args:
    model: The one it answers to, and to none.
    voices: Its list; None: a server without that route, as OpenAI's.
    refuses: Fields it complains of, by name.
    content_type: What it calls its PCM; empty: audio/pcm.
    """

    def __init__(
        self,
        *,
        rate_hz: int = 44_100,
        model: str = "mock",
        voices: Iterable[str] | None = ("vivian", "ryan"),
        refuses: Iterable[str] = (),
        content_type: str = "",
        **options: Any,
    ) -> None:
        super().__init__(rate_hz=rate_hz, **options)
        self._model = model
        self.voices = None if voices is None else tuple(voices)
        self._refuses = tuple(refuses)
        self._content_type = content_type
        router = self._app.router
        router.add_get("/v1/models", self._models)
        router.add_post("/v1/audio/speech", self._speech)
        if self.voices is not None:
            router.add_get("/v1/audio/voices", self._list)

    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        body = {"error": {"message": message, "type": "error", "param": None, "code": status}}
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(body, status=status, headers=headers)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._model}]})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"voices": list(self.voices or ()), "uploaded_voices": []})

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        fault = self._begin()
        return await self._counted(request, self._answer(request, fault))

    async def _answer(self, request: web.Request, fault: TtsFault | None) -> web.StreamResponse:
        data = await request.read()
        if (instead := await self._instead(request, fault)) is not None:
            return instead
        try:
            body = msgspec.json.decode(data, type=dict[str, Any])
            self._keep(body)
            asked = msgspec.convert(body, _SpeechRequest)
        except msgspec.MsgspecError as error:
            return self._failure(422, str(error))
        if complaint := self._complaint(body, asked):
            return complaint
        audio = audio_of(asked.input, self.rate_hz, fault, asked.speed)
        await asyncio.sleep(self._latency_s(fault))
        if asked.stream_format == "sse" or (asked.stream and not asked.stream_format):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            end = _event("speech.audio.done", usage={"total_tokens": len(asked.input)})
            return await self._play(request, response, audio, fault, _delta, end)
        kind = self._content_type or "audio/pcm"
        response = web.StreamResponse(headers={"Content-Type": kind})
        return await self._play(request, response, audio, fault)

    def _complaint(self, body: dict[str, Any], asked: "_SpeechRequest") -> web.Response | None:
        for field in self._refuses:
            if field in body:
                return self._failure(400, f"Unrecognized request argument supplied: {field}")
        if asked.model not in ("", self._model):
            return self._failure(404, f"The model `{asked.model}` does not exist.")
        if self.voices is not None and asked.voice and asked.voice not in self.voices:
            return self._failure(400, f"Invalid voice '{asked.voice}'")
        if (asked.stream or asked.stream_format) and asked.speed != 1.0:
            return self._failure(400, "streaming supports speed=1.0 only")
        return None


class _SpeechRequest(msgspec.Struct):
    input: str
    model: str = ""
    voice: str = ""
    response_format: Literal["pcm"] = "pcm"
    speed: float = 1.0
    stream: bool = False
    stream_format: Literal["", "audio", "sse"] = ""


def audio_of(text: str, rate_hz: int, fault: TtsFault | None = None, speed: float = 1.0) -> bytes:
    """s16le: a hum that swells with each syllable, as long as an English speaker takes."""
    seconds = len(text) * MS_PER_CHAR / 1000 / speed
    kind = fault.kind if fault is not None else ""
    seconds = {"short": 0.02, "long": 30 * seconds + 10, "empty": 0.0}.get(kind, seconds)
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    hum = np.sin(2 * np.pi * 180 * at) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at))
    match kind:
        case "silence":
            hum = np.zeros_like(at)
        case "stuck":
            hum = np.ones_like(at)
        case "clipped":
            hum = np.sign(hum) * 32767 / AMPLITUDE
        case "noise" | "mp3":
            noise = np.random.default_rng(0).integers(-32768, 32767, len(at), np.int16).tobytes()
            return (b"ID3\x04" if kind == "mp3" else b"") + noise
        case "float":
            return (hum * np.where(at > 0.2, np.nan, 0.5)).astype("<f4").tobytes()
    pcm: bytes = (hum * AMPLITUDE).astype("<i2").tobytes()
    if kind == "odd":
        return pcm[:-1]
    return wav_header(len(pcm), rate_hz) + pcm if kind == "wav" else pcm


def wav_header(size: int, rate_hz: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(head) + size) + head


def _delta(pcm: bytes) -> bytes:
    return _event("speech.audio.delta", audio=b64encode(pcm).decode(), response_format="pcm")


def _event(kind: str, **fields: Any) -> bytes:
    body = msgspec.json.encode({"type": kind, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _reset(request: web.Request) -> web.StreamResponse:
    """Ends the connection with RST, not FIN."""
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return _hang_up(request)


async def _cut(request: web.Request) -> web.StreamResponse:
    """A chunk of 4096 bytes is announced, ten come, then the connection is closed in good order."""
    if request.transport is not None:
        request.transport.write(b"1000\r\n" + bytes(10))
        request.transport.close()
    await asyncio.sleep(0)
    return web.Response()
