"""Which speech may be no turn at all, and what it takes to make it one.

while                                        answer      a turn by
-------------------------------------------  ----------  -------------------------------------
an answer is due that has not sounded        not begun   one hypothesis with words, or length
one is in hand that has not sounded          held back   the same
it sounds                                    held back   words twice in a row, or length
it sounds, and only words count              sounds on   words twice in a row
behind its end, where it came back before    over        one hypothesis with words, or length
a drone goes on, see drone.py                as it is    words twice in a row
"""

from voice.barge_in import Around, Doubt
from voice.drone import Drone
from voice.endpoint import AudioClock
from voice.own_voice import OwnVoice
from voice.questions import Questions
from voice.terms import Terms
from voice.utterance import Utterance


class Suspicion:
    """One call's."""

    def __init__(
        self,
        clock: AudioClock,
        terms: Terms,
        questions: Questions,
        voice: OwnVoice,
        drone: Drone,
    ) -> None:
        self._clock, self._terms = clock, terms
        self._questions, self._voice, self._drone = questions, voice, drone
        self.shows_words = False
        """The recogniser has shown some in this call while they were spoken: it will again."""

    def arises(self, sample: int) -> bool:
        """Whether speech that begins there would cut an answer, or may be the end of one."""
        if self._drone.is_found_at(sample):
            return True
        if not self._terms.rules.confirm_ms:
            return False
        if self._questions.answering:
            return self._voice.voiced
        return self._questions.unheard or self._voice.may_end_at(sample)

    def begin(self, utterance: Utterance, start: int, now: float) -> Doubt:
        """Args:
        start: Where it is recognised from.
        """
        rules, sounds = self._terms.rules, self._voice.sounding_at is not None
        replying = self._questions.answering != 0
        drones = self._drone.is_found_at(utterance.sample)
        only_words = drones or (replying and self._only_words_count(utterance.sample))
        return Doubt(
            utterance,
            start,
            now,
            holds=replying and not only_words,
            by_length=not only_words,
            patient=self.shows_words,
            hypotheses=rules.confirm_hypotheses if sounds or drones else 1,
            drones=drones,
        )

    def _only_words_count(self, sample: int) -> bool:
        rules, at = self._terms.rules, self._clock.spoken_at(sample)
        if not rules.interrupt_response:
            return True
        if self._voice.sounding_at is None:
            return False
        if self._terms.nearness.is_far(sample, rules.far_db):
            return True
        protected = self._voice.is_protected_at(at, rules.protected_ms)
        return protected or self._voice.comes_back(self._questions.last_reply)

    def around(self, doubt: Doubt, paused_at: int, now: float) -> Around:
        """Args:
        paused_at: Where its sound ended, if it has.
        """
        judged, replying = self._clock.judged, self._questions.answering != 0
        start, end = doubt.utterance.sample, paused_at if doubt.paused else judged
        return Around(
            now=now,
            judged=judged,
            replying=replying,
            waited_for=replying or self._questions.unheard,
            ours=self._voice.words_in(start, end, replying=replying),
            stalls=self._clock.stalls(now, self._terms.rules.stall_s),
        )
