"""The silence behind the caller's words: when it asks for their final, and when it ends the turn.

words  ~~~~~~~~|- final_after_ms -|                       EndSegment, so that the final is there
               |                  |                       in time; JudgePause, once
               |------------ delay_ms ------------|       CommitUtterance
               ^ sample
words  ~~~~~~~~|-------- delay_ms --------|~~~~~~~        ended too early, if they go on before
               |<-------- gap_ms -------->|               an answer can have been heard
"""

from math import inf

from voice.endpoint import AudioClock, milliseconds, samples
from voice.events import Command, JudgePause
from voice.turn_rules import TurnRules
from voice.utterance import Utterance
from voice.words import Words

CUT_SHORT_MS = 1000
"""Who goes on within this behind a turn's end, before they can react to an answer, had not
finished."""
REACTION_S = 0.5
"""From an answer's first frame: 0.1 s to the caller's ear, a word or two to hear, and 0.2 s, which
a listener needs to take the floor where they foresaw the end, more where they did not: Levinson and
Torreira, "Timing in turn-taking", Frontiers in Psychology 2015. Who speaks before that goes on with
what they were about to say."""


class Pause:
    """The newest one. Where the client set the silence, its words and sound do not count."""

    def __init__(self, rules: TurnRules) -> None:
        self.sample = 0
        self._delay_ms = rules.silence_ms
        self._asked = True
        """It was given to the turn model, or is not to be."""
        self._sounds_complete: float | None = None

    def begin(self, sample: int) -> None:
        self.sample = sample
        self._asked, self._sounds_complete = False, None

    def sounds(self, complete: float) -> None:
        """As the turn model says."""
        self._sounds_complete = complete

    def weigh(self, said: Utterance, words: Words, rules: TurnRules) -> None:
        """The words so far, and how they sounded, say how long the silence must be."""
        if rules.adaptive:
            self._delay_ms = words.delay_ms(
                said.text, is_final=said.is_final, sounds_complete=self._sounds_complete
            )

    def ends(self, rules: TurnRules) -> int:
        """The sample up to which silence ends the turn."""
        return self.sample + samples(self._delay_ms if rules.adaptive else rules.silence_ms)

    def asks_at(self, rules: TurnRules) -> int:
        """The sample up to which silence asks for the final, and for the turn model's opinion."""
        return min(self.sample + samples(rules.final_after_ms), self.ends(rules))

    def asks(self, rules: TurnRules) -> bool:
        """Whether it has yet to ask the turn model."""
        return rules.adaptive and not self._asked

    def judge(self, said: Utterance, words: Words, rules: TurnRules) -> list[Command]:
        """In front of EndSegment, behind which the ear need not keep the utterance's audio."""
        if not self.asks(rules):
            return []
        self._asked = True
        return [] if words.settles(said.text) else [JudgePause(self.sample, said.sample)]

    def deadline(self, clock: AudioClock, rules: TurnRules, *, is_live: bool) -> float:
        """Loop time at which it next has something to do.

        Args:
            is_live: A final has yet to be asked for.
        """
        due = _when(clock, self.ends(rules))
        if is_live or self.asks(rules):
            due = min(due, _when(clock, self.asks_at(rules)))
        return due


class CutShort:
    """Whether the turn before these words was ended too early."""

    def __init__(self) -> None:
        self._ended_at, self._committed_at = 0, -samples(CUT_SHORT_MS)
        self._gap_ms: float | None = None

    def speaks(self, sample: int, *, unheard: bool) -> None:
        """The caller speaks again.

        Args:
            unheard: An answer to the last turn is due, and they cannot react to it yet.
        """
        soon = sample - self._committed_at < samples(CUT_SHORT_MS)
        self._gap_ms = milliseconds(sample - self._ended_at) if soon and unheard else None

    def forget(self) -> None:
        """It was no speech."""
        self._gap_ms = None

    def committed(self, sample: int, position: int, *, worded: bool, words: Words) -> None:
        """This turn is over as well; its words ended at `sample`."""
        if worded:
            if self._gap_ms is not None:
                words.was_cut_short(self._gap_ms)
            words.turn_ended()
        self._gap_ms = None
        self._ended_at, self._committed_at = sample, position


def _when(clock: AudioClock, sample: int) -> float:
    at = clock.when(sample)
    return inf if at is None else at
