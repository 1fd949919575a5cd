"""Every message a client sends or gets on `WS /v1/realtime`; the OpenAI Realtime GA subset.

Sources: the GA types of the `openai` SDK and what four stock clients were found to need. Three of
those needs are easy to break and are held by tests: a user `input_audio` content always has the key
`transcript`; nothing optional of an item is ever null; `transcription` echoes only the keys
model, language and prompt.
"""

import base64
import binascii
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voice.errors import ClientError

# --- Items --------------------------------------------------------------------------------------


class InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    text: str


class InputAudio(Struct, frozen=True, tag_field="type", tag="input_audio"):
    transcript: str | None = None
    """Null until the final hypothesis is in; the key itself is never left out."""
    audio: str | None | UnsetType = UNSET


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    text: str = ""


class OutputAudio(Struct, frozen=True, tag_field="type", tag="output_audio"):
    transcript: str = ""


class InputImage(Struct, frozen=True, tag_field="type", tag="input_image"):
    image_url: str | None = None


Content = InputText | InputAudio | OutputText | OutputAudio | InputImage


class Item(Struct, frozen=True, kw_only=True):
    """One entry of the conversation. Optional fields are left out, never null."""

    id: str | UnsetType = UNSET
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message", "function_call", "function_call_output"]
    status: Literal["completed", "incomplete", "in_progress"] | UnsetType = UNSET
    role: Literal["user", "assistant", "system"] | UnsetType = UNSET
    content: tuple[Content, ...] | UnsetType = UNSET
    call_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    output: str | UnsetType = UNSET


# --- What a client may send ---------------------------------------------------------------------


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
    | PlaybackReport
)

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
    return Undecodable("invalid_event", f"{envelope.type}: {error}", _field(error), event_id)


def _field(error: Exception) -> str | None:
    """The path of what a validation error complains of; of a missing field, where it should be."""
    what, _, path = str(error).partition(" - at `$")
    missing = what.removeprefix("Object missing required field `")
    if missing != what:
        path = f"{path.rstrip('`')}.{missing.rstrip('`')}"
    return path.rstrip("`").lstrip(".") or None


