"""`POST /v1/audio/speech`: vLLM-Omni, SGLang-Omni, OpenAI, LocalAI, Kokoro-FastAPI …

Bare s16le, as it is made ("audio") or base64 in server-sent events ("sse"). The answer's
Content-Type decides how it is read, since some servers send the one where the other was asked for.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from providers._http import own_words
from providers._openai_health import CHECK_EVERY_S, PAID_CHECK_EVERY_S, OpenAIHealth
from providers._ping import PING_S
from providers._said import Complaint, all_words, complaints
from providers._tts_events import SseAudio
from providers._tts_probe import CHECK_TEXT, FRESH_S, SpeechProbe
from providers._tts_reply import Decoder, SpeechReply
from providers._tts_sanity import AudioCheck, PcmBody
from providers._tts_server import VARIABLE, SpeechServer
from providers._tts_speech_request import SpeechRequests, StreamMode, names
from providers.base import (
    Fault,
    NoNews,
    ProviderError,
    ProviderInfo,
    Slot,
    SpeechAudio,
    SpeechEvent,
)

KNOCK_S = 2.0
"""For a list; PING_S at a server of one's own that has spoken: if it hangs, that is soon told."""
_NAME = "speech_api"
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
    paid: Whether requests cost money, so that checks are rare; None: told by the address.
    first_audio_s: From the request to the first audio.
    audio_gap_s: From piece to piece of the audio.
    first_word_s: Instead of `first_audio_s`, for our own word at a server that has not spoken.
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
        stream: StreamMode = "audio",
        rate_hz: int = 44_100,
        extra: Mapping[str, Any] | None = None,
        paid: bool | None = None,
        first_audio_s: float = 5.0,
        audio_gap_s: float = 3.0,
        first_word_s: float = 120.0,
        connect_s: float = 2.0,
        probe_every_s: float = FRESH_S,
    ) -> None:
        if not 8000 <= rate_hz <= 96_000:
            raise ValueError(f"rate_hz must be 8000..96000, got {rate_hz}")
        self._server = SpeechServer(
            _NAME,
            endpoint,
            "/audio/speech",
            "a server with /v1/audio/speech",
            api_key=api_key,
            connect_s=connect_s,
        )
        self._health = OpenAIHealth(
            self._server.calls,
            self._server.failures,
            self._server.root,
            VARIABLE,
            has_key=bool(api_key),
        )
        self._requests = SpeechRequests(model, voice, stream, extra)
        self._model = model
        self._voice = voice
        self._rate_hz = rate_hz
        self._paid = paid
        self._first_audio_s = first_audio_s
        self._audio_gap_s = audio_gap_s
        self._first_word_s = max(first_word_s, first_audio_s)
        self._probe = SpeechProbe(probe_every_s)
        self._voices: dict[str, str] | None = None
        """Of the server's list, by their names in small letters; None: not asked yet."""

    @property
    def info(self) -> ProviderInfo:
        model = self._model or self._voice
        return ProviderInfo(slot=Slot.TTS, provider=_NAME, endpoint=self._server.root, model=model)

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    @property
    def is_paid(self) -> bool:
        return self._health.is_paid if self._paid is None else self._paid

    @property
    def check_every_s(self) -> float:
        """How often check() may be called."""
        return PAID_CHECK_EVERY_S if self.is_paid else CHECK_EVERY_S

    @property
    def ping(self) -> Callable[[], Awaitable[None]] | None:
        """Raises if the server is not there, or not well, NoNews where our own requests may keep it
        from answering; None for one that is paid for.
        """
        return None if self.is_paid else self._ping

    async def start(self) -> None:
        """Returns when the server is there, has our voice and has said a word.

        Raises within 10 s else. A word that takes longer goes on: the next checks wait for it.
        """
        with contextlib.suppress(NoNews):
            await self.check()

    async def check(self) -> None:
        """Whether the server answers at all; where no speech came lately, whether it speaks.

        Raises NoNews where our own requests may be what keeps it from answering.
        """
        began = asyncio.get_running_loop().time()
        try:
            self._health.learn(await self._owners())
            if self._voices is None:
                self._voices = await self._offered()
        except ProviderError as error:
            self._miss(error)
            if error.fault is not Fault.TIMEOUT or not self._health.excuses(began):
                raise
            if not self._probe.is_asking and not self._health.work.has_spoken(began):
                raise NoNews from None
        if self._probe.is_asking or self._probe.is_due(asyncio.get_running_loop().time()):
            await self._probe.ask(self._word, self._server.failures.make)

    async def aclose(self) -> None:
        await self._probe.aclose()
        await self._server.aclose()

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. A voice that is not in the server's list is not asked for."""
        return self._speak(text, voice, speed, self._first_audio_s)

    def _word(self) -> AsyncGenerator[SpeechEvent, None]:
        first_s = self._first_word_s if self._probe.is_cold else self._first_audio_s
        return self._speak(CHECK_TEXT, "", 1.0, first_s)

    async def _speak(
        self, text: str, voice: str, speed: float, first_s: float
    ) -> AsyncGenerator[SpeechEvent, None]:
        if not 0.25 <= speed <= 4:
            raise self._server.failures.make(Fault.REFUSED, f"speed must be 0.25..4, got {speed}")
        if not text.strip():
            return
        loop, work = asyncio.get_running_loop(), self._health.work
        try:
            with work.going_on():
                reply = await self._open(text, voice, speed, first_s)
                try:
                    while pcm := await reply.next():
                        self._probe.succeeded(loop.time())
                        work.heard(loop.time())
                        yield SpeechAudio(pcm)
                finally:
                    reply.close()
        except ProviderError:
            self._probe.doubted(loop.time())
            raise

    async def _open(self, text: str, voice: str, speed: float, first_s: float) -> SpeechReply:
        """The audio that is to come; the request is sent again without what is complained of."""
        first_by = asyncio.get_running_loop().time() + first_s
        requests, known = self._requests, self._voices or {}
        while True:
            body = requests.body(text, known.get(voice.lower(), ""), speed)
            response, refusal = await self._server.ask(
                body, "application/json", first_by=first_by, first_s=first_s
            )
            if refusal is None:
                break
            told = complaints(refusal, own_words(response))
            if not requests.learned_from(response.status, told, speed):
                raise self._server.refusal(response, refusal, self._hint(response.status, told))
        try:
            obeyed = speed if requests.obeys_speed else 1.0
            return SpeechReply(
                response,
                self._decoder(response),
                AudioCheck(text, self._rate_hz, speed=obeyed),
                self._server.failures,
                first_by=first_by,
                first_s=first_s,
                gap_s=self._audio_gap_s,
            )
        except ProviderError:
            response.close()
            raise

    def _hint(self, status: int, told: list[Complaint]) -> str:
        said = all_words(told).lower()
        return "".join(
            f"; set TTS_{field.upper()}"
            for field, value in (("model", self._model), ("voice", self._voice))
            if 400 <= status < 500 and not value and names(said, field)
        )

    def _decoder(self, response: aiohttp.ClientResponse) -> Decoder:
        told = _RATE.search(response.headers.get("Content-Type", ""))
        if told and int(told[1]) != self._rate_hz:
            raise self._server.failures.make(
                Fault.REFUSED,
                f"it speaks at {told[1]} Hz instead of {self._rate_hz} Hz: set TTS_RATE_HZ to it",
            )
        if response.content_type == "text/event-stream":
            return SseAudio(self._rate_hz)
        return PcmBody(self._rate_hz)

    async def _ping(self) -> None:
        try:
            await self._health.ping()
        except ProviderError as error:
            self._miss(error)
            raise

    def _miss(self, error: ProviderError) -> None:
        """Whoever comes back may have other voices, and has to warm up again."""
        if error.fault is Fault.UNREACHABLE:
            self._voices = None
            self._probe.is_cold = True

    @property
    def _list_s(self) -> float:
        return KNOCK_S if self._probe.is_cold or self.is_paid else PING_S

    async def _owners(self) -> list[str]:
        """Of the server's models; none where it has no list."""
        answer = await self._server.get("/models", self._list_s)
        try:
            return [model.owned_by for model in msgspec.json.decode(answer.body, type=_Models).data]
        except ValueError:
            return []

    async def _offered(self) -> dict[str, str]:
        """The server's list, where there is one; raises if our voice is not in it."""
        answer = await self._server.get("/audio/voices", self._list_s)
        try:
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            offered = msgspec.json.decode(answer.body, type=_VoiceList)
        except ValueError:
            return {}
        listed = [one if isinstance(one, str) else one.name or one.id for one in offered.voices]
        known = {name.lower(): name for name in listed if name}
        mixed = "+" in self._voice or "(" in self._voice  # Kokoro-FastAPI's "af_bella(2)+af_sky"
        if self._voice and known and self._voice.lower() not in known and not mixed:
            shown = ", ".join(listed[:10]) + (" …" if len(listed) > 10 else "")
            raise self._server.failures.make(
                Fault.REFUSED,
                f"no voice {self._voice!r} at {self._server.root}; set TTS_VOICE to one of: "
                f"{shown}",
            )
        return known


class _Model(msgspec.Struct):
    owned_by: str = ""


class _Models(msgspec.Struct):
    data: list[_Model]


class _Voice(msgspec.Struct):
    name: str = ""
    id: str = ""


class _VoiceList(msgspec.Struct):
    voices: list[str | _Voice]
