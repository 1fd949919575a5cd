"""Servers that hum: Fish Speech's `/v1/tts`, and `/v1/audio/speech` as vLLM-Omni has it.

Sources: fish-speech tools/server (one request at a time, which nothing stops; health waits; raw
PCM called audio/wav; strict floats; its error bodies), vLLM-Omni docs/serving/speech_api.md.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from aiohttp import web

from mocks.http_server import nothing_to_say
from mocks.tts_audio import FISH_RATE_HZ, FaultKind, TtsFault, audio_of, wav_header
from mocks.tts_server import TtsServer, sse_event

__all__ = [
    "FISH_RATE_HZ",
    "FaultKind",
    "FishServer",
    "SpeechServer",
    "TtsFault",
    "TtsServer",
    "audio_of",
    "wav_header",
]


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
        self._generations: set[asyncio.Task[None]] = set()
        router = self._app.router
        self._add_liveness("/v1/health", self._health, "*")
        router.add_post("/v1/tts", self._counted(self._answer))
        if self.references is not None:
            router.add_get("/v1/references/list", self._list)

    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        body = {"statusCode": status, "message": message, "error": "Error"}
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(body, status=status, headers=headers)

    async def aclose(self) -> None:
        for task in self._generations:
            task.cancel()
        await asyncio.gather(*self._generations, return_exceptions=True)
        await super().aclose()

    def _unwell(self, status: int) -> web.Response:
        return self._failure(status, "Service Unavailable")

    async def _health(self, _: web.Request) -> web.Response:
        async with self._engine:  # the loop that would answer is generating
            return web.json_response({"status": "ok"})

    async def _list(self, request: web.Request) -> web.Response:
        body = {"success": True, "reference_ids": list(self.references or ()), "message": "Success"}
        if request.query.get("format") == "json":
            return web.json_response(body)
        return web.Response(body=msgspec.msgpack.encode(body), content_type="application/msgpack")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self._next_fault()
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
        self._generations.add(generation)
        generation.add_done_callback(self._generations.discard)
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
        self._add_liveness("/health", nothing_to_say)
        router.add_post("/v1/audio/speech", self._counted(self._answer))
        if self.voices is not None:
            router.add_get("/v1/audio/voices", self._list)

    def _failure(self, status: int, message: str, retry_after: str = "") -> web.Response:
        body = {"error": {"message": message, "type": "error", "param": None, "code": status}}
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response(body, status=status, headers=headers)

    def _is_open(self, path: str) -> bool:
        return not path.startswith("/v1")

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._model}]})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"voices": list(self.voices or ()), "uploaded_voices": []})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self._next_fault()
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
            end = sse_event("speech.audio.done", usage={"total_tokens": len(asked.input)})
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


def _delta(pcm: bytes) -> bytes:
    return sse_event("speech.audio.delta", audio=b64encode(pcm).decode(), response_format="pcm")
