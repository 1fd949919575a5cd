"""One response on the wire: facts in, server events out, always in the legal order.

    response.created
      [output_item.added  conversation.item.added  content_part.added
         transcript.delta* audio.delta*   |  text.delta*
       audio.done transcript.done | text.done   content_part.done
       conversation.item.done  output_item.done]
      [output_item.added  conversation.item.added
         function_call_arguments.delta  .done
       conversation.item.done  output_item.done]  for each function call
    response.done

Held whatever happens: one `created`, then exactly one `done`, nothing after it; every `added` has
its `done`, also when the response is cut.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from providers.base import ToolCallDelta
from voice import wire
from voice.conversation import Conversation
from voice.ids import Ids
from voice.settings import Settings

Status = Literal["completed", "cancelled", "incomplete", "failed"]
Events = list[wire.ServerEvent]


class Stage(Enum):
    NEW = "new"
    OPEN = "open"
    DONE = "done"


class Ending(Struct, frozen=True, kw_only=True):
    """How a response ended, as `status` and `status_details` say it."""

    status: Status
    reason: str = ""
    error: wire.StatusError | None = None

    @property
    def details(self) -> wire.StatusDetails | None:
        if self.status == "completed":
            return None
        return wire.StatusDetails(
            type=self.status,
            reason=self.reason or UNSET,
            error=UNSET if self.error is None else self.error,
        )


COMPLETED = Ending(status="completed")


class Response:
    """Writes one response; the conversation gets its items as they are added.

    Args:
        settings: The session's, as they were when the response began; later changes are not seen.
        keep: Whether its items enter the conversation (`conversation: "auto"`).
    """

    def __init__(
        self,
        *,
        ids: Ids,
        conversation: Conversation,
        settings: Settings,
        turn: int,
        metadata: dict[str, str] | None = None,
        keep: bool = True,
    ) -> None:
        self.id = ids.new("resp")
        self.turn = turn
        self.settings = settings
        self.stage = Stage.NEW
        self.message_id = ""
        """The assistant's spoken or written item; empty until it is added."""
        self.said = ""
        """Words sent so far."""
        self._ids = ids
        self._conversation = conversation
        self._keep = keep
        self._metadata = metadata
        self._output: list[wire.Item] = []
        self._message_open = False

    # --- beginning and end ------------------------------------------------------------------------

    def begin(self) -> Events:
        assert self.stage is Stage.NEW
        self.stage = Stage.OPEN
        return [wire.ResponseCreated(response=self._body("in_progress"))]

    def end(self, ending: Ending = COMPLETED, usage: wire.ResponseUsage | None = None) -> Events:
        """Closes what is open, then itself. A second end says nothing."""
        if self.stage is not Stage.OPEN:
            return []
        item_status: Literal["completed", "incomplete"] = (
            "completed" if ending.status == "completed" else "incomplete"
        )
        events = self._close_message(item_status)
        self.stage = Stage.DONE
        body = self._body(ending.status)
        body.status_details = ending.details
        body.usage = usage or wire.ResponseUsage()
        return [*events, wire.ResponseDone(response=body)]

    def _body(self, status: Any) -> wire.ResponseBody:
        out = self.settings.audio.output
        audio: dict[str, Any] | UnsetType = UNSET
        if self.settings.spoken:
            form: dict[str, Any] = {"type": out.format.type}
            if out.format.type == "audio/pcm":
                form["rate"] = out.format.rate
            audio = {"output": {"format": form, "voice": out.voice}}
        return wire.ResponseBody(
            id=self.id,
            status=status,
            output=list(self._output),
            output_modalities=list(self.settings.output_modalities),
            max_output_tokens=self.settings.max_output_tokens,
            audio=audio,
            metadata=self._metadata,
            kaiwa=wire.TurnTag(self.turn),
        )

    # --- words and sound --------------------------------------------------------------------------

    def say(self, text: str) -> Events:
        """Further words of the answer: transcript of what is spoken, or text where that is all."""
        if self.stage is not Stage.OPEN:
            return []
        events = self._open_message()
        self.said += text
        where = self._where()
        if self.settings.spoken:
            return [*events, wire.TranscriptDelta(**where, delta=text)]
        return [*events, wire.TextDeltaEvent(**where, delta=text)]

    def sound(self) -> Events:
        """An audio delta to be filled by the transport."""
        if self.stage is not Stage.OPEN:
            return []
        return [*self._open_message(), wire.AudioDelta(**self._where(), delta="")]

    def _where(self) -> dict[str, Any]:
        return {
            "response_id": self.id,
            "item_id": self.message_id,
            "output_index": 0,
        }

    def _open_message(self) -> Events:
        if self._message_open:
            return []
        assert not self._output, "the words come before the function calls"
        self._message_open = True
        self.message_id = self._ids.new("item")
        item = self._message("in_progress", ())
        events = self._add(item)
        part = wire.AudioPart() if self.settings.spoken else wire.TextPart()
        return [*events, wire.ContentPartAdded(**self._where(), part=part)]

    def _close_message(self, status: Literal["completed", "incomplete"]) -> Events:
        if not self._message_open:
            return []
        self._message_open = False
        where, part = self._where(), self._part()
        events: Events
        if self.settings.spoken:
            events = [
                wire.AudioDone(**where),
                wire.TranscriptDone(**where, transcript=self.said),
            ]
        else:
            events = [wire.TextDone(**where, text=self.said)]
        events.append(wire.ContentPartDone(**where, part=part))
        return events + self._finish(0, self._message(status, self._content()))

    def _part(self) -> wire.AudioPart | wire.TextPart:
        if self.settings.spoken:
            return wire.AudioPart(transcript=self.said)
        return wire.TextPart(text=self.said)

    def _content(self) -> tuple[wire.OutputAudio | wire.OutputText, ...]:
        if self.settings.spoken:
            return (wire.OutputAudio(transcript=self.said),)
        return (wire.OutputText(text=self.said),)

    def _message(
        self,
        status: Literal["in_progress", "completed", "incomplete"],
        content: tuple[wire.OutputAudio | wire.OutputText, ...],
    ) -> wire.Item:
        return wire.Item(
            id=self.message_id, type="message", role="assistant", status=status, content=content
        )

    # --- function calls ---------------------------------------------------------------------------

    def call(self, pieces: Sequence[ToolCallDelta]) -> Events:
        """A whole function call, as the model gave it; the answer's words are over."""
        if self.stage is not Stage.OPEN:
            return []
        events = self._close_message("completed")
        index, item_id = len(self._output), self._ids.new("item")
        call_id, name = pieces[0].call_id or self._ids.new("call"), pieces[0].name
        arguments = "".join(piece.arguments for piece in pieces)
        item = wire.Item(
            id=item_id,
            type="function_call",
            status="in_progress",
            call_id=call_id,
            name=name,
            arguments="",
        )
        events += self._add(item)
        where: dict[str, Any] = {
            "response_id": self.id,
            "item_id": item_id,
            "output_index": index,
            "call_id": call_id,
        }
        for piece in pieces:
            if piece.arguments:
                events.append(wire.ArgumentsDelta(**where, delta=piece.arguments))
        events.append(wire.ArgumentsDone(**where, name=name, arguments=arguments))
        whole = msgspec.structs.replace(item, status="completed", arguments=arguments)
        return events + self._finish(index, whole)

    # --- items ------------------------------------------------------------------------------------

    def _add(self, item: wire.Item) -> Events:
        self._output.append(item)
        before = self._conversation.add(item) if self._keep else None
        index = len(self._output) - 1
        events: Events = [wire.OutputItemAdded(response_id=self.id, output_index=index, item=item)]
        if self._keep:
            events.append(wire.ItemAdded(item=item, previous_item_id=before))
        return events

    def _finish(self, index: int, item: wire.Item) -> Events:
        self._output[index] = item
        events: Events = []
        if self._keep:
            assert isinstance(item.id, str)
            if not self._conversation.is_heard(item.id):
                self._conversation.replace(item)
            before = self._conversation.previous(item.id)
            events.append(wire.ItemDone(item=item, previous_item_id=before))
        events.append(wire.OutputItemDone(response_id=self.id, output_index=index, item=item))
        return events
