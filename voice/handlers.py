"""What each event of a client does."""

from collections.abc import Callable
from typing import Any

import msgspec

from voice import rules, settings, wire
from voice.errors import ClientError
from voice.floor import Floor
from voice.requests import received, reply_options
from voice.timeline import Outcome
from voice.turn import Caller


def _update(floor: Floor, event: wire.SessionUpdate, at: float) -> None:
    set_up(floor, event.session, at)
    floor.initiative.client_is_ready(at)
    floor.send(wire.SessionUpdated(session=floor.effective))


def set_up(floor: Floor, update: dict[str, Any], at: float) -> None:
    """Raises:
    ClientError: A field that cannot be; nothing has changed.
    """
    floor.effective = settings.merge(floor.effective, update, detection=floor.defaults.detection)
    typed = settings.typed(floor.effective)
    before, floor.settings = floor.settings, floor.carrier.fixed(typed)
    floor.ear.set_format(floor.settings.audio.input.format)
    floor.ear.expect(rules.expected(floor.config, floor.settings))
    detection = floor.settings.audio.input.turn_detection
    if (detection is not None) != floor.turns.rules.automatic:
        drop_utterance(floor, at)
    changed = before.audio.input.turn_detection != detection
    if changed and floor.turns.caller is Caller.SILENT:
        floor.ear.reset(rules.threshold(floor.config, floor.settings))
    floor.apply_rules(at)


def _append(floor: Floor, event: wire.AudioAppend, at: float) -> None:
    if floor.carrier.listens is not None:
        message = "This call's audio comes in by its own track; append none."
        raise ClientError("invalid_event_for_transport", message)
    floor.hear(wire.decode_audio(event.audio), at)


def _commit_buffer(floor: Floor, event: wire.AudioCommit, at: float) -> None:
    floor.carry_out(floor.turns.commit(at), at)


def _clear_buffer(floor: Floor, event: wire.AudioClear, at: float) -> None:
    drop_utterance(floor, at)
    floor.send(wire.Cleared())


def drop_utterance(floor: Floor, at: float) -> None:
    turn = floor.turns.open_turn
    floor.carry_out(floor.turns.clear(), at)
    if turn is not None:
        floor.answering.close_turn(turn, Outcome.CANCELLED, at)


def _create_item(floor: Floor, event: wire.ItemCreate, at: float) -> None:
    item = received(event.item, floor.ids)
    before = floor.conversation.add(item, event.previous_item_id)
    floor.ids.skip(str(item.id))
    floor.send(wire.ItemAdded(item=item, previous_item_id=before))
    floor.send(wire.ItemDone(item=item, previous_item_id=before))


def _delete_item(floor: Floor, event: wire.ItemDelete, at: float) -> None:
    floor.conversation.delete(event.item_id)
    floor.send(wire.ItemDeleted(item_id=event.item_id))


def _retrieve_item(floor: Floor, event: wire.ItemRetrieve, at: float) -> None:
    floor.send(wire.ItemRetrieved(item=floor.conversation.retrieve(event.item_id)))


def _truncate_item(floor: Floor, event: wire.ItemTruncate, at: float) -> None:
    answer = floor.answers.by_item(event.item_id)
    if answer is None or floor.conversation.get(event.item_id) is None:
        message = "Only model output audio messages can be truncated"
        raise ClientError("item_truncate_invalid_item_id", message, "item_id")
    _check_not_negative("audio_end_ms", event.audio_end_ms)
    if event.content_index != 0:
        message = f"content_index must be 0, the only part of an answer; got {event.content_index}."
        raise ClientError("invalid_value", message, "content_index")
    stands_ms = answer.truncate(event.audio_end_ms, at)
    floor.send(
        wire.ItemTruncated(
            item_id=event.item_id, content_index=event.content_index, audio_end_ms=stands_ms
        )
    )


def _create_response(floor: Floor, event: wire.ResponseCreate, at: float) -> None:
    active = floor.answers.active
    if active is not None or floor.turns.reply_pending:
        name = active.response.id if active is not None else "one that waits for its words"
        raise ClientError(
            "conversation_already_has_active_response",
            f"Conversation already has an active response in progress: {name}. Wait until the "
            "response is finished before creating a new one.",
        )
    asked = reply_options(floor.effective, event.response or {}, floor.conversation)
    options = msgspec.structs.replace(asked, settings=floor.carrier.fixed(asked.settings))
    floor.answers.end(at)  # one that was said in full, and is still being heard
    floor.answering.options = options
    floor.carry_out(floor.turns.request_reply(), at)


def _cancel_response(floor: Floor, event: wire.ResponseCancel, at: float) -> None:
    named, active = event.response_id, floor.answers.active
    if active is not None and named in (None, active.response.id):
        floor.answering.cut("client_cancelled", Outcome.CANCELLED, at)
    elif named is None and floor.turns.reply_pending:
        withdraw_reply(floor, at)
    else:
        message = "Cancellation failed: no active response found"
        raise ClientError("response_cancel_not_active", message)


def withdraw_reply(floor: Floor, at: float) -> None:
    commands = floor.turns.withdraw_reply()
    floor.answering.void_request("client_cancelled", Outcome.CANCELLED, at)
    floor.carry_out(commands, at)


def _clear_sound(floor: Floor, event: wire.OutputAudioClear, at: float) -> None:
    if not floor.carrier.plays:
        message = "output_audio_buffer.clear is for calls whose sound is played from here."
        raise ClientError("invalid_event_for_transport", message)
    floor.answering.cut("client_cancelled", Outcome.CANCELLED, at)


def _report_playback(floor: Floor, event: wire.PlaybackReport, at: float) -> None:
    _check_not_negative("played_ms", event.played_ms)
    answer = floor.answers.by_item(event.item_id)
    if answer is not None:  # else late news of an answer long over
        answer.report(event.played_ms, at)


def _check_not_negative(name: str, value: float) -> None:
    if value < 0:
        raise ClientError("invalid_value", f"{name} must be 0 or more, got {value}.", name)


CLIENT_HANDLERS: dict[type, Callable[[Floor, Any, float], None]] = {
    wire.SessionUpdate: _update,
    wire.AudioAppend: _append,
    wire.AudioCommit: _commit_buffer,
    wire.AudioClear: _clear_buffer,
    wire.ItemCreate: _create_item,
    wire.ItemDelete: _delete_item,
    wire.ItemRetrieve: _retrieve_item,
    wire.ItemTruncate: _truncate_item,
    wire.ResponseCreate: _create_response,
    wire.ResponseCancel: _cancel_response,
    wire.OutputAudioClear: _clear_sound,
    wire.PlaybackReport: _report_playback,
}
