"""Who holds the floor: facts about one call in, orders out. No I/O, no clock of its own.

    audio, VAD, ──▶ CallerSide ──▶ an utterance is over ──▶ Questions ──▶ one of them is answered
    partials         caller.py                     finals ──▶ questions.py

Where the client says when a turn ends (`turn_detection` null), the first audio opens an utterance
without a word to the client, `commit` ends it, `request_reply` asks for the answer.

A committed utterance waits for its finals, `final_limit_s` at most, after which the last partials
stand for them. Then Understood, and StartReply if an answer is wanted, nothing is still being
waited for, and the caller has not taken the floor again; else SkipReply. One answer at a time:
where the caller may not interrupt, the next one waits for the end of the last.
"""

from math import inf

from providers.base import LISTEN_RATE_HZ, Hypothesis, SttFailure
from voice.caller import Caller, CallerSide
from voice.endpoint import AudioClock, samples
from voice.errors import ClientError
from voice.events import Command
from voice.facts import PauseJudged
from voice.own_voice import OwnSound, OwnVoice
from voice.questions import Questions
from voice.speech import SpeechPaused, SpeechStarted
from voice.terms import Terms
from voice.turn_rules import TurnRules
from voice.utterance import Utterance, join_words
from voice.words import Words

__all__ = ["MIN_COMMIT_MS", "Caller", "TurnRules", "TurnTaker", "join_words"]

MIN_COMMIT_MS = 100
"""Less is no speech; also what the wire's `input_audio_buffer_commit_empty` stands for."""


