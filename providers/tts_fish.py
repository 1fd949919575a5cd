"""Fish Speech's own server: `POST /v1/tts`, OpenAudio S1 and S2.

    clauses ─▶ our queue, first come first served ─▶ server 0 ─▶ one body per clause
                                                 └─▶ server 1

What its server does and does not, and what follows from it (fish-speech tools/server, S1 and S2):

    one request at a time, /v1/health waits too    one of ours in flight per server
    all audio at once, after the whole text        short clauses; the place is free at first audio
    a cancelled request runs on                    the server is avoided until it would have ended
    an unknown reference_id: another voice, 200    names are checked against its list at start
    no speed                                       `speed` is not obeyed
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any, Literal

import aiohttp
import msgspec
import structlog

from providers._http import Failures, HttpFailure, api_root, check_key, open_session
from providers._tts_http import (
    CHECK_S,
    CHECK_TEXT,
    FRESH_S,
    SpeechProbe,
    SpeechReply,
    body_of,
    close_session,
    fetch,
    late_start,
    request,
    words_of,
)
from providers._tts_places import Places, Work
from providers._tts_sanity import AudioCheck, PcmBody, length_of
from providers.base import Fault, ProviderError, ProviderInfo, Slot, SpeechAudio, SpeechEvent

log = structlog.get_logger(__name__)

RATE_HZ = 44_100
HEALTH_S = 2.0
_NAME = "fish"
_VARIABLE = "TTS_ENDPOINT"
_SHORTEST_BASE64 = 256
"""Shorter strings are taken for something else than audio by the server."""


class Reference(msgspec.Struct, frozen=True):
    """A voice to imitate: a few seconds of speech, as a WAV or MP3 file's bytes, and its words."""

    audio: bytes
    text: str


