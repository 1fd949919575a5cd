"""Who holds the floor: facts about one call in, orders out. No I/O, no clock of its own.

The caller, where turns are detected (`rules.automatic`):

    state      fact                             next      orders
    ---------  -------------------------------  --------  ---------------------------------------
    SILENT     speech started                   SPEAKING  OpenUtterance, BeginSegment
    SILENT     speech while an answer is due,   UNSURE    BeginSegment (of no turn yet); Duck, if
               in hand, or coming back                    there is one in hand that may be cut
    UNSURE     words that take the floor        SPEAKING  OpenUtterance, Interrupt
    UNSURE     speech for `confirm_ms`, whose   SPEAKING  the same
               words do not speak against it
    UNSURE     speech that proves nothing, for  UNSURE    Unduck: listened to while the answer
               `resume_ms`                                sounds
    UNSURE     speech paused                    UNSURE    EndSegment: its final decides
    UNSURE     speech started                   UNSURE    BeginSegment
    UNSURE,    final with words that take the   PAUSING   OpenUtterance, Interrupt, and on as if
    paused     floor                                      it had been SPEAKING
    UNSURE,    final of a backchannel, an echo  SILENT    Dismiss, Unduck: no turn, no item
    paused     or nothing; none in `resume_ms`
    UNSURE     the answer ended                 UNSURE    Unduck; "yes" takes the floor now
    SPEAKING   speech paused                    PAUSING   -
    SPEAKING   utterance longer than the limit  SPEAKING  commit, then a new utterance at once
    PAUSING    speech started                   SPEAKING  BeginSegment if the last one was ended
    PAUSING    silence of `final_after_ms`      PAUSING   EndSegment: the final is made meanwhile;
                                                          JudgePause, unless the words settle it
    PAUSING    the pause was judged             PAUSING   - (or commit: the delay may be shorter)
    PAUSING    silence of `silence_ms`, or as   SILENT    EndSegment, CommitUtterance
               long as the words so far ask for
    any other  no audio for `stall_s`           SILENT    the same, forced; a doubt without words
                                                          is dismissed

and where the client says when (`turn_detection` null): the first audio opens an utterance without a
word to the client, `commit` ends it, `request_reply` asks for the answer.

Duck is followed by exactly one of Unduck and Interrupt. There is none where only words count: in an
answer's protected first part, where our own voice came back before, and where the caller may not
interrupt. Then an UNSURE caller is listened to while the answer sounds. No answer begins meanwhile.

A committed utterance waits for its finals, `final_limit_s` at most, after which the last partials
stand for them. Then Understood, and StartReply if an answer is wanted, nothing is still being
waited for, and the caller has not taken the floor again; else SkipReply. One answer at a time:
where the caller may not interrupt, the next one waits for the end of the last. See voice/questions.
"""

from enum import Enum
from math import inf

from providers.base import LISTEN_RATE_HZ, Hypothesis, SttFailure
from voice.barge_in import (
    ECHO_TAIL_MS,
    Doubt,
    FirstWords,
    NothingPlayed,
    OwnSound,
    OwnVoice,
    claims_floor,
)
from voice.endpoint import AudioClock, samples
from voice.errors import ClientError
from voice.events import (
    AbandonSegment,
    BeginSegment,
    Command,
    CommitUtterance,
    Dismiss,
    Duck,
    EndSegment,
    Interrupt,
    JudgePause,
    OpenUtterance,
    Unduck,
)
from voice.facts import PauseJudged
from voice.questions import Questions
from voice.speech import SpeechPaused, SpeechStarted
from voice.turn_rules import TurnRules
from voice.utterance import Utterance, join_words
from voice.words import NoWords, Words

__all__ = ["MIN_COMMIT_MS", "Caller", "TurnRules", "TurnTaker", "join_words"]

MIN_COMMIT_MS = 100
"""Less is no speech; also what the wire's `input_audio_buffer_commit_empty` stands for."""
CUT_SHORT_MS = 1000
"""Who goes on within this behind a turn's end, before they can react to an answer, had not
finished."""
REACTION_S = 0.3
"""From an answer's first frame: the way to the caller's ear, and what a listener needs to take the
floor; their gaps are 200 ms in the median, of which the end was foreseen: Levinson and Torreira,
"Timing in turn-taking", Frontiers in Psychology 2015."""


