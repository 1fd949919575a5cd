"""Speech over an answer: a turn, or a cough, a "mm-hm", our own voice in the caller's microphone?

    answer   ######________________________#########     held back from the first doubt on
    caller         ~~~~~~~~~|            |
                   ^started |  final ----^ "mm-hm": the answer goes on where it stopped
                            ^paused: the final is asked for at once

    of the sound so far                                                       verdict
    ------------------------------------------------------------------------  ---------
    words that take the floor: in a final, in `hypotheses` in a row that      TURN
    begin alike, or in one, where it lasts `confirm_ms`, or has paused for
    `resume_ms`
    `confirm_ms` of it without a word; twice that, where the recogniser has   TURN
    shown words in this call
    no words, its final is lost, and nothing is waited for                    TURN
    paused, and its final says nothing of that; none came in `final_limit_s`, NOTHING
    nor, where it is our own voice or an answer is due, in `resume_ms`; the
    audio stopped coming; no end of it, and no words that count
    for `resume_ms` nothing that proves it; or the answer has ended           LET_GO

Words take the floor if they are neither a backchannel nor an echo. Whatever they are, but for an
outright "stop", it is none if it sounds like what is being played, see echo_energy.py, or too far
away for the caller, see nearness.py. Where only words count, no length does.

A recogniser's first guesses change from one to the next, as of "right, I see": for, bro, bra, bro
i, right. So a word counts once it stands: by the next hypothesis, or for `STANDS_S`; of speech that
lasts twice `confirm_ms`, any does.
"""

from enum import Enum
from math import inf

from msgspec import Struct

from voice.endpoint import samples
from voice.scripts import words
from voice.terms import Terms
from voice.turn_rules import TurnRules
from voice.utterance import Utterance
from voice.words import Words

LONGEST_DOUBT_MS = 8000
"""Of sound without an end and without words that count; then it is listened to afresh."""


WORDLESS = 2
"""Times `confirm_ms`: sound without a word, of a caller whose words were shown before, is either no
speech or its first word is late. Of pocketsphinx's, alone on a machine, the first comes after 210
to 710 ms, and a listener's "right, I see" is over in 900."""
JUDGED_MS = 200
"""So much later than spoken is sound judged at the latest: what it is then let go for would stop
again at once."""
STANDS_S = 0.15
"""The next guess comes within this, if it is to be another."""


class Verdict(Enum):
    OPEN = "open"
    TURN = "turn"
    NOTHING = "nothing"
    LET_GO = "let go"
    """Still open, but the answer is held back no more."""


class Around(Struct, frozen=True):
    """What a doubt is decided by, besides what is heard of it."""

    now: float
    judged: int
    replying: bool
    waited_for: bool
    """The agent speaks, or is about to; behind its last word even a "yes" is a turn."""
    ours: str
    """What the agent says about now."""
    stalls: bool


