"""The entries of a conversation, as the wire shapes them."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


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
