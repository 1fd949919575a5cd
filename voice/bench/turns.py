"""One caller as a machine: told facts and the time, it answers with what to do.

    pause --gap--> speak --last frame--> listen --answer done and played--> pause
                     ^                      |
                     +---- cuts in ---------+   the next question begins inside this answer
                                            |
                                            +-- after the last turn --> gone

Times are seconds on one monotonic clock. Frames come with their due time, server events with the
time they arrived at.
"""

from enum import StrEnum
from typing import Any

from voice.bench.player import Player
from voice.bench.turn import EXTENSIONS_EVENT_ID, Outcome, Plan, Turn
from voice.bench.wire_events import ServerEvent, WireError

_KEPT_ERRORS = 20


class Leaving(StrEnum):
    """How a caller hangs up."""

    POLITELY = "politely"
    RUDELY = "rudely"
    """Without a close frame: a train in a tunnel, a tab that was killed."""


class _Doing(StrEnum):
    PAUSE = "pause"
    SPEAK = "speak"
    LISTEN = "listen"
    GONE = "gone"


class Caller:
    """See the module. One for each connection."""

    def __init__(self, plan: Plan, now: float) -> None:
        self._plan = plan
        self._doing = _Doing.PAUSE
        self._next_onset = now + plan.gaps[0]
        self._frame = 0
        self._window_is_open = False
        self._turns_of_items: dict[str, Turn] = {}
        self._turns_of_responses: dict[str, Turn | None] = {}
        self._audio_done: set[str] = set()
        self.turns: list[Turn] = []
        self.errors: list[str] = []
        self.error_count = 0
        self.unasked_responses = 0
        self.closed_with: str | None = None
        self.measured = 0
        """Measured turns that are over."""
        self.finished = False
        """All of them are, or the connection is gone. Else the caller goes on: the load stays."""
        self.leaving: Leaving | None = None
        """The call is over by plan; whoever holds the connection hangs up so."""

    # --- the microphone's side ---------------------------------------------------------------

    def open_window(self) -> None:
        """Turns that begin from now on are measured, once the warm-up is over."""
        self._window_is_open = True

    def close_window(self) -> None:
        """Turns that begin from now on are not measured any more."""
        self._window_is_open = False

    @property
    def is_settled(self) -> bool:
        """No figure is still to come of a turn that is measured."""
        if self.closed_with is not None or self.leaving is not None or not self.turns:
            return True
        last, before = self.turns[-1], self.turns[-2:-1]
        # What follows a cut belongs to the answer that was cut: wait for one turn more.
        awaited = last.measured or any(t.measured and t.outcome is Outcome.CUT for t in before)
        return last.outcome is not None or not awaited

    def next_frame(self, due: float) -> int | None:
        """Which frame of the utterance to send at `due`; None: background."""
        if self._doing is _Doing.LISTEN:
            self._listen(due)
        if self._doing is _Doing.PAUSE and due >= self._next_onset:
            self._begin(due)
        if self._doing is not _Doing.SPEAK:
            return None
        frame = self._frame
        self._frame += 1
        if self._frame == self._plan.speech_frames:
            self.turns[-1].end = due
            self._doing = _Doing.LISTEN
        return frame

    def _begin(self, due: float) -> None:
        planned = sum(1 for turn in self.turns if turn.measured)
        number = len(self.turns) + 1
        measured = (
            self._window_is_open and number > self._plan.warmup_turns and planned < self._plan.turns
        )
        player = Player(self._plan.start_buffer)
        self.turns.append(Turn(number=number, measured=measured, onset=due, player=player))
        self._doing = _Doing.SPEAK
        self._frame = 0

    def _listen(self, due: float) -> None:
        turn = self.turns[-1]
        assert turn.end is not None
        starts_at = turn.player.starts_at
        is_last = turn.number == self._plan.hangs_up_after
        wants_to_cut = not is_last and self._plan.cuts_in(turn.number + 1)
        wants_away = is_last and self._plan.is_rude
        waited_since = max(turn.end, turn.last_news or turn.end)
        if turn.done is not None and not turn.player.is_playing(due):
            turn.missed_cut = wants_to_cut and turn.first_audio is not None
            self._finish(turn, due, turn.outcome_of_done())
        elif (wants_to_cut or wants_away) and starts_at is not None and not turn.false_cuts:
            if due >= starts_at + self._plan.barge_in_after:
                self._break_in(turn, due)
        elif due > waited_since + self._plan.timeout and not turn.player.is_playing(due):
            lost = turn.first_audio is None
            self._finish(turn, due, Outcome.LOST if lost else Outcome.STALLED)

    def _break_in(self, turn: Turn, due: float) -> None:
        if turn.number == self._plan.hangs_up_after:
            self._conclude(turn, Outcome.HUNG_UP)
            self._leave()
            return
        turn.cut_at = due - self._plan.frame_s
        self._conclude(turn, Outcome.CUT)
        self._begin(due)

    def _leave(self) -> None:
        self._doing = _Doing.GONE
        self.leaving = Leaving.RUDELY if self._plan.is_rude else Leaving.POLITELY
        self.finished = True

    def _finish(self, turn: Turn, due: float, outcome: Outcome) -> None:
        self._conclude(turn, outcome)
        if turn.number == self._plan.hangs_up_after:
            self._leave()
            return
        self._doing = _Doing.PAUSE
        self._next_onset = due + self._plan.gaps[turn.number % len(self._plan.gaps)]

    def _conclude(self, turn: Turn, outcome: Outcome) -> None:
        turn.outcome = outcome
        self.measured += turn.measured
        # What follows a cut belongs to the answer that was cut: wait for one turn more.
        is_settled = outcome is not Outcome.CUT or not turn.measured
        self.finished = self.finished or (is_settled and self.measured >= self._plan.turns)

    def close(self, reason: str) -> None:
        """The connection is gone, and with it the turn in progress."""
        self.closed_with = reason
        self.finished = True
        if self.turns and self.turns[-1].outcome is None:
            self._conclude(self.turns[-1], Outcome.LOST)

    # --- the server's side -------------------------------------------------------------------

    def receive(self, event: ServerEvent, now: float) -> list[dict[str, Any]]:
        """A server event arrived; what the client says to it, as a stock one would."""
        match event.type:
            case "response.output_audio.delta":
                self._audio(event, now)
            case "input_audio_buffer.speech_started":
                return self._speech_started(event, now)
            case "kaiwa.transcript.partial":
                self._partial(event, event.text, now)
            case "conversation.item.input_audio_transcription.delta":
                self._partial(event, event.delta, now)
            case "conversation.item.input_audio_transcription.completed":
                if (turn := self._turn_of_item(event)) is not None:
                    turn.final = now
            case "input_audio_buffer.committed":
                self._turn_of_item(event)
            case "response.created":
                self._response_created(event, now)
            case "response.output_audio.done":
                self._audio_done.add(event.response_id or "")
            case "response.done":
                self._response_done(event, now)
            case "kaiwa.turn.timeline":
                if (turn := self._turns_of_items.get(event.item_id or "")) is not None:
                    turn.spans = event.spans
            case "kaiwa.speech.ducked":
                self._ducked(now if event.ducked else None)
            case "clear":
                self._cleared(now)
            case "error":
                self._error(event)
        return []

    def _turn_of_item(self, event: ServerEvent) -> Turn | None:
        """The turn of an utterance; one never heard of belongs to the latest."""
        item_id = event.item_id or ""
        if item_id not in self._turns_of_items and self.turns:
            self._turns_of_items[item_id] = self.turns[-1]
            self.turns[-1].item_ids.append(item_id)
        return self._turns_of_items.get(item_id)

    def _speech_started(self, event: ServerEvent, now: float) -> list[dict[str, Any]]:
        if not self.turns:
            return []
        turn = self.turns[-1]
        answer = turn
        if self._doing is _Doing.SPEAK or not turn.item_ids:
            self._turn_of_item(event)
            if turn.speech_started is None:
                turn.speech_started = now
            answer = self.turns[-2] if len(self.turns) > 1 else turn
        if answer.cut_at is not None and answer.confirmed is None:
            answer.confirmed = now
        if not answer.player.is_playing(now) or not answer.answer_item_id:
            return []
        answer.false_cuts += answer.cut_at is None
        answer.player.stop(now)
        return [
            {
                "type": "conversation.item.truncate",
                "item_id": answer.answer_item_id,
                "content_index": 0,
                "audio_end_ms": round(answer.player.heard(now) * 1000),
            }
        ]

    def _cleared(self, now: float) -> None:
        """The server takes back what it has sent: all that a telephone is told of a cut."""
        answer = self._latest_heard()
        if answer is None:
            return
        if answer.cut_at is not None and answer.confirmed is None:
            answer.confirmed = now
        if answer.player.is_playing(now):
            answer.false_cuts += answer.cut_at is None
            answer.player.stop(now)

    def _latest_heard(self) -> Turn | None:
        return next((turn for turn in reversed(self.turns) if turn.first_audio is not None), None)

    def _ducked(self, at: float | None) -> None:
        """Held back from `at` on; None: no more, which of a cut answer nothing comes back of."""
        answer = self._latest_heard()
        if answer is not None and answer.done is None:
            answer.ducked = at

    def _partial(self, event: ServerEvent, text: str | None, now: float) -> None:
        turn = self._turn_of_item(event)
        if turn is not None and turn.partial is None and text:
            turn.partial = now

    def _response_created(self, event: ServerEvent, now: float) -> None:
        response_id = event.response.id if event.response is not None else ""
        turn = self.turns[-1] if self.turns and self._doing is _Doing.LISTEN else None
        if turn is not None and turn.response_id:
            turn.extra_responses += 1
            # A server may withdraw an answer that nobody heard yet and begin anew.
            if turn.status != "cancelled" or turn.first_audio is not None:
                turn = None
        elif turn is None:
            self.unasked_responses += 1
        self._turns_of_responses[response_id] = turn
        if turn is not None:
            turn.response_id, turn.status, turn.done, turn.last_news = response_id, "", None, now

    def _audio(self, event: ServerEvent, now: float) -> None:
        turn = self._turns_of_responses.get(event.response_id or "")
        if turn is None:
            return
        if turn.done is not None or turn.response_id in self._audio_done:
            turn.late_audio += 1
            turn.last_audio = now
            return
        data = event.delta or ""
        seconds = (len(data) * 3 // 4 - data[-2:].count("=")) / self._plan.bytes_per_second
        turn.answer_item_id = event.item_id or turn.answer_item_id
        turn.first_audio = now if turn.first_audio is None else turn.first_audio
        turn.last_audio = turn.last_news = now
        turn.player.add(now, seconds)

    def _response_done(self, event: ServerEvent, now: float) -> None:
        if event.response is None:
            return
        turn = self._turns_of_responses.get(event.response.id)
        if turn is not None and turn.done is None:
            turn.done = turn.last_news = now
            turn.status = event.response.status

    def _error(self, event: ServerEvent) -> None:
        error = event.error or WireError()
        if error.event_id == EXTENSIONS_EVENT_ID:
            return
        self.error_count += 1
        if len(self.errors) < _KEPT_ERRORS:
            self.errors.append(f"{error.code or 'error'}: {error.message}")
