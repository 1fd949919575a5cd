"""The caller's side of the conversation on the wire: items, partials, transcripts.

speech_started   partials, deltas …   speech_stopped committed item.added item.done   completed
|<------------ spoken ------------->|<-- silence -->|                       finals are in ^
"""

from collections.abc import Callable

from providers.base import LISTEN_RATE_HZ
from voice import wire
from voice.conversation import Conversation
from voice.hypothesis import StablePrefix
from voice.ids import Ids
from voice.settings import Settings


class Utterances:
    """Args:
    settings: The session's, as they are now.
    """

    def __init__(
        self,
        *,
        ids: Ids,
        conversation: Conversation,
        settings: Callable[[], Settings],
        send: Callable[[wire.ServerEvent], None],
    ) -> None:
        self._ids, self._conversation = ids, conversation
        self._settings, self._send = settings, send
        self._items: dict[int, str] = {}
        self._began: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._prefix = StablePrefix()
        self._shown_turn = 0

    def item_id(self, turn: int) -> str | None:
        return self._items.get(turn)

    def forget(self, turn: int) -> None:
        """Its record is closed."""
        self._items.pop(turn, None)
        self._began.pop(turn, None)
        self._ended.pop(turn, None)

    def begin(self, turn: int, sample: int) -> None:
        """The turn's utterance begins at `sample`; a second time says nothing new."""
        if turn not in self._items:
            self._items[turn] = self._ids.new("item")
            self._began[turn] = sample
            self._prefix, self._shown_turn = StablePrefix(), turn

    def announce(self, turn: int) -> None:
        started_ms = _ms(self._began[turn])
        self._send(wire.SpeechStartedEvent(item_id=self._items[turn], audio_start_ms=started_ms))

    def show(self, turn: int, text: str) -> None:
        """What can be shown for good goes out as delta, the whole guess as the extension."""
        if turn != self._shown_turn:
            return
        self._delta(turn, self._prefix.update(text))
        if self._settings().wants("kaiwa.transcript.partial"):
            stable = min(len(text), self._prefix.stable_chars)
            self._send(
                wire.PartialTranscript(item_id=self._items[turn], text=text, stable_chars=stable)
            )

    def _delta(self, turn: int, text: str) -> None:
        if text and self._settings().audio.input.transcription is not None:
            self._send(wire.TranscriptionDelta(item_id=self._items[turn], delta=text))

    def commit(self, turn: int, position: int, *, detected: bool) -> None:
        """The utterance becomes an item.

        Args:
            position: Where the audio has come to: behind the silence that ended it.
            detected: Whether that was found out here; else the client said so.
        """
        item_id = self._items[turn]
        self._ended[turn] = position
        if detected:
            self._send(wire.SpeechStoppedEvent(item_id=item_id, audio_end_ms=_ms(position)))
        item = wire.Item(
            id=item_id,
            type="message",
            role="user",
            status="completed",
            content=(wire.InputAudio(),),
        )
        before = self._conversation.add(item)
        self._send(wire.Committed(item_id=item_id, previous_item_id=before))
        self._send(wire.ItemAdded(item=item, previous_item_id=before))
        self._send(wire.ItemDone(item=item, previous_item_id=before))

    def understood(self, turn: int, text: str) -> None:
        item_id = self._items[turn]
        self._conversation.transcribed(item_id, text)
        if turn == self._shown_turn:
            self._delta(turn, self._prefix.finish(text))
        if self._settings().audio.input.transcription is not None:
            seconds = round((self._ended[turn] - self._began[turn]) / LISTEN_RATE_HZ, 3)
            usage = wire.DurationUsage(seconds=seconds)
            self._send(wire.TranscriptionCompleted(item_id=item_id, transcript=text, usage=usage))

    def typed(self, turn: int, text: str) -> None:
        """The turn is an item of text, and whole."""
        item_id = self._items[turn] = self._ids.new("item")
        item = wire.Item(
            id=item_id,
            type="message",
            role="user",
            status="completed",
            content=(wire.InputText(text),),
        )
        before = self._conversation.add(item)
        self._send(wire.ItemAdded(item=item, previous_item_id=before))
        self._send(wire.ItemDone(item=item, previous_item_id=before))

    def misheard(self, turn: int) -> None:
        item_id = self._items[turn]
        self._conversation.transcribed(item_id, "")
        body = wire.Misheard(
            type="server_error",
            code="stt_failed",
            message="The recogniser lost this utterance. Please say it again.",
        )
        self._send(wire.TranscriptionFailed(item_id=item_id, error=body))


def _ms(sample: int) -> int:
    return sample * 1000 // LISTEN_RATE_HZ
