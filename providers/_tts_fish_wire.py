"""What goes to Fish Speech's server and comes from it, beside the audio.

POST /v1/tts               msgpack or JSON; floats are strict
GET /v1/health             answered when no request is under way
GET /v1/references/list    S2's names of voices; S1's server has no such list
"""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import structlog

from providers._tts_server import SpeechServer
from providers.base import Fault

log = structlog.get_logger(__name__)

NAME = "fish"
Encoding = Literal["msgpack", "json"]
_SHORTEST_BASE64 = 256
"""Shorter strings are taken for something else than audio by the server."""


class Reference(msgspec.Struct, frozen=True):
    """A voice to imitate: a few seconds of speech, as a WAV or MP3 file's bytes, and its words."""

    audio: bytes
    text: str


class FishRequests:
    """Bodies of requests. For the arguments see `providers.tts_fish.FishTTS`.

    Raises:
        ValueError: Names the argument that the server would refuse.
    """

    def __init__(
        self,
        encoding: Encoding,
        references: Sequence[Reference],
        *,
        temperature: float,
        top_p: float,
        repetition_penalty: float,
        seed: int | None,
        max_new_tokens: int,
    ) -> None:
        _expect("temperature", temperature, 0.1, 1.0)
        _expect("top_p", top_p, 0.1, 1.0)
        _expect("repetition_penalty", repetition_penalty, 0.9, 2.0)
        self.content_type = f"application/{encoding}"
        self._encode = msgspec.msgpack.encode if encoding == "msgpack" else msgspec.json.encode
        self._fields: dict[str, Any] = {
            "format": "wav",  # the only one that it streams, and without its header
            "streaming": True,
            "normalize": True,
            "chunk_length": 200,
            "max_new_tokens": max_new_tokens,
            # The server tells 1 from 1.0 and refuses the one.
            "temperature": float(temperature),
            "top_p": float(top_p),
            "repetition_penalty": float(repetition_penalty),
            "references": [_reference(one, encoding) for one in references],
            "use_memory_cache": "on" if references else "off",
        }
        if seed is not None:
            self._fields["seed"] = seed

    def body(self, text: str, voice: str) -> bytes:
        fields = {**self._fields, "text": text}
        if voice:
            fields |= {"reference_id": voice, "use_memory_cache": "on"}
        return self._encode(fields)


class FishServer(SpeechServer):
    """One server process, and the voices it told of.

    Args:
        voice: What it must have, if it tells at all.
    """

    def __init__(self, endpoint: str, voice: str, *, api_key: str, connect_s: float) -> None:
        kind = "a Fish Speech server"
        super().__init__(NAME, endpoint, "/tts", kind, api_key=api_key, connect_s=connect_s)
        self.voices: frozenset[str] | None = None
        """None: it does not tell."""
        self._voice = voice
        self._is_known = False

    async def knock(self, limit_s: float) -> None:
        """Returns if it is well and has our voice; waits while a request is under way.

        Raises:
            HttpFailure: What is wrong.
        """
        by = asyncio.get_running_loop().time() + limit_s
        try:
            answer = await self.get("/health", limit_s)
            if answer.failure is not None:
                raise answer.failure
            if not self._is_known:
                await self._ask_voices(by - asyncio.get_running_loop().time())
        except BaseException:
            self._is_known = False  # who comes back may have other voices
            raise

    async def _ask_voices(self, limit_s: float) -> None:
        answer = await self.get("/references/list?format=json", limit_s)
        try:
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            names = msgspec.json.decode(answer.body, type=_ReferenceList).reference_ids
            self.voices = frozenset(names)
        except ValueError as error:
            self.voices = None
            if self._voice:
                why = str(error)
                log.warning("tts_voice_not_checked", at=self.root, voice=self._voice, why=why)
        if self._voice and self.voices is not None and self._voice not in self.voices:
            known = ", ".join(sorted(self.voices)[:10]) or "none"
            raise self.failures.make(
                Fault.REFUSED,
                f"no voice {self._voice!r} at {self.root}, which would speak with any voice "
                f"instead; set TTS_VOICE to one of: {known}; or add it with "
                "POST /v1/references/add",
            )
        self._is_known = True


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
