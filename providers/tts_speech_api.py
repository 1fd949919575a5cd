"""`POST /v1/audio/speech`: vLLM-Omni, SGLang-Omni, OpenAI, LocalAI, Kokoro-FastAPI …

Bare s16le, as it is made ("audio") or base64 in server-sent events ("sse"). The answer's
Content-Type decides how it is read, since some servers send the one where the other was asked for.

    field                    who does not take it
    stream, stream_format    OpenAI's tts-1 takes no "sse"; others may not know the one or the other
    speed                    vLLM-Omni streams at 1.0 only

Fields that a server complains of by name are left out from then on.
"""

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

import aiohttp
import msgspec
import structlog

from providers._http import (
    Failures,
    api_root,
    check_key,
    error_message,
    fault_of_status,
    open_session,
)
from providers._sse import SseParser
from providers._tts_http import (
    CHECK_S,
    CHECK_TEXT,
    FRESH_S,
    Decoder,
    ReportedError,
    SpeechProbe,
    SpeechReply,
    body_of,
    close_session,
    fetch,
    late_start,
    request,
    words_of,
)
from providers._tts_sanity import AudioCheck, PcmBody, UnsoundError
from providers.base import Fault, ProviderError, ProviderInfo, Slot, SpeechAudio, SpeechEvent

log = structlog.get_logger(__name__)

KNOCK_S = 2.0
_NAME = "speech_api"
_VARIABLE = "TTS_ENDPOINT"
_OPTIONAL = ("stream_format", "stream", "speed")
_RATE = re.compile(r"rate=(\d+)")


