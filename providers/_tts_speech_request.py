"""Bodies for `POST /v1/audio/speech`, which servers read differently.

    field                    who does not take it
    stream, stream_format    OpenAI's tts-1 takes no "sse"; others may not know the one or the other
    speed                    vLLM-Omni streams at 1.0 only

Fields that a server complains of by name are left out from then on.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog

from providers._said import Complaint, as_text

log = structlog.get_logger(__name__)

StreamMode = Literal["audio", "sse"]
_OPTIONAL = ("stream_format", "stream", "speed")


class SpeechRequests:
    """For the arguments see `providers.tts_speech_api.SpeechApiTTS`."""

    def __init__(
        self, model: str, voice: str, stream: StreamMode, extra: Mapping[str, Any] | None
    ) -> None:
        self._always: dict[str, Any] = {"response_format": "pcm", "stream": True}
        self._always["stream_format"] = stream
        if model:
            self._always["model"] = model
        self._own_voice = voice
        self._extra = dict(extra or {})
        self._unwanted: set[str] = set()
        """Fields that this server complained of."""

    @property
    def obeys_speed(self) -> bool:
        return "speed" not in self._unwanted

    def body(self, text: str, voice: str, speed: float) -> bytes:
        """Args:
        voice: As the server calls it; empty: the operator's.
        """
        fields = {"input": text, **self._always}
        if voice or self._own_voice:
            fields["voice"] = voice or self._own_voice
        if speed != 1.0:
            fields["speed"] = speed
        left = {name: value for name, value in fields.items() if name not in self._unwanted}
        return msgspec.json.encode(left | self._extra)

    def learned_from(self, status: int, told: list[Complaint], speed: float) -> bool:
        """Whether it complained of a field that can be left out, and has not been yet."""
        if status not in (400, 422):
            return False
        named = [_fields_in(found) for found in told]
        sent = {*self._always, "speed"} if speed != 1.0 else set(self._always)
        for field in _OPTIONAL:
            can_go = field in sent - self._unwanted - set(self._extra)
            if can_go and any(names(words, field) for words in named):
                log.warning("tts_field_not_taken", field=field, why=as_text(told))
                self._unwanted.add(field)
                return True
        return False


def _fields_in(found: Complaint) -> str:
    """Where the field is told, a message may name others."""
    where = " ".join(step for step in found.where if step != "body")
    return where or f"{found.kind} {found.message}"


def names(text: str, field: str) -> bool:
    return re.search(rf"\b{field}\b", text) is not None
