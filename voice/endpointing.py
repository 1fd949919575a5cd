"""How long to wait in silence before a turn is over: short behind a whole sentence, long in one.

    delay
    longest   ------.                 against the completeness of what was said and of how it
                     `.               sounded, 0 to 1: completeness_scale.py has the steps
                       `.
    shortest             `-------
              0   0.15   0.85   1

With eagerness auto (300 to 1500 ms), at the beginning of a call:

    said                                   completeness   waits
    -------------------------------------  -------------  --------------------------------------
    "i'd like to book a table for"         0.05           1200 ms
    "my number is five five five"          0              1500 ms, from the first pause on
    "予約したいんですけど"                   0.4             879 ms
    "i'd like to book a table for two"     0.78            390 ms
    "what time do you close"  "いくらですか"  0.9             300 ms
    "yes"  はい  네  不是   (final)          1               300 ms, and never less than 150

Callers differ. `longest` follows the pauses that this caller makes in mid-sentence, as LiveKit's
dynamic endpointing does: an exponential moving average that keeps 0.9 of its history. It is
doubled, since few pauses are longer than twice the average. It begins at three quarters of the way
from the minimum to the maximum and moves between 0.4 of the way and all of it. A turn that was cut
off too early says more than a pause that was waited out: it counts four times there.

`shortest` moves for nothing else. Who pauses behind whole sentences does it again, so that the
second cut is one too many already:

    "I have a question" .. 760 ms .. "it is about my lamp"    cut off at 300 ms
    "I bought it here"  .. 760 ms .. "that was on monday"     cut off at 651
    "I took it home"    .. 760 ms .. "it did not work"        one turn: 853 are waited
    "what shall I do"                                         853, and 770 the next time

Turns with no pause of that length bring it down again.

Where the client sets a fixed silence, minimum and maximum are equal and nothing of this moves it.
"""

from math import exp, log

from msgspec import Struct

from voice.completeness import completeness, is_short_answer
from voice.completeness_scale import DANGLING, DICTATED, UNSURE


class Delays(Struct, frozen=True):
    """Silence, counted from the last sound of speech."""

    min_ms: int
    max_ms: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_ms <= self.max_ms:
            raise ValueError(
                f"delays must be 0 <= min_ms <= max_ms, got {self.min_ms} and {self.max_ms}"
            )


EAGERNESS = {
    "low": Delays(600, 3000),
    "medium": Delays(300, 1500),
    "auto": Delays(300, 1500),
    "high": Delays(200, 900),
}
"""Of the wire's semantic_vad. OpenAI documents 8, 4 and 2 s as the maxima of low, medium and high;
ours are less than half of that, because a wrong guess of "open" costs the whole maximum."""

SHORT_ANSWER_MS = 150
"""Less would end turns in the gap of a stop consonant or between "yes" and "please"."""
HISTORY = 0.9
"""LiveKit's alpha: how much of the average a further pause leaves in place."""
CUT_OFF_WEIGHT = 4
MARGIN = 2.0
"""Times the average pause. Pauses are spread about log-normally, see Campione and Véronis,
"A large-scale multilingual study of silent pause duration", Speech Prosody 2002."""
LONGEST_AT_FIRST = 0.75
LONGEST_AT_LEAST = 0.4
SHORTEST_AT_MOST = 0.5
"""Of the way from min_ms to max_ms. With eagerness auto, 900 ms: an answer within a second."""
SPREAD = 1.3
"""Times the pause that ended a turn too early, the next may last; and VAD needs 64 ms to be sure
that somebody goes on."""
KEPT_AT_CUT, KEPT_AT_END = 0.4, 0.85
"""Of what `shortest` was raised by: when a turn was cut off, and when one ended that needed no such
silence."""
SURELY_OPEN, SURELY_DONE = 0.15, 0.85
"""Completeness at and beyond which the whole delay, or the least, is due."""
PARTIAL_TRUST = 0.75
"""A partial lacks its last word as likely as not: what looks done counts for so much less."""
EDGE = 0.02
"""The words are never surer than this."""
SOUND_EDGE = 0.1
"""Nor the sound than this. Smart Turn's sigmoid says 0.01 or 0.99 nearly always, and is right in 92
of 100 cases of its own test set (v3.0, 31,473 samples); unbounded it would overrule the words."""