class SpeechApiTTS:
    """Args:
    endpoint: Address with or without `/v1` or `/v1/audio/speech`.
    model: As the server calls it; empty: not sent, for servers with one model.
    voice: As the server calls it; empty: not sent.
    api_key: Sent as a bearer token; never logged, never in an error.
    stream: How the audio is asked for.
    rate_hz: Of the server's PCM, which does not tell it: 44100 for Fish S2, 24000 for OpenAI,
        Kokoro and Qwen3-TTS.
    extra: Further fields of the body, e.g. {"task_type": "Base", "ref_audio": …} for vLLM-Omni.
    first_audio_s: From the request to the first audio.
    audio_gap_s: From piece to piece of the audio.
    connect_s: For the TCP and TLS connection.
    probe_every_s: How long a success is believed before check() asks for a word.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str = "",
        voice: str = "",
        api_key: str = "",
        stream: Literal["audio", "sse"] = "audio",
        rate_hz: int = 44_100,
        extra: Mapping[str, Any] | None = None,
        first_audio_s: float = 5.0,
        audio_gap_s: float = 3.0,
        connect_s: float = 2.0,
        probe_every_s: float = FRESH_S,
    ) -> None:
        check_key(api_key, "TTS_API_KEY")
        if not 8000 <= rate_hz <= 96_000:
            raise ValueError(f"rate_hz must be 8000..96000, got {rate_hz}")
        self._root = api_root(endpoint, _VARIABLE, "/audio/speech")
        self._model = model
        self._voice = voice
        self._api_key = api_key
        self._stream = stream
        self._rate_hz = rate_hz
        self._extra = dict(extra or {})
        self._first_audio_s = first_audio_s
        self._audio_gap_s = audio_gap_s
        self._connect_s = connect_s
        self._probe = SpeechProbe(probe_every_s)
        self._failures = Failures(Slot.TTS, _NAME, self._root, _VARIABLE, api_key)
        self._session: aiohttp.ClientSession | None = None
        self._voices: dict[str, str] = {}
        """Of the server's list, by their names in small letters."""
        self._unwanted: set[str] = set()
        """Fields that this server complained of."""

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(
            slot=Slot.TTS, provider=_NAME, endpoint=self._root, model=self._model or self._voice
        )

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    async def start(self) -> None:
        """Checks the voice's name where the server has a list, and that it speaks."""
        await self._check_voice()
        await self.check()

    async def check(self) -> None:
        """Whether the server answers at all; where no speech came lately, whether it speaks."""
        await fetch(self._opened(), self._failures, self._root + "/models", KNOCK_S)
        loop = asyncio.get_running_loop()
        if not self._probe.is_due(loop.time()):
            return
        try:
            async with asyncio.timeout(CHECK_S):
                stream = self.stream(CHECK_TEXT)
                try:
                    async for _ in stream:
                        pass
                finally:
                    await stream.aclose()
        except TimeoutError:
            slow = late_start(self._failures, CHECK_S)
            self._probe.failed(loop.time(), slow)
            raise slow from None
        except ProviderError as error:
            self._probe.failed(loop.time(), error)
            raise

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await close_session(session)

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. A voice that is not in the server's list is not asked for."""
        if not 0.25 <= speed <= 4:
            raise self._failures.make(Fault.REFUSED, f"speed must be 0.25..4, got {speed}")
        if not text.strip():
            return
        loop = asyncio.get_running_loop()
        first_by = loop.time() + self._first_audio_s
        try:
            response = await self._open(text, voice, speed, first_by)
            try:
                obeyed = 1.0 if "speed" in self._unwanted else speed
                reply = SpeechReply(
                    response,
                    self._decoder(response),
                    AudioCheck(text, self._rate_hz, speed=obeyed),
                    self._failures,
                    first_by=first_by,
                    first_s=self._first_audio_s,
                    gap_s=self._audio_gap_s,
                )
                while pcm := await reply.next():
                    self._probe.succeeded(loop.time())
                    yield SpeechAudio(pcm)
            finally:
                response.close()
        except ProviderError:
            self._probe.doubted(loop.time())
            raise

    async def _open(
        self, text: str, voice: str, speed: float, first_by: float
    ) -> aiohttp.ClientResponse:
        """A response with audio."""
        while True:
            fields = self._fields(text, voice, speed)
            try:
                async with asyncio.timeout_at(first_by):
                    response = await self._post(fields)
                    if response.status == 200 and response.content_type not in (
                        "application/json",
                        "text/html",
                    ):
                        return response
                    try:
                        body = await body_of(response)
                    finally:
                        response.release()
            except TimeoutError:
                raise late_start(self._failures, self._first_audio_s) from None
            if not self._learned_from(response, body, fields):
                raise self._refusal(response, body)

    async def _post(self, fields: dict[str, Any]) -> aiohttp.ClientResponse:
        return await request(
            self._opened(),
            self._failures,
            "POST",
            self._root + "/audio/speech",
            msgspec.json.encode(fields),
            "application/json",
        )

    def _fields(self, text: str, voice: str, speed: float) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "input": text,
            "response_format": "pcm",
            "stream": True,
            "stream_format": self._stream,
        }
        if self._model:
            fields["model"] = self._model
        if name := self._voices.get(voice.lower(), self._voice):
            fields["voice"] = name
        if speed != 1.0:
            fields["speed"] = speed
        left = {name: value for name, value in fields.items() if name not in self._unwanted}
        return left | self._extra

    def _learned_from(
        self, response: aiohttp.ClientResponse, body: bytes, sent: dict[str, Any]
    ) -> bool:
        """Whether it complained of a field that can be left out."""
        if response.status not in (400, 422):
            return False
        complaint = body.decode(errors="replace")
        for field in _OPTIONAL:
            if field in sent and field not in self._extra and _names(complaint, field):
                log.warning("tts_field_not_taken", endpoint=self._root, field=field)
                self._unwanted.add(field)
                return True
        return False

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> ProviderError:
        words = words_of(body)
        if response.status == 200:
            return self._failures.make(
                Fault.BROKEN,
                f"{response.content_type} instead of audio ({words}): is {_VARIABLE} the address "
                "of a server with /v1/audio/speech?",
            )
        for field, value in (("model", self._model), ("voice", self._voice)):
            if 400 <= response.status < 500 and not value and _names(words.lower(), field):
                words += f"; set TTS_{field.upper()}"
        return self._failures.of_status(response, words.encode())

    def _decoder(self, response: aiohttp.ClientResponse) -> Decoder:
        kind = response.headers.get("Content-Type", "")
        told = _RATE.search(kind)
        if told and int(told[1]) != self._rate_hz:
            raise self._failures.make(
                Fault.REFUSED,
                f"it speaks at {told[1]} Hz instead of {self._rate_hz} Hz: set TTS_RATE_HZ to it",
            )
        if response.content_type == "text/event-stream":
            return SseAudio(self._rate_hz)
        return PcmBody(self._rate_hz)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(api_key=self._api_key, connect_s=self._connect_s)
        return self._session

    async def _check_voice(self) -> None:
        """Learns the server's list, where there is one; raises if our voice is not in it."""
        url = self._root + "/audio/voices"
        response, body = await fetch(self._opened(), self._failures, url, KNOCK_S)
        try:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            offered = msgspec.json.decode(body, type=_VoiceList)
        except ValueError:
            return
        names = [one if isinstance(one, str) else one.name or one.id for one in offered.voices]
        self._voices = {name.lower(): name for name in names if name}
        mixed = "+" in self._voice or "(" in self._voice  # Kokoro-FastAPI's "af_bella(2)+af_sky"
        if self._voice and self._voices and self._voice.lower() not in self._voices and not mixed:
            known = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
            raise self._failures.make(
                Fault.REFUSED,
                f"no voice {self._voice!r} at {self._root}; set TTS_VOICE to one of: {known}",
            )


