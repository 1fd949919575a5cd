"""Audio in server-sent events: `speech.audio.delta` … `speech.audio.done`, or an error."""

from base64 import b64decode
from typing import Any

import msgspec

from providers._http import fault_of_status
from providers._sse import SseParser
from providers._tts_reply import ReportedError
from providers._tts_sanity import PcmBody, UnsoundError
from providers.base import Fault

_MAX_EVENT_BYTES = 8 << 20


class SseAudio:
    """Implements `providers._tts_reply.Decoder`."""

    def __init__(self, rate_hz: int) -> None:
        self._parser = SseParser(max_event_bytes=_MAX_EVENT_BYTES)
        self._body = PcmBody(rate_hz)
        self._failure: UnsoundError | ReportedError | None = None
        """Comes when what came before it has been taken: by `end`."""
        self.is_done = False

    def feed(self, data: bytes) -> bytes:
        pieces = []
        try:
            for payload in self._payloads(data):
                if payload != b"[DONE]":
                    pieces.append(self._audio_of(_event(payload)))
        except (UnsoundError, ReportedError) as error:
            self._failure, self.is_done = error, True
        return b"".join(pieces)

    def _payloads(self, data: bytes) -> list[bytes]:
        try:
            return self._parser.feed(data)
        except ValueError as error:
            raise _no_event(error) from None

    def end(self) -> bytes:
        if self._failure is not None:
            raise self._failure
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


_decode_event = msgspec.json.Decoder(_Event).decode


def _event(payload: bytes) -> _Event:
    try:
        return _decode_event(payload)
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
        raise _no_event(error) from None


def _no_event(error: ValueError) -> UnsoundError:
    return UnsoundError(f"no event of a speech stream: {error}")


def _reported(error: Any) -> ReportedError:
    code = error.get("code") if isinstance(error, dict) else None
    fault = fault_of_status(code) if isinstance(code, int) else Fault.BROKEN
    return ReportedError(fault, error)
