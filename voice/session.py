"""One call: every fact goes through here, in the order it came, and its orders are carried out.

    client events ─┐                        ┌─▶ Utterances ─▶ server events
    audio, VAD,   ─┼─▶ inbox ─▶ TurnTaker ──┤
    hypotheses    ─┤      │                 └─▶ Answers ─▶ server events, frames
    the reply     ─┘      └ stamped on arrival; what time made due comes first

All of it is synchronous: a fact is dealt with before the next one is looked at, so no state changes
between a question and its answer. What waits (models, sockets) waits elsewhere and posts a fact.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from providers.base import LISTEN_RATE_HZ, Hypothesis, ProviderError, SttFailure, VadFrame
from voice import events, metrics, reply, settings, wire
from voice.answer import Answer
from voice.answers import Answers, Outbox
from voice.config import Config
from voice.conversation import Conversation, text_of
from voice.ear import Ear
from voice.errors import ClientError
from voice.ids import Ids
from voice.providers import Providers
from voice.record import Closing, Record
from voice.requests import ReplyOptions, received, reply_options
from voice.response import Ending
from voice.settings import Settings
from voice.timeline import Outcome
from voice.timeline import Stage as Stamp
from voice.turn import Caller, TurnRules, TurnTaker
from voice.utterances import Utterances

EARLY_S = 0.002
"""uvloop's timers tick in milliseconds and come up to two too early. Such a one is believed: to
wait for the rest would take timers of 0 ms, one after another."""


class AudioIn(Struct, frozen=True):
    """The next piece of the caller's audio, as the wire had it."""

    data: bytes