class SseAudio:
    """`speech.audio.delta` … `speech.audio.done`, or `speech.audio.error`."""

    def __init__(self, rate_hz: int) -> None:
        self._parser = SseParser(max_event_bytes=8 << 20)
        self._body = PcmBody(rate_hz)
        self.is_done = False

    def feed(self, data: bytes) -> bytes:
        try:
            events = [
                _decode_event(payload)
                for payload in self._parser.feed(data)
                if payload != b"[DONE]"
            ]
        except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
            raise UnsoundError(f"no event of a speech stream: {error}") from None
        return b"".join(self._audio_of(event) for event in events)

    def end(self) -> bytes:
        if not self.is_done:
            raise UnsoundError("the stream ended without speech.audio.done")
        return self._body.end()

    def _audio_of(self, event: "_Event") -> bytes:
        if event.error is not None or event.type == "speech.audio.error":
            raise _reported(event.error)
        if event.type == "speech.audio.done":
            self.is_done = True
        if event.type != "speech.audio.delta" or not event.audio:
            return b""
        if event.response_format not in ("pcm", "wav"):
            raise UnsoundError(f"{event.response_format} instead of pcm")
        try:
            return self._body.feed(b64decode(event.audio, validate=True))
        except ValueError as error:
            if isinstance(error, UnsoundError):
                raise
            raise UnsoundError("the audio of an event is not base64") from None


class _Event(msgspec.Struct):
    type: str = ""
    audio: str = ""
    response_format: str = "pcm"
    error: Any = None


class _Voice(msgspec.Struct):
    name: str = ""
    id: str = ""


class _VoiceList(msgspec.Struct):
    voices: list[str | _Voice]


_decode_event = msgspec.json.Decoder(_Event).decode


def _reported(error: Any) -> ReportedError:
    code = error.get("code") if isinstance(error, dict) else None
    fault = fault_of_status(code) if isinstance(code, int) else Fault.BROKEN
    return ReportedError(fault, f"the server reports: {error_message(error)}")


def _names(text: str, field: str) -> bool:
    return re.search(rf"\b{field}\b", text) is not None
