"""Open JTalk: Japanese, kanji included, on one core without a model to download.

The extra `japanese` installs pyopenjtalk-plus, which carries its dictionary (BSD) and the voice
"Mei" (CC BY 3.0: name the MMDAgent Project Team, Nagoya Institute of Technology). Plain pyopenjtalk
would fetch its dictionary from GitHub at the first word.
"""

from collections.abc import AsyncGenerator

from providers._voice_process import VoiceProcess
from providers._voice_speech import VoiceSpeech
from providers.base import ProviderInfo, Slot, SpeechEvent

RATE_HZ = 48_000
_NAME = "openjtalk"
_REMEDY = "install the extra: pip install 'kaiwa[japanese]'"


class OpenJTalkTTS:
    """Implements `providers.base.TTS`. One voice; of other languages it says what it can spell."""

    def __init__(self, *, first_audio_s: float = 5.0) -> None:
        self._process = VoiceProcess(_NAME, "providers._openjtalk_voice", remedy=_REMEDY)
        self._speech = VoiceSpeech(self._process, first_audio_s=first_audio_s)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.TTS, provider=_NAME, model="mei_normal")

    @property
    def rate_hz(self) -> int:
        ready = self._process.ready
        return ready.rate_hz if ready is not None else RATE_HZ

    async def start(self) -> None:
        await self._process.start()
        await self.check()

    async def check(self) -> None:
        await self._speech.check()

    async def ping(self) -> None:
        """Raises while its process is not alive, or stopped."""
        self._process.ping()

    async def aclose(self) -> None:
        await self._speech.aclose()
        await self._process.aclose()

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """As in `providers.base.TTS`; word timings are estimates."""
        return self._speech.speak(text, speed=speed)
