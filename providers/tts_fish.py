"""Fish Speech's own server: `POST /v1/tts`, OpenAudio S1 and S2.

    clauses ─▶ our queue, first come first served ─▶ server 0 ─▶ one body per clause
                                                 └─▶ server 1

What its server does and does not, and what follows from it (fish-speech tools/server, S1 and S2):

    one request at a time, /v1/health waits too    one of ours in flight per server
    all audio at once, after the whole text        short clauses; the place is free at first audio
    a cancelled request runs on                    the server is avoided until it would have ended
    an unknown reference_id: another voice, 200    names are checked against its list
    no speed                                       `speed` is not obeyed
    no port before the model is loaded             unreachable until then: start() does not wait
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

import structlog

from providers._http import HttpFailure
from providers._ping import PING_S
from providers._tts_fish_wire import NAME, Encoding, FishRequests, FishServer, Reference
from providers._tts_places import Places, Work
from providers._tts_probe import CHECK_TEXT, FRESH_S, SpeechProbe
from providers._tts_reply import SpeechReply
from providers._tts_sanity import AudioCheck, PcmBody, length_of
from providers._tts_server import VARIABLE
from providers.base import (
    Fault,
    NoNews,
    ProviderError,
    ProviderInfo,
    Slot,
    SpeechAudio,
    SpeechEvent,
)

__all__ = ["RATE_HZ", "FishTTS", "Reference"]

log = structlog.get_logger(__name__)

RATE_HZ = 44_100
PING_EVERY_S = 0.5
"""Seconds; none goes out beside a request, so that one which hangs is to be found out before."""
FIRST_HEALTH_S = 2.0
"""For a server that has not spoken; else PING_S, so that one that hangs is soon told of."""


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
    first_word_s: Instead of `first_audio_s`, for our own word at a server that has not spoken.
    connect_s: For the TCP and TLS connection.
    probe_every_s: How long a success is believed before check() asks for a word.
    """

    ping_every_s = PING_EVERY_S

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        api_key: str = "",
        voice: str = "",
        encoding: Encoding = "msgpack",
        references: Sequence[Reference] = (),
        temperature: float = 0.8,
        top_p: float = 0.8,
        repetition_penalty: float = 1.1,
        seed: int | None = None,
        max_new_tokens: int = 1024,
        first_audio_s: float = 5.0,
        audio_gap_s: float = 3.0,
        first_word_s: float = 120.0,
        connect_s: float = 2.0,
        probe_every_s: float = FRESH_S,
    ) -> None:
        if isinstance(endpoints, str) or not endpoints:
            raise ValueError(f"{VARIABLE} must name at least one server")
        self._servers = [
            FishServer(endpoint, voice, api_key=api_key, connect_s=connect_s)
            for endpoint in endpoints
        ]
        self._requests = FishRequests(
            encoding,
            references,
            temperature=temperature,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            max_new_tokens=max_new_tokens,
        )
        self._voice = voice
        self._first_audio_s = first_audio_s
        self._audio_gap_s = audio_gap_s
        self._first_word_s = max(first_word_s, first_audio_s)
        self._places = Places(len(self._servers))
        self._probe = SpeechProbe(probe_every_s)
        self._spoke_last = False
        """The last that is known of any server is that it spoke, not that it failed."""

    @property
    def info(self) -> ProviderInfo:
        roots = ", ".join(server.root for server in self._servers)
        return ProviderInfo(slot=Slot.TTS, provider=NAME, endpoint=roots, model=self._voice)

    @property
    def rate_hz(self) -> int:
        return RATE_HZ

    @property
    def waiting(self) -> int:
        """Clauses in our queue."""
        return self._places.waiting

    @property
    def doubt(self) -> str:
        """What seems wrong though nothing has failed yet: pings wait behind our own request, so
        that they cannot tell one that hangs from one that works; empty: nothing.
        """
        now = asyncio.get_running_loop().time()
        late = [s.root for i, s in enumerate(self._servers) if self._places.balance.is_late(i, now)]
        if not late:
            return ""
        roots = ", ".join(late)
        return f"no sound from {roots} for longer than it took lately: it may hang"

    async def start(self) -> None:
        """Returns when a server is there, has our voice and has said a word.

        Raises within 10 s else. A word that takes longer goes on: the next checks wait for it.
        """
        with contextlib.suppress(NoNews):
            await self.check()

    async def check(self) -> None:
        """Asks idle servers for their health; where no speech came lately, one for a word.

        Raises NoNews where all are busy with what we asked for and have not spoken since they
        failed.
        """
        is_known = await self._knock(FIRST_HEALTH_S if self._probe.is_cold else PING_S)
        now = asyncio.get_running_loop().time()
        is_silent = not self._places.balance.running and self._probe.is_due(now)
        if is_silent or self._probe.is_asking:
            await self._probe.ask(self._word, self._servers[0].failures.make)
        elif not is_known:
            raise NoNews

    async def ping(self) -> None:
        """Raises if no server is there; NoNews as `check` does."""
        if not await self._knock(PING_S):
            raise NoNews

    async def aclose(self) -> None:
        await self._probe.aclose()
        for server in self._servers:
            await server.aclose()

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`. Language is the text's; there is no speed.

        Before the first audio a server that fails is replaced by the next one.
        """
        return self._speak(text, voice, self._first_audio_s)

    def _word(self) -> AsyncGenerator[SpeechEvent, None]:
        first_s = self._first_word_s if self._probe.is_cold else self._first_audio_s
        return self._speak(CHECK_TEXT, "", first_s)

    async def _speak(
        self, text: str, voice: str, first_s: float
    ) -> AsyncGenerator[SpeechEvent, None]:
        if not text.strip():
            return
        loop = asyncio.get_running_loop()
        try:
            work, reply, pcm = await self._begin(text, voice, first_s)
            try:
                self._probe.succeeded(loop.time())
                self._spoke_last = True
                while pcm:
                    yield SpeechAudio(pcm)
                    pcm = await reply.next()
            except ProviderError as error:
                work.failed(error)
                raise
            finally:
                reply.close()
        except ProviderError:
            self._probe.doubted(loop.time())
            self._spoke_last = False
            raise

    async def _begin(
        self, text: str, voice: str, first_s: float
    ) -> tuple[Work, SpeechReply, bytes]:
        """The first samples, of the first server that gives some, and where the rest comes from."""
        loop = asyncio.get_running_loop()
        first_by = loop.time() + first_s
        speech_s = length_of(text).typical
        tried: set[int] = set()
        while True:
            try:
                async with asyncio.timeout_at(first_by):
                    index = await self._places.take(tried, speech_s)
            except TimeoutError:
                raise self._overloaded(self._servers[0], first_s) from None
            tried.add(index)
            is_late = first_by - loop.time() < first_s / 2
            work = Work(self._places, index, is_late=is_late)
            try:
                reply, pcm = await self._open(index, text, voice, first_by, first_s, work)
            except ProviderError as error:
                work.failed(error)
                if error.retryable and len(tried) < len(self._servers) and loop.time() < first_by:
                    log.warning("tts_server_failed", provider=NAME, error=str(error))
                    continue
                raise
            except BaseException:  # nobody knows whether it would have spoken
                self._spoke_last = False
                work.abandoned()
                raise
            work.succeeded()
            return work, reply, pcm

    async def _open(
        self, index: int, text: str, voice: str, first_by: float, first_s: float, work: Work
    ) -> tuple[SpeechReply, bytes]:
        """The reply and its first samples, which come when the server has done its work."""
        server = self._servers[index]
        body = self._requests.body(text, self._voice_for(voice))
        kind = self._requests.content_type
        try:
            response, refusal = await server.ask(body, kind, first_by=first_by, first_s=first_s)
            if refusal is not None:
                raise server.refusal(response, refusal)
            reply = SpeechReply(
                response,
                PcmBody(RATE_HZ),
                AudioCheck(text, RATE_HZ),
                server.failures,
                first_by=first_by,
                first_s=first_s,
                gap_s=self._audio_gap_s,
            )
            try:
                return reply, await reply.next()
            except BaseException:
                reply.close()
                raise
        except ProviderError as error:
            if error.fault is Fault.TIMEOUT and work.is_excused:
                raise self._overloaded(server, first_s) from None
            raise

    def _voice_for(self, voice: str) -> str:
        """The caller's, where every server that tells has it."""
        told = [server.voices for server in self._servers if server.voices is not None]
        return voice if told and all(voice in voices for voices in told) else self._voice

    def _overloaded(self, server: FishServer, first_s: float) -> HttpFailure:
        return server.failures.make(
            Fault.OVERLOADED,
            f"{len(self._servers)} servers had other clauses to speak, or to finish though they "
            f"were cut off, for most of {first_s:g} s; each speaks for one caller at a time: add "
            f"more addresses to {VARIABLE}",
        )

    async def _knock(self, limit_s: float) -> bool:
        """Whether one is well: it says so, or it spoke last. Raises if all say or show otherwise.

        Those that work for us are not asked.
        """
        now = asyncio.get_running_loop().time()
        idle = [i for i in range(len(self._servers)) if self._places.balance.is_idle(i, now)]
        answers = await asyncio.gather(*(self._answer_of(index, limit_s) for index in idle))
        failures = [answer for answer in answers if isinstance(answer, ProviderError)]
        if len(failures) == len(self._servers):
            self._spoke_last = False
            if all(failure.fault is Fault.UNREACHABLE for failure in failures):
                self._probe.is_cold = True  # whoever comes back has to warm up again
            raise failures[0]
        return self._spoke_last or any(answer is None for answer in answers)

    async def _answer_of(self, index: int, limit_s: float) -> ProviderError | NoNews | None:
        """What is wrong with an idle server; while something is, no other clause goes there.

        NoNews where it has an excuse.
        """
        server, balance = self._servers[index], self._places.balance
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        was_excused = balance.is_excused(index, asked_at)
        failure: ProviderError | None = None
        try:
            await server.knock(limit_s)
        except ProviderError as error:
            # A caller's request may have come in between, or one that was cut off runs on.
            if error.fault is Fault.TIMEOUT and balance.is_excused(index, loop.time()):
                if not was_excused:
                    balance.unheard(index, asked_at, loop.time())
                return NoNews()
            failure = error
        was_lost = balance.is_lost(index, loop.time())
        if failure is not None:
            balance.lost(index, loop.time())
            if not was_lost:
                log.warning("tts_server_lost", at=server.root, error=str(failure))
        else:
            balance.found(index, asked_at)
            if was_lost:
                log.info("tts_server_found", at=server.root)
        self._places.hand_out()
        return failure
