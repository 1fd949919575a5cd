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

    def came_back(self, turn: int) -> None:
        self._times, self._turn = self._times + 1, turn

    def comes_back(self, turn: int) -> bool:
        """Whether sound during the answer `turn` is likely to be its own."""
        return self._times >= ECHOES or (self._times > 0 and self._turn == turn)


class Doubt:
    """Args:
    utterance: What may be one.
    start: Where it is recognised from.
    holds: The answer is held back; else it sounds on, and only words will cut it.
    """

    def __init__(self, utterance: Utterance, start: int, now: float, *, holds: bool) -> None:
        self.utterance, self.start = utterance, start
        self.holds, self._held_at = holds, now
        self._by_length = holds
        self._run_from = utterance.sample
        self.resume_at: float | None = None
        """Loop time at which a pause without words has lasted long enough."""
        self._likeness = 0.0
        """What it sounded like when it paused: by its silence, nobody can be told."""
        self._claims = 0

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

    def answer_ended(self, sample: int) -> None:
        """What sounds now cannot be its echo for long."""
        if not self._by_length:
            self._by_length, self._run_from = True, sample

    def hear(self, claims: bool, is_final: bool, rules: TurnRules) -> None:
        """Args:
        claims: Whether the words so far, with the newest hypothesis, would take the floor.
        """
        weight = rules.confirm_hypotheses if is_final else 1
        self._claims = self._claims + weight if claims else 0

    def is_said(self, rules: TurnRules) -> bool:
        return self._claims >= rules.confirm_hypotheses

    def lasts(self, judged: int, rules: TurnRules) -> bool:
        """Whether it has gone on long enough to be a turn, if its words do not speak against it."""
        by_length = self._by_length or self.utterance.failed
        lasted = judged - self._run_from >= samples(rules.confirm_ms)
        return by_length and lasted and not self.paused

    def is_endless(self, judged: int) -> bool:
        return not self.paused and judged - self.utterance.sample >= samples(LONGEST_DOUBT_MS)

    def lets_go_at(self, rules: TurnRules) -> float:
        """Loop time until which speech that proves nothing holds the answer back."""
        return self._held_at + max(rules.resume_ms, rules.confirm_ms) / 1000


def claims_floor(text: str, spoken: str, words: Words, *, is_final: bool, replying: bool) -> bool:
    """Args:
    spoken: What the agent says about now.
    replying: Whether it still speaks; behind its last word even a "yes" is a turn.
    """
    if not text or words.is_echo(text, spoken):
        return False
    if not replying:
        return True
    nods = words.is_backchannel(text, is_final=is_final)
    return not (nods or words.is_nod_in_echo(text, spoken, is_final=is_final))
