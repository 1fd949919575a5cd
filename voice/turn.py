"""Who holds the floor: facts about one call in, orders out. No I/O, no clock of its own.

The caller, where turns are detected (`rules.automatic`):

    state      fact                             next      orders
    ---------  -------------------------------  --------  ---------------------------------------
    SILENT     speech started                   SPEAKING  OpenUtterance, BeginSegment;
                                                          Interrupt if an answer is being given
    SPEAKING   speech paused                    PAUSING   -
    SPEAKING   utterance longer than the limit  SPEAKING  commit, then a new utterance at once
    PAUSING    speech started                   SPEAKING  BeginSegment if the last one was ended
    PAUSING    silence of `final_after_ms`      PAUSING   EndSegment: the final is made meanwhile
    PAUSING    silence of `silence_ms`          SILENT    EndSegment, CommitUtterance
    any other  no audio for `stall_s`           SILENT    the same, forced

and where the client says when (`turn_detection` null): the first audio opens an utterance without a
word to the client, `commit` ends it, `request_reply` asks for the answer.

A committed utterance waits for its finals, `final_limit_s` at most, after which the last partials
stand for them. Then Understood, and StartReply if an answer is wanted, nothing is still being
waited for, and the caller has not taken the floor again; else SkipReply. One answer at a time:
where the caller may not interrupt, the next one waits for the end of the last.
"""

from enum import Enum
from math import inf

from msgspec import Struct

from providers.base import LISTEN_RATE_HZ, Hypothesis, SttFailure
from voice.endpoint import AudioClock, samples
from voice.errors import ClientError
from voice.events import (
    AbandonSegment,
    BeginSegment,
    Command,
    CommitUtterance,
    EndSegment,
    Interrupt,
    Misheard,
    OpenUtterance,
    SkipReply,
    StartReply,
    Understood,
)
from voice.speech import SpeechPaused, SpeechStarted

MIN_COMMIT_MS = 100
"""Less is no speech; also what the wire's `input_audio_buffer_commit_empty` stands for."""


class TurnRules(Struct, frozen=True, kw_only=True):
    """What a session's settings ask of the turn-taker."""

    automatic: bool = True
    silence_ms: int = 500
    prefix_ms: int = 300
    create_response: bool = True
    interrupt_response: bool = True
    final_after_ms: int = 200
    """Silence after which the recogniser is asked for its final, so that it is there in time."""
    final_limit_s: float = 2.0
    max_utterance_s: float = 60.0
    stall_s: float = 1.5


class Caller(Enum):
    SILENT = "silent"
    SPEAKING = "speaking"
    PAUSING = "pausing"


class Utterance:
    """One turn's words, recognised in one or more segments."""

    def __init__(self, turn: int, sample: int) -> None:
        self.turn = turn
        self.sample = sample
        self.committed_at: float | None = None
        self.wants_reply = False
        self.failed = False
        self._words: dict[int, str] = {}
        self._awaited: set[int] = set()

    def begin(self, segment: int) -> None:
        self._words[segment] = ""
        self._awaited.add(segment)

    def hear(self, hypothesis: Hypothesis) -> None:
        """What comes after a segment's final says nothing any more."""
        if hypothesis.utterance in self._awaited:
            self._words[hypothesis.utterance] = hypothesis.text
            if hypothesis.is_final:
                self._awaited.remove(hypothesis.utterance)

    def lose(self, segment: int) -> None:
        """The final will not come: what was heard so far must do."""
        if segment in self._awaited:
            self._awaited.remove(segment)
            self.failed = True

    def give_up(self) -> None:
        for segment in list(self._awaited):
            self.lose(segment)

    def owns(self, segment: int) -> bool:
        return segment in self._words

    @property
    def is_final(self) -> bool:
        return not self._awaited

    @property
    def text(self) -> str:
        return join_words(list(self._words.values()))


def join_words(pieces: list[str]) -> str:
    """With spaces, except between scripts that do without."""
    text = ""
    for piece in (piece.strip() for piece in pieces):
        if not piece:
            continue
        spaced = text and not (_unspaced(text[-1]) or _unspaced(piece[0]))
        text += f" {piece}" if spaced else piece
    return text


