"""What a client may send on `WS /v1/realtime`: the OpenAI Realtime GA subset, and our own."""

import binascii
from typing import Any, get_args

import msgspec
from msgspec import Struct

from voice.errors import ClientError
from voice.items import Item
from voice.wording import wording


class ClientEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: str | None = None
    """Chosen by the client; comes back in `error.event_id`."""


class SessionUpdate(ClientEvent, frozen=True, tag="session.update"):
    session: dict[str, Any]


class AudioAppend(ClientEvent, frozen=True, tag="input_audio_buffer.append"):
    audio: str


class AudioCommit(ClientEvent, frozen=True, tag="input_audio_buffer.commit"):
    pass


class AudioClear(ClientEvent, frozen=True, tag="input_audio_buffer.clear"):
    pass


class ItemCreate(ClientEvent, frozen=True, tag="conversation.item.create"):
    item: Item
    previous_item_id: str | None = None


class ItemDelete(ClientEvent, frozen=True, tag="conversation.item.delete"):
    item_id: str


class ItemRetrieve(ClientEvent, frozen=True, tag="conversation.item.retrieve"):
    item_id: str


class ItemTruncate(ClientEvent, frozen=True, tag="conversation.item.truncate"):
    item_id: str
    audio_end_ms: int
    content_index: int = 0


class ResponseCreate(ClientEvent, frozen=True, tag="response.create"):
    response: dict[str, Any] | None = None


class ResponseCancel(ClientEvent, frozen=True, tag="response.cancel"):
    response_id: str | None = None


class OutputAudioClear(ClientEvent, frozen=True, tag="output_audio_buffer.clear"):
    pass


class PlaybackReport(ClientEvent, frozen=True, tag="kaiwa.playback.report"):
    item_id: str
    played_ms: float


AnyClientEvent = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | ItemCreate
    | ItemDelete
    | ItemRetrieve
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
    | OutputAudioClear
    | PlaybackReport
)

CLIENT_EVENT_TYPES: dict[str, type[ClientEvent]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyClientEvent)
}
"""Every client event by its `type`."""

_decoder: msgspec.json.Decoder[AnyClientEvent] = msgspec.json.Decoder(AnyClientEvent)


class _Envelope(Struct):
    type: Any = None
    event_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope)


class Undecodable(ClientError):
    """A frame that is no client event; carries the client's event_id where it could be read."""

    def __init__(self, code: str, message: str, param: str | None, event_id: str | None) -> None:
        super().__init__(code, message, param)
        self.event_id = event_id


def decode(frame: str | bytes) -> AnyClientEvent:
    """Raises:
    Undecodable: Not JSON, an unknown `type`, or a field of the wrong kind; names the field.
    """
    try:
        return _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _undecodable(frame, error) from None


def _undecodable(frame: str | bytes, error: Exception) -> Undecodable:
    try:
        envelope = _envelope.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Undecodable("invalid_json", f"This frame is not a JSON object: {error}", None, None)
    event_id = envelope.event_id if isinstance(envelope.event_id, str) else None
    if not isinstance(envelope.type, str):
        return Undecodable("invalid_event", 'The event has no "type".', "type", event_id)
    if envelope.type not in CLIENT_EVENT_TYPES:
        message = f"Unknown event type {envelope.type[:80]!r}. docs/wire.md lists what is accepted."
        return Undecodable("unknown_event", message, "type", event_id)
    path, what = wording(error)
    return Undecodable("invalid_event", f"{envelope.type}: {path} {what}.", path or None, event_id)


def decode_audio(text: str) -> bytes:
    """Base64 to bytes, strictly.

    Raises:
        ClientError: Not base64.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError) as error:
        raise ClientError("invalid_audio", f"audio is not base64: {error}", "audio") from None
