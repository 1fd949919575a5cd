"""A voice with others that stand in for it: in mid-answer at the next clause, no word twice."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import numpy as np

from providers.base import TTS, ProviderError, Slot, SpeechAudio, SpeechEvent
from voice.chain import Chain, Link
from voice.patience import Limit, Patience, within
from voice.resample import Resampler

LIMIT = "tts.attempt_limit_s"


class ChainTTS(Chain[TTS]):
    """Args:
    patience: For one that nobody can take over from, and for all but the first sound.
    attempt_s: How long one that others can take over from may keep us waiting for its first sound.
    """

    def __init__(
        self,
        providers: Sequence[TTS],
        *,
        now: Callable[[], float],
        patience: Patience,
        attempt_s: float,
    ) -> None:
        super().__init__(providers, now=now)
        self._patience, self._attempt_s = patience, attempt_s

    @property
    def rate_hz(self) -> int:
        """The first one's; the sound of the others is converted to it."""
        return self.links[0].provider.rate_hz

    async def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """A clause that breaks off ends there: how much of it was heard is not known, and nothing
        is said twice. The next clause is another one's.
        """
        tried: list[Link[TTS]] = []
        failure: ProviderError | None = None
        while (link := self.next_after(tried)) is not None:
            stream = link.provider.stream(text, voice=voice, language=language, speed=speed)
            events = self._attempt(link, stream, alone=self.is_last(link, tried))
            tried.append(link)
            sounded = False
            try:
                async with aclosing(events):
                    async for event in events:
                        sounded = sounded or _is_sound(event)
                        yield event
                return
            except ProviderError as error:
                failure = error
                if sounded and self.next_after(tried) is not None:
                    return
        raise failure or self.nobody()

    async def _attempt(
        self, link: Link[TTS], stream: AsyncGenerator[SpeechEvent, None], *, alone: bool
    ) -> AsyncGenerator[SpeechEvent, None]:
        sounded = False

        def limit() -> Limit:
            if alone or sounded:
                return self._patience.limit(begun=sounded)
            return self._attempt_s, LIMIT

        events = within(stream, limit, Slot.TTS, "audio", link.info.provider)
        with self.asking(link):
            async with aclosing(self._converted(link, events)) as converted:
                async for event in converted:
                    if not sounded and _is_sound(event):
                        sounded = True
                        self.served_by(link)
                    yield event

    async def _converted(
        self, link: Link[TTS], events: AsyncGenerator[SpeechEvent, None]
    ) -> AsyncGenerator[SpeechEvent, None]:
        rate_hz = link.provider.rate_hz
        resampler = Resampler(rate_hz, self.rate_hz) if rate_hz != self.rate_hz else None
        async with aclosing(events):
            async for event in events:
                if resampler is not None and isinstance(event, SpeechAudio):
                    event = SpeechAudio(_resampled(resampler, event.pcm))
                yield event
        if resampler is not None:
            yield SpeechAudio(resampler.flush().tobytes())


def _is_sound(event: SpeechEvent) -> bool:
    return isinstance(event, SpeechAudio) and bool(event.pcm)


def _resampled(resampler: Resampler, pcm: bytes) -> bytes:
    return resampler.convert(np.frombuffer(pcm, np.int16)).tobytes()
