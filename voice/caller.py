"""The caller's side of a call, up to the end of each turn.

Where turns are detected (`rules.automatic`):

    state      fact                             next      orders
    ---------  -------------------------------  --------  ---------------------------------------
    SILENT     speech started                   SPEAKING  OpenUtterance, BeginSegment
    SILENT     speech while an answer is due,   UNSURE    BeginSegment (of no turn yet); Duck, if
               in hand, or coming back                    there is one in hand that may be cut
    UNSURE     it is a turn, see barge_in.py    SPEAKING  OpenUtterance, Interrupt
    UNSURE     it proves nothing                UNSURE    Unduck: listened to while it sounds
    UNSURE     speech paused                    UNSURE    EndSegment: its final decides
    UNSURE     no final by `resume_ms`          UNSURE    Unduck: it is still waited for
    UNSURE     speech started                   UNSURE    BeginSegment; Duck, if that was so
    UNSURE,    it is a turn                     PAUSING   OpenUtterance, Interrupt, and on as if
    paused                                                it had been SPEAKING
    UNSURE     it is nothing                    SILENT    Dismiss, Unduck: no turn, no item
    UNSURE     the answer ended                 UNSURE    Unduck; "yes" takes the floor now
    SPEAKING   speech paused                    PAUSING   -
    SPEAKING   utterance longer than the limit  SPEAKING  commit, then a new utterance at once
    SPEAKING   no further word, see drone.py    SPEAKING  EndSegment, BeginSegment
    SPEAKING   its final says no more           SILENT    commit; UNSURE, if the sound goes on
    PAUSING    speech started                   SPEAKING  BeginSegment if the last one was ended
    PAUSING    silence, see pause.py            PAUSING   JudgePause, EndSegment: the final is
                                                          made meanwhile
    PAUSING    the pause was judged             PAUSING   - (or commit: the delay may be shorter)
    PAUSING    silence that ends the turn       SILENT    EndSegment, CommitUtterance
    any other  no audio for `stall_s`           SILENT    the same, forced; a doubt without words
                                                          is dismissed

Duck is followed by exactly one of Unduck and Interrupt. There is none where only words count: in an
answer's protected first part, where our own voice came back before, where it sounds far away, and
where the caller may not interrupt. Then an UNSURE caller is listened to while the answer sounds. No
answer begins meanwhile, except over a drone.
"""

from enum import Enum
from math import inf

from providers.base import Hypothesis, SttFailure
from voice.barge_in import Doubt, Verdict
from voice.drone import Drone
from voice.endpoint import AudioClock, milliseconds, samples
from voice.events import (
    Command,
    CommitUtterance,
    Dismiss,
    Duck,
    Interrupt,
    OpenUtterance,
    Typed,
    Unduck,
)
from voice.own_voice import OwnVoice
from voice.pause import REACTION_S, CutShort, Pause
from voice.questions import Questions
from voice.segments import Segments
from voice.suspicion import Suspicion
from voice.terms import Terms
from voice.utterance import Utterance


class Caller(Enum):
    SILENT = "silent"
    UNSURE = "unsure"
    """Sounds over an answer, and may not mean it."""
    SPEAKING = "speaking"
    PAUSING = "pausing"


