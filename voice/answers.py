"""The agent's side: at most one answer at a time, begun, sounded, cut or ended.

begin ──▶ reply task ──facts──▶ Answer ──frames when due──▶ Outbox
  or adopt: the task runs already, and its facts so far were held back (voice/foresight.py)
  cut: cancel the task, drop the sound, say so, keep in the history what was heard
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from voice import metrics, settings, wire
from voice.answer import Answer
from voice.carrier import Carrier
from voice.config import Config
from voice.conversation import Conversation
from voice.foresight import Foresight
from voice.house import House
from voice.ids import Ids
from voice.load import frame_ms
from voice.playout import Frame
from voice.providers import Providers
from voice.record import Record
from voice.replies import Replies
from voice.reply_facts import Broke, Fact, Foreseen
from voice.requests import ReplyOptions
from voice.response import Ending, Response
from voice.timeline import Outcome, Timeline
from voice.timeline import Stage as Stamp

STORE_MS = 10_000
"""Sound of the answer that is kept ready; beyond it the voice waits."""
RECENT_ANSWERS = 4
"""So many can still be truncated."""


class Outbox(Protocol):
    """The session's way to the client. Nothing here waits."""

    def send(self, event: wire.ServerEvent) -> None: ...

    def sound(self, event: wire.AudioDelta, frame: Frame, form: settings.AudioFormat) -> None: ...

    def clear(self) -> None:
        """Drop the sound that has not left yet."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection behind what was sent."""


