"""Open JTalk: Japanese, kanji included, on one core without a model to download.

The extra `japanese` installs pyopenjtalk-plus, which carries its dictionary (BSD) and the voice
"Mei" (CC BY 3.0: name the MMDAgent Project Team, Nagoya Institute of Technology). Plain pyopenjtalk
would fetch its dictionary from GitHub at the first word.
"""

import asyncio
from collections.abc import AsyncGenerator

from providers._voice_process import VoiceProcess
from providers.base import Fault, ProviderError, ProviderInfo, Slot, SpeechEvent

RATE_HZ = 48_000
_NAME = "openjtalk"
_REMEDY = "install the extra: pip install 'kaiwa[japanese]'"


class OpenJTalkTTS:
    """Implements `providers.base.TTS`. One voice; of other languages it says what it can spell."""

    def __init__(self, *, first_audio_s: float = 5.0) -> None:
        self._first_audio_s = first_audio_s
        self._process: VoiceProcess | None = None
        self._starting = asyncio.Lock()

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.TTS, provider=_NAME, model="mei_normal")

    @property
    def rate_hz(self) -> int:
        ready = self._process.ready if self._process is not None else None
        return ready.rate_hz if ready is not None else RATE_HZ

    async def start(self) -> None:
        async with self._starting:
            if self._process is None:
                process = VoiceProcess(
                    _NAME,
                    "providers._openjtalk_voice",
                    remedy=_REMEDY,
                    first_audio_s=self._first_audio_s,
                )
                await process.start()
                self._process = process
        await self.check()

    async def check(self) -> None:
        await self._running().check()

    async def aclose(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.aclose()

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`; word timings are estimates."""
        if not 0.25 <= speed <= 4:
            raise _error(Fault.REFUSED, f"speed must be 0.25..4, got {speed}")
        process = self._running()
        if not text.strip():
            return
        events = process.speak(text, speed=speed)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def _running(self) -> VoiceProcess:
        if self._process is None:
            raise _error(Fault.CRASHED, "not running; call start() before stream()")
        return self._process


def _error(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.TTS, _NAME, fault, message)