class Session:
    """Args:
    session_id: Its random part seeds every id of this session.
    now: A monotonic clock in seconds, fine enough to measure with.
    closed: Told once, when the session is over.
    failed: Told of every provider's failure, with its slot.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: Config,
        providers: Providers,
        outbox: Outbox,
        figures: metrics.Figures,
        now: Callable[[], float],
        closed: Callable[["Session"], None] = lambda session: None,
        failed: Callable[[str, ProviderError], None] = lambda slot, error: None,
    ) -> None:
        self.id = session_id
        self._config, self._outbox, self._now = config, outbox, now
        self._on_closed, self._on_failed = closed, failed
        self._log = structlog.get_logger().bind(session=session_id)
        self._ids = Ids(session_id.removeprefix("sess_")[-10:])
        self._effective = settings.initial(session_id, _defaults(config, providers))
        self._settings = settings.typed(self._effective)
        self._turns = TurnTaker(_rules(config, self._settings))
        self._ear = Ear(
            vad=providers.vad,
            stt=providers.stt,
            post=self.post,
            form=self._settings.audio.input.format,
            language=self._language(),
            threshold=config.vad.threshold,
            min_speech_ms=config.vad.min_speech_ms,
        )
        self.conversation = Conversation()
        self._record = Record(
            session_id, figures=figures, send=self._send, log_words=config.log.transcripts
        )
        self._utterances = Utterances(
            ids=self._ids,
            conversation=self.conversation,
            settings=lambda: self._settings,
            send=self._send,
        )
        self._answers = Answers(
            session_id,
            config=config,
            providers=providers,
            ids=self._ids,
            conversation=self.conversation,
            record=self._record,
            outbox=outbox,
            send=self._send,
            post=self.post,
            ended=self._answer_ended,
        )
        self._options: ReplyOptions | None = None
        self._inbox: deque[tuple[float, Any]] = deque()
        self._pumping = self._broken = False
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    # --- in ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """The client has connected."""
        metrics.SESSIONS.inc()
        self._log.info("session_opened")
        self._send(wire.SessionCreated(session=self._effective))

    def hear(self, data: bytes) -> None:
        """The next audio from the client, in its own format."""
        self.post(AudioIn(data))

    def post(self, fact: Any) -> None:
        """A fact happened. Dealt with before this returns, or right after the one in hand."""
        if self.closed or self._broken:
            return
        self._inbox.append((self._now(), fact))
        if not self._pumping:
            self._pump()

    def _pump(self, due: float = 0.0) -> None:
        """Args:
        due: What the timer was set for, if it brought us here.
        """
        self._pumping = True
        try:
            now = self._now()
            begun = due if now < due < now + EARLY_S else now
            self._tick(begun)
            while self._inbox and not self.closed:
                at, fact = self._inbox.popleft()
                self._receive(fact, at)
                self._tick(at)
            self._answers.sound(max(begun, self._now()))
            self._set_timer()
        except Exception:  # our bug: it ends the call, never the process
            self._broken = True
            self._inbox.clear()
            self._log.exception("session_broke")
            self.hang_up(1011, "internal error")
        finally:
            self._pumping = False

    def _receive(self, fact: Any, at: float) -> None:
        match fact:
            case AudioIn():
                self._listen(fact.data, at)
            case VadFrame():
                self._judge(fact, at)
            case Hypothesis() | SttFailure():
                self._recognised(fact, at)
            case wire.ClientEvent():
                self._client(fact, at)
            case _:
                if isinstance(fact, reply.Failed):
                    self._provider_failed(fact.error)
                self._answers.receive(fact, at)

    def _client(self, event: wire.ClientEvent, at: float) -> None:
        try:
            CLIENT_HANDLERS[type(event)](self, event, at)
        except ClientError as error:
            self.complain(error, event.event_id)

    def complain(self, error: ClientError, event_id: str | None = None) -> None:
        """Tells the client what it got wrong; the session goes on."""
        metrics.CLIENT_ERRORS.labels(error.code).inc()
        body = wire.ErrorBody(
            code=error.code, message=error.message, param=error.param, event_id=event_id
        )
        self._send(wire.Error(error=body))

    def _provider_failed(self, error: ProviderError) -> None:
        metrics.PROVIDER_ERRORS.labels(error.slot.value, error.provider, error.fault.value).inc()
        self._on_failed(error.slot.value, error)
        self._log.warning("provider_failed", error=str(error), fault=error.fault.value)

    def _send(self, event: wire.ServerEvent) -> None:
        event.event_id = self._ids.new("event")
        self._outbox.send(event)

    # --- time -------------------------------------------------------------------------------------

    def _tick(self, at: float) -> None:
        due = self._turns.deadline()
        if due is not None and at >= due:
            self._carry_out(self._turns.tick(at), at)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wanted = (self._turns.deadline(), self._answers.next_due())
        due = min((at for at in wanted if at is not None), default=None)
        if due is not None and not self.closed:
            delay = max(0.0, due - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_due, due)

    def _timer_due(self, due: float) -> None:
        self._timer = None
        if not self.closed and not self._broken:
            self._pump(due)

    # --- the caller's audio -----------------------------------------------------------------------

    def _listen(self, data: bytes, at: float) -> None:
        try:
            self._hear(data, at)
        except ClientError as error:
            self.complain(error)

    def _hear(self, data: bytes, at: float) -> None:
        """Raises:
        ClientError: Half a sample.
        """
        pcm = self._ear.convert(data)
        if not pcm:
            return
        automatic = self._turns.rules.automatic
        self._ear.hear(pcm, judged=automatic)
        self._carry_out(self._turns.arrive(len(pcm) // 2, at), at)
        if not automatic:
            self._ear.feed(self._ear.position)

    def _judge(self, frame: VadFrame, at: float) -> None:
        for fact in self._ear.judge(frame):
            self._carry_out(self._turns.receive(fact, at), at)
        self._ear.feed(frame.end_sample)
        self._carry_out(self._turns.judge(frame.end_sample, at), at)

    def _recognised(self, fact: Hypothesis | SttFailure, at: float) -> None:
        if isinstance(fact, SttFailure):
            self._provider_failed(fact.error)
        turn = self._turns.turn_of(fact.utterance)
        commands = self._turns.receive(fact, at)
        if turn is not None and isinstance(fact, Hypothesis) and fact.text and not fact.is_final:
            self._record.timeline(turn).stamp(Stamp.PARTIAL, at)
            self._utterances.show(turn, self._turns.text_of(turn) or fact.text)
        self._carry_out(commands, at)

    # --- orders of the turn-taker -----------------------------------------------------------------

    def _carry_out(self, commands: list[events.Command], at: float) -> None:
        for command in commands:
            match command:
                case events.OpenUtterance():
                    self._utterances.begin(command.turn, command.sample)
                    self._utterances.announce(command.turn)
                case events.Interrupt():
                    self._cut("turn_detected", Outcome.INTERRUPTED, at)
                case events.BeginSegment():
                    self._begin_segment(command)
                case events.EndSegment():
                    self._ear.end()
                case events.AbandonSegment():
                    self._ear.abandon()
                case events.CommitUtterance():
                    self._commit(command, at)
                case events.Understood():
                    self._record.timeline(command.turn).stamp(Stamp.FINAL, at)
                    self._utterances.understood(command.turn, command.text)
                case events.Misheard():
                    self._utterances.misheard(command.turn)
                case events.StartReply():
                    self._start_reply(command.turn, at)
                case events.SkipReply():
                    self._close_turn(command.turn, _skipped(command, commands), at)
        if self._options is not None and not self._turns.reply_pending:
            self._void_request("turn_detected", Outcome.INTERRUPTED, at)

    def _when(self, sample: int) -> float:
        """Loop time at which the caller's `sample` was spoken, as far as we can know."""
        clock = self._turns.clock
        return clock.arrived_at - (clock.position - sample) / LISTEN_RATE_HZ

    def _begin_segment(self, command: events.BeginSegment) -> None:
        if not self._record.is_open(command.turn):
            self._utterances.begin(command.turn, command.sample)
            started = self._when(self._turns.speech_sample)
            self._record.timeline(command.turn).stamp(Stamp.SPEECH_START, started)
        self._ear.begin(command.segment, command.sample)

    def _commit(self, command: events.CommitUtterance, at: float) -> None:
        timeline = self._record.timeline(command.turn)
        timeline.stamp(Stamp.SPEECH_END, min(at, self._when(command.sample)))
        timeline.stamp(Stamp.ENDPOINT, at)
        automatic = self._turns.rules.automatic
        position = self._turns.clock.position
        self._utterances.commit(command.turn, position, detected=automatic)
        if automatic:
            self._listen_afresh()

    def _listen_afresh(self) -> None:
        """An utterance ended before its speech did: what follows is a new one."""
        if self._ear.speaking and self._turns.caller is Caller.SILENT:
            self._ear.reset(self._threshold())

    def _threshold(self) -> float:
        detection = self._settings.audio.input.turn_detection
        if detection is not None and detection.type == "server_vad":
            return detection.threshold
        return self._config.vad.threshold

    def _language(self) -> str:
        transcription = self._settings.audio.input.transcription
        asked = transcription.language if transcription is not None else ""
        return asked or self._config.stt.language

    # --- the answer -------------------------------------------------------------------------------

    def _start_reply(self, turn: int, at: float) -> None:
        options, self._options = self._options or ReplyOptions(self._settings), None
        self._answers.begin(
            turn,
            options,
            item_id=self._utterances.item_id(turn),
            language=self._language(),
            at=at,
        )

    def _void_request(self, reason: str, outcome: Outcome, at: float) -> None:
        """What the client asked for will not begin: it is told so, or it would wait for it."""
        options, self._options = self._options, None
        if options is not None:
            turn = self._turns.voided_turn()
            self._record.timeline(turn).stamp(Stamp.REQUEST, at)
            self._answers.void(turn, options, reason)
            self._close_turn(turn, outcome, at)

    def _cut(self, reason: str, outcome: Outcome, at: float) -> None:
        self._answers.cut(Ending(status="cancelled", reason=reason), outcome, at)

    def _answer_ended(self, answer: Answer, at: float) -> None:
        self._turns.reply_ended()
        self._close_turn(answer.turn, answer.outcome, at, answer)

    def _close_turn(
        self, turn: int, outcome: Outcome, at: float, answer: Answer | None = None
    ) -> None:
        item_id = self._utterances.item_id(turn)
        item = self.conversation.get(item_id) if item_id else None
        closing = Closing(item_id=item_id, asked=text_of(item) if item else "")
        if answer is not None:
            closing = msgspec.structs.replace(
                closing,
                response_id=answer.response.id,
                cut_in_ms=answer.cut_in_ms,
                problem=answer.problem,
                answered=answer.text,
            )
        tell = self._settings.wants("kaiwa.turn.timeline")
        self._record.close(turn, outcome, at, closing, tell=tell)
        self._utterances.forget(turn)

    # --- the client's requests --------------------------------------------------------------------

    def _update(self, event: wire.SessionUpdate, at: float) -> None:
        self._effective = settings.merge(self._effective, event.session)
        before, self._settings = self._settings, settings.typed(self._effective)
        self._ear.set_format(self._settings.audio.input.format)
        self._ear.set_language(self._language())
        rules = _rules(self._config, self._settings)
        switched = rules.automatic != self._turns.rules.automatic
        if switched:
            self._drop_utterance(at)
        detection = self._settings.audio.input.turn_detection
        changed = before.audio.input.turn_detection != detection
        if changed and self._turns.caller is Caller.SILENT:
            self._ear.reset(self._threshold())
        self._turns.rules = rules
        self._send(wire.SessionUpdated(session=self._effective))

    def _append(self, event: wire.AudioAppend, at: float) -> None:
        self._hear(wire.decode_audio(event.audio), at)

    def _commit_buffer(self, event: wire.AudioCommit, at: float) -> None:
        self._carry_out(self._turns.commit(at), at)

    def _clear_buffer(self, event: wire.AudioClear, at: float) -> None:
        self._drop_utterance(at)
        self._send(wire.Cleared())

    def _drop_utterance(self, at: float) -> None:
        turn = self._turns.open_turn
        self._carry_out(self._turns.clear(), at)
        if turn is not None:
            self._close_turn(turn, Outcome.CANCELLED, at)

    def _create_item(self, event: wire.ItemCreate, at: float) -> None:
        item = received(event.item, self._ids)
        before = self.conversation.add(item, event.previous_item_id)
        self._ids.skip(str(item.id))
        self._send(wire.ItemAdded(item=item, previous_item_id=before))
        self._send(wire.ItemDone(item=item, previous_item_id=before))

    def _delete_item(self, event: wire.ItemDelete, at: float) -> None:
        self.conversation.delete(event.item_id)
        self._send(wire.ItemDeleted(item_id=event.item_id))

    def _retrieve_item(self, event: wire.ItemRetrieve, at: float) -> None:
        self._send(wire.ItemRetrieved(item=self.conversation.retrieve(event.item_id)))

    def _truncate_item(self, event: wire.ItemTruncate, at: float) -> None:
        answer = self._answers.by_item(event.item_id)
        if answer is None or self.conversation.get(event.item_id) is None:
            message = "Only model output audio messages can be truncated"
            raise ClientError("item_truncate_invalid_item_id", message, "item_id")
        if event.audio_end_ms < 0:
            message = f"audio_end_ms must be 0 or more, got {event.audio_end_ms}"
            raise ClientError("invalid_value", message, "audio_end_ms")
        stands_ms = answer.truncate(event.audio_end_ms, at)
        self._send(
            wire.ItemTruncated(
                item_id=event.item_id, content_index=event.content_index, audio_end_ms=stands_ms
            )
        )

    def _create_response(self, event: wire.ResponseCreate, at: float) -> None:
        active = self._answers.active
        if active is not None or self._turns.reply_pending:
            name = active.response.id if active is not None else "one that waits for its words"
            raise ClientError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {name}. Wait until the "
                "response is finished before creating a new one.",
            )
        options = reply_options(self._effective, event.response or {}, self.conversation)
        self._answers.end(at)  # one that was said in full, and is still being heard
        self._options = options
        self._carry_out(self._turns.request_reply(), at)

    def _cancel_response(self, event: wire.ResponseCancel, at: float) -> None:
        named, active = event.response_id, self._answers.active
        if active is not None and named in (None, active.response.id):
            self._cut("client_cancelled", Outcome.CANCELLED, at)
        elif named is None and self._turns.reply_pending:
            commands = self._turns.withdraw_reply()
            self._void_request("client_cancelled", Outcome.CANCELLED, at)
            self._carry_out(commands, at)
        else:
            message = "Cancellation failed: no active response found"
            raise ClientError("response_cancel_not_active", message)

    def _report_playback(self, event: wire.PlaybackReport, at: float) -> None:
        answer = self._answers.by_item(event.item_id)
        if answer is not None:  # else late news of an answer long over
            answer.report(event.played_ms, at)

    # --- the end ----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether somebody is in the middle of a sentence, or waits for the answer to one."""
        speaking = self._turns.caller is not Caller.SILENT
        return speaking or self._turns.reply_pending or self._answers.current is not None

    def hang_up(self, code: int, reason: str) -> None:
        """Ends the connection; `close` follows when it is gone."""
        self._outbox.end(code, reason)

    async def close(self) -> None:
        """Gives everything back, within 2 s. Idempotent."""
        if self.closed:
            return
        self.closed = True
        metrics.SESSIONS.dec()
        if self._timer is not None:
            self._timer.cancel()
        now = self._now()
        try:
            self._ear.close()
            await self._answers.aclose(now)
            self._record.close_all(Outcome.CANCELLED, now)
        finally:
            self._on_closed(self)
            self._log.info("session_closed")