class Caller(Enum):
    SILENT = "silent"
    UNSURE = "unsure"
    """Sounds over an answer, and may not mean it."""
    SPEAKING = "speaking"
    PAUSING = "pausing"


class TurnTaker:
    """One call's turns.

    Every method that may change who holds the floor answers with commands, to be carried out in
    order. `deadline()` says when `tick()` is due at the latest.

    Args:
        words: What the words' rules are; without any, every word is a turn's.
        sound: What is played against what comes in; without it, only words tell an echo.
    """

    def __init__(
        self, rules: TurnRules, words: Words | None = None, sound: OwnSound | None = None
    ) -> None:
        self.rules = rules
        self.words = words or NoWords(rules.silence_ms)
        self.sound = sound or NothingPlayed()
        self.clock = AudioClock()
        self.caller = Caller.SILENT
        self.sounding_at: float | None = None
        """To be told: loop time at which the answer in hand began to sound; None: not yet."""
        self.spoken = ""
        """To be told: what the agent says about now, for its echo."""
        self.voiced = True
        """To be told: whether the answer in hand is spoken. One in writing cannot be held back."""
        self.speech_sample = 0
        """Where the newest utterance began, by its sound."""
        self._questions = Questions(self.new_turn)
        self._own_voice = OwnVoice()
        self._first_words = FirstWords()
        self._sounded_to, self._last_words = -samples(ECHO_TAIL_MS), ""
        """Where the last answer's sound ended, and with which words."""
        self._turns = 0
        self._segments = 0
        self._live: int | None = None
        self._live_from = 0
        self._heard_to = 0
        self._paused_at = 0
        self._ended_at, self._committed_at = 0, -samples(CUT_SHORT_MS)
        self._gap_ms: float | None = None
        """Between the last turn's words and these, where that one seems to have ended too early."""
        self._delay_ms = rules.silence_ms
        self._asked = True
        """Whether this pause was given to the turn model, or is not to be."""
        self._sounds_complete: float | None = None
        """What it says."""
        self._open: Utterance | None = None
        self._doubt: Doubt | None = None

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
        self._open_at(start, self.new_turn())
        self.caller = Caller.SPEAKING
        return [self._begin_segment(start)]

    def judge(self, sample: int, now: float) -> list[Command]:
        """VAD has judged the audio up to `sample`."""
        self.clock.judge(sample)
        return self.tick(now)

    def receive(
        self, fact: SpeechStarted | SpeechPaused | Hypothesis | SttFailure | PauseJudged, now: float
    ) -> list[Command]:
        match fact:
            case SpeechStarted() if self.rules.automatic:
                return self._speech_started(fact.sample, now)
            case SpeechPaused() if self.rules.automatic:
                return self._speech_paused(fact.sample, now)
            case Hypothesis() | SttFailure():
                return self._recognised(fact, now)
            case PauseJudged() if self.awaits_judgement_of(fact.sample):
                self._sounds_complete = fact.complete
                self._weigh_words()
                return self._tick_caller(now)
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
        opened = self._confirm() if self._doubt is not None else []
        return opened + self._commit(self.clock.position, now)

    def clear(self) -> list[Command]:
        """The client wants nothing of what it has sent since the last commit."""
        orders = self._let_go() if self._doubt is not None else []
        self._doubt = self._open = None
        self.caller = Caller.SILENT
        self._heard_to = self.clock.position
        return [*self._abandon(), *orders]

    def request_reply(self) -> list[Command]:
        """The client asks for an answer, now or as soon as the finals are in."""
        self._questions.request()
        return [*self._let_go(), *self._settle()]

    def speak_up(self, say: str) -> list[Command]:
        """The agent says something by itself: not while anybody speaks or is waited for."""
        return self._questions.speak_up(say) if self.quiet else []

    @property
    def quiet(self) -> bool:
        """Nobody speaks, and no final and no answer is due."""
        waiting = self.reply_pending or self._questions.waiting or self._reply_is_due
        return self.caller is Caller.SILENT and not self.replying and not waiting

    def withdraw_reply(self) -> list[Command]:
        """The client no longer wants the answer that has not begun."""
        return self._questions.withdraw(self.rules)

    @property
    def reply_pending(self) -> bool:
        return self._questions.pending

    @property
    def replying(self) -> bool:
        """An answer is being given: from StartReply until the caller has heard it."""
        return self.answering != 0

    @property
    def answering(self) -> int:
        """The turn of that answer."""
        return self._questions.answering

    def reply_ended(self, turn: int, last_words: str = "") -> None:
        """The caller has heard it, or it was cut: then the next may have begun in the same step.
        If another is due, so is `tick`.

        Args:
            last_words: Of its last second, for their echo.
        """
        if turn != self.answering:
            return
        if self.sounding_at is not None:
            self._sounded_to, self._last_words = self.clock.position, last_words
        self._questions.answering, self.sounding_at = 0, None
        if self._doubt is not None:
            said = self._doubt.utterance
            nodded = self.words.is_nod_in_echo(said.text, self.spoken, is_final=said.is_final)
            self._doubt.answer_ended(self.clock.position, nodded=nodded)

    def new_turn(self) -> int:
        self._turns += 1
        return self._turns

    def voided_turn(self) -> int:
        """A turn for an answer that was asked for and will not begin."""
        self._questions.last_reply = self.new_turn()
        return self._questions.last_reply

    @property
    def open_turn(self) -> int | None:
        """The turn of the utterance that is being spoken."""
        return self._open.turn or None if self._open else None

    @property
    def open_is_asked(self) -> bool:
        """Whether its final has been asked for, up to here."""
        return self._open is not None and self._live is None

    @property
    def open_is_final(self) -> bool:
        """Whether the finals of all that was heard of it are in."""
        return self._open is not None and self._live is None and self._open.is_final

    @property
    def ends_at(self) -> float | None:
        """Loop time at which the silence will end the open turn; None: nobody pauses."""
        pauses = self.caller is Caller.PAUSING
        return self._spoken_at(self._silence_ends()) if pauses else None

    def awaits_judgement_of(self, pause: int) -> bool:
        """Whether the pause that began at this sample still lasts; else its judgement is late."""
        lasts = self.caller is Caller.PAUSING and self._paused_at == pause
        return lasts and self.rules.adaptive and self.rules.automatic

    def text_of(self, turn: int) -> str | None:
        """The words of an utterance that is not settled yet."""
        for utterance in self._unsettled():
            if utterance.turn == turn:
                return utterance.text
        return None

    def turn_of(self, segment: int) -> int | None:
        for utterance in self._unsettled():
            if utterance.owns(segment):
                return utterance.turn or None
        return None

    def _unsettled(self) -> list[Utterance]:
        waiting = self._questions.waiting
        return [*waiting, self._open] if self._open else list(waiting)

    # --- time ------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Loop time at which `tick` has something to do; None: only a fact can bring that."""
        due = inf
        if self.caller is not Caller.SILENT and self.rules.automatic:
            due = self.clock.arrived_at + self.rules.stall_s
        if self.caller is Caller.PAUSING:
            due = min(due, self._when(self._silence_ends()))
            if self._live is not None or self._will_ask:
                due = min(due, self._when(self._final_wanted_at()))
        if self._doubt is not None:
            due = min(due, self._doubt_ends(self._doubt))
        for utterance in self._questions.waiting:
            assert utterance.committed_at is not None
            due = min(due, utterance.committed_at + self.rules.final_limit_s)
        if self._reply_is_due:
            due = min(due, self.clock.arrived_at)
        return None if due == inf else due

    def _doubt_ends(self, doubt: Doubt) -> float:
        """When time alone changes something about it."""
        if doubt.holds and not self.replying:
            return self.clock.arrived_at
        if doubt.resume_at is not None:
            return doubt.resume_at
        return doubt.lets_go_at(self.rules) if doubt.holds else inf

    def _when(self, sample: int) -> float:
        at = self.clock.when(sample)
        return inf if at is None else at

    def tick(self, now: float) -> list[Command]:
        """What time alone has made due."""
        orders: list[Command] = []
        if self.rules.automatic:
            orders += self._tick_caller(now)
        limit_s = self.rules.final_limit_s
        overdue = [u for u in self._questions.waiting if _overdue(u, now, limit_s)]
        for utterance in overdue:
            utterance.give_up()
        return orders + self._settle() if overdue or self._reply_is_due else orders

    def _tick_caller(self, now: float) -> list[Command]:
        if self.caller is Caller.SILENT:
            return []
        if self._doubt is not None:
            return self._tick_doubt(self._doubt, now)
        if self._stalls(now):
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
        if (self._live is not None or self._will_ask) and self.clock.reached(
            self._final_wanted_at(), now
        ):
            orders += self._judge_pause() + self._end_segment()
        if self.clock.reached(self._silence_ends(), now):
            orders += self._commit(self._paused_at, now)
        return orders

    def _stalls(self, now: float) -> bool:
        return now >= self.clock.arrived_at + self.rules.stall_s

    def _silence_ends(self) -> int:
        delay_ms = self._delay_ms if self.rules.adaptive else self.rules.silence_ms
        return self._paused_at + samples(delay_ms)

    def _final_wanted_at(self) -> int:
        after_ms = self.rules.final_after_ms
        return min(self._paused_at + samples(after_ms), self._silence_ends())

    @property
    def _will_ask(self) -> bool:
        return self.rules.adaptive and not self._asked

    def _judge_pause(self) -> list[Command]:
        """In front of EndSegment, behind which the ear need not keep the utterance's audio."""
        if not self._will_ask or self._open is None:
            return []
        self._asked = True
        if self.words.settles(self._open.text):
            return []
        return [JudgePause(self._paused_at, self._open.sample)]

    def _weigh_words(self) -> None:
        """The words so far, and how they sounded, say how long a silence ends the turn."""
        if self.rules.adaptive and self._open is not None:
            text, is_final = self._open.text, self._open.is_final
            self._delay_ms = self.words.delay_ms(
                text, is_final=is_final, sounds_complete=self._sounds_complete
            )

    # --- transitions -----------------------------------------------------------------------------

    def _speech_started(self, sample: int, now: float) -> list[Command]:
        start = max(self._heard_to, sample - samples(self.rules.prefix_ms), 0)
        if self.caller is Caller.SILENT:
            if self._may_be_none(sample):
                return self._begin_doubt(sample, start, now)
            gap_ms = self._gap_before(sample)
            opened = self._open_utterance(sample, start)
            self._gap_ms = gap_ms
            return opened
        if self._doubt is not None:
            self._doubt.go_on(sample)
        else:
            if self.caller is Caller.PAUSING:
                self.words.went_on(_ms(sample - self._paused_at))
            self.caller = Caller.SPEAKING
        return [] if self._live is not None else [self._begin_segment(start)]

    def _gap_before(self, sample: int) -> float | None:
        """Since the last turn's words, if that one seems to have ended too early."""
        if sample - self._committed_at >= samples(CUT_SHORT_MS):
            return None
        reacts_from = (self.sounding_at or inf) + REACTION_S
        unheard = self.replying and self._spoken_at(sample) < reacts_from
        return _ms(sample - self._ended_at) if unheard or self._questions.unheard else None

    def _open_at(self, sample: int, turn: int) -> Utterance:
        self._open, self.speech_sample = Utterance(turn, sample), sample
        return self._open

    def _open_utterance(self, sample: int, start: int) -> list[Command]:
        utterance = self._open_at(sample, self.new_turn())
        self.caller = Caller.SPEAKING
        orders: list[Command] = [OpenUtterance(utterance.turn, start)]
        if self.rules.interrupt_response:
            orders += self._questions.caller_speaks(self.rules)
            if self.replying:
                orders += self._interrupt()
        return [*orders, self._begin_segment(start)]

    def _interrupt(self) -> list[Command]:
        if self._spoken_at(self.speech_sample) < (self.sounding_at or inf):
            self._questions.cut_unheard(self.rules)
        self._questions.answering, self.sounding_at = 0, None
        return [Interrupt()]

    def _speech_paused(self, sample: int, now: float) -> list[Command]:
        if self._doubt is not None:
            if self._doubt.paused:
                return []
            self._paused_at = sample
            self._doubt.pause(now + self.rules.resume_ms / 1000, self.sound)
            return self._end_segment() + self._tick_doubt(self._doubt, now)
        if self.caller is not Caller.SPEAKING:
            return []
        self.caller = Caller.PAUSING
        self._paused_at = sample
        self._asked, self._sounds_complete = False, None
        self._weigh_words()
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

    def _abandon(self) -> list[Command]:
        live, self._live = self._live, None
        return [] if live is None else [AbandonSegment(live)]

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
        if utterance.text:
            if self._gap_ms is not None:
                self.words.was_cut_short(self._gap_ms)
            self.words.turn_ended()
        self._gap_ms = None
        self.caller, self._ended_at, self._committed_at = Caller.SILENT, sample, self.clock.position
        utterance.wants_reply = self.rules.automatic and self.rules.create_response
        self._questions.waiting.append(utterance)
        return orders + self._settle()

    def _recognised(self, fact: Hypothesis | SttFailure, now: float) -> list[Command]:
        for utterance in self._unsettled():
            if utterance.owns(fact.utterance):
                awaited = utterance.awaits(fact.utterance)
                if isinstance(fact, Hypothesis):
                    if awaited and fact.text and not (fact.is_final or utterance.text):
                        self._first_words.came(_ms(self.clock.position - utterance.sample))
                    utterance.hear(fact)
                else:
                    utterance.lose(fact.utterance)
                if utterance is not self._open:
                    return self._settle()
                return self._heard_more(fact, now) if awaited else []
        return []  # late news of an utterance already settled

    def _heard_more(self, fact: Hypothesis | SttFailure, now: float) -> list[Command]:
        """Of the utterance that is being spoken."""
        if self._doubt is not None:
            if isinstance(fact, Hypothesis):
                self._doubt.hear(self._claims(self._doubt), fact.is_final)
            return self._tick_doubt(self._doubt, now)
        if self.caller is Caller.PAUSING and self.rules.adaptive:
            self._weigh_words()
            return self._tick_caller(now)
        return []

    def _settle(self) -> list[Command]:
        return self._questions.settle(self.rules, self.caller is not Caller.SILENT)

    @property
    def _reply_is_due(self) -> bool:
        return self._questions.is_due(self.rules, self.caller is not Caller.SILENT)

    # --- speech over an answer -------------------------------------------------------------------

    def _spoken_at(self, sample: int) -> float:
        """Loop time at which the caller's `sample` was spoken, as far as we can know."""
        return self.clock.arrived_at - (self.clock.position - sample) / LISTEN_RATE_HZ

    def _may_be_none(self, sample: int) -> bool:
        """Whether it may be no turn: it would cut an answer, or may be one's end, coming back."""
        if not self.rules.confirm_ms:
            return False
        if self.replying:
            return self.voiced
        comes_back = self._own_voice.is_known and not self._is_past_echo(sample)
        return comes_back or self._is_waited_for

    def _is_past_echo(self, sample: int) -> bool:
        """Whether the last answer was over too long ago to be heard there."""
        return sample > self._sounded_to + samples(ECHO_TAIL_MS)

    def _begin_doubt(self, sample: int, start: int, now: float) -> list[Command]:
        utterance = self._open_at(sample, 0)
        only_words = self.replying and self._only_words_count(sample)
        holds = self.replying and not only_words
        confirm_ms = self._first_words.late_by_ms(self.rules.confirm_ms)
        self._doubt = Doubt(
            utterance,
            start,
            now,
            holds=holds,
            by_length=not only_words,
            confirm_ms=confirm_ms,
            hypotheses=1 if self.sounding_at is None else self.rules.confirm_hypotheses,
        )
        self.caller, self._gap_ms = Caller.UNSURE, self._gap_before(sample)
        return [*([Duck()] if holds else []), self._begin_segment(start)]

    def _only_words_count(self, sample: int) -> bool:
        if not self.rules.interrupt_response:
            return True
        if self.sounding_at is None:
            return False
        protected_s = self.rules.protected_ms / 1000
        protected = 0 <= self._spoken_at(sample) - self.sounding_at < protected_s
        return protected or self._own_voice.comes_back(self._questions.last_reply)

    def _claims(self, doubt: Doubt) -> bool:
        claims = claims_floor(
            doubt.utterance,
            self._ours(doubt),
            self.words,
            waited_for=self._is_waited_for,
            nodded=doubt.nodded,
        )
        return claims and not self._is_own(doubt)

    @property
    def _is_waited_for(self) -> bool:
        """There is an answer that the caller has not heard to its end."""
        return self.replying or self._questions.unheard

    def _ours(self, doubt: Doubt) -> str:
        """The words of ours that may come back in there."""
        if self.replying:
            return self.spoken if self.sounding_at is not None else ""
        if self._is_past_echo(self._paused_at if doubt.paused else self.clock.judged):
            return ""
        return self._last_words if doubt.utterance.sample >= self._sounded_to else self.spoken

    def _is_own(self, doubt: Doubt) -> bool:
        return doubt.is_own(self.sound, self.rules)

    def _tick_doubt(self, doubt: Doubt, now: float) -> list[Command]:
        rules, judged = self.rules, self.clock.judged
        claims = self._claims(doubt)
        stalls = self._stalls(now)
        silent = not doubt.utterance.text
        lasts = claims and doubt.lasts(judged, rules.confirm_ms)
        wordless = silent and doubt.lasts(judged, doubt.confirm_ms) and not self._is_own(doubt)
        if doubt.is_said or lasts or wordless:
            return self._confirm() + self._tick_caller(now)
        decided = doubt.paused and doubt.utterance.is_final
        over = doubt.resume_at is not None and now >= doubt.resume_at - 1e-6
        if stalls or decided or over or doubt.is_endless(judged):
            # Behind the answer's end nothing is lost by listening, unless a final says it is none.
            lost = not decided or doubt.utterance.failed
            if claims or (silent and lost and not self._is_waited_for):
                return self._confirm() + self._tick_caller(now)
            return self._dismiss(doubt)
        proves_nothing = not doubt.paused and now >= doubt.lets_go_at(rules) - 1e-6
        return self._let_go() if proves_nothing or not self.replying else []

    def _confirm(self) -> list[Command]:
        """It is a turn, and was one from its first sound on."""
        assert self._doubt is not None and self._open is not None
        doubt, self._doubt = self._doubt, None
        self._open.turn = self.new_turn()
        self.caller = Caller.PAUSING if doubt.paused else Caller.SPEAKING
        self._asked, self._sounds_complete = False, None
        self._weigh_words()
        orders: list[Command] = [OpenUtterance(self._open.turn, doubt.start)]
        if self.rules.interrupt_response:
            orders += self._questions.caller_speaks(self.rules)
            if self.replying:
                return orders + self._interrupt()
        return [*orders, *([Unduck()] if doubt.holds else [])]

    def _dismiss(self, doubt: Doubt) -> list[Command]:
        """It was nothing: the segment is forgotten, and the answer goes on."""
        text = doubt.utterance.text
        echo = self._is_own(doubt) or (bool(text) and self.words.is_echo(text, self._ours(doubt)))
        if echo:
            self._own_voice.came_back(self._questions.last_reply)
        orders = [*self._abandon(), Dismiss(text, echo=echo), *self._let_go()]
        self._heard_to = max(self._heard_to, self.clock.judged)
        self._doubt = self._open = self._gap_ms = None
        self.caller = Caller.SILENT
        return orders + self._settle()

    def _let_go(self) -> list[Command]:
        """The answer is held back no more."""
        if self._doubt is None or not self._doubt.holds:
            return []
        self._doubt.holds = False
        return [Unduck()]


def _ms(count: int) -> float:
    return count * 1000 / LISTEN_RATE_HZ


def _overdue(utterance: Utterance, now: float, limit_s: float) -> bool:
    assert utterance.committed_at is not None
    return now >= utterance.committed_at + limit_s - 1e-6
