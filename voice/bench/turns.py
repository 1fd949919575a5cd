"""One caller as a machine: told facts and the time, it answers with what to do.

    pause --gap--> speak --last frame--> listen --answer done and played--> pause
                     ^                      |
                     +---- cuts in ---------+   the next question begins inside this answer

Times are seconds on one monotonic clock. Frames come with their due time, server events with the
time they arrived at. The player is a model:
real time from the first audio plus a small start buffer.
"""

from enum import StrEnum
from typing import Any

import msgspec

EXTENSIONS_EVENT_ID = "bench-extensions"
"""Of the session.update that asks for `kaiwa.*`; an error that answers it is expected."""
_KEPT_ERRORS = 20


class Outcome(StrEnum):
    """How a turn ended, seen by the caller."""

    COMPLETED = "completed"
    CUT = "cut"
    """The caller's next question cut the answer off, as planned."""
    LOST = "lost"
    """No audio within the timeout, or the connection went away."""
    STALLED = "stalled"
    """The answer began and neither went on nor ended within the timeout."""
    SILENT = "silent"
    """An answer without audio."""
    FAILED = "failed"
    """An answer that did not end as completed although nobody cut in."""


class Span(msgspec.Struct, frozen=True):
    """One part of a turn as the server counts it (`kaiwa.turn.timeline`)."""

    name: str
    ms: float


class _Response(msgspec.Struct, frozen=True):
    id: str = ""
    status: str = ""


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None
    event_id: str | None = None


class _TurnDetection(msgspec.Struct, frozen=True):
    silence_duration_ms: float | None = None


class _Input(msgspec.Struct, frozen=True):
    turn_detection: _TurnDetection | None = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input | None = None


class _Session(msgspec.Struct, frozen=True):
    audio: _Audio | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """The fields of a server event that matter here; all others are skipped."""

    type: str
    item_id: str | None = None
    response_id: str | None = None
    delta: str | None = None
    text: str | None = None
    response: _Response | None = None
    session: _Session | None = None
    error: _Error | None = None
    spans: tuple[Span, ...] = ()

    @property
    def silence_ms(self) -> float | None:
        """Of an event about the session: how long a caller must be silent to have ended."""
        audio = self.session.audio if self.session is not None else None
        detection = audio.input.turn_detection if audio is not None and audio.input else None
        return detection.silence_duration_ms if detection is not None else None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller is going to do."""

    turns: int
    warmup_turns: int
    speech_frames: int
    gaps: tuple[float, ...]
    """Seconds before each question, used round and round."""
    barge_in_every: int = 0
    barge_in_after: float = 0.6
    start_buffer: float = 0.06
    timeout: float = 15.0
    bytes_per_second: int = 48_000
    """Of the answer's audio format."""


class Player:
    """What the caller hears: audio in real time after a start buffer.

    arrivals  |x.x.x.x........x.x.x
    heard       |-------|  dry |----|      one underrun
    """

    def __init__(self, start_buffer: float) -> None:
        self._start_buffer = start_buffer
        self.received = 0.0
        self.starts_at: float | None = None
        self._ends_at = 0.0
        self.stopped_at: float | None = None
        self.underruns = 0
        self.dry = 0.0
        """Seconds of silence inside the answer."""

    def add(self, now: float, seconds: float) -> None:
        """Audio arrived. After `stop` it is thrown away."""
        if self.stopped_at is not None:
            return
        if self.starts_at is None:
            self.starts_at = self._ends_at = now + self._start_buffer
        elif now > self._ends_at:
            self.underruns += 1
            self.dry += now - self._ends_at
            self._ends_at = now
        self.received += seconds
        self._ends_at += seconds

    def stop(self, now: float) -> None:
        self.stopped_at = now

    def heard(self, now: float) -> float:
        """Seconds of the answer's audio played by `now`."""
        at = now if self.stopped_at is None else min(now, self.stopped_at)
        return max(0.0, self.received - max(0.0, self._ends_at - at))

    def is_playing(self, now: float) -> bool:
        return self.stopped_at is None and self.starts_at is not None and now < self._ends_at


class Turn(msgspec.Struct, kw_only=True):
    """What happened in one turn; times are None until it did."""

    number: int
    measured: bool
    onset: float
    """When the first frame of speech was due."""
    player: Player
    end: float | None = None
    """When the last one was: the end of speech."""
    item_ids: list[str] = msgspec.field(default_factory=list)
    """The utterance; several if the server split it."""
    speech_started: float | None = None
    partial: float | None = None
    final: float | None = None
    response_id: str = ""
    answer_item_id: str = ""
    first_audio: float | None = None
    last_audio: float | None = None
    last_news: float | None = None
    done: float | None = None
    status: str = ""
    cut_at: float | None = None
    """When the first frame of the next question was due that cut this answer off."""
    missed_cut: bool = False
    """The answer was over before the caller could cut in."""
    false_cuts: int = 0
    """Times the server heard the caller speak into the answer although they were silent."""
    extra_responses: int = 0
    late_audio: int = 0
    """Pieces of audio after the answer's audio was done or cancelled."""
    outcome: Outcome | None = None
    spans: tuple[Span, ...] = ()


class _Doing(StrEnum):
    PAUSE = "pause"
    SPEAK = "speak"
    LISTEN = "listen"


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

    # --- the microphone's side ---------------------------------------------------------------

    def open_window(self) -> None:
        """Turns that begin from now on are measured, once the warm-up is over."""
        self._window_is_open = True

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
        every = self._plan.barge_in_every
        wants_to_cut = every > 0 and (turn.number + 1) % every == 0
        waited_since = max(turn.end, turn.last_news or turn.end)
        if turn.done is not None and not turn.player.is_playing(due):
            turn.missed_cut = wants_to_cut and turn.first_audio is not None
            self._finish(turn, due, _outcome_of_done(turn))
        elif wants_to_cut and starts_at is not None and not turn.false_cuts:
            if due >= starts_at + self._plan.barge_in_after:
                turn.cut_at = due
                self._conclude(turn, Outcome.CUT)
                self._begin(due)
        elif due > waited_since + self._plan.timeout and not turn.player.is_playing(due):
            lost = turn.first_audio is None
            self._finish(turn, due, Outcome.LOST if lost else Outcome.STALLED)

    def _finish(self, turn: Turn, due: float, outcome: Outcome) -> None:
        self._conclude(turn, outcome)
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
        error = event.error or _Error()
        if error.event_id == EXTENSIONS_EVENT_ID:
            return
        self.error_count += 1
        if len(self.errors) < _KEPT_ERRORS:
            self.errors.append(f"{error.code or 'error'}: {error.message}")


def _outcome_of_done(turn: Turn) -> Outcome:
    if turn.status != "completed":
        return Outcome.FAILED
    return Outcome.SILENT if turn.first_audio is None else Outcome.COMPLETED
