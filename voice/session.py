"""One call: every fact goes through here, in the order it came, and its orders are carried out.

    client events ─┐           ┌─▶ handlers ─┐
    audio, VAD,   ─┼─▶ inbox ──┤             ├─▶ Floor ─▶ server events, frames
    hypotheses    ─┤      │    └─────────────┘
    the reply     ─┘      └ stamped on arrival; what time made due comes first

All of it is synchronous: a fact is dealt with before the next one is looked at, so no state changes
between a question and its answer. What waits (models, sockets) waits elsewhere and posts a fact.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from providers.base import Hypothesis, ProviderError, SttFailure, VadFrame
from voice import keys, metrics, reply_facts, unasked, wire
from voice.answers import Outbox
from voice.carrier import WEBSOCKET, Carrier, Target
from voice.config import Config
from voice.errors import ClientError
from voice.facts import (
    AudioIn,
    Complaint,
    HangUp,
    KeyPressed,
    Opened,
    PauseJudged,
    Resumed,
    Returned,
    Suspended,
    TransferEnded,
)
from voice.floor import Floor
from voice.handlers import CLIENT_HANDLERS, set_up
from voice.ids import Ids
from voice.providers import Providers
from voice.suspension import suspend
from voice.tape import Tape
from voice.timeline import Outcome
from voice.turn import Caller

EARLY_S = 0.002
"""uvloop's timers tick in milliseconds and come up to two too early. Such a one is believed: to
wait for the rest would take timers of 0 ms, one after another."""


class Session:
    """Args:
    session_id: Its random part seeds every id of this session.
    carrier: How the call comes in.
    now: A monotonic clock in seconds, fine enough to measure with.
    closed: Told once, when the session is over.
    failed: Told of every provider's failure, with its slot.
    tape: Records the call.
    transfer: Asks a carrier that `transfers` to give the caller to somebody else. It waits for
        nothing; what becomes of it is posted as TransferEnded.
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
        carrier: Carrier = WEBSOCKET,
        closed: Callable[["Session"], None] = lambda session: None,
        failed: Callable[[str, ProviderError], None] = lambda slot, error: None,
        tape: Tape | None = None,
        transfer: Callable[[Target], None] = lambda target: None,
    ) -> None:
        self.id = session_id
        self._tape, self._arrival = tape, now
        if tape is not None:
            outbox, now = tape.between(outbox), tape.watch(now)
            transfer = tape.handing_over(transfer)
        self._outbox, self._now = outbox, now
        self._load_level = providers.load_level
        self._on_closed, self._on_failed = closed, failed
        self._log = structlog.get_logger().bind(session=session_id)
        self._ids = Ids(session_id.removeprefix("sess_")[-10:])
        self._floor = Floor(
            session_id,
            config=config,
            providers=providers,
            ids=self._ids,
            figures=figures,
            carrier=carrier,
            outbox=outbox,
            send=self._send,
            post=self.post,
            failed=self._provider_failed,
            transfer=transfer,
        )
        self._turns, self._answers = self._floor.turns, self._floor.answers
        self.conversation = self._floor.conversation
        self._inbox: deque[tuple[float, Any]] = deque()
        self._pumping = self._ending = self._told_end = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.closed = False
        if tape is not None:
            tape.begin(session_id, config, self._floor.defaults, carrier)

    # --- in ---------------------------------------------------------------------------------------

    def open(self, settings: dict[str, Any] | None = None) -> None:
        """The client has connected.

        Args:
            settings: Of the set-up, in place of a first `session.update`; `Desk.prepared` checks
                them.
        """
        self.post(Opened(settings))

    def hear(self, data: bytes) -> None:
        """The next audio from the client, in its own format."""
        self.post(AudioIn(data))

    def post(self, fact: Any) -> None:
        """A fact happened. Dealt with before this returns, or right after the one in hand. Behind
        the end nothing counts: a carrier may take its time to hang up, and who speaks on meanwhile
        is not answered."""
        if self.closed or self._ending:
            return
        if isinstance(fact, KeyPressed) and not fact.received_at:
            fact = KeyPressed(fact.key, int(time.time()))
        at = self._arrival()
        self._inbox.append((at, fact))
        if self._tape is not None:
            self._tape.told(at, fact)
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
            while self._inbox and not self.closed and not self._ending:
                at, fact = self._inbox.popleft()
                self._receive(fact, at)
                self._tick(at)
            if not self._ending:
                self._answers.sound(max(begun, self._now()))
                unasked.take_initiative(self._floor, begun)
                if self._floor.over:
                    self._end(1000, self._floor.over)
            self._set_timer()
        except Exception:  # our bug: it ends the call, never the process
            self._log.exception("session_broke")
            self._end(1011, "internal error")
        finally:
            self._pumping = False
            if self._tape is not None:
                wakes_at = None if self._timer is None else self._timer_at
                self._tape.woke(due, wakes_at, self._load_level())

    def _receive(self, fact: Any, at: float) -> None:
        match fact:
            case AudioIn():
                self._listen(fact.data, at)
            case VadFrame():
                self._floor.judge(fact, at)
            case Hypothesis() | SttFailure():
                self._floor.recognised(fact, at)
            case PauseJudged():
                self._floor.pause_judged(fact, at)
            case Suspended():
                suspend(self._floor, at)
            case Resumed():
                self._floor.away = False
            case wire.ClientEvent():
                self._client(fact, at)
            case KeyPressed():
                keys.press(self._floor, fact, at)
            case TransferEnded():
                unasked.transferred(self._floor, fact)
            case Returned():
                unasked.returned(self._floor, fact)
            case Opened():
                metrics.SESSIONS.inc()
                if fact.settings:
                    set_up(self._floor, fact.settings, at)
                self._log.info("session_opened", carrier=self._floor.carrier.name)
                self._send(wire.SessionCreated(session=self._floor.effective))
                self._floor.initiative.open(at)
            case Complaint():
                error = ClientError(fact.code, fact.message, fact.param)
                self._complain(error, fact.event_id)
            case HangUp():
                self._end(fact.code, fact.reason)
            case _:
                if isinstance(fact, reply_facts.Failed):
                    self._provider_failed(fact.error)
                self._answers.receive(fact, at)

    def _listen(self, data: bytes, at: float) -> None:
        try:
            self._floor.hear(data, at)
        except ClientError as error:
            self._complain(error)

    def _client(self, event: wire.ClientEvent, at: float) -> None:
        try:
            CLIENT_HANDLERS[type(event)](self._floor, event, at)
        except ClientError as error:
            self._complain(error, event.event_id)

    def complain(self, error: ClientError, event_id: str | None = None) -> None:
        """Tells the client what it got wrong; the session goes on."""
        self.post(Complaint(error.code, error.message, error.param, event_id))

    def _complain(self, error: ClientError, event_id: str | None = None) -> None:
        metrics.CLIENT_ERRORS.labels(error.code).inc()
        body = wire.ErrorBody(
            code=error.code, message=error.message, param=error.param, event_id=event_id
        )
        self._send(wire.Error(error=body))

    def _provider_failed(self, error: ProviderError) -> None:
        self._on_failed(error.slot.value, error)
        if not error.was_told:
            metrics.count_failure(error)
            self._log.warning("provider_failed", error=str(error), fault=error.fault.value)

    def _send(self, event: wire.ServerEvent) -> None:
        if self._told_end:
            return  # it was the last one, though a carrier may take its time
        event.event_id = self._ids.new("event")
        self._outbox.send(event)

    # --- time -------------------------------------------------------------------------------------

    def _tick(self, at: float) -> None:
        due = self._turns.deadline()
        if due is not None and at >= due:
            self._floor.carry_out(self._turns.tick(at), at)
        due = self._floor.keypad.deadline()
        if due is not None and at >= due:
            keys.tick(self._floor, at)

    def _set_timer(self) -> None:
        dues = [self._turns.deadline(), self._answers.next_due(), self._floor.keypad.deadline()]
        if not self._ending:
            dues += [self._floor.initiative.deadline(), self._floor.house.deadline()]
        due = min((due for due in dues if due is not None), default=None)
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return  # it comes early and is set anew then: most deadlines move on and on
            self._timer.cancel()
            self._timer = None
        if due is not None and not self.closed and not self._ending:
            delay, self._timer_at = max(0.0, due - self._now()), due
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_due, due)

    def _timer_due(self, due: float) -> None:
        self._timer = None
        if not self.closed and not self._ending:
            self._pump(due)

    # --- the end ----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether somebody is in the middle of a sentence, or waits for the answer to one."""
        if self._ending:
            return False
        speaking = self._turns.caller is not Caller.SILENT
        return speaking or self._turns.reply_pending or self._answers.current is not None

    def hang_up(self, code: int, reason: str) -> None:
        """Ends the connection; `close` follows when it is gone."""
        self.post(HangUp(code, reason))

    def _end(self, code: int, reason: str) -> None:
        self._ending = True
        self._inbox.clear()
        try:
            if self._floor.settings.wants("kaiwa.call.ended"):
                self._send(wire.CallEnded(code=code, reason=reason))
                self._told_end = True
        finally:  # whatever is broken: nobody stays on a dead line
            self._outbox.end(code, reason)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Gives everything back, within 2 s. Idempotent.

        Args:
            code: The connection's close code, for the log.
        """
        if self.closed:
            return
        self.closed = True
        metrics.SESSIONS.dec()
        if self._timer is not None:
            self._timer.cancel()
        now = self._now()
        try:
            self._floor.ear.close()
            await self._answers.aclose(now)
            self._floor.record.close_all(Outcome.CANCELLED, now)
        finally:
            if self._tape is not None:
                self._tape.closed(code, reason, self.conversation.messages())
            self._on_closed(self)
            self._log.info("session_closed", code=code, why=reason)
