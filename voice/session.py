"""One call: every fact goes through here, in the order it came, and its orders are carried out.

    client events ─┐                        ┌─▶ server events, frames   (Outbox)
    audio, VAD,   ─┼─▶ inbox ─▶ TurnTaker ──┤
    hypotheses    ─┤      │                 └─▶ one reply task at a time
    the reply     ─┘      └ stamped on arrival; what time made due comes first

All of it is synchronous: a fact is dealt with before the next one is looked at, so no state changes
between a question and its answer. What waits (models, sockets) waits elsewhere and posts a fact.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from providers.base import (
    LLM,
    STT,
    TTS,
    VAD,
    Hypothesis,
    LLMRequest,
    ProviderError,
    Retriever,
    SttFailure,
    Tool,
    VadFrame,
)
from voice import events, metrics, reply, settings, wire
from voice.answer import Answer
from voice.config import Config
from voice.conversation import Conversation, text_of
from voice.ear import Ear
from voice.endpoint import samples
from voice.errors import ClientError
from voice.hypothesis import StablePrefix
from voice.ids import Ids
from voice.playout import Frame
from voice.requests import ReplyOptions, received, reply_options
from voice.response import Ending, Response
from voice.settings import Settings
from voice.timeline import Outcome, Timeline
from voice.timeline import Stage as Stamp
from voice.turn import Caller, TurnRules, TurnTaker

STORE_MS = 10_000
"""Sound of the answer that is kept ready; beyond it the voice waits."""
RECENT_ANSWERS = 4

log = structlog.get_logger()


class Providers(Struct, frozen=True):
    """What a session talks to; shared by all sessions."""

    vad: VAD
    stt: STT
    llm: LLM
    tts: TTS
    retriever: Retriever | None = None


class Outbox(Protocol):
    """The session's way to the client. Nothing here waits."""

    def send(self, event: wire.ServerEvent) -> None: ...

    def sound(self, event: wire.AudioDelta, frame: Frame, form: settings.AudioFormat) -> None: ...

    def clear(self) -> None:
        """Drop the sound that has not left yet."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection behind what was sent."""


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
        self._config, self._providers, self._outbox = config, providers, outbox
        self._figures, self._now = figures, now
        self._on_closed, self._on_failed = closed, failed
        self._log = log.bind(session=session_id)
        self._ids = Ids(session_id.removeprefix("sess_")[-10:])
        self._effective = settings.initial(session_id, _defaults(config, providers))
        self._settings = settings.typed(self._effective)
        self.conversation = Conversation()
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
        self._inbox: deque[tuple[float, Any]] = deque()
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._timelines: dict[int, Timeline] = {}
        self._items: dict[int, str] = {}
        self._prefix = StablePrefix()
        self._prefix_segment = 0
        self._spoken_from: dict[int, int] = {}
        self._answer: Answer | None = None
        self._answers: dict[str, Answer] = {}
        self._options: ReplyOptions | None = None
        self._replying: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._room: asyncio.Future[None] | None = None
        self.closed = False

    # --- in ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """The client has connected."""
        metrics.SESSIONS.inc()
        self._log.info("session_opened")
        self._send(wire.SessionCreated(session=self._effective))

    def post(self, fact: Any) -> None:
        """A fact happened. Dealt with before this returns, or right after the one in hand."""
        if self.closed:
            return
        self._inbox.append((self._now(), fact))
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        self._pumping = True
        try:
            self._tick(self._now())
            while self._inbox and not self.closed:
                at, fact = self._inbox.popleft()
                self._receive(fact, at)
                self._tick(at)
            self._send_due_sound()
            self._set_timer()
        except Exception:  # our bug: it ends the call, never the process
            self._log.exception("session_broke")
            self.hang_up(1011, "internal error")
        finally:
            self._pumping = False

    def _receive(self, fact: Any, at: float) -> None:
        match fact:
            case AudioIn():
                self._hear(fact.data, at)
            case VadFrame():
                self._judge(fact, at)
            case Hypothesis() | SttFailure():
                self._recognised(fact, at)
            case wire.ClientEvent():
                self._client(fact, at)
            case _:
                self._replied(fact, at)

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

    # --- time -------------------------------------------------------------------------------------

    def _tick(self, at: float) -> None:
        due = self._turns.deadline()
        if due is not None and at >= due:
            self._carry_out(self._turns.tick(at), at)

    def _set_timer(self) -> None:
        due = self._turns.deadline()
        if self._answer is not None:
            sound = self._answer.next_due()
            due = sound if due is None else due if sound is None else min(due, sound)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and not self.closed:
            delay = max(0.0, due - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_due)

    def _timer_due(self) -> None:
        self._timer = None
        if not self.closed:
            self._pump()

    # --- the caller's audio -----------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """The next audio from the client, in its own format."""
        self.post(AudioIn(data))

    def _hear(self, data: bytes, at: float) -> None:
        try:
            pcm = self._ear.convert(data)
        except ClientError as error:
            self.complain(error)
            return
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
        if turn is not None and isinstance(fact, Hypothesis):
            self._show_partial(turn, fact, at)
        self._carry_out(commands, at)

    def _show_partial(self, turn: int, fact: Hypothesis, at: float) -> None:
        """What can be shown for good goes out as delta, the whole guess as the extension."""
        text = self._turns.text_of(turn)
        if text is None or fact.is_final or not fact.text:
            return
        if turn in self._timelines:
            self._timelines[turn].stamp(Stamp.PARTIAL, at)
        self._delta(turn, self._prefix.update(text))
        if self._settings.wants("kaiwa.transcript.partial"):
            self._send(
                wire.PartialTranscript(
                    item_id=self._items[turn],
                    text=text,
                    stable_chars=min(len(text), self._prefix.stable_chars),
                )
            )

    def _delta(self, turn: int, text: str) -> None:
        if text and self._settings.audio.input.transcription is not None:
            self._send(wire.TranscriptionDelta(item_id=self._items[turn], delta=text))

    # --- orders of the turn-taker -----------------------------------------------------------------

    def _carry_out(self, commands: list[events.Command], at: float) -> None:
        for command in commands:
            match command:
                case events.OpenUtterance():
                    self._open_utterance(command, at)
                case events.Interrupt():
                    self._cut("turn_detected", Outcome.INTERRUPTED, at)
                case events.BeginSegment():
                    self._begin_segment(command, at)
                case events.EndSegment():
                    self._ear.end()
                case events.AbandonSegment():
                    self._ear.abandon()
                case events.CommitUtterance():
                    self._commit(command, at)
                case events.Understood():
                    self._understood(command, at)
                case events.Misheard():
                    self._misheard(command, at)
                case events.StartReply():
                    self._start_reply(command.turn, at)
                case events.SkipReply():
                    outcome = Outcome.NO_SPEECH if command.no_speech else Outcome.NO_REPLY
                    self._close_timeline(command.turn, outcome, at)

    def _when(self, sample: int) -> float:
        """Loop time at which the caller's `sample` was spoken, as far as we can know."""
        clock = self._turns.clock
        return clock.arrived_at - (clock.position - sample) / samples(1000)

    def _timeline(self, turn: int) -> Timeline:
        if turn not in self._timelines:
            self._timelines[turn] = Timeline(turn, f"{self.id}-{turn}")
        return self._timelines[turn]

    def _open_utterance(self, command: events.OpenUtterance, at: float) -> None:
        item_id = self._items[command.turn] = self._ids.new("item")
        self._spoken_from[command.turn] = command.sample
        started_ms = command.sample * 1000 // samples(1000)
        self._send(wire.SpeechStartedEvent(item_id=item_id, audio_start_ms=started_ms))

    def _begin_segment(self, command: events.BeginSegment, at: float) -> None:
        turn = command.turn
        if turn not in self._timelines:
            self._items.setdefault(turn, self._ids.new("item"))
            self._spoken_from.setdefault(turn, command.sample)
            speech = self._turns.speech_sample
            self._timeline(turn).stamp(Stamp.SPEECH_START, self._when(speech))
            self._prefix = StablePrefix()
        self._ear.begin(command.segment, command.sample)

    def _commit(self, command: events.CommitUtterance, at: float) -> None:
        turn, item_id = command.turn, self._items[command.turn]
        timeline = self._timeline(turn)
        timeline.stamp(Stamp.SPEECH_END, min(at, self._when(command.sample)))
        timeline.stamp(Stamp.ENDPOINT, at)
        position_ms = self._turns.clock.position * 1000 // samples(1000)
        if self._turns.rules.automatic:
            self._send(wire.SpeechStoppedEvent(item_id=item_id, audio_end_ms=position_ms))
            if command.forced and self._turns.caller is Caller.SILENT:
                self._ear.reset(self._threshold())
        item = wire.Item(
            id=item_id,
            type="message",
            role="user",
            status="completed",
            content=(wire.InputAudio(),),
        )
        before = self.conversation.add(item)
        self._send(wire.Committed(item_id=item_id, previous_item_id=before))
        self._send(wire.ItemAdded(item=item, previous_item_id=before))
        self._send(wire.ItemDone(item=item, previous_item_id=before))

    def _understood(self, command: events.Understood, at: float) -> None:
        turn, item_id = command.turn, self._items[command.turn]
        self._timeline(turn).stamp(Stamp.FINAL, at)
        self.conversation.transcribed(item_id, command.text)
        if self._turns.open_turn is None:
            self._delta(turn, self._prefix.finish(command.text))
        if self._settings.audio.input.transcription is not None:
            spoken = self._turns.clock.position - self._spoken_from.pop(turn, 0)
            usage = wire.DurationUsage(seconds=round(spoken / samples(1000), 3))
            self._send(
                wire.TranscriptionCompleted(item_id=item_id, transcript=command.text, usage=usage)
            )

    def _misheard(self, command: events.Misheard, at: float) -> None:
        item_id = self._items[command.turn]
        self.conversation.transcribed(item_id, "")
        body = wire.ErrorBody(
            type="server_error",
            code="stt_failed",
            message="The recogniser lost this utterance. Please say it again.",
        )
        self._send(wire.TranscriptionFailed(item_id=item_id, error=body))

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
        options = self._options or ReplyOptions(self._settings)
        self._options = None
        question_id, question = self.conversation.question()
        response = Response(
            ids=self._ids,
            conversation=self.conversation,
            settings=options.settings,
            turn=turn,
            metadata=options.metadata,
            keep=options.keep,
        )
        timeline = self._timeline(turn)
        timeline.stamp(Stamp.REQUEST, at)
        self._answer = Answer(
            response=response,
            conversation=self.conversation,
            timeline=timeline,
            question_id=self._items.get(turn, question_id),
            frame_ms=self._config.playout.frame_ms,
            lead_ms=self._config.playout.lead_ms,
        )
        self._send_all(response.begin())
        task = reply.Reply(
            self._task(turn, options, question),
            llm=self._providers.llm,
            tts=self._providers.tts,
            retriever=self._providers.retriever,
            post=self.post,
            room=self._wait_for_room,
        )
        self._replying = asyncio.create_task(self._run(task, turn), name=f"{self.id}-reply-{turn}")
        self._tasks.add(self._replying)
        self._replying.add_done_callback(self._tasks.discard)

    def _task(self, turn: int, options: ReplyOptions, question: str) -> reply.Task:
        config, spoken = self._config, options.settings
        history = options.messages
        if history is None:
            history = tuple(self.conversation.messages())
        asked = not history or history[-1].role == "user"
        limit = spoken.max_output_tokens
        request = LLMRequest(
            messages=history,
            question=options.question or question,
            tools=tuple(
                Tool(name=tool.name, description=tool.description, parameters=tool.parameters)
                for tool in spoken.tools
                if tool.type == "function"
            ),
            tool_choice=spoken.tool_choice,
            max_tokens=config.llm.max_tokens if limit == "inf" else int(limit),
            temperature=config.llm.temperature,
        )
        return reply.Task(
            turn=turn,
            request=request,
            instructions=spoken.instructions,
            settings=spoken,
            language=self._language(),
            retrieve=config.rag.enabled and asked,
            context_tokens=config.llm.context_tokens,
            retrieval_limit_s=config.rag.limit_ms / 1000,
            first_audio_limit_s=config.tts.first_audio_limit_s,
            max_speech_s=config.agent.max_reply_s,
        )

    async def _run(self, task: reply.Reply, turn: int) -> None:
        try:
            await task.run()
        except Exception as error:  # our bug: it ends this answer, not the call
            self._log.exception("reply_broke", turn=turn)
            self._broke(turn, error)

    def _broke(self, turn: int, error: Exception) -> None:
        answer = self._answer
        if answer is None or answer.turn != turn or self.closed:
            return
        detail = wire.StatusError("server_error", "internal_error", type(error).__name__)
        self._cut_answer(Ending(status="failed", error=detail), Outcome.FAILED, self._now())
        self._set_timer()

    def _replied(self, fact: reply.Fact, at: float) -> None:
        answer = self._answer
        if answer is None or fact.turn != answer.turn:
            return  # late news of an answer that was cut
        if isinstance(fact, reply.Failed):
            self._provider_failed(fact.error)
        self._send_all(answer.receive(fact, at))
        if answer.item_id:
            self._remember(answer)

    def _remember(self, answer: Answer) -> None:
        if answer.item_id in self._answers:
            return
        self._answers[answer.item_id] = answer
        while len(self._answers) > RECENT_ANSWERS:
            del self._answers[next(iter(self._answers))]

    def _provider_failed(self, error: ProviderError) -> None:
        metrics.PROVIDER_ERRORS.labels(error.slot.value, error.provider, error.fault.value).inc()
        self._on_failed(error.slot.value, error)
        self._log.warning("provider_failed", error=str(error), fault=error.fault.value)

    def _send_due_sound(self) -> None:
        """Sends what is due; ends the response behind its last frame, the turn behind its sound."""
        answer = self._answer
        if answer is None or self.closed:
            return
        now = self._now()
        for frame in answer.frames(now):
            for event in answer.response.sound():
                if isinstance(event, wire.AudioDelta):
                    form = answer.response.settings.audio.output.format
                    self._number(event)
                    self._outbox.sound(event, frame, form)
                else:
                    self._send(event)
        if self._room is not None and answer.playout.queued_ms < STORE_MS:
            self._give_room()
        self._send_all(answer.finish())
        if not answer.active and answer.playout.is_drained(now):
            self._end_answer(now)

    async def _wait_for_room(self) -> None:
        while self._answer is not None and self._answer.playout.queued_ms >= STORE_MS:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _give_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _cut(self, reason: str, outcome: Outcome, at: float) -> None:
        self._cut_answer(Ending(status="cancelled", reason=reason), outcome, at)

    def _cut_answer(self, ending: Ending, outcome: Outcome, at: float) -> None:
        """Stops the work, then the sound, then says so; history keeps what was heard."""
        answer = self._answer
        if answer is None:
            return
        if self._replying is not None:
            self._replying.cancel()
        self._outbox.clear()
        self._send_all(answer.cut(at, ending, outcome))
        self._end_answer(at)

    def _end_answer(self, at: float) -> None:
        answer, self._answer = self._answer, None
        self._replying = None
        self._give_room()
        self._turns.reply_ended()
        if answer is None:
            return
        metrics.UNDERRUNS.inc(answer.playout.underruns)
        self._close_timeline(answer.turn, answer.outcome, at, answer)

    def _close_timeline(
        self, turn: int, outcome: Outcome, at: float, answer: Answer | None = None
    ) -> None:
        timeline = self._timelines.pop(turn, None)
        if timeline is None:
            return
        record = timeline.close(outcome, at, answer.cut_in_ms if answer else None)
        self._figures.record(record, at)
        fields = msgspec.to_builtins(record)
        item_id = self._items.pop(turn, None)
        fields["item_id"] = item_id
        fields["response_id"] = answer.response.id if answer else None
        self._spoken_from.pop(turn, None)
        words = {}
        if self._config.log.transcripts:
            item = self.conversation.get(item_id) if item_id else None
            words = {"asked": _words(item), "answered": answer.text if answer else ""}
        if answer is not None and answer.problem:
            words["problem"] = answer.problem
        self._log.info("turn", **fields, **words)
        if self._settings.wants("kaiwa.turn.timeline"):
            self._send(wire.TurnTimeline(record=fields))

    # --- out --------------------------------------------------------------------------------------

    def _send(self, event: wire.ServerEvent) -> None:
        self._number(event)
        self._outbox.send(event)

    def _number(self, event: wire.ServerEvent) -> None:
        event.event_id = self._ids.new("event")

    def _send_all(self, sent: list[wire.ServerEvent]) -> None:
        for event in sent:
            self._send(event)

    # --- the client's requests --------------------------------------------------------------------

    def _update(self, event: wire.SessionUpdate, at: float) -> None:
        self._effective = settings.merge(self._effective, event.session)
        before, self._settings = self._settings, settings.typed(self._effective)
        self._ear.set_format(self._settings.audio.input.format)
        self._ear.set_language(self._language())
        rules = _rules(self._config, self._settings)
        if rules.automatic != self._turns.rules.automatic:
            self._carry_out(self._turns.clear(), at)
            self._ear.reset(self._threshold())
        elif before.audio.input.turn_detection != self._settings.audio.input.turn_detection:
            if self._turns.caller is Caller.SILENT:
                self._ear.reset(self._threshold())
        self._turns.rules = rules
        self._send(wire.SessionUpdated(session=self._effective))

    def _append(self, event: wire.AudioAppend, at: float) -> None:
        pcm = event.decoded()
        if self._settings.audio.input.format.type == "audio/pcm" and len(pcm) % 2:
            message = f"16-bit samples come in whole pairs of bytes, got {len(pcm)} bytes."
            raise ClientError("invalid_audio", message, "audio")
        self._hear(pcm, at)

    def _commit_buffer(self, event: wire.AudioCommit, at: float) -> None:
        self._carry_out(self._turns.commit(at), at)

    def _clear_buffer(self, event: wire.AudioClear, at: float) -> None:
        turn = self._turns.open_turn
        self._carry_out(self._turns.clear(), at)
        if turn is not None:
            self._close_timeline(turn, Outcome.CANCELLED, at)
        self._send(wire.Cleared())

    def _create_item(self, event: wire.ItemCreate, at: float) -> None:
        item = received(event.item, self._ids)
        before = self.conversation.add(item, event.previous_item_id)
        self._send(wire.ItemAdded(item=item, previous_item_id=before))
        self._send(wire.ItemDone(item=item, previous_item_id=before))

    def _delete_item(self, event: wire.ItemDelete, at: float) -> None:
        self.conversation.delete(event.item_id)
        self._send(wire.ItemDeleted(item_id=event.item_id))

    def _retrieve_item(self, event: wire.ItemRetrieve, at: float) -> None:
        self._send(wire.ItemRetrieved(item=self.conversation.retrieve(event.item_id)))

    def _truncate_item(self, event: wire.ItemTruncate, at: float) -> None:
        answer = self._answers.get(event.item_id)
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
        active = self._answer
        if active is not None and active.active or self._turns.reply_pending:
            name = active.response.id if active is not None else "a response that waits for words"
            raise ClientError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {name}. Wait until the "
                "response is finished before creating a new one.",
            )
        options = reply_options(self._effective, event.response or {}, self.conversation)
        if active is not None:  # said in full, still being heard: history stays as it is
            self._end_answer(at)
        self._options = options
        self._carry_out(self._turns.request_reply(), at)

    def _cancel_response(self, event: wire.ResponseCancel, at: float) -> None:
        answer = self._answer
        named = event.response_id
        if self._turns.reply_pending and named is None:
            self._turns.withdraw_reply()
            self._options = None
            return
        if answer is None or not answer.active or named not in (None, answer.response.id):
            message = "Cancellation failed: no active response found"
            raise ClientError("response_cancel_not_active", message)
        self._cut("client_cancelled", Outcome.CANCELLED, at)

    def _report_playback(self, event: wire.PlaybackReport, at: float) -> None:
        answer = self._answers.get(event.item_id)
        if answer is None:
            return  # late news of an answer long over
        answer.report(event.played_ms, at)

    # --- the end ----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether somebody is in the middle of a sentence."""
        return self._answer is not None or self._turns.caller is not Caller.SILENT

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
        if self._answer is not None:
            self._answer.outcome = Outcome.CANCELLED
            self._end_answer(now)
        for turn in list(self._timelines):
            self._close_timeline(turn, Outcome.CANCELLED, now)
        self._ear.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
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


def _words(item: wire.Item | None) -> str:
    return text_of(item) if item is not None else ""


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
