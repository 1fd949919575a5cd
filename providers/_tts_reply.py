"""The audio behind one response of a speech server: piece by piece, in time and checked.

    request ──first_s──▶ first audio ──gap_s──▶ piece … end

Behind the first audio two clocks run, both only while we wait for the server: no piece may take
longer than `gap_s`, and all of them together may not fall `gap_s` behind the speech they carry. A
server that drips a byte a second passes the first and fails the second.
"""

import asyncio
import contextlib
from typing import Any, Protocol

import aiohttp

from providers._http import Failures, HttpFailure, error_message, own_words
from providers._tts_sanity import AudioCheck, UnsoundError
from providers._tts_server import late_start
from providers.base import Fault

_EOF_S = 0.2
"""For the end of the body behind the last event, so that the connection can be used again."""


class Decoder(Protocol):
    """From a body's bytes to s16le."""

    is_done: bool
    """Its own end came; what follows is of no interest."""

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class ReportedError(Exception):
    """The server reports a failure in the middle of its stream.

    Args:
        said: Of any form; it may repeat what we sent.
    """

    def __init__(self, fault: Fault, said: Any) -> None:
        super().__init__(fault)
        self.fault = fault
        self.said = said


class SpeechReply:
    """Owns the response.

    Args:
        first_by: Loop time until which the first audio must be there.
        first_s: The same as the limit the operator set, for the error.
        gap_s: As above.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        decoder: Decoder,
        check: AudioCheck,
        failures: Failures,
        *,
        first_by: float,
        first_s: float,
        gap_s: float,
    ) -> None:
        self._response = response
        self._decoder = decoder
        self._check = check
        self._failures = failures
        self._first_by = first_by
        self._first_s = first_s
        self._gap_s = gap_s
        self._waited_s = 0.0

    async def next(self) -> bytes:
        """The next whole samples; none when the speech is over and sound.

        Raises:
            ProviderError: If it is late, cut or not speech.
        """
        try:
            while not self._decoder.is_done and (data := await self._read()):
                if pcm := self._check.feed(self._decoder.feed(data)):
                    return pcm
            if rest := self._check.feed(self._decoder.end()):
                return rest
            self._check.end()
        except UnsoundError as error:
            raise self._broken(str(error)) from None
        except ReportedError as error:
            said = error_message(error.said, own_words(self._response))
            raise self._failures.make(error.fault, f"the server reports: {said}") from None
        await self._finish()
        return b""

    def close(self) -> None:
        """Closes the connection, unless the whole body was read and it is already kept."""
        self._response.close()

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        now = loop.time()
        has_begun = self._check.seconds > 0
        ahead_s = self._check.seconds - self._waited_s
        limit_s = self._gap_s + min(0.0, ahead_s)
        try:
            async with asyncio.timeout_at(now + limit_s if has_begun else self._first_by):
                return await self._response.content.readany()
        except TimeoutError:
            raise self._late(has_begun) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(f"the connection broke ({type(error).__name__})") from None
        finally:
            if has_begun:
                self._waited_s += loop.time() - now

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_EOF_S):
                while await self._response.content.readany():
                    pass

    def _late(self, has_begun: bool) -> HttpFailure:
        if has_begun:
            return self._failures.make(
                Fault.TIMEOUT,
                f"the speech fell {self._gap_s:g} s behind: is the server overloaded?",
            )
        return late_start(self._failures, self._first_s)

    def _broken(self, what: str) -> HttpFailure:
        return self._failures.make(Fault.BROKEN, f"{what}; see the server's log")