class Answers:
    """Args:
    send: Takes events, which it numbers.
    post: Takes the reply's facts into the session's inbox.
    ended: Told when an answer is over for the caller too.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: Config,
        providers: Providers,
        ids: Ids,
        conversation: Conversation,
        record: Record,
        carrier: Carrier,
        house: House,
        outbox: Outbox,
        send: Callable[[wire.ServerEvent], None],
        post: Callable[[object], None],
        ended: Callable[[Answer, float], None],
    ) -> None:
        self._config, self._providers, self._ids = config, providers, ids
        self._conversation, self._record = conversation, record
        self._outbox, self._send, self._post = outbox, send, post
        self._carrier, self._playing = carrier, False
        self._on_ended = ended
        self.current: Answer | None = None
        self._recent: dict[str, Answer] = {}
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._replies = Replies(
            session_id, config=config, providers=providers, conversation=conversation, house=house
        )
        self.foresight = Foresight(
            config.speculation,
            providers=providers,
            replies=self._replies,
            hang_up_phrases=config.agent.hang_up_phrases,
            hits=record.figures.speculation,
            retrieval_limit_s=config.rag.limit_ms / 1000,
            post=post,
            room=self._wait_for_room,
        )

    @property
    def active(self) -> Answer | None:
        """The answer whose response is open on the wire."""
        return self.current if self.current is not None and self.current.active else None

    def by_item(self, item_id: str) -> Answer | None:
        return self._recent.get(item_id)

    # --- begin ------------------------------------------------------------------------------------

    def begin(
        self,
        turn: int,
        options: ReplyOptions,
        *,
        item_id: str | None,
        language: str,
        at: float,
        say: str = "",
    ) -> None:
        """Args:
        item_id: The utterance that is answered; None: the last thing the user wrote.
        say: What is said instead of an answer, since the utterance was lost.
        """
        question_id, _ = self._conversation.question()
        response = self._response(turn, options)
        timeline = self._record.timeline(turn)
        timeline.stamp(Stamp.REQUEST, at)
        playout = self._config.playout
        lead_ms = self._carrier.lead_ms or playout.lead_ms
        self.current = Answer(
            response=response,
            conversation=self._conversation,
            timeline=timeline,
            question_id=item_id or question_id,
            frame_ms=frame_ms(
                min(playout.frame_ms, lead_ms), lead_ms, self._providers.load_level()
            ),
            lead_ms=lead_ms,
            house_tools=frozenset(tool.name for tool in self._replies.house_tools(options)),
        )
        if say:
            self.current.outcome = Outcome.FAILED
        self._send_all(response.begin())
        self._work(turn, options, language, say, timeline, at)

    def _work(
        self,
        turn: int,
        options: ReplyOptions,
        language: str,
        say: str,
        timeline: Timeline,
        at: float,
    ) -> None:
        """Adopts what has been begun already, if it is what is asked for; else begins."""
        quiet_since = timeline.waits_since(at)
        task = self._replies.compose(
            turn, options, language=language, say=say, quiet_since=quiet_since
        )
        foresight = self.foresight
        timeline.attempts = foresight.attempts_for(turn)
        attempt = foresight.take(task, at)
        if attempt is None or attempt.working is None:
            retriever, room = foresight.retriever, self._wait_for_room
            self._task = self._replies.start(
                task, retriever=retriever, post=self._post, room=room
            ).task
            return
        timeline.lead_ms = attempt.lead_ms(at)
        self._task = attempt.working.task
        for told_at, fact in attempt.adopt(quiet_since):
            self.receive(fact, told_at)

    def void(self, turn: int, options: ReplyOptions, reason: str) -> None:
        """A response that was asked for and never began: created, and cancelled at once."""
        response = self._response(turn, options)
        self._send_all(response.begin())
        self._send_all(response.end(Ending(status="cancelled", reason=reason)))

    def _response(self, turn: int, options: ReplyOptions) -> Response:
        return Response(
            ids=self._ids,
            conversation=self._conversation,
            settings=options.settings,
            turn=turn,
            metadata=options.metadata,
            keep=options.keep,
        )

    # --- the reply's facts ------------------------------------------------------------------------

    def receive(self, fact: Fact | Foreseen, at: float) -> None:
        if isinstance(fact, Foreseen):
            self.foresight.receive(fact, at)
            return
        answer = self.current
        if answer is None or fact.turn != answer.turn:
            return  # late news of an answer that was cut
        if isinstance(fact, Broke):
            detail = wire.StatusError("server_error", "internal_error", fact.what)
            self.cut(Ending(status="failed", error=detail), Outcome.FAILED, at)
            return
        self._send_all(answer.receive(fact, at))
        if answer.item_id and answer.item_id not in self._recent:
            self._recent[answer.item_id] = answer
            while len(self._recent) > RECENT_ANSWERS:
                del self._recent[next(iter(self._recent))]

    # --- sound ------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        return self.foresight.next_due() if self.current is None else self.current.next_due()

    def sound(self, now: float) -> None:
        """Sends what is due; ends the response behind its last frame, the turn behind its sound."""
        answer = self.current
        if answer is None:
            self.foresight.tick(now)
            return
        for frame in answer.frames(now):
            for event in answer.response.sound():
                if isinstance(event, wire.AudioDelta):
                    event.event_id = self._ids.new("event")
                    form = answer.response.settings.audio.output.format
                    self._tell_playing(answer)
                    self._outbox.sound(event, frame, form)
                else:
                    self._send(event)
        if answer.playout.queued_ms < STORE_MS:
            self._give_room()
        self._send_all(answer.finish())
        if not answer.active and answer.playout.is_drained(now):
            self.end(now)

    async def _wait_for_room(self) -> None:
        while self.current is not None and self.current.playout.queued_ms >= STORE_MS:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _give_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # --- the end ----------------------------------------------------------------------------------

    def cut(self, ending: Ending, outcome: Outcome, at: float) -> None:
        """Stops the work, then the sound, then says so."""
        answer = self.current
        if answer is None:
            return
        self._outbox.clear()
        self._send_all(answer.cut(at, ending, outcome))
        if self._playing:
            self._playing = False
            self._send(wire.OutputAudioCleared(response_id=answer.response.id))
            self._send_all(answer.truncated(at))
        self.end(at)

    def end(self, at: float) -> None:
        """The answer is over, for the caller's ear too."""
        answer, self.current = self.current, None
        if self._task is not None:
            # Not awaited: no fact is dealt with in between, and what the task still posts bears an
            # old turn. `Replies` keeps it until its streams are closed.
            self._task.cancel()
            self._task = None
        self._give_room()
        if answer is not None:
            if self._playing:
                self._playing = False
                self._send(wire.OutputAudioStopped(response_id=answer.response.id))
            metrics.UNDERRUNS.inc(answer.playout.underruns)
            self._on_ended(answer, at)

    async def aclose(self, at: float) -> None:
        """Within 2 s."""
        if self.current is not None:
            if self.current.active:
                self.current.outcome = Outcome.CANCELLED
            self.end(at)
        await self._replies.aclose(self.foresight.close())

    def _tell_playing(self, answer: Answer) -> None:
        if self._carrier.plays and not self._playing:
            self._playing = True
            self._send(wire.OutputAudioStarted(response_id=answer.response.id))

    def _send_all(self, events: list[wire.ServerEvent]) -> None:
        for event in events:
            self._send(event)