class Doubt:
    """Args:
    utterance: What may be one.
    start: Where it is recognised from.
    holds: The answer is held back; else it sounds on, or none does.
    by_length: Speech that lasts is a turn; else only words make it one.
    patient: Where it has no word, one may yet come: this recogniser has shown some.
    hypotheses: So many in a row with words that take the floor make it one.
    drones: It was found to go on without a word: no length makes it one, even behind an answer.
    """

    def __init__(
        self,
        utterance: Utterance,
        start: int,
        now: float,
        *,
        holds: bool,
        by_length: bool,
        patient: bool,
        hypotheses: int,
        drones: bool = False,
    ) -> None:
        self.utterance, self.start = utterance, start
        self.holds, self._held_at = holds, now
        self._by_length, self._patient = by_length, patient
        self._hypotheses, self.drones = hypotheses, drones
        self._run_from = utterance.sample
        self._resume_at: float | None = None
        """Loop time at which a pause without words has lasted long enough."""
        self._lost_at = inf
        """And at which its final is not waited for any more."""
        self._is_late = False
        """The answer is not held back for that final any more."""
        self._likeness, self._was_far = 0.0, False
        """What it sounded like when it paused: by its silence, nobody can be told."""
        self._claims = 0
        self._first_word, self._stands_from = "", inf
        self._weighed: tuple[str, bool, str, bool] | None = None
        self._takes_floor = False
        """What became of that: 0.2 ms in a long echo, and asked for with every frame."""
        self._nodded = False
        """A backchannel was among our own words while the answer sounded: it is none of an answer.
        """

    # --- what happens -----------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        return self._resume_at is not None

    def pause(self, now: float, terms: Terms) -> None:
        self._likeness, self._was_far = terms.sound.likeness(self._run_from), self.is_far(terms)
        self._resume_at = now + terms.rules.resume_ms / 1000
        self._lost_at = max(self._resume_at, now + terms.rules.final_limit_s)

    def go_on(self, sample: int, now: float, *, replying: bool) -> bool:
        """Returns whether the answer is to be held back once more."""
        holds = self._is_late and self._by_length and replying
        if holds:
            self.holds, self._held_at = True, now
        self._resume_at, self._is_late, self._run_from = None, False, sample
        return holds

    def wait_on(self, now: float) -> None:
        """The answer sounds on meanwhile."""
        self.holds, self._is_late = False, self._is_late_at(now)

    def answer_ended(self, sample: int, ours: str, rules: Words) -> None:
        """What sounds now cannot be its echo for long."""
        said = self.utterance
        self._nodded = rules.is_nod_in_echo(said.text, ours, is_final=said.is_final)
        self._weighed = None
        if not (self._by_length or self.drones):
            self._by_length, self._run_from = True, sample

    def hear(self, now: float, *, claims: bool, is_final: bool) -> None:
        """A further hypothesis of it.

        Args:
            claims: Whether the words so far, with that one's, take the floor.
        """
        said = words(self.utterance.text)
        before, self._first_word = self._first_word, said[0] if said else ""
        if self._first_word != before:
            self._claims, self._stands_from = 0, now
        self._patient = self._patient or bool(said)
        weight = self._hypotheses if is_final else 1
        self._claims = self._claims + weight if claims else 0

    # --- what it is -------------------------------------------------------------------------------

    def is_far(self, terms: Terms) -> bool:
        """Whether it is too quiet to be the caller."""
        if self.paused:
            return self._was_far
        return terms.nearness.is_far(self._run_from, terms.rules.far_db)

    def is_own(self, terms: Terms) -> bool:
        """Whether it sounds like our own voice."""
        likeness = self._likeness if self.paused else terms.sound.likeness(self._run_from)
        return likeness >= terms.rules.echo_likeness

    def claims(self, around: Around, terms: Terms) -> bool:
        """Whether its words, if it has any, take the floor."""
        around_it = (self.utterance.text, self.utterance.is_final, around.ours, around.waited_for)
        if around_it != self._weighed:
            self._weighed, self._takes_floor = around_it, self._weigh(around, terms.words)
        if not self._takes_floor:
            return False
        called = terms.words.calls_for_floor(self.utterance.text, around.ours)
        return called or not self._is_others(around, terms)

    def _is_others(self, around: Around, terms: Terms) -> bool:
        """Whether it sounds like anybody but the caller."""
        return self.is_own(terms) or (around.replying and self.is_far(terms))

    def _weigh(self, around: Around, rules: Words) -> bool:
        text, is_final = self.utterance.text, self.utterance.is_final
        if not text or rules.is_echo(text, around.ours):
            return False
        if around.waited_for and rules.is_backchannel(text, is_final=is_final):
            return False
        nods = around.waited_for or self._nodded
        return not (nods and rules.is_nod_in_echo(text, around.ours, is_final=is_final))

    def verdict(self, around: Around, terms: Terms) -> Verdict:
        if self._claims >= self._hypotheses:
            return Verdict.TURN
        claims, silent = self.claims(around, terms), not self.utterance.text
        lasts = claims and self._lasts_with_words(around, terms.rules.confirm_ms)
        wordless = silent and self._lasts(around.judged, self._wordless_ms(terms.rules))
        if lasts or (wordless and not self._is_others(around, terms)):
            return Verdict.TURN
        late = self._is_late_at(around.now)
        settled = late and (claims or (around.replying and self.is_own(terms)))
        if self._is_over(around) or settled:
            # Behind the answer's end nothing is lost by listening, unless a final says it is none.
            lost = not self._is_decided or self.utterance.failed
            heard = claims or (silent and lost and not (around.waited_for or self.drones))
            return Verdict.TURN if heard else Verdict.NOTHING
        proves_nothing = not self.paused and around.now >= self._lets_go_at(terms.rules) - 1e-6
        lets_go = proves_nothing or late or not around.replying
        return Verdict.LET_GO if lets_go else Verdict.OPEN

    @property
    def _is_decided(self) -> bool:
        return self.paused and self.utterance.is_final

    def _is_over(self, around: Around) -> bool:
        # Only an answer that is due would have to wait with us for a late final.
        waits = around.replying or not around.waited_for
        may_come = waits and not self.is_lost_at(around.now)
        waited = self._is_late_at(around.now) and not may_come
        lasted = around.judged - self.utterance.sample
        endless = not self.paused and lasted >= samples(LONGEST_DOUBT_MS)
        return around.stalls or self._is_decided or waited or endless

    def is_lost_at(self, now: float) -> bool:
        """Whether it has paused, and its final will not come any more."""
        return self.paused and now >= self._lost_at - 1e-6

    def _is_late_at(self, now: float) -> bool:
        return self._resume_at is not None and now >= self._resume_at - 1e-6

    def _lasts(self, judged: int, confirm_ms: float) -> bool:
        """Whether it has gone on long enough to be a turn, if its words do not speak against it."""
        by_length = self._by_length or (self.utterance.failed and not self.drones)
        lasted = judged - self._run_from >= samples(confirm_ms)
        return by_length and lasted and not self.paused

    def _lasts_with_words(self, around: Around, confirm_ms: int) -> bool:
        stands = around.now >= self._stands_from + STANDS_S - 1e-6
        return self._lasts(around.judged, confirm_ms if stands else WORDLESS * confirm_ms)

    def _wordless_ms(self, rules: TurnRules) -> int:
        words_may_come = self._patient and not self.utterance.failed
        return rules.confirm_ms * (WORDLESS if words_may_come else 1)

    def _lets_go_at(self, rules: TurnRules) -> float:
        """Loop time until which speech that proves nothing holds the answer back."""
        longest_ms = 0 if self.utterance.text else self._wordless_ms(rules) + JUDGED_MS
        return self._held_at + max(rules.resume_ms, longest_ms) / 1000

    def deadline(self, rules: TurnRules, *, waits: bool) -> float:
        """Loop time at which time alone changes something about it.

        Args:
            waits: Behind `resume_ms`, too, for its final: no answer is due.
        """
        if self._resume_at is not None:
            return self._lost_at if self._is_late and waits else self._resume_at
        return self._lets_go_at(rules) if self.holds else inf
