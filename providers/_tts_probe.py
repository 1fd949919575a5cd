"""Whether a voice speaks, found out by having it say a word where no caller did lately.

    cold    it has not spoken yet, or was away: its first word may take minutes (a model is being
            compiled, the CPU is slow)
    warm    it has spoken; a word takes as long as any clause may

A word that is late is not given up: Fish's server would finish it all the same, and vLLM's would
begin to warm up anew with the next one. Who waits for it is told that it is late, and the next one
who asks waits for the same word.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from providers._probe import TokenProbe
from providers.base import Fault, ProviderError, SpeechEvent

CHECK_TEXT = "Ready."
WAIT_S = 7.0
"""For the word; shorter than whoever watches us gives a check."""
FRESH_S = 30.0
LONGEST_DOUBT_S = 8.0
"""A repaired server is noticed this soon."""
CLOSE_S = 1.0


class SpeechProbe(TokenProbe):
    """When to ask for a word, oftener than a model for a token, and the word itself.

    Args:
        fresh_s: So long a success, whoever's it was, is believed.
    """

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        super().__init__()
        self.is_cold = True
        self._fresh_s = fresh_s
        self._word: asyncio.Task[ProviderError | None] | None = None

    @property
    def is_asking(self) -> bool:
        return self._word is not None

    def succeeded(self, now: float) -> None:
        super().succeeded(now)
        self._ask_at = now + self._fresh_s
        self.is_cold = False

    def failed(self, now: float, failure: ProviderError) -> None:
        super().failed(now, failure)
        self._ask_at = min(self._ask_at, now + LONGEST_DOUBT_S)

    async def ask(
        self,
        speak: Callable[[], AsyncGenerator[SpeechEvent, None]],
        error_of: Callable[[Fault, str], ProviderError],
    ) -> None:
        """Returns when the word was said.

        Args:
            speak: Says it, and gives up by itself.
            error_of: Makes the voice's errors.
        Raises:
            ProviderError: Why it was not; TIMEOUT after WAIT_S.
        """
        word = self._word
        if word is None:
            word = self._word = asyncio.create_task(self._say(speak), name="voice-check")
            word.add_done_callback(self._forget)
        done, _ = await asyncio.wait([word], timeout=WAIT_S)
        if not done:
            what = "first word" if self.is_cold else "word"
            raise error_of(
                Fault.TIMEOUT,
                f"its {what} is being waited for: is the model still loading or compiling, or "
                "the machine too slow?",
            )
        if (failure := word.result()) is not None:
            raise failure.with_traceback(None)

    async def aclose(self) -> None:
        if self._word is not None:
            self._word.cancel()
            await asyncio.wait([self._word], timeout=CLOSE_S)

    async def _say(
        self, speak: Callable[[], AsyncGenerator[SpeechEvent, None]]
    ) -> ProviderError | None:
        loop = asyncio.get_running_loop()
        try:
            async with contextlib.aclosing(speak()) as events:
                async for _ in events:
                    pass
        except ProviderError as error:
            self.failed(loop.time(), error)
            return error
        return None

    def _forget(self, word: asyncio.Task[ProviderError | None]) -> None:
        self._word = None