class Endpointing:
    """One call's delay. Told of the caller's pauses, it learns; nothing outlives the call."""

    def __init__(self, delays: Delays) -> None:
        self.delays = delays
        """May be changed at any time: what was learnt is kept in milliseconds."""
        self._pause_ms: float | None = None
        self._raised_ms = 0.0
        self._needed_ms = 0.0
        """The longest pause of this turn, so far."""

    def paused(self, pause_ms: float) -> None:
        """The caller went on in the same utterance after `pause_ms` of silence."""
        self._learn(pause_ms, HISTORY)
        self._needed_ms = max(self._needed_ms, pause_ms)

    def cut_off(self, pause_ms: float) -> None:
        """The turn was ended too early, see voice/pause.py: the caller began anew.

        Args:
            pause_ms: From the last sound before the commit to the first one after it: the pause
                that should have been waited out.
        """
        self._learn(pause_ms, HISTORY**CUT_OFF_WEIGHT)
        self._needed_ms = max(self._needed_ms, pause_ms)
        missing_ms = self._missing_ms(pause_ms)
        if missing_ms > self._raised_ms:
            self._move(missing_ms, KEPT_AT_CUT)

    def ended(self) -> None:
        """A turn with words is over, whether it was cut off or not."""
        missing_ms = self._missing_ms(self._needed_ms)
        self._needed_ms = 0.0
        if missing_ms < self._raised_ms:
            self._move(missing_ms, KEPT_AT_END)

    def _missing_ms(self, pause_ms: float) -> float:
        """What the least silence lacks to wait such a pause out."""
        heard_ms = min(max(0.0, pause_ms), float(self.delays.max_ms))
        return max(0.0, SPREAD * heard_ms - self.delays.min_ms)

    def _move(self, missing_ms: float, kept: float) -> None:
        self._raised_ms = kept * self._raised_ms + (1 - kept) * missing_ms

    def delay_ms(
        self, text: str, language: str, *, is_final: bool, audio_score: float | None = None
    ) -> int:
        """Silence after which the turn is over, if nothing more is said.

        Args:
            text: The utterance so far; language: its BCP 47 tag.
            is_final: Whether the recogniser is done with it.
            audio_score: What a turn model makes of the sound up to this pause, 0 to 1: the
                probability that the turn is complete; 0.5 says nothing. None: there is no model.
        """
        if is_final and is_short_answer(text, language):
            return self._within(SHORT_ANSWER_MS, self.delays.min_ms)
        score = complete_score(text, language, is_final, audio_score)
        unsaid = completeness(text, language) == DICTATED and (audio_score or 0.0) <= UNSURE
        return self.delay_at(DICTATED if unsaid else score)

    def delay_at(self, score: float) -> int:
        """The same by completeness: the higher the score, the shorter the delay, or equal."""
        if score <= DICTATED:
            return self.delays.max_ms
        share = (score - SURELY_OPEN) / (SURELY_DONE - SURELY_OPEN)
        share = min(1.0, max(0.0, share))
        return round(self.longest_ms - share * (self.longest_ms - self.shortest_ms))

    @property
    def shortest_ms(self) -> float:
        """What a whole sentence waits."""
        return min(self.delays.min_ms + self._raised_ms, self._way(SHORTEST_AT_MOST))

    @property
    def longest_ms(self) -> float:
        """What a sentence in the air waits."""
        wanted = MARGIN * self._average_ms
        least = max(self.shortest_ms, self._way(LONGEST_AT_LEAST))
        return min(float(self.delays.max_ms), max(least, wanted))

    @property
    def _average_ms(self) -> float:
        first = self._way(LONGEST_AT_FIRST) / MARGIN
        return first if self._pause_ms is None else self._pause_ms

    def _learn(self, pause_ms: float, kept: float) -> None:
        """What is longer than the longest delay says no more than that."""
        heard_ms = min(max(0.0, pause_ms), float(self.delays.max_ms))
        self._pause_ms = kept * self._average_ms + (1 - kept) * heard_ms

    def _way(self, share: float) -> float:
        return self.delays.min_ms + share * (self.delays.max_ms - self.delays.min_ms)

    def _within(self, *at_least: int) -> int:
        return min(self.delays.max_ms, max(at_least))


def complete_score(
    text: str, language: str, is_final: bool, audio_score: float | None = None
) -> float:
    """Words and sound, as one completeness from 0 to 1.

    Their odds are multiplied, as of two witnesses who know nothing of each other: the words know
    what the grammar still wants, the sound what the speaker means, and each is often silent (0.5)
    where the other is sure. So they strengthen each other where they agree, meet in the middle
    where they contradict, and neither can overrule the other alone: a falling tone behind the
    first group of a phone number is no end, nor is "i'd like a table" in a rising one.

        words          sound          together     with eagerness auto, instead of
        0.7            0.9 and more   0.95         300 ms                   493
        0.9            0.5            0.9          300                      300
        0.5 (unknown)  0.9 and more   0.9          300                      750
        0.5            0.1 and less   0.1          1200                     750
        0.9            0.1 and less   0.5          750                      300
        0.05 (open)    0.9 and more   0.32         979                      1200
    """
    short = is_short_answer(text, language)
    words = 1.0 if short else max(DANGLING, completeness(text, language))
    if not is_final and words > 0.5:
        words = 0.5 + PARTIAL_TRUST * (words - 0.5)
    if audio_score is None:
        return words
    return 1 / (1 + exp(-_log_odds(words, EDGE) - _log_odds(audio_score, SOUND_EDGE)))


def _log_odds(probability: float, edge: float) -> float:
    held = min(1 - edge, max(edge, probability))
    return log(held / (1 - held))