def decode_audio(text: str) -> bytes:
    """Base64 to bytes, strictly.

    Raises:
        ClientError: Not base64.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError) as error:
        raise ClientError("invalid_audio", f"audio is not base64: {error}", "audio") from None


# --- What a client gets -------------------------------------------------------------------------


class ServerEvent(Struct, kw_only=True, tag_field="type"):
    event_id: str = ""
    """Given at the door, when the event is sent."""


class SessionCreated(ServerEvent, tag="session.created"):
    session: dict[str, Any]


class SessionUpdated(ServerEvent, tag="session.updated"):
    session: dict[str, Any]


class ErrorBody(Struct, kw_only=True):
    type: str = "invalid_request_error"
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None


class Error(ServerEvent, tag="error"):
    error: ErrorBody


class SpeechStartedEvent(ServerEvent, tag="input_audio_buffer.speech_started"):
    item_id: str
    audio_start_ms: int


class SpeechStoppedEvent(ServerEvent, tag="input_audio_buffer.speech_stopped"):
    item_id: str
    audio_end_ms: int


class Committed(ServerEvent, tag="input_audio_buffer.committed"):
    item_id: str
    previous_item_id: str | None = None


class Cleared(ServerEvent, tag="input_audio_buffer.cleared"):
    pass


class ItemAdded(ServerEvent, tag="conversation.item.added"):
    item: Item
    previous_item_id: str | None = None


class ItemDone(ServerEvent, tag="conversation.item.done"):
    item: Item
    previous_item_id: str | None = None


class ItemRetrieved(ServerEvent, tag="conversation.item.retrieved"):
    item: Item


class ItemDeleted(ServerEvent, tag="conversation.item.deleted"):
    item_id: str


class ItemTruncated(ServerEvent, tag="conversation.item.truncated"):
    item_id: str
    content_index: int
    audio_end_ms: int


class TranscriptionDelta(ServerEvent, tag="conversation.item.input_audio_transcription.delta"):
    item_id: str
    delta: str
    content_index: int = 0


class DurationUsage(Struct, tag_field="type", tag="duration"):
    seconds: float


class TranscriptionCompleted(
    ServerEvent, tag="conversation.item.input_audio_transcription.completed"
):
    item_id: str
    transcript: str
    usage: DurationUsage
    content_index: int = 0


class Misheard(Struct, kw_only=True):
    """Without the nulls of ErrorBody, which agents-js takes for a broken event."""

    type: str
    code: str
    message: str


class TranscriptionFailed(ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    item_id: str
    error: Misheard
    content_index: int = 0


class TokenDetails(Struct):
    text_tokens: int = 0
    audio_tokens: int = 0
    cached_tokens: int | UnsetType = UNSET


class ResponseUsage(Struct, kw_only=True):
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: TokenDetails = msgspec.field(default_factory=TokenDetails)
    output_token_details: TokenDetails = msgspec.field(default_factory=TokenDetails)


class StatusError(Struct):
    type: str
    code: str
    message: str


class StatusDetails(Struct, kw_only=True):
    type: str
    reason: str | UnsetType = UNSET
    error: StatusError | UnsetType = UNSET


class TurnTag(Struct):
    turn: int


class ResponseBody(Struct, kw_only=True):
    object: Literal["realtime.response"] = "realtime.response"
    id: str
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
    status_details: StatusDetails | None = None
    output: list[Item] = []
    conversation_id: str | None = None
    output_modalities: list[str]
    max_output_tokens: int | str = "inf"
    audio: dict[str, Any] | UnsetType = UNSET
    metadata: dict[str, str] | None = None
    usage: ResponseUsage | None = None
    kaiwa: TurnTag


class ResponseCreated(ServerEvent, tag="response.created"):
    response: ResponseBody


class ResponseDone(ServerEvent, tag="response.done"):
    response: ResponseBody


class OutputItemAdded(ServerEvent, tag="response.output_item.added"):
    response_id: str
    output_index: int
    item: Item


class OutputItemDone(ServerEvent, tag="response.output_item.done"):
    response_id: str
    output_index: int
    item: Item


class AudioPart(Struct, tag_field="type", tag="audio"):
    transcript: str = ""


class TextPart(Struct, tag_field="type", tag="text"):
    text: str = ""


class _Part(ServerEvent, kw_only=True):
    response_id: str
    item_id: str
    output_index: int
    content_index: int = 0


class ContentPartAdded(_Part, kw_only=True, tag="response.content_part.added"):
    part: AudioPart | TextPart


class ContentPartDone(_Part, kw_only=True, tag="response.content_part.done"):
    part: AudioPart | TextPart


class TranscriptDelta(_Part, kw_only=True, tag="response.output_audio_transcript.delta"):
    delta: str


class TranscriptDone(_Part, kw_only=True, tag="response.output_audio_transcript.done"):
    transcript: str


class AudioDelta(_Part, kw_only=True, tag="response.output_audio.delta"):
    """`delta` is filled, or a binary frame sent in its stead, by the transport."""

    delta: str


class AudioDone(_Part, kw_only=True, tag="response.output_audio.done"):
    pass


class TextDeltaEvent(_Part, kw_only=True, tag="response.output_text.delta"):
    delta: str


class TextDone(_Part, kw_only=True, tag="response.output_text.done"):
    text: str


class ArgumentsDelta(ServerEvent, tag="response.function_call_arguments.delta"):
    response_id: str
    item_id: str
    output_index: int
    call_id: str
    delta: str


class ArgumentsDone(ServerEvent, tag="response.function_call_arguments.done"):
    response_id: str
    item_id: str
    output_index: int
    call_id: str
    name: str
    arguments: str


class PartialTranscript(ServerEvent, tag="kaiwa.transcript.partial"):
    item_id: str
    text: str
    stable_chars: int


class Source(Struct, kw_only=True):
    source: str
    title: str
    heading: str
    score: float
    text: str
    start: int
    end: int
    chunk: str


class TurnSources(ServerEvent, tag="kaiwa.turn.sources"):
    turn: int
    response_id: str
    item_id: str
    sources: list[Source]


class SpeechMarks(ServerEvent, tag="kaiwa.speech.marks"):
    response_id: str
    item_id: str
    marks: list[tuple[int, int]]


class TurnTimeline(ServerEvent, tag="kaiwa.turn.timeline"):
    """`record` is laid out flat, beside `type` and `event_id`: see `encode`."""

    record: dict[str, Any]


_encoder = msgspec.json.Encoder()


def encode(event: ServerEvent) -> bytes:
    """One JSON text frame."""
    if isinstance(event, TurnTimeline):
        flat = {"type": "kaiwa.turn.timeline", "event_id": event.event_id, **event.record}
        return _encoder.encode(flat)
    return _encoder.encode(event)


def encode_audio(pcm: bytes) -> str:
    """Samples to what `AudioDelta.delta` holds."""
    return base64.b64encode(pcm).decode("ascii")


def encode_json(value: Any) -> bytes:
    """Any other body."""
    return _encoder.encode(value)


def _types(base: type[Struct]) -> dict[str, type[Struct]]:
    found: dict[str, type[Struct]] = {}
    for kind in base.__subclasses__():
        tag = kind.__struct_config__.tag
        if isinstance(tag, str) and "." in tag or tag == "error":
            found[str(tag)] = kind
        found |= _types(kind)
    return found


CLIENT_EVENT_TYPES = _types(ClientEvent)
SERVER_EVENT_TYPES = _types(ServerEvent)
"""Every event by its `type`: for decoding errors and for tests that visit them all."""
