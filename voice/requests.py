"""What a client may ask of one response, and the items it may bring: checked, fields named."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from providers.base import Message
from voice import settings, wire
from voice.conversation import Conversation, text_of
from voice.errors import ClientError
from voice.ids import Ids
from voice.settings import Settings
from voice.wording import wording

MAX_ID_CHARS = 64
MAX_TEXT_CHARS = 20_000
MAX_FUNCTION_CHARS = 100_000
"""Of a function's arguments or its result."""
MAX_PARTS = 32
MAX_INPUT = 200
MAX_METADATA = 16
MAX_METADATA_CHARS = 512


class ReplyOptions(Struct, frozen=True):
    """One response's own settings; what it leaves out is the session's."""

    settings: Settings
    metadata: dict[str, str] | None = None
    keep: bool = True
    messages: tuple[Message, ...] | None = None
    """Instead of the conversation, where `input` was given."""
    question: str = ""


_OWN = ("instructions", "tools", "tool_choice", "output_modalities", "max_output_tokens")


def reply_options(
    effective: dict[str, Any], asked: dict[str, Any], conversation: Conversation
) -> ReplyOptions:
    """Args:
        effective: The session as it stands.
        asked: `response.create.response`.
    Raises:
        ClientError: Names the field.
    """
    own = {key: asked[key] for key in _OWN if asked.get(key) is not None}
    out = asked.get("audio")
    if isinstance(out, dict) and isinstance(out.get("output"), dict):
        own["audio"] = {"output": out["output"]}
    merged = settings.merge(effective, own, "response")
    keep = asked.get("conversation", "auto")
    if keep not in ("auto", "none", None):
        message = f'response.conversation must be "auto" or "none", got {keep!r}'
        raise ClientError("invalid_value", message, "response.conversation")
    given = asked.get("input")  # an empty list asks for an empty context
    messages = None if given is None else _input(given, conversation)
    question = ""
    if messages:
        question = next((m.content for m in reversed(messages) if m.role == "user"), "")
    return ReplyOptions(
        settings=settings.typed(merged, "response"),
        metadata=_metadata(asked.get("metadata")),
        keep=keep != "none",
        messages=messages,
        question=question,
    )


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    fine = isinstance(value, dict) and len(value) <= MAX_METADATA
    texts = [text for pair in value.items() for text in pair] if fine else [None]
    if not all(isinstance(text, str) and len(text) <= MAX_METADATA_CHARS for text in texts):
        message = (
            f"response.metadata must hold at most {MAX_METADATA} pairs of strings, each of at "
            f"most {MAX_METADATA_CHARS} characters."
        )
        raise ClientError("invalid_value", message, "response.metadata")
    kept: dict[str, str] = value
    return kept


def _input(entries: Any, conversation: Conversation) -> tuple[Message, ...]:
    if not isinstance(entries, list) or len(entries) > MAX_INPUT:
        message = f"response.input must be a list of at most {MAX_INPUT} items."
        raise ClientError("invalid_value", message, "response.input")
    chosen = Conversation()
    for index, entry in enumerate(entries):
        path = f"response.input[{index}]"
        if isinstance(entry, dict) and entry.get("type") == "item_reference":
            item = conversation.get(str(entry.get("id")))
            if item is None:
                message = f"{path}.id {entry.get('id')!r} is not in the conversation."
                raise ClientError("invalid_value", message, f"{path}.id")
        else:
            try:
                item = msgspec.convert(entry, wire.Item)
            except msgspec.ValidationError as error:
                where, what = wording(error)
                path = f"{path}.{where}".rstrip(".")
                raise ClientError("invalid_value", f"{path} {what}.", path) from None
        chosen.add(msgspec.structs.replace(item, id=f"input_{index}"))
    return tuple(chosen.messages())


def received(item: wire.Item, ids: Ids) -> wire.Item:
    """A client's item as the conversation keeps it: with an id, a status, and a right shape.

    Raises:
        ClientError: Names the field.
    """
    item_id = item.id if isinstance(item.id, str) and item.id else ids.new("item")
    if len(item_id) > MAX_ID_CHARS:
        message = f"item.id must be at most {MAX_ID_CHARS} characters, got {len(item_id)}"
        raise ClientError("invalid_value", message, "item.id")
    if item.type == "message":
        _check_message(item)
    elif item.type == "function_call":
        _need(item.call_id, "call_id", item.type)
        _need(item.name, "name", item.type)
    else:
        _need(item.call_id, "call_id", item.type)
        _need(item.output, "output", item.type)
    for name in ("call_id", "name", "arguments", "output"):
        _check_length(getattr(item, name), name)
    return msgspec.structs.replace(
        item, id=item_id, status="completed", content=_without_audio(item.content)
    )


def _check_length(value: object, name: str) -> None:
    limit = MAX_ID_CHARS * 2 if name in ("call_id", "name") else MAX_FUNCTION_CHARS
    if isinstance(value, str) and len(value) > limit:
        message = f"item.{name} holds {len(value)} characters; {limit} are allowed."
        raise ClientError("string_above_max_length", message, f"item.{name}")


def _without_audio(
    content: tuple[wire.Content, ...] | UnsetType,
) -> tuple[wire.Content, ...] | UnsetType:
    """What was said counts; how it sounded is not kept."""
    if content is UNSET:
        return UNSET
    return tuple(
        wire.InputAudio(part.transcript) if isinstance(part, wire.InputAudio) else part
        for part in content
    )


def _check_message(item: wire.Item) -> None:
    _need(item.role, "role", item.type)
    _need(item.content, "content", item.type)
    allowed: dict[str, tuple[type[Struct], ...]] = {
        "user": (wire.InputText, wire.InputAudio, wire.InputImage),
        "system": (wire.InputText,),
        "assistant": (wire.OutputText, wire.OutputAudio),
    }
    assert isinstance(item.role, str) and isinstance(item.content, tuple)
    if len(item.content) > MAX_PARTS:
        message = f"item.content holds {len(item.content)} parts; {MAX_PARTS} are allowed."
        raise ClientError("invalid_value", message, "item.content")
    for index, part in enumerate(item.content):
        path = f"item.content[{index}]"
        if not isinstance(part, allowed[item.role]):
            kinds = " or ".join(str(kind.__struct_config__.tag) for kind in allowed[item.role])
            message = f"{path}.type of a {item.role} message must be {kinds}."
            raise ClientError("invalid_value", message, f"{path}.type")
        if isinstance(part, wire.InputImage):
            message = f"{path}: images are not understood by this server."
            raise ClientError("unsupported_content", message, path)
        if isinstance(part, wire.InputAudio) and part.audio and not part.transcript:
            message = (
                f"{path}: audio inside an item is not recognised; send it by "
                "input_audio_buffer.append and commit, or give its transcript."
            )
            raise ClientError("unsupported_content", message, path)
    if len(text_of(item)) > MAX_TEXT_CHARS:
        message = f"item.content holds more than {MAX_TEXT_CHARS} characters."
        raise ClientError("string_above_max_length", message, "item.content")


def _need(value: object, name: str, kind: str) -> None:
    if value is UNSET:
        message = f"item.{name} is needed for an item of type {kind}."
        raise ClientError("missing_required_parameter", message, f"item.{name}")
