"""Speech over an answer: a turn, or a cough, a "mm-hm", our own voice in the caller's microphone?

    answer   ######________________________#########     held back from the first doubt on
    caller         ~~~~~~~~~|            |
                   ^started |  final ----^ "mm-hm": the answer goes on where it stopped
                            ^paused: the final is asked for at once

What speaks for a turn: words that are neither backchannel nor echo, in a final or in some
hypotheses in a row; or speech that lasts, as long as its words say nothing else. What speaks
against it, whatever the words: that it sounds like what is being played, see echo_energy.py.
"""

from typing import Protocol

from voice.endpoint import samples
from voice.turn_rules import TurnRules
from voice.utterance import Utterance
from voice.words import Words

ECHOES = 2
"""So often our own voice came back in a call, until only words make the agent stop."""
ECHO_TAIL_MS = 600
"""So long behind an answer's end its last words may still come back: the client's buffer, the room,
and what of its way we do not know. A listener who answers in one word is at it for longer: they
begin 200 ms behind the end at the earliest, and a word takes 300."""
LATE = 1.2
"""Times what the recogniser usually needs for the first word, and none has come: there is none."""
LONGEST_DOUBT_MS = 8000
"""Of sound without an end and without words that count; then it is listened to afresh."""


class OwnSound(Protocol):
    """What is played, against what comes in."""

    def likeness(self, from_sample: int) -> float:
        """Of what came in since `from_sample`: 1 an echo, 0 somebody else, or too little to say."""


class NothingPlayed:
    def likeness(self, from_sample: int) -> float:
        return 0.0


class OwnVoice:
    """What one call has shown of its echo."""

    def __init__(self) -> None:
        self._times = 0
        self._turn = 0

    @property
    def is_known(self) -> bool:
        return self._times > 0

    def came_back(self, turn: int) -> None:
        self._times, self._turn = self._times + 1, turn

    def comes_back(self, turn: int) -> bool:
        """Whether sound during the answer `turn` is likely to be its own."""
        return self._times >= ECHOES or (self._times > 0 and self._turn == turn)


class FirstWords:
    """How long one call's recogniser takes until it shows the first word of an utterance."""

    def __init__(self) -> None:
        self._usual_ms = 0.0

    def came(self, after_ms: float) -> None:
        self._usual_ms = (self._usual_ms + after_ms) / 2 if self._usual_ms else after_ms

    def late_by_ms(self, confirm_ms: int) -> float:
        """Speech that is so long and has no word yet has none; twice `confirm_ms` at most."""
        return min(2 * confirm_ms, max(confirm_ms, LATE * self._usual_ms))


class Doubt:
    """Args:
    utterance: What may be one.
    start: Where it is recognised from.
    holds: The answer is held back; else it sounds on, or none does.
    by_length: Speech that lasts is a turn; else only words make it one.
    confirm_ms: How long, where it has no word.
    hypotheses: So many in a row with words that take the floor make it one.
    """

    def __init__(
        self,
        utterance: Utterance,
        start: int,
        now: float,
        *,
        holds: bool,
        by_length: bool,
        confirm_ms: float,
        hypotheses: int,
    ) -> None:
        self.utterance, self.start = utterance, start
        self.holds, self._held_at = holds, now
        self._by_length, self.confirm_ms = by_length, confirm_ms
        self._hypotheses = hypotheses
        self._run_from = utterance.sample
        self.resume_at: float | None = None
        """Loop time at which a pause without words has lasted long enough."""
        self._likeness = 0.0
        """What it sounded like when it paused: by its silence, nobody can be told."""
        self._claims = 0
        self.nodded = False
        """A backchannel was among our own words while the answer sounded: it is none of an answer.
        """

    @property
    def paused(self) -> bool:
        return self.resume_at is not None

    def pause(self, resume_at: float, sound: OwnSound) -> None:
        self._likeness = sound.likeness(self._run_from)
        self.resume_at = resume_at

    def is_own(self, sound: OwnSound, rules: TurnRules) -> bool:
        """Whether it sounds like our own voice."""
        likeness = self._likeness if self.paused else sound.likeness(self._run_from)
        return likeness >= rules.echo_likeness

    def go_on(self, sample: int) -> None:
        self.resume_at, self._run_from = None, sample

    def answer_ended(self, sample: int, *, nodded: bool) -> None:
        """What sounds now cannot be its echo for long."""
        self.nodded = nodded
        if not self._by_length:
            self._by_length, self._run_from = True, sample

    def hear(self, claims: bool, is_final: bool) -> None:
        """Args:
        claims: Whether the words so far, with the newest hypothesis, would take the floor.
        """
        weight = self._hypotheses if is_final else 1
        self._claims = self._claims + weight if claims else 0

    @property
    def is_said(self) -> bool:
        return self._claims >= self._hypotheses

    def lasts(self, judged: int, confirm_ms: float) -> bool:
        """Whether it has gone on long enough to be a turn, if its words do not speak against it."""
        by_length = self._by_length or self.utterance.failed
        lasted = judged - self._run_from >= samples(confirm_ms)
        return by_length and lasted and not self.paused

    def is_endless(self, judged: int) -> bool:
        return not self.paused and judged - self.utterance.sample >= samples(LONGEST_DOUBT_MS)

    def lets_go_at(self, rules: TurnRules) -> float:
        """Loop time until which speech that proves nothing holds the answer back."""
        return self._held_at + max(rules.resume_ms, self.confirm_ms) / 1000


def claims_floor(
    said: Utterance, ours: str, words: Words, *, waited_for: bool, nodded: bool
) -> bool:
    """Args:
    ours: What the agent says about now.
    waited_for: It speaks, or is about to; behind its last word even a "yes" is a turn.
    nodded: The caller nodded before that.
    """
    text, is_final = said.text, said.is_final
    if not text or words.is_echo(text, ours):
        return False
    if waited_for and words.is_backchannel(text, is_final=is_final):
        return False
    nods = waited_for or nodded
    return not (nods and words.is_nod_in_echo(text, ours, is_final=is_final))