class TurnTaker:
    """One call's turns.

    Every method that may change who holds the floor answers with commands, to be carried out in
    order. `deadline()` says when `tick()` is due at the latest.
    """

    def __init__(
        self, rules: TurnRules, words: Words | None = None, sound: OwnSound | None = None
    ) -> None:
        self.terms = Terms(rules, words, sound)
        self.clock = AudioClock()
        self.voice = OwnVoice()
        """To be told of the answer in hand, and of what it says."""
        self._questions = Questions()
        self._side = CallerSide(self.clock, self.terms, self._questions, self.voice)

    @property
    def rules(self) -> TurnRules:
        return self.terms.rules

    @rules.setter
    def rules(self, rules: TurnRules) -> None:
        self.terms.rules = rules

    # --- facts -----------------------------------------------------------------------------------

    def arrive(self, count: int, now: float, delay_s: float = 0.0) -> list[Command]:
        """`count` further samples came from the caller, who spoke them `delay_s` before."""
        start, side = self.clock.position, self._side
        self.clock.arrive(count, now, delay_s)
        if self.rules.automatic:
            return self.tick(now)
        self.clock.judge(self.clock.position)
        if side.utterance is not None:
            return side.segments.roll_over(side.utterance, start, self.rules.max_utterance_s)
        side.state = Caller.SPEAKING
        return [side.segments.begin(side.begin(start, self._questions.new_turn()), start)]

    def judge(self, sample: int, now: float) -> list[Command]:
        """VAD has judged the audio up to `sample`."""
        self.clock.judge(sample)
        return self.tick(now)

    def receive(
        self, fact: SpeechStarted | SpeechPaused | Hypothesis | SttFailure | PauseJudged, now: float
    ) -> list[Command]:
        match fact:
            case SpeechStarted() if self.rules.automatic:
                return self._side.speech_started(fact.sample, now)
            case SpeechPaused() if self.rules.automatic:
                return self._side.speech_paused(fact.sample, now)
            case Hypothesis() | SttFailure():
                return self._recognised(fact, now)
            case PauseJudged() if self.awaits_judgement_of(fact.sample):
                return self._side.pause_judged(fact.complete, now)
            case _:  # late news from a VAD that no longer decides
                return []

    def _recognised(self, fact: Hypothesis | SttFailure, now: float) -> list[Command]:
        utterance = self._owner_of(fact.utterance)
        if utterance is None:
            return []  # late news of an utterance already settled
        if utterance is self._side.utterance:
            return self._side.recognised(fact, now)
        utterance.receive(fact)
        return self._side.settle()

    def hears_anew(self, left_s: float) -> None:
        """The recogniser begins again with what is being spoken, and is so long at it."""
        self._side.drone.wait(left_s)

    def commit(self, now: float) -> list[Command]:
        """The client ends the utterance.

        Raises:
            ClientError: There is less than 100 ms of it.
        """
        said = self._side.utterance
        held = self.clock.position - said.sample if said else 0
        if held < samples(MIN_COMMIT_MS):
            message = (
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS} ms of audio, but it holds {held * 1000 // LISTEN_RATE_HZ} ms."
            )
            raise ClientError("input_audio_buffer_commit_empty", message)
        return self._side.commit(self.clock.position, now)

    def typed(self, text: str, now: float) -> list[Command]:
        """The caller gave a whole turn by keys: answered once nobody speaks."""
        return self._side.typed(text, now)

    def clear(self) -> list[Command]:
        """The client wants nothing of what it has sent since the last commit."""
        return self._side.clear()

    # --- time ------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Loop time at which `tick` has something to do; None: only a fact can bring that."""
        due = self._questions.deadline(self.rules)
        if self.rules.automatic:
            due = min(due, self._side.deadline())
        if self._side.answer_is_due:
            due = min(due, self.clock.arrived_at)
        return None if due == inf else due

    def tick(self, now: float) -> list[Command]:
        """What time alone has made due."""
        orders = self._side.tick(now) if self.rules.automatic else []
        given_up = self._questions.give_up(self.rules, now)
        return orders + self._side.settle() if given_up or self._side.answer_is_due else orders

    # --- the answer ------------------------------------------------------------------------------

    def request_reply(self) -> list[Command]:
        """The client asks for an answer, now or as soon as the finals are in."""
        self._questions.request()
        return [*self._side.let_go(), *self._side.settle()]

    def withdraw_reply(self) -> list[Command]:
        """The client no longer wants the answer that has not begun."""
        return self._questions.withdraw(self.rules)

    def speak_up(self, say: str) -> list[Command]:
        """The agent says something by itself: not while anybody speaks or is waited for."""
        return self._questions.speak_up(say) if self.quiet else []

    def reply_ended(self, turn: int, last_words: str = "") -> None:
        """The caller has heard it, or it was cut: then the next may have begun in the same step.
        If another is due, so is `tick`.

        Args:
            last_words: Of its last second, for their echo.
        """
        if turn == self.answering:
            self._questions.answering = 0
            self.voice.over(self.clock.position, last_words)
            self._side.answer_ended()

    @property
    def quiet(self) -> bool:
        """Nobody speaks, and no final and no answer is due."""
        waiting = self.reply_pending or self._questions.waiting or self._side.answer_is_due
        return self.caller is Caller.SILENT and not self.replying and not waiting

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

    def voided_turn(self) -> int:
        """A turn for an answer that was asked for and will not begin."""
        return self._questions.voided_turn()

    # --- the utterances --------------------------------------------------------------------------

    @property
    def caller(self) -> Caller:
        return self._side.state

    @property
    def speech_sample(self) -> int:
        """Where the newest utterance began, by its sound."""
        return self._side.speech_sample

    @property
    def open_turn(self) -> int | None:
        """The turn of the utterance that is being spoken."""
        said = self._side.utterance
        return said.turn or None if said else None

    @property
    def open_is_asked(self) -> bool:
        """Whether its final has been asked for, up to here."""
        return self._side.utterance is not None and not self._side.segments.is_live

    @property
    def open_is_final(self) -> bool:
        """Whether the finals of all that was heard of it are in."""
        said = self._side.utterance
        return said is not None and said.is_final and self.open_is_asked

    @property
    def ends_at(self) -> float | None:
        """Loop time at which the silence will end the open turn; None: nobody pauses."""
        pauses = self.caller is Caller.PAUSING
        return self.clock.spoken_at(self._side.pause.ends(self.rules)) if pauses else None

    def awaits_judgement_of(self, pause: int) -> bool:
        """Whether the pause that began at this sample still lasts; else its judgement is late."""
        lasts = self.caller is Caller.PAUSING and self._side.pause.sample == pause
        return lasts and self.rules.adaptive and self.rules.automatic

    def text_of(self, turn: int) -> str | None:
        """The words of an utterance that is not settled yet."""
        return next((one.text for one in self._unsettled() if one.turn == turn), None)

    def turn_of(self, segment: int) -> int | None:
        owner = self._owner_of(segment)
        return owner.turn or None if owner else None

    def _owner_of(self, segment: int) -> Utterance | None:
        return next((one for one in self._unsettled() if one.owns(segment)), None)

    def _unsettled(self) -> list[Utterance]:
        said = self._side.utterance
        return [*self._questions.waiting, *([said] if said else [])]
