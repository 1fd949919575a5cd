"""What has been said: the items of a conversation, in order, as the wire and the model see them.

A user's audio item has its words when the final hypothesis is in. An assistant's item holds what
was heard: when the caller cuts in, it is shortened to that, and stays marked as cut.
"""

from collections.abc import Iterator, Sequence

from msgspec import UNSET

from providers.base import Message, ToolCall
from voice.errors import ClientError
from voice.wire import InputAudio, InputText, Item, OutputAudio, OutputText

ROOT = "root"
"""`previous_item_id` that stands for the very beginning."""
MAX_ITEMS = 2000
MAX_CHARACTERS = 1_000_000
"""Beyond either the oldest leave: a call of many hours, or a hostile one, stays bounded."""
CUT_MARK = " —"


class Conversation:
    """Items by id and in order. Items are frozen; a change puts a new one in its place."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._heard: set[str] = set()
        self._cut: set[str] = set()
        self._notes: dict[str, list[Message]] = {}
        self._characters = 0

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last_id(self) -> str | None:
        return next(reversed(self._items), None)

    def get(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    def previous(self, item_id: str) -> str | None:
        """The item before `item_id`; None for the first."""
        before = None
        for known in self._items:
            if known == item_id:
                return before
            before = known
        return None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Puts an item behind `after` (None: at the end; "root": at the beginning).

        Returns:
            The id of the item before it; None for the first.
        Raises:
            ClientError: Its id is taken, or `after` is not known.
        """
        assert isinstance(item.id, str)
        if item.id in self._items:
            message = f"An item with id {item.id!r} is in the conversation already."
            raise ClientError("item_create_duplicate_item_id", message, "item.id")
        if after is None or after == self.last_id:
            before = self.last_id
            self._items[item.id] = item
        elif after == ROOT:
            before = None
            self._items = {item.id: item, **self._items}
        else:
            before = after
            self._insert(item, after)
        self._characters += _characters(item)
        while len(self._items) > MAX_ITEMS or self._characters > MAX_CHARACTERS:
            self._forget(next(iter(self._items)))
        return before

    def _insert(self, item: Item, after: str) -> None:
        if after not in self._items:
            message = f"previous_item_id {after!r} is not in the conversation."
            raise ClientError("item_create_invalid_previous_item_id", message, "previous_item_id")
        ordered: dict[str, Item] = {}
        for known, value in self._items.items():
            ordered[known] = value
            if known == after:
                assert isinstance(item.id, str)
                ordered[item.id] = item
        self._items = ordered

    def replace(self, item: Item) -> None:
        """The same id with new content; one that was deleted meanwhile stays deleted."""
        assert isinstance(item.id, str)
        before = self._items.get(item.id)
        if before is not None:
            self._items[item.id] = item
            self._characters += _characters(item) - _characters(before)

    def delete(self, item_id: str) -> None:
        """Raises:
        ClientError: Not known.
        """
        if item_id not in self._items:
            raise _unknown("item_delete_invalid_item_id", item_id)
        self._forget(item_id)

    def retrieve(self, item_id: str) -> Item:
        """Raises:
        ClientError: Not known.
        """
        item = self._items.get(item_id)
        if item is None:
            raise _unknown("item_retrieve_invalid_item_id", item_id)
        return item

    def _forget(self, item_id: str) -> None:
        self._characters -= _characters(self._items.pop(item_id))
        self._heard.discard(item_id)
        self._cut.discard(item_id)
        self._notes.pop(item_id, None)

    def note(self, behind: str, messages: Sequence[Message]) -> None:
        """What the model is to know, and no client: shown behind an item, or the last there is."""
        anchor = behind if behind in self._items else self.last_id
        self._notes.setdefault(anchor or ROOT, []).extend(messages)

    def transcribed(self, item_id: str, text: str) -> None:
        """The final hypothesis of a user's audio item."""
        item = self._items.get(item_id)
        if item is not None:
            self.replace(_with_content(item, (InputAudio(transcript=text),)))

    def heard(self, item_id: str, text: str, *, is_cut: bool = True) -> None:
        """Of the assistant's spoken item only `text` was heard; the rest was never said.

        Args:
            is_cut: Its end is what is missing.
        """
        item = self._items.get(item_id)
        if item is not None:
            self._heard.add(item_id)
            if is_cut:
                self._cut.add(item_id)
            self.replace(_with_content(item, (OutputAudio(transcript=text),)))

    def is_heard(self, item_id: str) -> bool:
        """Whether its words are those that were heard, not those that were meant to be said."""
        return item_id in self._heard

    def is_cut(self, item_id: str) -> bool:
        return item_id in self._cut

    def question(self) -> tuple[str, str]:
        """(item id, words) of the last thing the user said; empty if nothing.

        A cough is an item too, and asks nothing.
        """
        for item in reversed(self._items.values()):
            if item.type == "message" and item.role == "user" and (words := text_of(item)):
                assert isinstance(item.id, str)
                return item.id, words
        return "", ""

    def messages(self) -> list[Message]:
        """For the model: only what has words, only what was heard, function calls with results.

        A call and its result stand together, wherever the result came in: servers refuse a prompt
        in which one stands without the other.
        """
        results = {
            item.call_id: item
            for item in self._items.values()
            if item.type == "function_call_output"
        }
        shown: list[Message] = list(self._notes.get(ROOT, ()))
        for item in self._items.values():
            if item.type == "function_call":
                shown += _called(item, results.get(item.call_id))
            elif item.type == "message":
                message = self._message(item)
                if message is not None:
                    shown.append(message)
            if isinstance(item.id, str) and item.id in self._notes:
                shown += self._notes[item.id]
        return shown

    def _message(self, item: Item) -> Message | None:
        text = text_of(item)
        if not text:
            return None
        if item.role == "assistant" and isinstance(item.id, str) and item.id in self._cut:
            text += CUT_MARK
        role = item.role if item.role in ("assistant", "system") else "user"
        return Message(role=role, content=text)


def _called(item: Item, result: Item | None) -> list[Message]:
    if result is None or item.status in ("in_progress", "incomplete"):
        return []
    call = ToolCall(_text(item.call_id), _text(item.name), _text(item.arguments))
    return [
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content=_text(result.output), tool_call_id=call.call_id),
    ]


def _characters(item: Item) -> int:
    parts = len(item.content) if isinstance(item.content, tuple) else 0
    words = len(text_of(item)) + len(_text(item.arguments)) + len(_text(item.output))
    return words + 100 * (1 + parts)


def text_of(item: Item) -> str:
    """The words of a message, said or written."""
    pieces: list[str] = []
    for part in item.content or ():
        if isinstance(part, InputText | OutputText):
            pieces.append(part.text)
        elif isinstance(part, InputAudio | OutputAudio):
            pieces.append(part.transcript or "")
    return " ".join(piece for piece in pieces if piece)


def _with_content(item: Item, content: tuple[InputAudio | OutputAudio, ...]) -> Item:
    return Item(id=item.id, type=item.type, status=item.status, role=item.role, content=content)


def _text(value: object) -> str:
    return "" if value is UNSET else str(value)


def _unknown(code: str, item_id: str) -> ClientError:
    return ClientError(code, f"Item {item_id!r} is not in the conversation.", "item_id")