def _defaults(config: Config, providers: Providers) -> settings.Defaults:
    return settings.Defaults(
        instructions=config.agent.instructions,
        voice=config.tts.voice,
        transcription_model=providers.stt.info.provider,
        language=config.stt.language,
        silence_ms=config.turn.silence_ms,
        threshold=config.vad.threshold,
    )


def _skipped(skip: events.SkipReply, orders: list[events.Command]) -> Outcome:
    if events.Misheard(skip.turn) in orders:
        return Outcome.FAILED
    return Outcome.NO_SPEECH if skip.no_speech else Outcome.NO_REPLY


EAGERNESS_SILENCE = {"low": 1.6, "medium": 1.0, "auto": 1.0, "high": 0.6}
"""Of the configured silence: how much semantic_vad waits."""


def _rules(config: Config, chosen: Settings) -> TurnRules:
    turn, detection = config.turn, chosen.audio.input.turn_detection
    rules = TurnRules(
        automatic=detection is not None,
        silence_ms=turn.silence_ms,
        final_after_ms=turn.final_after_ms,
        final_limit_s=turn.final_limit_s,
        max_utterance_s=turn.max_utterance_s,
        stall_s=turn.stall_s,
    )
    if detection is None:
        return rules
    silence_ms = detection.silence_duration_ms
    if detection.type == "semantic_vad":
        silence_ms = round(turn.silence_ms * EAGERNESS_SILENCE[detection.eagerness])
    return msgspec.structs.replace(
        rules,
        silence_ms=silence_ms,
        prefix_ms=detection.prefix_padding_ms,
        create_response=detection.create_response,
        interrupt_response=detection.interrupt_response,
    )


CLIENT_HANDLERS: dict[type, Callable[[Session, Any, float], None]] = {
    wire.SessionUpdate: Session._update,
    wire.AudioAppend: Session._append,
    wire.AudioCommit: Session._commit_buffer,
    wire.AudioClear: Session._clear_buffer,
    wire.ItemCreate: Session._create_item,
    wire.ItemDelete: Session._delete_item,
    wire.ItemRetrieve: Session._retrieve_item,
    wire.ItemTruncate: Session._truncate_item,
    wire.ResponseCreate: Session._create_response,
    wire.ResponseCancel: Session._cancel_response,
    wire.PlaybackReport: Session._report_playback,
}
