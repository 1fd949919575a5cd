"""What a client gets on `WS /v1/realtime`: the OpenAI Realtime GA subset, and our own."""

import base64
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voice.items import Item


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


class KeyReceived(ServerEvent, tag="input_audio_buffer.dtmf_event_received"):
    """The one event without an `event_id`: see `encode`."""

    event: str
    """The key."""
    received_at: int
    """Unix time in seconds."""


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


class OutputAudioStarted(ServerEvent, kw_only=True, tag="output_audio_buffer.started"):
    """The first of a response's sound has left; for carriers that play it (voice/carrier.py)."""

    response_id: str


class OutputAudioStopped(ServerEvent, kw_only=True, tag="output_audio_buffer.stopped"):
    """The last of it has, too."""

    response_id: str


class OutputAudioCleared(ServerEvent, kw_only=True, tag="output_audio_buffer.cleared"):
    """The rest of it never will."""

    response_id: str


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


class SpeechDucked(ServerEvent, tag="kaiwa.speech.ducked"):
    ducked: bool


class CallEnded(ServerEvent, tag="kaiwa.call.ended"):
    """The last event. Where a connection ends without a code, it is the only word on why."""

    code: int
    reason: str


class TurnTimeline(ServerEvent, tag="kaiwa.turn.timeline"):
    """`record` is laid out flat, beside `type` and `event_id`: see `encode`."""

    record: dict[str, Any]


_encoder = msgspec.json.Encoder()


def encode(event: ServerEvent) -> bytes:
    """One JSON text frame."""
    if isinstance(event, TurnTimeline):
        flat = {"type": "kaiwa.turn.timeline", "event_id": event.event_id, **event.record}
        return _encoder.encode(flat)
    if isinstance(event, KeyReceived):
        told = {"event": event.event, "received_at": event.received_at}
        return _encoder.encode({"type": KeyReceived.__struct_config__.tag, **told})
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


SERVER_EVENT_TYPES = _types(ServerEvent)
"""Every server event by its `type`: for tests that visit them all."""