def _unspaced(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


class TurnTaker:
    """One call's turns.

    Every method that may change who holds the floor answers with commands, to be carried out in
    order. `deadline()` says when `tick()` is due at the latest.
    """

    def __init__(self, rules: TurnRules) -> None:
        self.rules = rules
        self.clock = AudioClock()
        self.caller = Caller.SILENT
        self.replying = False
        """An answer is being given: from StartReply until the caller has heard it."""
        self._turns = 0
        self._segments = 0
        self._live: int | None = None
        self._live_from = 0
        self._heard_to = 0
        self._paused_at = 0
        self._open: Utterance | None = None
        self._waiting: list[Utterance] = []
        self._wanted: int | None = None
        self._wanted_lost = False
        self._asked = False
        """The client itself asked for the answer: it must get one, whatever was said."""
        self._unanswered: int | None = None
        self._last_reply = 0

    # --- facts -----------------------------------------------------------------------------------

    def arrive(self, count: int, now: float) -> list[Command]:
        """`count` further samples came from the caller."""
        start = self.clock.position
        self.clock.arrive(count, now)
        if self.rules.automatic:
            return self.tick(now)
        self.clock.judge(self.clock.position)
        if self._open is not None:
            return self._roll_over(start)
        self._open = Utterance(self.new_turn(), start)
        self.caller = Caller.SPEAKING
        return [self._begin_segment(start)]

    def judge(self, sample: int, now: float) -> list[Command]:
        """VAD has judged the audio up to `sample`."""
        self.clock.judge(sample)
        return self.tick(now)

    def receive(
        self, fact: SpeechStarted | SpeechPaused | Hypothesis | SttFailure, now: float
    ) -> list[Command]:
        match fact:
            case SpeechStarted() if self.rules.automatic:
                return self._speech_started(fact.sample)
            case SpeechPaused() if self.rules.automatic:
                return self._speech_paused(fact.sample, now)
            case Hypothesis() | SttFailure():
                return self._recognised(fact)
            case _:  # late news from a VAD that no longer decides
                return []

    def commit(self, now: float) -> list[Command]:
        """The client ends the utterance.

        Raises:
            ClientError: There is less than 100 ms of it.
        """
        held = self.clock.position - self._open.sample if self._open else 0
        if held < samples(MIN_COMMIT_MS):
            message = (
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS} ms of audio, but it holds {held * 1000 // LISTEN_RATE_HZ} ms."
            )
            raise ClientError("input_audio_buffer_commit_empty", message)
        return self._commit(self.clock.position, now)

    def clear(self) -> list[Command]:
        """The client wants nothing of what it has sent since the last commit."""
        self._open = None
        self.caller = Caller.SILENT
        self._heard_to = self.clock.position
        live, self._live = self._live, None
        return [] if live is None else [AbandonSegment(live)]

    def request_reply(self) -> list[Command]:
        """The client asks for an answer, now or as soon as the finals are in."""
        self._asked = True
        if self._waiting:
            self._waiting[-1].wants_reply = True
        return self._settle()

    def withdraw_reply(self) -> list[Command]:
        """The client no longer wants the answer that has not begun."""
        self._expect_none()
        withdrawn, self._wanted = self._wanted, None
        return [] if withdrawn is None else self._leave(withdrawn)

    @property
    def reply_pending(self) -> bool:
        return self._wanted is not None or any(u.wants_reply for u in self._waiting)

    def reply_ended(self) -> None:
        """The caller has heard it, or it was cut. If another is due, so is `tick`."""
        self.replying = False

    def new_turn(self) -> int:
        self._turns += 1
        return self._turns

    def voided_turn(self) -> int:
        """A turn for an answer that was asked for and will not begin."""
        self._last_reply = self.new_turn()
        return self._last_reply

    @property
    def open_turn(self) -> int | None:
        """The turn of the utterance that is being spoken."""
        return self._open.turn if self._open else None

    @property
    def speech_sample(self) -> int:
        """Where the open utterance began, by its sound."""
        return self._open.sample if self._open else self.clock.position

    def text_of(self, turn: int) -> str | None:
        """The words of an utterance that is not settled yet."""
        for utterance in self._unsettled():
            if utterance.turn == turn:
                return utterance.text
        return None

    def turn_of(self, segment: int) -> int | None:
        for utterance in self._unsettled():
            if utterance.owns(segment):
                return utterance.turn
        return None

    def _unsettled(self) -> list[Utterance]:
        return [*self._waiting, self._open] if self._open else list(self._waiting)

    # --- time ------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Loop time at which `tick` has something to do; None: only a fact can bring that."""
        due = inf
        if self.caller is not Caller.SILENT and self.rules.automatic:
            due = self.clock.arrived_at + self.rules.stall_s
        if self.caller is Caller.PAUSING:
            due = min(due, self._when(self._silence_ends()))
            if self._live is not None:
                due = min(due, self._when(self._final_wanted_at()))
        for utterance in self._waiting:
            assert utterance.committed_at is not None
            due = min(due, utterance.committed_at + self.rules.final_limit_s)
        if self._reply_is_due:
            due = min(due, self.clock.arrived_at)
        return None if due == inf else due

    def _when(self, sample: int) -> float:
        at = self.clock.when(sample)
        return inf if at is None else at

    def tick(self, now: float) -> list[Command]:
        """What time alone has made due."""
        orders: list[Command] = []
        if self.rules.automatic:
            orders += self._tick_caller(now)
        overdue = [u for u in self._waiting if _overdue(u, now, self.rules.final_limit_s)]
        for utterance in overdue:
            utterance.give_up()
        return orders + self._settle() if overdue or self._reply_is_due else orders

    def _tick_caller(self, now: float) -> list[Command]:
        if self.caller is Caller.SILENT:
            return []
        if now >= self.clock.arrived_at + self.rules.stall_s:
            pausing = self.caller is Caller.PAUSING
            sample = self._paused_at if pausing else self.clock.position
            return self._commit(sample, now, forced=True)
        if self.caller is Caller.SPEAKING:
            assert self._open is not None
            if self.clock.judged - self._open.sample < samples(self.rules.max_utterance_s * 1000):
                return []
            sample = self.clock.judged
            ended = self._commit(sample, now, forced=True)
            return ended + self._open_utterance(sample, max(sample, self._heard_to))
        orders: list[Command] = []
        if self._live is not None and self.clock.reached(self._final_wanted_at(), now):
            orders += self._end_segment()
        if self.clock.reached(self._silence_ends(), now):
            orders += self._commit(self._paused_at, now)
        return orders

    def _silence_ends(self) -> int:
        return self._paused_at + samples(self.rules.silence_ms)

    def _final_wanted_at(self) -> int:
        return self._paused_at + samples(min(self.rules.final_after_ms, self.rules.silence_ms))

    # --- transitions -----------------------------------------------------------------------------

    def _speech_started(self, sample: int) -> list[Command]:
        start = max(self._heard_to, sample - samples(self.rules.prefix_ms), 0)
        if self.caller is Caller.SILENT:
            return self._open_utterance(sample, start)
        self.caller = Caller.SPEAKING
        return [] if self._live is not None else [self._begin_segment(start)]

    def _open_utterance(self, sample: int, start: int) -> list[Command]:
        self._open = Utterance(self.new_turn(), sample)
        self.caller = Caller.SPEAKING
        orders: list[Command] = [OpenUtterance(self._open.turn, start)]
        if self.rules.interrupt_response:
            self._expect_none()
            orders += self._drop_wanted()
            if self.replying:
                self.replying = False
                orders.append(Interrupt())
        return [*orders, self._begin_segment(start)]

    def _speech_paused(self, sample: int, now: float) -> list[Command]:
        if self.caller is not Caller.SPEAKING:
            return []
        self.caller = Caller.PAUSING
        self._paused_at = sample
        return self._tick_caller(now)

    def _begin_segment(self, start: int) -> Command:
        assert self._open is not None
        self._segments += 1
        self._live, self._live_from = self._segments, start
        self._open.begin(self._live)
        return BeginSegment(self._open.turn, self._live, start)

    def _end_segment(self) -> list[Command]:
        if self._live is None:
            return []
        ended, self._live = self._live, None
        self._heard_to = max(self._heard_to, self.clock.judged)
        return [EndSegment(ended)]

    def _roll_over(self, start: int) -> list[Command]:
        """A buffer that the client lets grow is recognised piece by piece, from `start` on."""
        limit = samples(self.rules.max_utterance_s * 1000)
        if self.clock.position - self._live_from < limit:
            return []
        return [*self._end_segment(), self._begin_segment(start)]

    def _commit(self, sample: int, now: float, *, forced: bool = False) -> list[Command]:
        assert self._open is not None
        utterance, self._open = self._open, None
        orders: list[Command] = [*self._end_segment()]
        orders.append(CommitUtterance(utterance.turn, sample, forced))
        utterance.committed_at = now
        self.caller = Caller.SILENT
        utterance.wants_reply = self.rules.automatic and self.rules.create_response
        self._waiting.append(utterance)
        return orders + self._settle()

    def _recognised(self, fact: Hypothesis | SttFailure) -> list[Command]:
        for utterance in self._unsettled():
            if utterance.owns(fact.utterance):
                if isinstance(fact, Hypothesis):
                    utterance.hear(fact)
                else:
                    utterance.lose(fact.utterance)
                return self._settle()
        return []  # late news of an utterance already settled

    def _settle(self) -> list[Command]:
        """Utterances whose finals are in, oldest first, and the answer once none is left."""
        orders: list[Command] = []
        while self._waiting and self._waiting[0].is_final:
            done = self._waiting.pop(0)
            lost = done.failed and not done.text
            orders.append(Misheard(done.turn) if lost else Understood(done.turn, done.text))
            wants = done.wants_reply or (lost and self._asked)
            if not done.text and (lost or self.rules.automatic) and not (lost and wants):
                orders.append(SkipReply(done.turn, no_speech=True))
            elif wants:
                orders += self._drop_wanted()  # what was said before it is answered with it
                self._wanted, self._wanted_lost = done.turn, lost
            else:
                orders += self._leave(done.turn)
        if self._asked and self._wanted is None and not self._waiting:
            self._wanted, self._unanswered = self._unanswered or self.new_turn(), None
            self._wanted_lost = False
        return orders + self._start_reply() if self._reply_is_due else orders

    @property
    def _reply_is_due(self) -> bool:
        return self._wanted is not None and not self._waiting and not self.replying

    def _start_reply(self) -> list[Command]:
        assert self._wanted is not None
        turn, self._wanted, self._asked = self._wanted, None, False
        orders: list[Command] = []
        if self._unanswered is not None and self._unanswered < turn:
            orders.append(SkipReply(self._unanswered, no_speech=False))
            self._unanswered = None
        if turn < self._last_reply:  # while this was being said, the client had another answered
            orders.append(SkipReply(turn, no_speech=False))
            turn = self.new_turn()
        self.replying, self._last_reply = True, turn
        return [*orders, StartReply(turn, lost=self._wanted_lost)]

    def _expect_none(self) -> None:
        """What is being waited for will not be answered."""
        self._asked = False
        for utterance in self._waiting:
            utterance.wants_reply = False

    def _drop_wanted(self) -> list[Command]:
        dropped, self._wanted = self._wanted, None
        return [] if dropped is None else [SkipReply(dropped, no_speech=False)]

    def _leave(self, turn: int) -> list[Command]:
        """Not answered now; where answers come on request only, the next request may mean it."""
        if self.rules.automatic and self.rules.create_response:
            return [SkipReply(turn, no_speech=False)]
        before, self._unanswered = self._unanswered, turn
        return [] if before is None else [SkipReply(before, no_speech=False)]


def _overdue(utterance: Utterance, now: float, limit_s: float) -> bool:
    assert utterance.committed_at is not None
    return now >= utterance.committed_at + limit_s - 1e-6