class FishTTS:
    """Args:
    endpoints: Addresses of server processes, with or without `/v1` or `/v1/tts`.
    api_key: Sent as a bearer token; never logged, never in an error.
    voice: The reference_id of a voice on the server; empty: the model's own.
    encoding: Of the request; msgpack carries references without base64.
    references: Voices sent along with each request.
    temperature, top_p, repetition_penalty, seed, max_new_tokens: As the server has them.
    first_audio_s: From the request to the first audio, our queue included.
    audio_gap_s: From piece to piece of the audio.
    connect_s: For the TCP and TLS connection.
    probe_every_s: How long a success is believed before check() asks for a word.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        api_key: str = "",
        voice: str = "",
        encoding: Literal["msgpack", "json"] = "msgpack",
        references: Sequence[Reference] = (),
        temperature: float = 0.8,
        top_p: float = 0.8,
        repetition_penalty: float = 1.1,
        seed: int | None = None,
        max_new_tokens: int = 1024,
        first_audio_s: float = 5.0,
        audio_gap_s: float = 3.0,
        connect_s: float = 2.0,
        probe_every_s: float = FRESH_S,
    ) -> None:
        check_key(api_key, "TTS_API_KEY")
        if isinstance(endpoints, str) or not endpoints:
            raise ValueError(f"{_VARIABLE} must name at least one server")
        _expect("temperature", temperature, 0.1, 1.0)
        _expect("top_p", top_p, 0.1, 1.0)
        _expect("repetition_penalty", repetition_penalty, 0.9, 2.0)
        self._servers = [_Server(endpoint, api_key) for endpoint in endpoints]
        self._api_key = api_key
        self._voice = voice
        self._encoding = encoding
        # The server tells 1 from 1.0 and refuses the one.
        self._fields: dict[str, Any] = {
            "format": "wav",  # the only one that it streams, and without its header
            "streaming": True,
            "normalize": True,
            "chunk_length": 200,
            "max_new_tokens": max_new_tokens,
            "temperature": float(temperature),
            "top_p": float(top_p),
            "repetition_penalty": float(repetition_penalty),
            "references": [_reference(one, encoding) for one in references],
            "use_memory_cache": "on" if references or voice else "off",
        }
        if seed is not None:
            self._fields["seed"] = seed
        self._first_audio_s = first_audio_s
        self._audio_gap_s = audio_gap_s
        self._connect_s = connect_s
        self._places = Places(len(self._servers))
        self._probe = SpeechProbe(probe_every_s)
        self._session: aiohttp.ClientSession | None = None
        self._voices: frozenset[str] = frozenset()
        """That every server has which told."""

    @property
    def info(self) -> ProviderInfo:
        roots = ", ".join(server.root for server in self._servers)
        return ProviderInfo(slot=Slot.TTS, provider=_NAME, endpoint=roots, model=self._voice)

    @property
    def rate_hz(self) -> int:
        return RATE_HZ

    @property
    def waiting(self) -> int:
        """Clauses in our queue."""
        return self._places.waiting

    async def start(self) -> None:
        """Checks the voice on every server that has a list, and that one of them speaks."""
        await self._check_voice()
        await self.check()

    async def check(self) -> None:
        """Asks idle servers for their health; where no speech came lately, for a word.

        A server that works for us has an excuse for not answering: its health waits, too.
        """
        now = asyncio.get_running_loop().time()
        idle = [i for i in range(len(self._servers)) if self._places.balance.is_idle(i, now)]
        answers = await asyncio.gather(*(self._health(index) for index in idle))
        failures = [failure for failure in answers if failure is not None]
        if failures and len(failures) == len(self._servers):
            raise failures[0]
        if not self._places.balance.running and self._probe.is_due(now):
            await self._say_a_word()

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await close_session(session)

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. Language is the text's; there is no speed.

        Before the first audio a server that fails is replaced by the next one.
        """
        if not text.strip():
            return
        loop = asyncio.get_running_loop()
        first_by = loop.time() + self._first_audio_s
        body = self._encode(text, voice)
        tried: set[int] = set()
        while True:
            index = await self._take_place(first_by, tried)
            tried.add(index)
            is_late = first_by - loop.time() < self._first_audio_s / 2
            work = Work(self._places, index, length_of(text).typical, is_late=is_late)
            try:
                reply, pcm = await self._open(index, body, text, first_by, work)
            except ProviderError as error:
                work.failed(error)
                if error.retryable and len(tried) < len(self._servers) and loop.time() < first_by:
                    log.warning("tts_server_failed", provider=_NAME, error=str(error))
                    continue
                self._probe.doubted(loop.time())
                raise
            except BaseException:
                work.abandoned()
                raise
            break
        try:
            work.succeeded()
            self._probe.succeeded(loop.time())
            while pcm:
                yield SpeechAudio(pcm)
                pcm = await reply.next()
        except ProviderError as error:
            work.failed(error)
            self._probe.doubted(loop.time())
            raise
        finally:
            reply.close()

    async def _take_place(self, first_by: float, tried: Collection[int]) -> int:
        try:
            async with asyncio.timeout_at(first_by):
                return await self._places.take(tried)
        except TimeoutError:
            raise self._overloaded(self._servers[0]) from None

    async def _open(
        self, index: int, body: bytes, text: str, first_by: float, work: Work
    ) -> "tuple[_Reply, bytes]":
        """The reply and its first samples, which come when the server has done its work."""
        server = self._servers[index]
        try:
            async with asyncio.timeout_at(first_by):
                response = await request(
                    self._opened(),
                    server.failures,
                    "POST",
                    server.root + "/tts",
                    body,
                    f"application/{self._encoding}",
                )
        except TimeoutError:
            raise self._late(server, work) from None
        reply = _Reply(
            response,
            PcmBody(RATE_HZ),
            AudioCheck(text, RATE_HZ),
            server.failures,
            first_by=first_by,
            first_s=self._first_audio_s,
            gap_s=self._audio_gap_s,
        )
        try:
            await self._expect_audio(server, response)
            try:
                return reply, await reply.next()
            except ProviderError as error:
                if error.fault is Fault.TIMEOUT:
                    raise self._late(server, work) from None
                raise
        except BaseException:
            reply.close()
            raise

    def _late(self, server: "_Server", work: Work) -> HttpFailure:
        if work.is_excused:
            return self._overloaded(server)
        return late_start(server.failures, self._first_audio_s)

    def _overloaded(self, server: "_Server") -> HttpFailure:
        return server.failures.make(
            Fault.OVERLOADED,
            f"{len(self._servers)} servers had other clauses to speak, or to finish though they "
            f"were cut off, for most of {self._first_audio_s:g} s; each speaks for one caller at "
            f"a time: add more addresses to {_VARIABLE}",
        )

    async def _expect_audio(self, server: "_Server", response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            raise server.failures.of_status(response, words_of(await body_of(response)).encode())
        if response.content_type in ("application/json", "text/html"):
            raise server.failures.make(
                Fault.BROKEN,
                f"{response.content_type} instead of audio: is {_VARIABLE} the address of a Fish "
                "Speech server?",
            )

    def _encode(self, text: str, voice: str) -> bytes:
        fields = {"text": text, **self._fields}
        if name := voice if voice in self._voices else self._voice:
            fields["reference_id"] = name
        encode = msgspec.msgpack.encode if self._encoding == "msgpack" else msgspec.json.encode
        return encode(fields)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(api_key=self._api_key, connect_s=self._connect_s)
        return self._session

    async def _health(self, index: int) -> ProviderError | None:
        """What is wrong with an idle server."""
        server, balance = self._servers[index], self._places.balance
        loop = asyncio.get_running_loop()
        try:
            url = server.root + "/health"
            response, body = await fetch(self._opened(), server.failures, url, HEALTH_S)
            if response.status != 200:
                raise server.failures.of_status(response, words_of(body).encode())
        except ProviderError as error:
            if error.fault is Fault.TIMEOUT and not balance.is_idle(index, loop.time()):
                return None  # a caller's request came in between
            if not balance.is_resting(index, loop.time()):
                log.warning("tts_server_unhealthy", provider=_NAME, error=str(error))
                balance.rest(index, loop.time())
            return error
        return None

    async def _say_a_word(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CHECK_S):
                stream = self.stream(CHECK_TEXT)
                try:
                    async for _ in stream:
                        pass
                finally:
                    await stream.aclose()
        except TimeoutError:
            slow = late_start(self._servers[0].failures, CHECK_S)
            self._probe.failed(loop.time(), slow)
            raise slow from None
        except ProviderError as error:
            self._probe.failed(loop.time(), error)
            raise

    async def _check_voice(self) -> None:
        """Raises if a server has a list of voices, and ours is not in it."""
        lists = [
            names
            for server in self._servers
            if (names := await self._voices_of(server)) is not None
        ]
        self._voices = frozenset.intersection(*lists) if lists else frozenset()

    async def _voices_of(self, server: "_Server") -> frozenset[str] | None:
        """None if it does not tell; S1's server does not."""
        url = server.root + "/references/list?format=json"
        try:
            response, body = await fetch(self._opened(), server.failures, url, HEALTH_S)
        except ProviderError as error:
            log.warning("tts_server_failed", provider=_NAME, error=str(error))
            return None
        try:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            names = frozenset(msgspec.json.decode(body, type=_ReferenceList).reference_ids)
        except ValueError as error:
            if self._voice:
                log.warning(
                    "tts_voice_not_checked", endpoint=server.root, voice=self._voice, why=str(error)
                )
            return None
        if self._voice and self._voice not in names:
            known = ", ".join(sorted(names)[:10]) or "none"
            raise server.failures.make(
                Fault.REFUSED,
                f"no voice {self._voice!r} at {server.root}, which would speak with any voice "
                f"instead; set TTS_VOICE to one of: {known}; or add it with "
                "POST /v1/references/add",
            )
        return names


class _Reply(SpeechReply):
    def close(self) -> None:
        """Closes the connection, unless the whole body was read and it is already kept."""
        self._response.close()


class _Server:
    def __init__(self, endpoint: str, api_key: str) -> None:
        self.root = api_root(endpoint, _VARIABLE, "/tts")
        self.failures = Failures(Slot.TTS, _NAME, self.root, _VARIABLE, api_key)


class _ReferenceList(msgspec.Struct):
    reference_ids: list[str]


def _reference(reference: Reference, encoding: str) -> dict[str, Any]:
    if encoding == "msgpack":
        return {"audio": reference.audio, "text": reference.text}
    audio = b64encode(reference.audio).decode()
    if len(audio) < _SHORTEST_BASE64:
        raise ValueError("references: the audio is too short to imitate a voice")
    return {"audio": audio, "text": reference.text}


def _expect(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least:g}..{most:g}, got {value:g}")
