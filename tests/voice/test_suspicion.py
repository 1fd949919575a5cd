"""The table of voice/suspicion.py, and how long a recogniser is waited for."""

import pytest

from voice.barge_in import Doubt, Verdict
from voice.drone import Drone
from voice.endpoint import AudioClock, samples
from voice.events import StartReply
from voice.own_voice import OwnVoice
from voice.questions import Questions
from voice.suspicion import Suspicion
from voice.terms import Terms
from voice.turn_rules import TurnRules
from voice.utterance import Utterance

NOW = 10.0


class Line:
    """A call of 10 s, all of it judged, in which an answer sounds since 8 s."""

    def __init__(self, rules: TurnRules | None = None) -> None:
        self.clock, self.terms = AudioClock(), Terms(rules or TurnRules())
        self.clock.arrive(samples(10_000), NOW)
        self.clock.judge(samples(10_000))
        self.questions, self.voice, self.drone = Questions(), OwnVoice(), Drone()
        self.suspicion = Suspicion(self.clock, self.terms, self.questions, self.voice, self.drone)

    def answers(self, sounding_at: float | None = 8.0) -> "Line":
        assert self.questions.speak_up("We are open.") == [StartReply(1, say="We are open.")]
        self.voice.sounding_at = sounding_at
        return self

    def arises(self, at: float = NOW) -> bool:
        return self.suspicion.arises(samples(at * 1000))

    def doubt(self, at: float = NOW) -> Doubt:
        return self.suspicion.begin(Utterance(0, samples(at * 1000)), 0, NOW)

    def verdict(self, doubt: Doubt, *, hypotheses: int = 0, after_ms: int = 0) -> Verdict:
        for _ in range(hypotheses):
            doubt.hear(NOW, claims=True, is_final=False)
        self.clock.judge(self.clock.judged + samples(after_ms))
        return doubt.verdict(self.suspicion.around(doubt, 0, NOW), self.terms)


def test_speech_into_silence_is_a_turn_and_over_an_answer_it_may_be_none() -> None:
    assert not Line().arises()
    assert Line().answers().arises()
    assert not Line(TurnRules(confirm_ms=0)).answers().arises()


def test_so_it_may_while_an_answer_is_due_and_where_its_echo_may_end() -> None:
    waiting, ended = Line(), Line()
    utterance = Utterance(1, 0)
    utterance.wants_reply = True
    waiting.questions.waiting.append(utterance)
    assert waiting.arises()
    ended.answers().voice.came_back(1)
    ended.questions.answering = 0
    ended.voice.over(samples(NOW * 1000), "open")
    assert ended.arises(NOW + 0.3) and not ended.arises(NOW + 0.7)


def test_before_the_first_sound_one_hypothesis_makes_it_a_turn_and_then_two_do() -> None:
    unheard, heard = Line().answers(sounding_at=None), Line().answers()
    assert unheard.verdict(unheard.doubt(), hypotheses=1) is Verdict.TURN
    assert heard.verdict(heard.doubt(), hypotheses=1) is Verdict.OPEN
    assert heard.verdict(heard.doubt(), hypotheses=2) is Verdict.TURN


@pytest.mark.parametrize(
    "rules",
    [TurnRules(interrupt_response=False), TurnRules(protected_ms=3000)],
    ids=["may not interrupt", "protected"],
)
def test_where_only_words_count_nothing_is_held_back_and_no_length_makes_a_turn(
    rules: TurnRules,
) -> None:
    line = Line(rules).answers()
    doubt = line.doubt()
    assert not doubt.holds and line.verdict(doubt, after_ms=900) is Verdict.OPEN
    assert line.verdict(doubt, hypotheses=2) is Verdict.TURN
    usual = Line().answers()
    long = usual.doubt()
    assert long.holds and usual.verdict(long, after_ms=900) is Verdict.TURN


def test_sound_without_a_word_lasts_twice_as_long_where_words_were_shown_before() -> None:
    unknown, known = Line().answers(), Line().answers()
    known.suspicion.shows_words = True
    assert unknown.verdict(unknown.doubt(), after_ms=600) is Verdict.TURN
    doubt = known.doubt()
    assert known.verdict(doubt, after_ms=1180) is Verdict.OPEN
    assert known.verdict(doubt, after_ms=20) is Verdict.TURN


def test_a_recogniser_that_has_failed_is_not_waited_for() -> None:
    line = Line().answers()
    line.suspicion.shows_words = True
    doubt = line.doubt()
    doubt.utterance.failed = True
    assert line.verdict(doubt, after_ms=600) is Verdict.TURN