class CallerSide:
    """Its methods answer with commands, to be carried out in order."""

    def __init__(
        self, clock: AudioClock, terms: Terms, questions: Questions, voice: OwnVoice
    ) -> None:
        self._clock, self._terms = clock, terms
        self._questions, self._voice = questions, voice
        self.state = Caller.SILENT
        self.utterance: Utterance | None = None
        """What is being spoken; its turn is 0 while it may be none."""
        self.speech_sample = 0
        """Where the newest one began, by its sound."""
        self.pause = Pause(terms.rules)
        self.segments = Segments(clock)
        self._cut_short = CutShort()
        self.drone = Drone()
        self._suspicion = Suspicion(clock, terms, questions, voice, self.drone)
        self._doubt: Doubt | None = None

    def settle(self) -> list[Command]:
        return self._questions.settle(self._terms.rules, self._keeps_floor)

    @property
    def answer_is_due(self) -> bool:
        """Now, if it has not begun."""
        return self._questions.is_due(self._terms.rules, self._keeps_floor)

    @property
    def _keeps_floor(self) -> bool:
        drones = self._doubt is not None and self._doubt.drones
        return self.state is not Caller.SILENT and not drones

    # --- facts ------------------------------------------------------------------------------------

    def speech_started(self, sample: int, now: float) -> list[Command]:
        start = self.segments.start_for(sample, self._terms.rules.prefix_ms)
        if self.state is Caller.SILENT:
            goes_on = not self.drone.is_found_at(sample)
            self._cut_short.speaks(sample, unheard=goes_on and self._cannot_answer_yet(sample))
            if self._suspicion.arises(sample):
                return self._begin_doubt(sample, start, now)
            return self._open(sample, start)
        ducks: list[Command] = []
        if self._doubt is not None:
            replying = self._questions.answering != 0
            ducks = [Duck()] if self._doubt.go_on(sample, now, replying=replying) else []
        else:
            if self.state is Caller.PAUSING:
                self._terms.words.went_on(milliseconds(sample - self.pause.sample))
            self.state = Caller.SPEAKING
        assert self.utterance is not None
        if not self.segments.is_live:
            return [*ducks, self.segments.begin(self.utterance, start)]
        return ducks

    def _cannot_answer_yet(self, sample: int) -> bool:
        """Whether an answer is due of which the caller has heard too little to react to it."""
        reacts_to = self._clock.spoken_at(sample) - REACTION_S
        unheard = self._questions.answering and not self._voice.is_heard_at(reacts_to)
        return bool(unheard) or self._questions.unheard

    def speech_paused(self, sample: int, now: float) -> list[Command]:
        if self._doubt is not None:
            if self._doubt.paused:
                return []
            self.pause.begin(sample)
            self._doubt.pause(now, self._terms)
            return self.segments.end() + self._tick_doubt(self._doubt, now)
        if self.state is not Caller.SPEAKING:
            return []
        self.state = Caller.PAUSING
        self.pause.begin(sample)
        self._weigh()
        return self.tick(now)

    def pause_judged(self, complete: float, now: float) -> list[Command]:
        self.pause.sounds(complete)
        self._weigh()
        return self.tick(now)

    def recognised(self, fact: Hypothesis | SttFailure, now: float) -> list[Command]:
        """Of the utterance that is being spoken."""
        said, doubt, terms = self.utterance, self._doubt, self._terms
        assert said is not None
        if not said.awaits(fact.utterance):
            return []
        if isinstance(fact, Hypothesis) and fact.text and not fact.is_final:
            self._suspicion.shows_words = True
        said.receive(fact)
        self.drone.hear(said.text, self._clock.position, self._clock.arrived_at)
        if doubt is not None:
            if isinstance(fact, Hypothesis):
                around = self._suspicion.around(doubt, self.pause.sample, now)
                doubt.hear(now, claims=doubt.claims(around, terms), is_final=fact.is_final)
            return self._tick_doubt(doubt, now)
        if self.state is Caller.PAUSING and terms.rules.adaptive:
            self._weigh()
            return self.tick(now)
        return []

    def _weigh(self) -> None:
        assert self.utterance is not None
        self.pause.weigh(self.utterance, self._terms.words, self._terms.rules)

    def answer_ended(self) -> None:
        """The caller has heard it."""
        if self._doubt is not None:
            position, ours = self._clock.position, self._voice.spoken
            self._doubt.answer_ended(position, ours, self._terms.words)

    # --- time -------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """Loop time at which `tick` has something to do; infinite: only a fact can bring that."""
        rules, due = self._terms.rules, inf
        if self.state is not Caller.SILENT:
            due = self._clock.arrived_at + rules.stall_s
        if self.state is Caller.PAUSING:
            is_live = self.segments.is_live
            due = min(due, self.pause.deadline(self._clock, rules, is_live=is_live))
        if self._doubt is not None:
            replying = self._questions.answering != 0
            waits = replying or not self._questions.unheard
            held_in_vain = self._doubt.holds and not replying
            doubted = self._doubt.deadline(rules, waits=waits)
            due = min(due, self._clock.arrived_at if held_in_vain else doubted)
        return due

    def tick(self, now: float) -> list[Command]:
        """What time alone has made due."""
        if self._doubt is not None:
            return self._tick_doubt(self._doubt, now)
        match self.state:
            case Caller.SPEAKING:
                return self._tick_speaking(now)
            case Caller.PAUSING:
                return self._tick_pausing(now)
            case _:
                return []

    def _tick_speaking(self, now: float) -> list[Command]:
        assert self.utterance is not None
        if self._stalls(now):
            return self.commit(self._clock.position, now, forced=True)
        sample, limit_s = self._clock.judged, self._terms.rules.max_utterance_s
        wordless = self.drone.is_wordless_at(sample, self._clock.arrived_at)
        if wordless and self._keeps_waiting(self.utterance):
            return self._tick_drone(self.utterance, sample, now)
        if sample - self.utterance.sample < samples(limit_s * 1000):
            return []
        ended = self.commit(sample, now, forced=True)
        return ended + self._open(sample, self.segments.start_for(sample, 0))

    def _keeps_waiting(self, said: Utterance) -> bool:
        """For its own answer, for one before it, or to be asked back."""
        return bool(said.text) or self._questions.unheard or said.cut_answer

    def _tick_drone(self, said: Utterance, sample: int, now: float) -> list[Command]:
        if not self.drone.asked:
            self.drone.asked = True
            return [*self.segments.end(), self.segments.begin(said, sample)]
        if said.owes > 1:
            return []  # the final that was asked for; the other is of what sounds now
        self.drone.found(sample)
        return self.commit(self.drone.news if said.text else sample, now, forced=True)

    def _tick_pausing(self, now: float) -> list[Command]:
        assert self.utterance is not None
        pause, rules = self.pause, self._terms.rules
        if self._stalls(now):
            return self.commit(pause.sample, now, forced=True)
        orders: list[Command] = []
        asks = self.segments.is_live or pause.asks(rules)
        if asks and self._clock.reached(pause.asks_at(rules), now):
            orders += pause.judge(self.utterance, self._terms.words, rules) + self.segments.end()
        if self._clock.reached(pause.ends(rules), now):
            orders += self.commit(pause.sample, now)
        return orders

    def _stalls(self, now: float) -> bool:
        return self._clock.stalls(now, self._terms.rules.stall_s)

    # --- a turn -----------------------------------------------------------------------------------

    def begin(self, sample: int, turn: int) -> Utterance:
        self.utterance, self.speech_sample = Utterance(turn, sample), sample
        self.drone.begin(sample, self._clock.arrived_at)
        return self.utterance

    def _open(self, sample: int, start: int) -> list[Command]:
        utterance = self.begin(sample, self._questions.new_turn())
        self.state = Caller.SPEAKING
        orders = [OpenUtterance(utterance.turn, start), *self._take_floor()]
        return [*orders, self.segments.begin(utterance, start)]

    def _take_floor(self) -> list[Command]:
        """From the answer, if the caller may."""
        rules = self._terms.rules
        if not rules.interrupt_response:
            return []
        orders = self._questions.caller_speaks(rules)
        if not self._questions.answering:
            return orders
        if not self._voice.is_heard_at(self._clock.spoken_at(self.speech_sample)):
            self._questions.cut_unheard(rules)
        elif self.utterance is not None:
            self._questions.cut_heard(self.utterance)
        self._questions.answering = 0
        self._voice.cut()
        return [*orders, Interrupt()]

    def commit(self, sample: int, now: float, *, forced: bool = False) -> list[Command]:
        """What is being spoken is over, at `sample`."""
        opened = self._confirm() if self._doubt is not None else []
        utterance, self.utterance = self.utterance, None
        assert utterance is not None
        orders = [*self.segments.end(), CommitUtterance(utterance.turn, sample, forced)]
        self.state, rules, worded = Caller.SILENT, self._terms.rules, bool(utterance.text)
        position, words = self._clock.position, self._terms.words
        self._cut_short.committed(sample, position, worded=worded, words=words)
        if worded and rules.automatic:
            self._terms.nearness.learn(utterance.sample, sample)
        utterance.committed_at = now
        utterance.wants_reply = rules.automatic and rules.create_response
        self._questions.waiting.append(utterance)
        return [*opened, *orders, *self.settle()]

    def typed(self, text: str, now: float) -> list[Command]:
        """A turn beside what is being spoken, which it does not end."""
        rules = self._terms.rules
        utterance = Utterance.typed(self._questions.new_turn(), self._clock.position, text)
        utterance.committed_at = now
        utterance.wants_reply = rules.automatic and rules.create_response
        self._questions.waiting.append(utterance)
        return [Typed(utterance.turn, text), *self.settle()]

    def clear(self) -> list[Command]:
        """Nothing of it is wanted."""
        orders = self.let_go()
        self._doubt = self.utterance = None
        self.state = Caller.SILENT
        self.segments.forget(self._clock.position)
        return [*self.segments.abandon(), *orders]

    # --- speech that may be none ------------------------------------------------------------------

    def _begin_doubt(self, sample: int, start: int, now: float) -> list[Command]:
        self._doubt = doubt = self._suspicion.begin(self.begin(sample, 0), start, now)
        self.state = Caller.UNSURE
        ducks: list[Command] = [Duck()] if doubt.holds else []
        return [*ducks, self.segments.begin(doubt.utterance, start)]

    def _tick_doubt(self, doubt: Doubt, now: float) -> list[Command]:
        around = self._suspicion.around(doubt, self.pause.sample, now)
        match doubt.verdict(around, self._terms):
            case Verdict.TURN:
                if doubt.is_lost_at(now):
                    doubt.utterance.give_up()  # its final was waited for long enough
                return self._confirm() + self.tick(now)
            case Verdict.NOTHING:
                return self._dismiss(doubt, around.ours)
            case Verdict.LET_GO:
                orders = self.let_go()
                doubt.wait_on(now)
                return orders
            case Verdict.OPEN:
                return []

    def _confirm(self) -> list[Command]:
        """It is a turn, and was one from its first sound on."""
        doubt, self._doubt = self._doubt, None
        assert doubt is not None
        doubt.utterance.turn = self._questions.new_turn()
        self.state = Caller.PAUSING if doubt.paused else Caller.SPEAKING
        self._weigh()
        orders = [OpenUtterance(doubt.utterance.turn, doubt.start), *self._take_floor()]
        return orders if Interrupt() in orders or not doubt.holds else [*orders, Unduck()]

    def _dismiss(self, doubt: Doubt, ours: str) -> list[Command]:
        """It was nothing: the segment is forgotten, and the answer goes on."""
        text = doubt.utterance.text
        said_by_us = bool(text) and self._terms.words.is_echo(text, ours)
        echo = said_by_us or doubt.is_own(self._terms)
        if echo:
            self._voice.came_back(self._questions.last_reply)
        far = not echo and self._questions.answering != 0 and doubt.is_far(self._terms)
        orders = [*self.segments.abandon(), Dismiss(text, echo, far), *self.let_go()]
        self.segments.forget(self._clock.judged)
        self._cut_short.forget()
        if doubt.drones and not doubt.paused:
            self.drone.found(self._clock.judged)
        self._doubt = self.utterance = None
        self.state = Caller.SILENT
        return orders + self.settle()

    def let_go(self) -> list[Command]:
        """An answer that is held back is held back no more."""
        if self._doubt is None or not self._doubt.holds:
            return []
        self._doubt.holds = False
        return [Unduck()]
