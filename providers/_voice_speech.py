"""Clauses out of a voice's process: in time, checked, and asked for a word now and then."""

import asyncio
from collections.abc import AsyncGenerator

from providers._said import without
from providers._tts_probe import SpeechProbe
from providers._tts_sanity import AudioCheck, UnsoundError
from providers._voice_process import Inbox, VoiceProcess
from providers._voice_wire import Audio, Done, Failed, OfJob, Word
from providers.base import Fault, ProviderError, SpeechAudio, SpeechEvent, WordTiming


class VoiceSpeech:
    """Args:
    process: Started and closed by its owner.
    first_audio_s: From a job to its first audio, the jobs before it included.
    gap_s: From piece to piece.
    """

    def __init__(self, process: VoiceProcess, *, first_audio_s: float, gap_s: float = 5.0) -> None:
        self._process = process
        self._first_audio_s = first_audio_s
        self._gap_s = gap_s
        self._probe = SpeechProbe()

    async def check(self) -> None:
        """One word, where no speech came lately."""
        if not self._process.is_started:
            self._process.expect_up()
        if self._probe.is_asking or self._probe.is_due(asyncio.get_running_loop().time()):
            await self._probe.ask(self._word, self._process.error)

    async def aclose(self) -> None:
        await self._probe.aclose()
        self._probe = SpeechProbe()  # the next process has to prove itself

    def _word(self) -> AsyncGenerator[SpeechEvent, None]:
        ready = self._process.ready
        return self.speak(ready.check_text if ready is not None else "1")

    async def speak(
        self, text: str, voice: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """One clause, as in `providers.base.TTS.stream`."""
        process, probe = self._process, self._probe
        if not 0.25 <= speed <= 4:
            raise process.error(Fault.REFUSED, f"speed must be 0.25..4, got {speed}")
        loop = asyncio.get_running_loop()
        by = loop.time() + self._first_audio_s
        ready = await process.await_ready()
        if not text.strip():
            return
        check = AudioCheck(text, ready.rate_hz, speed=speed)
        try:
            with process.job(text, voice, speed) as inbox:
                began = loop.time()
                while (message := await self._receive(inbox, began, by)) is not None:
                    match message:
                        case Audio(pcm=pcm):
                            pcm = check.feed(pcm)
                            probe.succeeded(loop.time())
                            yield SpeechAudio(pcm)
                        case Word(start=start, end=end, at=at):
                            yield WordTiming(start, end, at)
                        case Failed(reason=reason):
                            raise process.error(Fault.BROKEN, without(reason, text))
                        case Done():
                            check.end()
                            return
                    by = loop.time() + self._gap_s
                raise process.died()
        except UnsoundError as error:
            probe.doubted(loop.time())
            raise process.error(Fault.BROKEN, str(error)) from None
        except ProviderError:
            probe.doubted(loop.time())
            raise

    async def _receive(self, inbox: Inbox, began: float, by: float) -> OfJob | None:
        try:
            async with asyncio.timeout_at(by):
                return await inbox.get()
        except TimeoutError:
            raise self._process.late(began) from None
