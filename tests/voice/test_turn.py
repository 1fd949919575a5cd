"""Timelines in, orders out: the table of voice/caller.py row by row, then everything at random."""

import contextlib

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from providers.base import Fault, Hypothesis, ProviderError, Slot, SttFailure, VadFrame
from voice.endpoint import samples
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
    Misheard,
    OpenUtterance,
    SkipReply,
    StartReply,
    Understood,
    Unduck,
)
from voice.facts import PauseJudged
from voice.speech import SpeechPaused, SpeechStarted
from voice.turn import Caller, TurnRules, TurnTaker, join_words
from voice.words import NoWords

FRAME_S = 0.02
CHUNK = 512
MANUAL = TurnRules(automatic=False)
LOST = ProviderError(Slot.STT, "mock", Fault.CRASHED, "the worker died")


class Call:
    """A TurnTaker on a line: audio in 20 ms frames, judged at once, timers met exactly."""

    def __init__(self, rules: TurnRules | None = None, *, frame_ms: int = 20) -> None:
        self.taker = TurnTaker(rules or TurnRules())
        self.now = 0.0
        self.log: list[tuple[float, Command]] = []
        self._frame = samples(frame_ms)

    @property
    def at(self) -> int:
        """The sample that arrives next."""
        return self.taker.clock.position

    def heard(self) -> None:
        """The answer in hand is over, for the caller's ear too."""
        self.taker.reply_ended(self.taker.answering)

    def carry(self, commands: list[Command]) -> None:
        self.log += [(round(self.now, 4), command) for command in commands]

    def hear(self, ms: int) -> "Call":
        """Audio, in real time."""
        end = self.at + samples(ms)
        while self.at < end:
            count = min(self._frame, end - self.at)
            self.wait(count / 16000)
            self.carry(self.taker.arrive(count, self.now))
            if self.taker.rules.automatic:
                self.carry(self.taker.judge(self.at // CHUNK * CHUNK, self.now))
        return self

    def wait(self, seconds: float) -> "Call":
        """Time, without audio."""
        until = self.now + seconds
        while (due := self.taker.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            commands = self.taker.tick(self.now)
            self.carry(commands)
            later = self.taker.deadline()
            assert commands or later != due, "a timer that does nothing would never end"
        self.now = until
        return self

    def starts(self) -> "Call":
        self.carry(self.taker.receive(SpeechStarted(self.at), self.now))
        return self

    def pauses(self) -> "Call":
        self.carry(self.taker.receive(SpeechPaused(self.at), self.now))
        return self

    def says(self, ms: int = 1000) -> "Call":
        return self.starts().hear(ms).pauses()

    def partial(self, segment: int, text: str) -> "Call":
        self.carry(self.taker.receive(Hypothesis(segment, text, False), self.now))
        return self

    def final(self, segment: int, text: str) -> "Call":
        self.carry(self.taker.receive(Hypothesis(segment, text, True), self.now))
        return self

    def judged(self, complete: float, *, pause: int | None = None) -> "Call":
        """Of the pause that the turn model was asked about last, or another."""
        if pause is None:
            asked = [c.sample for _, c in self.log if isinstance(c, JudgePause)]
            pause = asked[-1]
        self.carry(self.taker.receive(PauseJudged(pause, complete), self.now))
        return self

    def fails(self, segment: int) -> "Call":
        self.carry(self.taker.receive(SttFailure(segment, LOST), self.now))
        return self

    def take(self) -> list[Command]:
        """The orders since the last time."""
        taken, self.log = [command for _, command in self.log], []
        return taken

    def times(self) -> list[tuple[float, Command]]:
        taken, self.log = self.log, []
        return taken


def answered(rules: TurnRules | None = None) -> Call:
    """A call whose first turn is being answered."""
    call = Call(rules).hear(500).says().hear(400).final(1, "hello").hear(400)
    assert call.take()[-1] == StartReply(1)
    return call


# --- the table -----------------------------------------------------------------------------------


def test_speech_opens_an_utterance_and_is_recognised_from_before_its_sound() -> None:
    call = Call().hear(500).starts()
    before = samples(500 - 300)
    assert call.take() == [OpenUtterance(1, before), BeginSegment(1, 1, before)]
    assert call.taker.caller is Caller.SPEAKING
    assert call.taker.open_turn == 1
    assert call.taker.speech_sample == samples(500)


def test_no_prefix_begins_before_the_call() -> None:
    assert Call().hear(100).starts().take() == [OpenUtterance(1, 0), BeginSegment(1, 1, 0)]


def test_speech_before_an_answers_first_sound_holds_it_back_until_there_are_words() -> None:
    call = answered().starts()
    assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call.hear(200).partial(2, "and")) == [OpenUtterance, Interrupt]
    assert not call.taker.replying


def test_speech_after_the_answer_was_heard_interrupts_nothing() -> None:
    call = answered()
    call.heard()
    assert [type(command) for command in call.starts().take()] == [OpenUtterance, BeginSegment]


def test_one_turn_from_first_sound_to_answer() -> None:
    call = Call().hear(500).says(1000)
    call.take()
    call.hear(300).final(1, "what are your hours").hear(300)
    assert call.times() == [
        (1.7, EndSegment(1)),
        (2.0, CommitUtterance(1, samples(1500))),
        (2.0, Understood(1, "what are your hours")),
        (2.0, StartReply(1)),
    ]
    assert call.taker.caller is Caller.SILENT
    assert call.taker.replying


def test_the_end_of_silence_is_met_between_frames() -> None:
    """500 ms behind the pause lie in the middle of a 60 ms frame, and are not waited for longer."""
    call = Call(TurnRules(silence_ms=500), frame_ms=60).hear(600).says(600).hear(600)
    commits = [at for at, command in call.times() if isinstance(command, CommitUtterance)]
    assert commits == [pytest.approx(1.7, abs=1e-4)]


def test_a_pause_in_mid_sentence_is_no_end() -> None:
    call = Call().hear(500).says().hear(160).starts()
    assert [type(command) for command in call.take()] == [OpenUtterance, BeginSegment]
    assert call.taker.caller is Caller.SPEAKING


def test_speech_that_resumes_after_its_segment_ended_is_recognised_as_a_further_segment() -> None:
    call = Call().hear(500).says().hear(300)
    call.take()
    left_off = samples(1680) // CHUNK * CHUNK  # judged, when the 200 ms were over at 1.7 s
    assert call.starts().take() == [BeginSegment(1, 2, left_off)], "nothing twice, nothing left out"


def test_words_of_both_segments_are_joined_and_none_is_lost() -> None:
    call = Call().hear(500).says().hear(300).starts().partial(2, "on")
    call.final(1, "are you open").partial(2, "on satur")
    assert call.taker.text_of(1) == "are you open on satur"
    call.hear(500).pauses().hear(300).final(2, "on saturday").hear(300)
    assert Understood(1, "are you open on saturday") in call.take()


def test_a_final_that_comes_late_does_not_wipe_the_words_of_the_next_segment() -> None:
    call = Call().hear(500).says().partial(1, "are you").hear(300).starts().partial(2, "on sat")
    assert call.taker.text_of(1) == "are you on sat"
    call.final(1, "are you open").fails(2).hear(100).pauses().hear(600)
    assert Understood(1, "are you open on sat") in call.take()


def test_an_utterance_over_the_limit_is_committed_and_the_next_begins_at_once() -> None:
    call = Call(TurnRules(max_utterance_s=60)).hear(500).starts().hear(59_900)
    assert [type(command) for command in call.take()] == [OpenUtterance, BeginSegment]
    call.hear(200)
    ended, committed, opened, begun = call.take()
    assert ended == EndSegment(1)
    assert isinstance(committed, CommitUtterance) and committed.forced and committed.turn == 1
    assert samples(60_500) <= committed.sample < samples(60_500) + CHUNK
    assert opened == OpenUtterance(2, committed.sample)
    assert begun == BeginSegment(2, 2, committed.sample)
    assert call.final(1, "the first minute").take() == [Understood(1, "the first minute")]
    call.pauses().hear(300).final(2, "and more").hear(300)
    assert call.take()[-3:] == [
        Understood(2, "and more"),
        SkipReply(1, no_speech=False),
        StartReply(2),
    ]


def test_audio_that_stops_coming_ends_the_turn() -> None:
    call = Call().hear(500).starts().hear(500)
    call.take()
    call.wait(5.0)
    assert call.times()[:2] == [
        (2.5, EndSegment(1)),
        (2.5, CommitUtterance(1, samples(1000), forced=True)),
    ]
    assert call.taker.caller is Caller.SILENT


def test_a_stall_in_a_pause_says_where_the_words_ended() -> None:
    call = Call().hear(500).says(500).hear(100)
    call.take()
    assert CommitUtterance(1, samples(1000), forced=True) in call.wait(5.0).take()


def test_a_gap_in_the_network_shorter_than_a_stall_ends_nothing() -> None:
    call = Call().hear(500).says().hear(100)
    call.take()
    assert call.wait(1.4).take() == [], "no audio is no silence"
    for _ in range(10):  # all that was on its way, at once
        call.carry(call.taker.arrive(320, call.now))
    assert call.take() == [], "what has not been judged is no silence either"
    call.carry(call.taker.judge(call.at // CHUNK * CHUNK, call.now))
    assert call.take() == [EndSegment(1)]


def test_a_burst_that_holds_the_silence_ends_the_turn_when_it_is_judged() -> None:
    call = Call().hear(500).says()
    call.take()
    call.wait(1.0).carry(call.taker.arrive(samples(600), call.now))
    assert call.take() == []
    call.carry(call.taker.judge(samples(1500 + 512), call.now))
    assert call.take() == [EndSegment(1), CommitUtterance(1, samples(1500))]


def test_the_turn_waits_for_a_vad_that_lags() -> None:
    call = Call().hear(500).says()
    call.take()
    for _ in range(40):
        call.wait(FRAME_S).carry(call.taker.arrive(320, call.now))
    assert call.take() == []


def test_a_pause_told_late_ends_the_turn_at_once() -> None:
    call = Call().hear(500).starts().hear(1000)
    call.take()
    call.carry(call.taker.receive(SpeechPaused(samples(900)), call.now))
    assert call.take() == [EndSegment(1), CommitUtterance(1, samples(900))]


def test_a_short_silence_asks_for_the_final_no_later_than_the_end() -> None:
    call = Call(TurnRules(silence_ms=100, final_after_ms=200)).hear(500).says()
    call.take()
    call.hear(200)
    assert call.times() == [
        (1.6, EndSegment(1)),
        (1.6, CommitUtterance(1, samples(1500))),
    ]


# --- sound like our own ---------------------------------------------------------------------------


class Sounds:
    def __init__(self, likeness: float) -> None:
        self.likeness_now = likeness

    def likeness(self, from_sample: int) -> float:
        return self.likeness_now


def over_the_answer(likeness: float) -> Call:
    """Somebody sounds while the answer is heard."""
    call = answered()
    call.taker.terms.sound = Sounds(likeness)
    call.taker.voice.sounding_at = call.now - 0.1
    call.starts()
    assert Duck() in call.take()
    return call


def test_long_sound_that_is_ours_cuts_nothing_and_sound_that_is_not_does() -> None:
    assert Interrupt() in over_the_answer(0.2).hear(700).take()
    assert Interrupt() not in over_the_answer(0.8).hear(700).take()


def test_misheard_words_in_our_own_sound_cut_nothing() -> None:
    call = over_the_answer(0.8).hear(300).partial(2, "parking").partial(2, "parking for bicycles")
    call.pauses().final(2, "parking for bicycles")
    orders = call.take()
    assert Interrupt() not in orders and Dismiss("parking for bicycles", echo=True) in orders
    assert Interrupt() in over_the_answer(0.2).hear(300).pauses().final(2, "parking").take()


class Calls(NoWords):
    def calls_for_floor(self, text: str, spoken: str) -> bool:
        return text.startswith("stop")


def test_an_outright_stop_cuts_whatever_it_sounds_like() -> None:
    call = over_the_answer(0.8)
    call.taker.terms.words = Calls()
    assert Interrupt() in call.hear(300).partial(2, "stop").partial(2, "stop that").take()
    other = over_the_answer(0.8)
    other.taker.terms.words = Calls()
    assert Interrupt() not in other.hear(300).pauses().final(2, "parking").take()


def test_who_talks_over_our_own_sound_is_heard_as_soon_as_it_is_more_than_ours() -> None:
    call = over_the_answer(0.8).hear(300).partial(2, "wait")
    assert Interrupt() not in call.take()
    call.taker.terms.sound = Sounds(0.1)
    assert Interrupt() in call.partial(2, "wait please").partial(2, "wait please stop").take()


def test_what_it_sounded_like_is_told_by_its_sound_not_by_the_silence_behind_it() -> None:
    call = over_the_answer(0.8).hear(300).pauses()
    call.taker.terms.sound = Sounds(0.0)
    assert Interrupt() not in call.hear(100).final(2, "parking").take()


# --- a silence as long as the words ask for ------------------------------------------------------

ADAPTIVE = TurnRules(adaptive=True, final_after_ms=150)


class Waits(NoWords):
    """300 ms behind a final, 500 behind a partial, 1200 behind "and"; half of it where it sounds
    complete, twice as long where not. "yes" is settled."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.cuts: list[float] = []

    def delay_ms(self, text: str, *, is_final: bool, sounds_complete: float | None = None) -> int:
        worded_ms = 1200 if text.endswith("and") else 300 if is_final else 500
        if sounds_complete is None:
            return worded_ms
        return worded_ms // 2 if sounds_complete > 0.5 else worded_ms * 2

    def settles(self, text: str) -> bool:
        return text == "yes"

    def went_on(self, pause_ms: float) -> None:
        self.pauses.append(pause_ms)

    def was_cut_short(self, gap_ms: float) -> None:
        self.cuts.append(gap_ms)


def adaptive(text: str) -> Call:
    """A second of speech, 0.5 to 1.5 s, of which the partial says `text`."""
    call = Call(ADAPTIVE)
    call.taker.terms.words = Waits()
    call.hear(500).starts().hear(1000).partial(1, text).pauses()
    call.take()
    return call


def committed_at(call: Call) -> list[float]:
    return [at for at, command in call.times() if isinstance(command, CommitUtterance)]


def test_the_silence_is_as_long_as_the_words_ask_for() -> None:
    assert committed_at(adaptive("on sunday").hear(1500)) == [2.0]
    assert committed_at(adaptive("on sunday and").hear(1500)) == [2.7]


def test_a_final_in_the_pause_shortens_it() -> None:
    call = adaptive("on sunday").hear(200).final(1, "on sunday").hear(300)
    assert committed_at(call) == [1.8]


def test_a_final_behind_its_own_end_ends_the_turn_at_once() -> None:
    call = adaptive("on sunday").hear(400).final(1, "on sunday")
    assert committed_at(call) == [1.9]


def test_a_final_in_the_pause_lengthens_it_too() -> None:
    call = adaptive("on sunday").hear(200).final(1, "on sunday and").hear(1500)
    assert committed_at(call) == [2.7]


def test_the_turn_model_is_asked_once_in_each_pause_before_the_final_is() -> None:
    call = adaptive("on sunday and").hear(600)
    assert call.times() == [
        (1.65, JudgePause(samples(1500), samples(500))),
        (1.65, EndSegment(1)),
    ]
    call.starts().hear(500).pauses().hear(200)
    assert JudgePause(samples(2600), samples(500)) in call.take()


def test_it_is_not_asked_where_the_words_settle_it_or_the_client_set_the_silence() -> None:
    asked = [command for command in adaptive("yes").hear(1000).take()]
    call = Call(TurnRules(silence_ms=700)).hear(500).says().hear(1000)
    asked += call.take()
    assert [command for command in asked if isinstance(command, JudgePause)] == []
    assert any(isinstance(command, CommitUtterance) for command in asked)


def test_its_opinion_shortens_or_lengthens_the_silence() -> None:
    assert committed_at(adaptive("on sunday and").hear(300).judged(0.9).hear(1500)) == [2.1]
    assert committed_at(adaptive("on sunday").hear(300).judged(0.1).hear(1500)) == [2.5]
    ends_at_once = adaptive("on sunday").hear(300).judged(0.9)
    assert committed_at(ends_at_once) == [1.8], "the silence has lasted longer already"


def test_a_final_behind_the_opinion_is_weighed_with_it() -> None:
    call = adaptive("on sunday").hear(200).judged(0.1).hear(100).final(1, "on sunday").hear(900)
    assert committed_at(call) == [2.1]


def test_a_late_opinion_changes_nothing() -> None:
    call = adaptive("on sunday and").hear(600).starts().hear(300)
    call.take()
    assert call.judged(0.9, pause=samples(1500)).take() == [], "the caller went on"
    call.partial(2, "monday and").pauses().hear(300)
    call.judged(0.9, pause=samples(1500)).hear(1500)
    assert committed_at(call) == [3.6], "it was about another pause"
    call.take()
    assert call.judged(0.1, pause=samples(2400)).take() == [], "the turn is over"


def test_the_callers_own_pauses_and_turns_cut_short_are_told() -> None:
    call = adaptive("on sunday and").hear(600).starts()
    words = call.taker.terms.words
    assert isinstance(words, Waits) and words.pauses == [600.0]
    call.hear(500).pauses().hear(500).final(2, "monday").hear(100)  # answered at 2.98 or so
    call.hear(200).starts().hear(300)
    assert words.cuts == [], "a cough is no word"
    call.partial(3, "morning").pauses().hear(900)
    assert words.cuts == [pytest.approx(800, abs=40)]


def gone_on(*, behind_ms: int) -> list[float]:
    """What is told of a turn that was ended behind "on sunday", and whose caller went on so long
    after the answer's first sound, which left with the end of the turn.
    """
    call = adaptive("on sunday").hear(200).final(1, "on sunday").hear(100)
    assert call.take()[-1] == StartReply(1)
    call.taker.voice.sounding_at = call.now
    call.hear(behind_ms).starts().hear(200).partial(2, "at").partial(2, "at nine")
    assert Interrupt() in call.take()
    call.pauses().hear(600)
    words = call.taker.terms.words
    assert isinstance(words, Waits)
    return words.cuts


def test_who_goes_on_before_they_can_have_heard_the_answer_had_not_finished() -> None:
    assert gone_on(behind_ms=400) == [pytest.approx(700, abs=40)]
    assert gone_on(behind_ms=600) == [], "that answers what was heard"


def test_a_cough_into_an_answers_beginning_says_nothing_of_the_turn_before() -> None:
    call = adaptive("on sunday").hear(200).final(1, "on sunday").hear(100)
    call.taker.voice.sounding_at = call.now
    call.hear(100).says(200).final(2, "").hear(100)
    assert call.take()[-1] == Unduck()
    call.heard()
    call.starts().hear(300).final(3, "and now").pauses().hear(900)
    assert call.take()[-1] == StartReply(2)
    words = call.taker.terms.words
    assert isinstance(words, Waits) and words.cuts == []


def test_where_the_client_set_the_silence_words_do_not_move_it() -> None:
    call = Call(TurnRules(silence_ms=700))
    call.taker.terms.words = Waits()
    call.hear(500).starts().hear(1000).partial(1, "on sunday and").pauses().hear(1500)
    assert committed_at(call) == [2.2]


# --- finals --------------------------------------------------------------------------------------


def committed(rules: TurnRules | None = None) -> Call:
    """A call whose first utterance is committed, at 2.0 s, and waits for its final."""
    call = Call(rules).hear(500).says().hear(540)
    assert isinstance(call.take()[-1], CommitUtterance)
    return call


def test_a_final_that_does_not_come_is_replaced_by_the_last_partial() -> None:
    call = Call().hear(500).says().partial(1, "what are your").hear(540)
    call.take()
    call.wait(2.0)
    assert call.times() == [(4.0, Understood(1, "what are your")), (4.0, StartReply(1))]


def test_a_final_that_does_not_come_after_no_partial_is_misheard_and_asked_for_again() -> None:
    assert committed().wait(3.0).times() == [(4.0, Misheard(1)), (4.0, StartReply(1, lost=True))]


def test_a_failed_recognition_keeps_what_was_heard() -> None:
    call = Call().hear(500).says().partial(1, "what are").fails(1).hear(540)
    assert call.take()[-2:] == [Understood(1, "what are"), StartReply(1)]


def test_a_failure_after_the_final_takes_no_word_back() -> None:
    call = Call().hear(500).says().hear(300).final(1, "hello").fails(1).hear(300)
    assert Understood(1, "hello") in call.take()


def test_a_failure_before_any_word_is_misheard() -> None:
    assert committed().fails(1).take() == [Misheard(1), StartReply(1, lost=True)]


def test_what_is_misheard_while_the_caller_speaks_on_is_not_talked_over() -> None:
    call = committed()
    call.take()
    call.says()
    assert SkipReply(1, no_speech=True) in call.fails(1).take()


def test_an_empty_final_is_no_speech() -> None:
    assert committed().final(1, "").take() == [Understood(1, ""), SkipReply(1, no_speech=True)]


def test_late_and_double_news_of_the_recogniser_change_nothing() -> None:
    call = committed().final(1, "hello")
    call.take()
    late = call.partial(1, "hell").final(1, "hello there").fails(1).final(99, "who?")
    assert late.take() == []


def test_speech_that_begins_while_a_final_is_awaited_takes_the_floor_with_its_first_word() -> None:
    call = committed().starts()
    assert kinds(call) == [BeginSegment]
    assert call.final(1, "one").take() == [Understood(1, "one")]
    assert kinds(call.hear(300).partial(2, "tw")) == [OpenUtterance]
    call.hear(200).pauses().hear(300).final(2, "two").hear(300)
    assert call.take()[-3:] == [
        Understood(2, "two"),
        SkipReply(1, no_speech=False),
        StartReply(2),
    ]


@pytest.mark.parametrize("text", ["", "mm"], ids=["cough", "backchannel"])
def test_what_is_no_turn_while_a_final_is_awaited_does_not_take_the_answer_away(text: str) -> None:
    """Speech 0.5–1.5 s, committed at 2.0; a cough at 2.0–2.2 while the final is made."""
    call = committed()
    call.taker.terms.words = Nods()
    call.starts().hear(200).final(1, "what are your hours").pauses()
    assert not any(isinstance(command, StartReply) for command in call.take()), "not into the cough"
    assert call.hear(60).final(2, text).take() == [Dismiss(text, echo=False), StartReply(1)]


@pytest.mark.parametrize("text", ["", "mm"], ids=["cough", "backchannel"])
def test_what_is_no_turn_before_the_first_sound_costs_the_answer_nothing(text: str) -> None:
    call = answered()
    call.taker.terms.words = Nods()
    call.says(200).hear(60).final(2, text)
    assert kinds(call) == [Duck, BeginSegment, EndSegment, Dismiss, Unduck]
    assert call.taker.replying and call.hear(2000).take() == []


def test_an_answer_that_long_noise_cut_before_its_first_sound_is_begun_again() -> None:
    call = answered().says(700)
    assert kinds(call) == [Duck, BeginSegment, OpenUtterance, Interrupt]
    call.hear(300).final(2, "").hear(300)
    assert call.take()[-3:] == [
        Understood(2, ""),
        SkipReply(2, no_speech=True),
        StartReply(3),
    ]


def test_words_of_the_answer_that_was_not_heard_yet_are_the_callers() -> None:
    call = answered()
    call.taker.terms.words, call.taker.voice.spoken = Nods(), "we are open from nine"
    assert Interrupt() in call.says(200).final(2, "we are").take()


def test_words_before_the_first_sound_are_answered_instead() -> None:
    call = answered().says(500).hear(300).final(2, "on sunday").hear(300)
    assert [c for c in call.take() if isinstance(c, StartReply)] == [StartReply(2)]
    call.heard()
    assert call.hear(1000).take() == []


def test_an_answer_the_client_asked_for_is_cut_by_long_noise_for_good() -> None:
    """The client is told that its response was cancelled; it may ask again."""
    call = committed(TurnRules(create_response=False)).final(1, "hello")
    call.carry(call.taker.request_reply())
    call.take()
    call.says(700).hear(300).final(2, "").hear(300)
    orders = call.take()
    assert Interrupt() in orders
    assert not any(isinstance(command, StartReply) for command in orders)


def test_two_utterances_are_understood_in_the_order_they_were_said() -> None:
    call = committed().says(500).hear(300).final(2, "two").hear(300)
    kinds = [type(command) for command in call.take()]
    assert Understood not in kinds
    assert call.final(1, "one").take() == [
        Understood(1, "one"),
        Understood(2, "two"),
        SkipReply(1, no_speech=False),
        StartReply(2),
    ]


def test_words_are_joined_with_spaces_only_where_the_script_has_them() -> None:
    assert join_words(["are you", "", " open "]) == "are you open"
    assert join_words(["営業時間は", "何時ですか"]) == "営業時間は何時ですか"
    assert join_words(["영업 시간", "알려 주세요"]) == "영업 시간 알려 주세요"
    assert join_words(["Kaiwa", "は何ですか"]) == "Kaiwaは何ですか"
    assert join_words([]) == ""


# --- settings of the session ---------------------------------------------------------------------


def test_without_create_response_an_utterance_waits_to_be_asked_for() -> None:
    call = committed(TurnRules(create_response=False)).final(1, "hello")
    assert call.take() == [Understood(1, "hello")]
    call.carry(call.taker.request_reply())
    assert call.take() == [StartReply(1)]


def test_without_create_response_the_older_of_two_unanswered_turns_is_closed() -> None:
    call = committed(TurnRules(create_response=False)).final(1, "one").says(500).hear(300)
    call.final(2, "two").take()
    call.hear(300)
    assert call.take()[-2:] == [Understood(2, "two"), SkipReply(1, no_speech=False)]
    call.carry(call.taker.request_reply())
    assert call.take() == [StartReply(2)]


def test_a_request_before_the_finals_is_answered_when_they_are_in() -> None:
    call = committed(TurnRules(create_response=False))
    call.carry(call.taker.request_reply())
    assert call.take() == []
    assert call.taker.reply_pending
    assert call.final(1, "hello").take() == [Understood(1, "hello"), StartReply(1)]
    assert not call.taker.reply_pending


def test_a_request_means_the_last_of_two_utterances_and_closes_the_first() -> None:
    call = committed(TurnRules(create_response=False)).says(500).hear(540)
    call.carry(call.taker.request_reply())
    call.take()
    call.final(1, "one").final(2, "two")
    assert call.take() == [
        Understood(1, "one"),
        Understood(2, "two"),
        SkipReply(1, no_speech=False),
        StartReply(2),
    ]
    call.heard()
    call.carry(call.taker.request_reply())
    assert call.take() == [StartReply(3)], "what was answered is not asked for again"


def test_a_request_is_answered_even_if_nothing_was_understood() -> None:
    call = committed(TurnRules(create_response=False))
    call.carry(call.taker.request_reply())
    assert call.final(1, "").take() == [
        Understood(1, ""),
        SkipReply(1, no_speech=True),
        StartReply(2),
    ]


def test_a_request_without_any_speech_is_a_turn_of_its_own() -> None:
    call = Call()
    call.carry(call.taker.request_reply())
    assert call.take() == [StartReply(1)]


def test_a_withdrawn_request_is_not_answered() -> None:
    call = committed()
    assert call.taker.withdraw_reply() == []
    assert not call.taker.reply_pending
    assert call.final(1, "hello").take() == [Understood(1, "hello"), SkipReply(1, no_speech=False)]


NO_INTERRUPT = TurnRules(interrupt_response=False)


def test_without_interrupt_response_the_answer_goes_on() -> None:
    call = answered(NO_INTERRUPT).starts().hear(200).partial(2, "and")
    assert kinds(call) == [BeginSegment, OpenUtterance]
    assert call.taker.replying


def test_without_interrupt_response_the_next_answer_waits_for_the_end_of_the_last() -> None:
    call = answered(NO_INTERRUPT).says(500).hear(300).final(2, "and on sunday").hear(300)
    assert call.take()[-1] == Understood(2, "and on sunday")
    assert call.taker.reply_pending
    call.heard()
    assert call.wait(0).take() == [StartReply(2)]


def test_of_what_was_said_during_one_answer_the_last_is_answered() -> None:
    call = answered(NO_INTERRUPT).says(500).hear(300).final(2, "two").hear(300)
    call.says(500).hear(300).final(3, "three").hear(300).take()
    call.says(500).hear(300).final(4, "").hear(300)
    assert Dismiss("", echo=False) in call.take()
    call.heard()
    assert call.wait(0).take() == [StartReply(3)], "a cough takes no question's place"


def test_an_answer_that_waited_and_was_withdrawn_is_not_given() -> None:
    call = answered(NO_INTERRUPT).says(500).hear(300).final(2, "two").hear(300)
    call.take()
    call.carry(call.taker.withdraw_reply())
    call.heard()
    assert call.wait(1).take() == [SkipReply(2, no_speech=False)]


def test_an_answer_asked_for_in_mid_utterance_never_makes_the_turns_go_back() -> None:
    """Clients drop the sound of older turns: an answer must never carry a lower number."""
    call = Call().hear(500).starts().hear(500)
    call.carry(call.taker.request_reply())
    call.heard()
    call.pauses().hear(300).final(1, "hello").hear(300)
    starts = [command.turn for command in call.take() if isinstance(command, StartReply)]
    assert starts == [2, 3]


# --- the client says when ------------------------------------------------------------------------


def test_in_manual_mode_the_first_audio_opens_an_utterance_quietly() -> None:
    call = Call(MANUAL).hear(20)
    assert call.take() == [BeginSegment(1, 1, 0)]
    assert call.hear(5000).take() == []
    assert call.taker.deadline() is None, "a buffer waits for its commit as long as it takes"


def test_in_manual_mode_commit_ends_and_only_a_request_answers() -> None:
    call = Call(MANUAL).hear(1000)
    call.take()
    call.carry(call.taker.commit(call.now))
    assert call.take() == [EndSegment(1), CommitUtterance(1, samples(1000))]
    assert call.final(1, "hello").take() == [Understood(1, "hello")]
    call.carry(call.taker.request_reply())
    assert call.take() == [StartReply(1)]


def test_in_manual_mode_an_empty_utterance_is_answered_if_asked_for() -> None:
    call = Call(MANUAL).hear(1000)
    call.carry(call.taker.commit(call.now))
    call.carry(call.taker.request_reply())
    call.take()
    assert call.final(1, "").take() == [Understood(1, ""), StartReply(1)]


def test_in_manual_mode_no_speech_and_no_pause_count() -> None:
    call = Call(MANUAL).hear(1000)
    call.take()
    assert call.starts().pauses().wait(10).take() == []


def test_in_manual_mode_a_growing_buffer_is_recognised_in_pieces_that_touch() -> None:
    call = Call(MANUAL).hear(59_980)
    assert call.take() == [BeginSegment(1, 1, 0)]
    call.hear(20)
    ended, begun = call.take()
    assert ended == EndSegment(1)
    assert begun == BeginSegment(1, 2, samples(59_980)), "the new frame was not heard yet"
    call.hear(1000).final(1, "one").carry(call.taker.commit(call.now))
    call.final(2, "two")
    assert Understood(1, "one two") in call.take()


@pytest.mark.parametrize("held_ms", [0, 20, 99])
def test_a_commit_of_less_than_100_ms_is_refused(held_ms: int) -> None:
    call = Call(MANUAL).hear(held_ms)
    with pytest.raises(ClientError, match=f"holds {held_ms} ms") as refused:
        call.taker.commit(call.now)
    assert refused.value.code == "input_audio_buffer_commit_empty"
    assert call.hear(100).taker.commit(call.now), "the buffer is kept"


def test_a_second_commit_has_nothing_to_commit() -> None:
    call = Call(MANUAL).hear(1000)
    call.taker.commit(call.now)
    with pytest.raises(ClientError, match="holds 0 ms"):
        call.taker.commit(call.now)


def test_clear_abandons_what_was_not_committed() -> None:
    call = Call(MANUAL).hear(1000)
    call.take()
    call.carry(call.taker.clear())
    assert call.take() == [AbandonSegment(1)]
    assert call.taker.open_turn is None
    assert call.taker.clear() == []
    assert call.final(1, "never mind").take() == []
    assert call.hear(20).take() == [BeginSegment(2, 2, samples(1000))]


def test_clear_takes_nothing_back_that_was_committed() -> None:
    call = Call(MANUAL).hear(1000)
    call.carry(call.taker.commit(call.now))
    call.take()
    assert call.taker.clear() == []
    assert call.final(1, "hello").take() == [Understood(1, "hello")]


def test_speech_after_a_clear_is_heard_from_the_clear_on() -> None:
    call = Call().hear(500).starts().hear(500)
    call.carry(call.taker.clear())
    call.hear(100)
    call.take()
    assert call.starts().take() == [
        OpenUtterance(2, samples(1000)),
        BeginSegment(2, 2, samples(1000)),
    ]


def test_silence_alone_asks_for_nothing() -> None:
    call = Call().hear(60_000).wait(3600)
    assert call.take() == []
    assert call.taker.deadline() is None


# --- speech over an answer -----------------------------------------------------------------------


class Nods(NoWords):
    """ "mm" is a backchannel, and "we are open" our own voice."""

    def is_backchannel(self, text: str, *, is_final: bool = True) -> bool:
        return all(word.startswith(("m", "h")) for word in text.split())

    def is_echo(self, text: str, spoken: str) -> bool:
        return text in spoken or all(word.startswith("e") for word in text.split())


def sounding(rules: TurnRules | None = None, *, for_s: float = 1.0) -> Call:
    """A call whose answer has sounded for so long: "we are open from nine"."""
    call = answered(rules)
    call.taker.terms.words = Nods()
    call.taker.voice.sounding_at, call.taker.voice.spoken = call.now, "we are open from nine"
    call.hear(round(for_s * 1000))
    assert call.take() == []
    return call


def kinds(call: Call) -> list[type[Command]]:
    return [type(command) for command in call.take()]


def test_speech_over_a_sounding_answer_holds_it_back_and_says_nothing_yet() -> None:
    call = sounding()
    start = call.at - samples(300)
    assert call.starts().take() == [Duck(), BeginSegment(0, 2, start)]
    assert call.taker.caller is Caller.UNSURE
    assert call.taker.open_turn is None and call.taker.replying


def test_speech_that_began_before_the_first_sound_holds_the_rest_back() -> None:
    call = sounding(for_s=0.04)
    call.carry(call.taker.receive(SpeechStarted(call.at - samples(60)), call.now))
    assert kinds(call) == [Duck, BeginSegment]


def test_an_answer_in_writing_is_cut_by_any_speech() -> None:
    call = answered()
    call.taker.voice.voiced = False
    assert kinds(call.starts()) == [OpenUtterance, Interrupt, BeginSegment]


def test_two_partials_with_words_take_the_floor() -> None:
    call = sounding().starts().hear(200).partial(2, "no")
    assert kinds(call) == [Duck, BeginSegment], "one may be a guess at a cough"
    call.partial(2, "no wait")
    assert call.take() == [
        OpenUtterance(2, samples(3000)),
        Interrupt(),
    ]
    assert call.taker.caller is Caller.SPEAKING and not call.taker.replying
    call.hear(300).pauses().hear(300).final(2, "no wait please").hear(300)
    assert call.take()[-2:] == [Understood(2, "no wait please"), StartReply(2)]


def test_one_partial_is_enough_where_the_operator_trusts_the_recogniser() -> None:
    call = sounding(TurnRules(confirm_hypotheses=1)).starts().hear(200).partial(2, "no")
    assert kinds(call)[-2:] == [OpenUtterance, Interrupt]


def test_speech_that_lasts_takes_the_floor_without_a_word() -> None:
    call = sounding().starts().hear(560)
    assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call.hear(100)) == [OpenUtterance, Interrupt]


def test_a_short_word_takes_the_floor_by_its_final_and_ends_as_usual() -> None:
    call = sounding().says(300)
    assert call.take()[-1] == EndSegment(2), "asked for at once"
    paused_at = call.at
    call.hear(100).final(2, "stop")
    assert kinds(call) == [OpenUtterance, Interrupt]
    assert call.taker.caller is Caller.PAUSING
    call.hear(500)
    assert call.take() == [
        CommitUtterance(2, paused_at),
        Understood(2, "stop"),
        StartReply(2),
    ]


def test_a_final_behind_the_end_of_the_turn_ends_it_at_once() -> None:
    call = sounding().says(300).hear(700)
    call.take()
    assert kinds(call.final(2, "stop")) == [
        OpenUtterance, Interrupt, CommitUtterance, Understood, StartReply,
    ]  # fmt: skip


def test_the_end_of_a_cut_answer_says_nothing_of_the_one_that_begins_in_the_same_step() -> None:
    call = sounding().says(300).hear(700).final(2, "stop")
    assert call.take()[-1] == StartReply(2)
    call.taker.reply_ended(1)
    assert call.taker.replying
    call.starts().hear(200).partial(3, "now")
    assert kinds(call) == [Duck, BeginSegment, OpenUtterance, Interrupt]


@pytest.mark.parametrize("text", ["mm hm", "we are", ""], ids=["backchannel", "echo", "cough"])
def test_what_is_no_turn_lets_the_answer_go_on_and_leaves_no_trace(text: str) -> None:
    call = sounding().says(300).hear(60).final(2, text)
    assert call.take() == [
        Duck(),
        BeginSegment(0, 2, samples(3300 - 300)),
        EndSegment(2),
        Dismiss(text, echo=text == "we are"),
        Unduck(),
    ]
    assert call.taker.caller is Caller.SILENT and call.taker.replying
    assert call.hear(2000).take() == []


def test_without_a_final_the_answer_goes_on_after_the_limit() -> None:
    call = sounding().says(300)
    call.take()
    assert call.hear(980).take() == []
    assert call.hear(40).take() == [Unduck()]
    assert call.hear(940).take() == []
    assert call.hear(40).take() == [Dismiss("", echo=False)], "2 s behind the pause"
    assert call.final(2, "no wait").take() == [], "too late to be anything"


@pytest.mark.parametrize("partial", ["", "mm"], ids=["nothing", "what may be a nod"])
def test_a_final_that_is_later_still_cuts_the_answer_that_has_gone_on(partial: str) -> None:
    call = sounding().starts().hear(300).partial(2, partial).pauses().hear(1500)
    assert kinds(call) == [Duck, BeginSegment, EndSegment, Unduck]
    assert kinds(call.final(2, "no wait")) == [
        OpenUtterance, Interrupt, CommitUtterance, Understood, StartReply,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "mm"], ids=["cough", "backchannel"])
def test_a_final_that_is_later_and_says_nothing_leaves_the_answer_alone(text: str) -> None:
    call = sounding().says(300).hear(1500)
    call.take()
    assert call.final(2, text).take() == [Dismiss(text, echo=False)]
    assert call.taker.replying and call.hear(2000).take() == []


def test_who_goes_on_while_a_late_final_is_awaited_holds_the_answer_back_again() -> None:
    call = sounding().says(300).hear(1500)
    call.take()
    assert kinds(call.starts()) == [Duck, BeginSegment]
    call.final(2, "").hear(200).partial(3, "no").partial(3, "no wait")
    assert kinds(call) == [OpenUtterance, Interrupt]


def test_a_late_final_keeps_no_answer_waiting_that_has_not_begun() -> None:
    """A cough at 2.0–2.2 while the question's final is made; its own never comes."""
    call = committed().starts().hear(200).final(1, "what are your hours").pauses()
    call.take()
    assert call.hear(1040).take() == [Dismiss("", echo=False), StartReply(1)]


def test_behind_the_answers_end_a_late_final_is_waited_for_too() -> None:
    """The end of our own voice is recognised as late as a caller's words."""
    call, echo = sounding().says(300).hear(500), sounding().says(300).hear(500)
    for one in (call, echo):
        one.heard()
        assert kinds(one.hear(1000)) == [Duck, BeginSegment, EndSegment, Unduck]
    assert kinds(echo.final(2, "we are")) == [Dismiss]
    assert kinds(call.final(2, "no wait")) == [
        OpenUtterance, CommitUtterance, Understood, StartReply,
    ]  # fmt: skip


def test_a_final_that_is_lost_behind_the_answers_end_is_waited_for_once() -> None:
    call = sounding().says(300).hear(500)
    call.heard()
    call.take()
    call.hear(1540)
    assert kinds(call)[1:] == [OpenUtterance, CommitUtterance, Misheard, StartReply]


def test_late_sound_of_our_own_is_not_waited_for() -> None:
    call = over_the_answer(0.8).hear(500).pauses().hear(1040)
    assert kinds(call) == [EndSegment, Dismiss, Unduck]


def test_without_a_final_the_last_partial_stands_for_it() -> None:
    call = sounding().starts().hear(300).partial(2, "stop").pauses().hear(1100)
    assert kinds(call)[3:5] == [OpenUtterance, Interrupt]


def test_a_backchannel_that_goes_on_into_words_takes_the_floor() -> None:
    call = sounding().starts().hear(300).partial(2, "mm hm").hear(600)
    assert kinds(call) == [Duck, BeginSegment], "it says itself that it is none"
    call.partial(2, "mm hm no").partial(2, "mm hm no wait")
    assert kinds(call) == [OpenUtterance, Interrupt]


def test_a_backchannel_and_a_word_after_a_pause_are_one() -> None:
    call = sounding().says(300).hear(60).starts().hear(200)
    assert kinds(call) == [Duck, BeginSegment, EndSegment, BeginSegment]
    call.final(2, "mm hm").hear(60).pauses().final(3, "no")
    assert kinds(call) == [EndSegment, OpenUtterance, Interrupt]
    call.hear(600)
    assert Understood(2, "mm hm no") in call.take()


def test_sound_that_proves_nothing_does_not_hold_the_answer_back_for_long() -> None:
    call = sounding().starts().hear(300).partial(2, "mm").hear(800)
    assert kinds(call) == [Duck, BeginSegment, Unduck]
    assert call.taker.caller is Caller.UNSURE, "still listened to"
    call.partial(2, "mm no").partial(2, "mm no stop")
    assert kinds(call) == [OpenUtterance, Interrupt]


def test_a_recogniser_that_fails_leaves_it_to_the_length() -> None:
    call = sounding().starts().hear(300).fails(2).hear(200)
    assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call.hear(200)) == [OpenUtterance, Interrupt]
    short = sounding().starts().hear(300).fails(2).pauses()
    assert kinds(short) == [Duck, BeginSegment, EndSegment, Dismiss, Unduck]


def test_in_the_protected_seconds_length_cuts_nothing_and_words_do() -> None:
    rules = TurnRules(protected_ms=2000)
    call = sounding(rules).starts().hear(900)
    assert kinds(call) == [BeginSegment], "the answer sounds on"
    call.partial(2, "stop").partial(2, "stop it")
    assert kinds(call) == [OpenUtterance, Interrupt]
    later = sounding(rules, for_s=2.1).starts().hear(700)
    assert kinds(later) == [Duck, BeginSegment, OpenUtterance, Interrupt]
    deaf = sounding(rules).starts().hear(300).fails(2).hear(400)
    assert kinds(deaf) == [BeginSegment, OpenUtterance, Interrupt], "there will be no words"


def test_our_own_voice_that_came_back_once_does_not_make_the_answer_stutter() -> None:
    call = sounding().says(300).final(2, "we are").hear(100)
    assert Unduck() in call.take()
    call.says(900).final(3, "open from")
    assert kinds(call) == [BeginSegment, EndSegment, Dismiss]
    call.hear(200).starts().hear(500).partial(4, "nine please").partial(4, "nine please stop")
    assert kinds(call) == [BeginSegment, OpenUtterance, Interrupt]


def test_a_yes_over_the_last_word_is_a_turn_once_the_answer_has_ended() -> None:
    call = sounding().starts().hear(100)
    call.heard()
    call.hear(100).pauses()
    assert kinds(call) == [Duck, BeginSegment, Unduck, EndSegment]
    call.final(2, "mm").hear(600)
    assert call.take() == [
        OpenUtterance(2, samples(3000)),
        CommitUtterance(2, samples(3500)),
        Understood(2, "mm"),
        StartReply(2),
    ]


def test_our_own_last_word_is_no_turn() -> None:
    call = sounding().starts().hear(100)
    call.heard()
    call.pauses().final(2, "from nine").hear(600)
    assert kinds(call) == [Duck, BeginSegment, EndSegment, Unduck, Dismiss]


def test_who_speaks_on_behind_the_end_of_the_answer_is_listened_to() -> None:
    call = sounding().starts().hear(300)
    call.heard()
    assert kinds(call.hear(400)) == [Duck, BeginSegment, Unduck, OpenUtterance]


def test_a_stall_in_a_doubt_ends_it() -> None:
    call = sounding().starts().hear(100).wait(1.6)
    assert kinds(call) == [Duck, BeginSegment, Unduck, AbandonSegment, Dismiss]
    said = sounding().starts().hear(100).partial(2, "stop").wait(1.6)
    assert kinds(said)[-4:] == [OpenUtterance, Interrupt, EndSegment, CommitUtterance]


def test_a_client_that_commits_has_decided() -> None:
    call = sounding().starts().hear(200)
    call.take()
    call.carry(call.taker.commit(call.now))
    assert kinds(call) == [OpenUtterance, Interrupt, EndSegment, CommitUtterance]


def test_a_client_that_clears_takes_it_back() -> None:
    call = sounding().starts().hear(200)
    call.take()
    call.carry(call.taker.clear())
    assert kinds(call) == [AbandonSegment, Unduck]
    assert call.taker.replying and call.taker.caller is Caller.SILENT


def test_with_no_doubt_any_speech_cuts_at_once() -> None:
    call = sounding(TurnRules(confirm_ms=0)).starts()
    assert kinds(call) == [OpenUtterance, Interrupt, BeginSegment]


def test_who_may_not_interrupt_holds_nothing_back_and_is_heard_by_words() -> None:
    call = sounding(NO_INTERRUPT).starts().hear(2000)
    assert kinds(call) == [BeginSegment]
    call.partial(2, "no").partial(2, "no wait")
    assert kinds(call) == [OpenUtterance] and call.taker.replying
    echo = sounding(NO_INTERRUPT).says(500).final(2, "we are open")
    assert kinds(echo) == [BeginSegment, EndSegment, Dismiss]


def over(call: Call, *, last_words: str) -> Call:
    """Behind the end of an answer whose sound came back."""
    call.says(300).final(2, "we are")
    call.taker.reply_ended(call.taker.answering, last_words)
    call.hear(200).take()
    return call


def test_our_own_last_word_that_comes_back_behind_the_end_is_no_turn() -> None:
    call = over(sounding(), last_words="from nine").says(200).final(3, "nine").hear(600)
    assert kinds(call) == [BeginSegment, EndSegment, Dismiss]


def test_who_answers_with_the_agents_last_word_is_heard() -> None:
    """An echo of it would be over by then."""
    call = over(sounding(), last_words="from nine").says(500).final(3, "nine").hear(600)
    assert Understood(2, "nine") in call.take()
    other = over(sounding(), last_words="from nine").says(200).final(3, "we are").hear(600)
    assert Understood(2, "we are") in other.take(), "that was said long before"


def test_behind_the_end_speech_is_a_turn_at_once_where_nothing_came_back() -> None:
    call = sounding()
    call.heard()
    assert kinds(call.hear(200).starts()) == [OpenUtterance, BeginSegment]


def test_a_yes_behind_the_end_is_a_turn_however_near() -> None:
    call = over(sounding(), last_words="from nine").says(200).final(3, "mm").hear(600)
    assert Understood(2, "mm") in call.take()


def shown_before() -> Call:
    """A call in whose first turn a partial came, and whose answer sounds."""
    call = Call().hear(500).starts().hear(800).partial(1, "hel").hear(200).pauses()
    call.hear(400).final(1, "hello").hear(400).take()
    call.taker.terms.words = Nods()
    call.taker.voice.sounding_at = call.now
    return call


def test_where_words_were_shown_before_the_first_one_is_waited_for_twice_as_long() -> None:
    call = shown_before().starts().hear(1180)
    assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call.hear(40)) == [OpenUtterance, Interrupt]


def test_words_that_were_shown_and_taken_back_are_waited_for_too() -> None:
    """A recogniser that hears its first second again takes back what it had made of it."""
    call = sounding().starts().hear(500).partial(2, "m").hear(100).partial(2, "").hear(400)
    assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call.hear(240)) == [OpenUtterance, Interrupt]


def test_guesses_that_begin_differently_are_not_two_in_a_row() -> None:
    call = sounding().starts().hear(160)
    for guess in ("for", "bro", "bra", "bra i", "bride"):
        call.partial(2, guess).hear(80)
        if guess == "bra":
            assert kinds(call) == [Duck, BeginSegment]
    assert kinds(call) == [OpenUtterance, Interrupt], "bra, bra i"


def test_a_first_word_that_comes_late_must_stand_or_be_said_again() -> None:
    late = shown_before().starts().hear(700).partial(2, "bro").hear(140)
    assert kinds(late) == [Duck, BeginSegment]
    assert kinds(late.hear(20)) == [OpenUtterance, Interrupt]
    revised = shown_before().starts().hear(700).partial(2, "bro").hear(100).partial(2, "mm")
    assert kinds(revised.hear(100).pauses().final(2, "mm")) == [
        Duck, BeginSegment, EndSegment, Dismiss, Unduck,
    ]  # fmt: skip
    again = shown_before().starts().hear(700).partial(2, "no").partial(2, "no wait")
    assert kinds(again) == [Duck, BeginSegment, OpenUtterance, Interrupt]


# --- sound that goes on without a word -----------------------------------------------------------


def droned() -> Call:
    """A question at 0.5–1.5 whose final comes late; from 2.0 on a hoover."""
    call = Call().hear(500).says().hear(500)
    call.take()
    return call.starts().hear(300).final(1, "what are your hours")


def test_a_hoover_keeps_an_answer_that_is_due_waiting_for_five_seconds() -> None:
    """
    1.5 asked  2.0 hoover  2.3 the question's final  7.0 what was that?  8.1 nothing: begun
    """
    call = droned().hear(4600)
    said = [BeginSegment, OpenUtterance]
    assert [kind for kind in kinds(call) if kind in said] == [BeginSegment, OpenUtterance]
    assert kinds(call.hear(200)) == [EndSegment, BeginSegment], "is that all?"
    assert call.hear(1000).take() == [], "its final is waited for"
    assert kinds(call.final(2, "").hear(20)) == [EndSegment, CommitUtterance]
    call.take()
    assert kinds(call.starts().final(3, "")) == [BeginSegment, Understood, SkipReply, StartReply]


def over_a_drone() -> Call:
    """An answer that sounds while the hoover goes on."""
    call = droned().hear(4800).final(2, "").hear(20).starts().final(3, "")
    assert kinds(call)[-1] is StartReply
    call.taker.voice.sounding_at = call.now
    return call


def test_over_a_hoover_the_answer_is_not_held_back_and_two_words_cut_it() -> None:
    call = over_a_drone().hear(3000)
    assert call.take() == []
    call.partial(4, "no")
    assert call.take() == []
    assert kinds(call.partial(4, "no wait")) == [OpenUtterance, Interrupt]


def test_a_hoover_is_no_turn_behind_the_answer_either_and_is_listened_to_afresh() -> None:
    call = over_a_drone().hear(2000)
    call.heard()
    assert kinds(call.hear(6100)) == [AbandonSegment, Dismiss]
    assert kinds(call.hear(60).starts().hear(2000)) == [BeginSegment], "the same sound"
    assert kinds(call.partial(5, "and").partial(5, "and on")) == [OpenUtterance]


def test_once_a_hoover_has_paused_sound_holds_an_answer_back_as_ever() -> None:
    call = over_a_drone().hear(500).pauses().final(4, "").hear(600)
    call.take()
    assert kinds(call.starts()) == [Duck, BeginSegment]


def test_a_turn_whose_words_have_ended_is_over_five_seconds_later_whatever_sounds() -> None:
    call = Call().hear(500).starts().hear(1000).partial(1, "what are your hours").hear(5060)
    assert kinds(call) == [OpenUtterance, BeginSegment, EndSegment, BeginSegment]
    call.final(1, "What are your hours?").hear(20)
    assert call.take()[-1] == CommitUtterance(1, samples(1500), forced=True)


def test_a_final_that_says_more_goes_on_with_the_turn() -> None:
    call = Call().hear(500).starts().hear(1000).partial(1, "what are").hear(5060)
    call.take()
    assert call.final(1, "what are your hours on").hear(3000).take() == []
    call.partial(2, "saturday").hear(3000)
    assert call.take() == []


def test_a_long_sound_into_silence_that_nobody_waits_behind_is_left_alone() -> None:
    call = Call().hear(500).starts().hear(20_000)
    assert kinds(call) == [OpenUtterance, BeginSegment]


class NodsAmongEchoes(Nods):
    def is_nod_in_echo(self, text: str, spoken: str, *, is_final: bool) -> bool:
        first, *rest = sorted(text.split(), reverse=True) or [""]
        return (
            bool(rest)
            and all(word in spoken for word in (first, *rest[:-1]))
            and (rest[-1].startswith("m"))
        )


def test_a_nod_among_our_own_words_is_none_of_the_questions_behind_it() -> None:
    call = sounding()
    call.taker.terms.words = NodsAmongEchoes()
    call.starts().hear(300).partial(2, "we open mm").hear(300)
    call.heard()
    call.hear(100).pauses().final(2, "we open mm").hear(600)
    assert kinds(call) == [Duck, BeginSegment, Unduck, EndSegment, Dismiss]


def far_off(call: Call, rms: float) -> Call:
    """A caller whose turns were loud; over the answer, something sounds with that level."""
    nearness = call.taker.terms.nearness
    for end in range(CHUNK, call.at + 1, CHUNK):
        nearness.hear(VadFrame(end, 0.9, (5000.0,) * 8))
    nearness.learn(0, call.at)
    start = call.at
    call.hear(200)
    for end in range(start + CHUNK, start + 20 * CHUNK, CHUNK):
        nearness.hear(VadFrame(end, 0.9, (rms,) * 8))
    call.carry(call.taker.receive(SpeechStarted(start), call.now))
    return call


def test_a_voice_across_the_room_does_not_even_hold_the_answer_back() -> None:
    call = far_off(sounding(), 200).hear(700).partial(2, "rain").partial(2, "rain in").hear(300)
    call.pauses().final(2, "rain in the north")
    *before, dismissed = call.take()
    assert [type(command) for command in before] == [BeginSegment, EndSegment]
    assert dismissed == Dismiss("rain in the north", echo=False, far=True)
    near = far_off(sounding(), 2000).hear(700)
    assert kinds(near) == [Duck, BeginSegment, OpenUtterance, Interrupt]


def test_behind_the_answers_end_a_voice_across_the_room_may_be_the_callers() -> None:
    call = far_off(sounding(), 200).hear(300)
    call.heard()
    call.partial(2, "rain").partial(2, "rain in")
    assert kinds(call) == [BeginSegment, OpenUtterance]


# --- everything at random ------------------------------------------------------------------------

TEXTS = st.sampled_from(["", "w", "w", "m", "e"])
"""Nothing, a word, a backchannel, our own voice; see Nods."""


class Line(RuleBasedStateMachine):
    """Any facts in any order that a session can bring, with the promises checked at every order."""

    def __init__(self) -> None:
        super().__init__()
        self.taker = TurnTaker(TurnRules())
        self.now = 100.0
        self.speaking = False
        self.paused_at = 0
        self.ear_from = 0
        self.fed_to = 0
        self.live: int | None = None
        self.segments: dict[int, int] = {}
        self.ended: list[int] = []
        self.words: dict[int, str] = {}
        self.settled_segments: set[int] = set()
        self.unsettled: dict[int, float] = {}
        self.understood: set[int] = set()
        self.closed: set[int] = set()
        self.replying = self.ducked = False
        self.ducked_at = self.paused_since = 0.0
        self.sound, self.rms = Sounds(0.0), 5000.0
        self.may_be_others = False
        """Words that sound like our own voice, or far away, are thrown away."""
        self.asked: list[int] = []
        self.last_turn = 0
        self.last_reply = 0
        self.word = 0

    # --- what must hold ---

    def heard(self) -> None:
        """The answer in hand is over, for the caller's ear too."""
        self.taker.reply_ended(self.taker.answering)

    def carry(self, commands: list[Command]) -> None:
        for command in commands:
            self.check(command)

    def check(self, command: Command) -> None:
        match command:
            case OpenUtterance(turn=turn):
                assert turn > self.last_turn
                self.last_turn = turn
                for segment, owner in self.segments.items():
                    if owner == 0:  # it was one all along
                        self.segments[segment] = turn
            case Interrupt():
                assert self.replying
                self.replying = self.ducked = False
            case Duck():
                assert self.replying and not self.ducked
                self.ducked, self.ducked_at = True, self.now
            case Unduck():
                assert self.ducked, "either cut or let go on, and only once"
                self.ducked = False
            case Dismiss(text=text, echo=echo):
                own = [segment for segment, owner in self.segments.items() if owner == 0]
                assert text == join_words([self.words[segment] for segment in own])
                if not self.may_be_others:
                    assert "w" not in text, "words are never thrown away"
                    assert echo == bool(text and Nods().is_echo(text, ""))
                self.forget(own)
            case BeginSegment(turn=turn, segment=segment, sample=sample):
                assert self.live is None
                assert self.fed_to <= sample <= self.taker.clock.position
                assert segment not in self.segments
                assert (turn or None) == self.taker.open_turn
                assert turn not in self.unsettled and turn not in self.understood
                self.last_turn = max(self.last_turn, turn)
                self.segments[segment], self.words[segment] = turn, ""
                self.live, self.fed_to = segment, sample
            case JudgePause(sample=sample):
                assert sample not in self.asked, "once in each pause"
                self.asked.append(sample)
            case EndSegment(segment=segment):
                assert self.live == segment
                self.live = None
                self.ended.append(segment)
            case AbandonSegment(segment=segment):
                assert self.live == segment
                self.live = None
                self.settled_segments.add(segment)
            case CommitUtterance(turn=turn, sample=sample, forced=forced):
                assert self.live is None
                assert turn not in self.unsettled and turn not in self.understood
                assert sample <= self.taker.clock.position
                self.unsettled[turn] = self.now
                if forced and self.taker.caller is Caller.SILENT:
                    self.reset()
            case Understood(turn=turn, text=text):
                assert text == join_words(self.settle(turn))
            case Misheard(turn=turn):
                assert not any(self.settle(turn))
            case StartReply(turn=turn):
                assert not self.replying
                assert turn not in self.closed and turn not in self.unsettled
                assert turn > self.last_reply
                self.closed.add(turn)
                self.replying, self.last_reply = True, turn
                self.last_turn = max(self.last_turn, turn)
            case SkipReply(turn=turn):
                assert turn not in self.closed and turn not in self.unsettled
                self.closed.add(turn)

    def settle(self, turn: int) -> list[str]:
        assert next(iter(self.unsettled)) == turn, "oldest first"
        del self.unsettled[turn]
        self.understood.add(turn)
        own = [segment for segment, owner in self.segments.items() if owner == turn]
        self.settled_segments.update(own)
        return [self.words[segment] for segment in own]

    def forget(self, segments: list[int]) -> None:
        """No later word of theirs may turn up anywhere."""
        for segment in segments:
            self.segments[segment] = -1
            self.settled_segments.add(segment)
        if self.speaking and self.taker.caller is Caller.SILENT:
            self.reset()

    def reset(self) -> None:
        """As the session does: the detector forgets that somebody spoke."""
        self.speaking = False
        self.ear_from = self.taker.clock.judged

    def due(self) -> None:
        for _ in range(8):
            due = self.taker.deadline()
            if due is None or due > self.now:
                return
            self.carry(self.taker.tick(self.now))
        raise AssertionError("tick makes no progress")

    @invariant()
    def finals_are_not_waited_for_beyond_the_limit(self) -> None:
        limit = self.taker.rules.final_limit_s
        assert all(self.now <= at + limit + 1e-3 for at in self.unsettled.values())

    @invariant()
    def the_state_is_told_as_it_is(self) -> None:
        assert self.taker.replying == self.replying
        if self.taker.rules.automatic:
            silent = self.taker.caller in (Caller.SILENT, Caller.UNSURE)
            assert (self.taker.open_turn is None) == silent
        assert not self.ducked or self.taker.caller is Caller.UNSURE

    @invariant()
    def no_answer_is_held_back_for_long(self) -> None:
        """As long as speech may prove itself, and as a final may take behind that."""
        assert not self.ducked or self.now <= self.ducked_at + 2.2 + 1e-3

    @invariant()
    def no_doubt_outlives_its_sound_for_long(self) -> None:
        doubts = self.taker.rules.automatic and self.taker.caller is Caller.UNSURE
        limit_s = self.taker.rules.final_limit_s
        assert not doubts or self.speaking or self.now <= self.paused_since + limit_s + 1e-3

    # --- what can happen ---

    @initialize(
        automatic=st.sampled_from([True, True, True, False]),
        create=st.booleans(),
        interrupt=st.sampled_from([True, True, True, False]),
        silence_ms=st.sampled_from([50, 300, 500]),
        limit_s=st.sampled_from([1.0, 60.0]),
        confirm_ms=st.sampled_from([0, 600, 600, 600]),
        protected_ms=st.sampled_from([0, 0, 0, 1000]),
        resume_ms=st.sampled_from([300, 1000]),
        adaptive=st.booleans(),
        may_be_others=st.booleans(),
    )
    def begin(
        self,
        automatic: bool,
        create: bool,
        interrupt: bool,
        silence_ms: int,
        limit_s: float,
        confirm_ms: int,
        protected_ms: int,
        resume_ms: int,
        adaptive: bool,
        may_be_others: bool,
    ) -> None:
        self.may_be_others = may_be_others
        self.taker = TurnTaker(
            TurnRules(
                automatic=automatic,
                create_response=create,
                interrupt_response=interrupt,
                silence_ms=silence_ms,
                max_utterance_s=limit_s,
                confirm_ms=confirm_ms,
                protected_ms=protected_ms,
                resume_ms=resume_ms,
                adaptive=adaptive,
            ),
            Nods(),
            self.sound,
        )

    @rule(frames=st.lists(st.sampled_from([160, 320, 1600, 3200]), min_size=1, max_size=8))
    def audio_in_a_burst(self, frames: list[int]) -> None:
        for count in frames:
            self.due()
            self.carry(self.taker.arrive(count, self.now))
            if not self.taker.rules.automatic:
                self.feed(self.taker.clock.position)

    def feed(self, to: int) -> None:
        if self.live is not None:
            self.fed_to = max(self.fed_to, to)

    @rule(chunks=st.integers(1, 40), turns=st.booleans(), back=st.integers(0, 3200))
    def vad_judges(self, chunks: int, turns: bool, back: int) -> None:
        clock = self.taker.clock
        for n in range(chunks if self.taker.rules.automatic else 0):
            end = clock.judged // CHUNK * CHUNK + CHUNK
            if end > clock.position:
                return
            self.due()
            if turns and n == 0:
                sample = max(end - back, self.paused_at, self.ear_from)
                self.speech_turns(min(sample, end))
            self.taker.terms.nearness.hear(VadFrame(end, 0.9, (self.rms,) * 8))
            self.feed(end)
            self.carry(self.taker.judge(end, self.now))

    @rule(likeness=st.sampled_from([0.0, 0.8]), rms=st.sampled_from([200.0, 5000.0]))
    def somebody_else_sounds(self, likeness: float, rms: float) -> None:
        """Or the caller again."""
        if self.may_be_others:
            self.sound.likeness_now, self.rms = likeness, rms

    @rule(complete=st.sampled_from([0.1, 0.9]), back=st.integers(1, 2))
    def turn_model_says(self, complete: float, back: int) -> None:
        """In time or late."""
        self.due()
        for pause in self.asked[-back:][:1]:
            self.carry(self.taker.receive(PauseJudged(pause, complete), self.now))

    def speech_turns(self, sample: int) -> None:
        self.speaking = not self.speaking
        if self.speaking:
            self.carry(self.taker.receive(SpeechStarted(sample), self.now))
        else:
            self.paused_since = self.now
            self.carry(self.taker.receive(SpeechPaused(sample), self.now))
        self.paused_at = sample

    @rule(frames=st.integers(1, 80), speaks=st.booleans())
    def audio_in_real_time(self, frames: int, speaks: bool) -> None:
        for n in range(frames):
            self.time_passes(0.02)
            self.audio_in_a_burst([320])
            self.vad_judges(1, n == 0 and speaks != self.speaking, 0)

    @rule(frames=st.integers(1, 60), hush=st.integers(0, 110), heard=st.lists(TEXTS, max_size=3))
    def somebody_speaks_over_an_answer(self, frames: int, hush: int, heard: list[str]) -> None:
        """In one step, since singly they hardly ever come to that."""
        if self.taker.rules.automatic:
            self.client_asks()
            self.answer_sounds()
            self.speech(begins=True)
            self.audio_in_real_time(frames, True)
            for text in heard:
                self.partial(text)
            self.speech(begins=False)
            self.audio_in_real_time(1 + hush, False)

    def speech(self, *, begins: bool) -> None:
        if self.speaking != begins:
            self.audio_in_a_burst([640])
            self.vad_judges(2, True, 0)

    @rule(text=TEXTS)
    def partial(self, text: str) -> None:
        if self.live is not None:
            self.recognised(self.live, text, final=False)

    @rule(text=TEXTS, final=st.booleans(), back=st.integers(1, 3))
    def of_an_ended_segment(self, text: str, final: bool, back: int) -> None:
        """In time, late, or for the second time."""
        for segment in self.ended[-back:][:1]:
            self.recognised(segment, text, final=final)

    @rule(segment=st.integers(1, 6))
    def recogniser_fails(self, segment: int) -> None:
        if segment not in self.segments:
            return
        self.due()
        self.settled_segments.add(segment)
        self.carry(self.taker.receive(SttFailure(segment, LOST), self.now))

    def recognised(self, segment: int, text: str, *, final: bool) -> None:
        self.due()
        self.word += 1
        text = text and f"{text}{self.word}"
        if segment not in self.settled_segments:
            self.words[segment] = text
        if final:
            self.settled_segments.add(segment)
        self.carry(self.taker.receive(Hypothesis(segment, text, final), self.now))

    @rule()
    def client_commits(self) -> None:
        self.due()
        with contextlib.suppress(ClientError):
            self.carry(self.taker.commit(self.now))

    @rule()
    def client_clears(self) -> None:
        self.due()
        self.carry(self.taker.clear())
        self.forget([segment for segment, owner in self.segments.items() if owner == 0])
        assert self.live is None and self.taker.open_turn is None
        self.fed_to = self.taker.clock.position

    @rule()
    def client_asks(self) -> None:
        self.due()
        if not self.replying and not self.taker.reply_pending:
            self.carry(self.taker.request_reply())
            assert self.replying or self.taker.reply_pending

    @rule()
    def client_withdraws(self) -> None:
        self.due()
        self.carry(self.taker.withdraw_reply())
        assert not self.taker.reply_pending

    @rule()
    def answer_sounds(self) -> None:
        """Its first frame leaves."""
        if self.replying and self.taker.voice.sounding_at is None:
            self.taker.voice.sounding_at = self.now

    @rule()
    def reply_ends(self) -> None:
        self.due()
        self.replying = False
        self.taker.reply_ended(self.taker.answering)

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.5, 1.6, 2.1]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.taker.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.due()
        self.now = until

    @rule(
        create=st.booleans(),
        interrupt=st.booleans(),
        automatic=st.sampled_from([True, True, True, False]),
    )
    def rules_change(self, create: bool, interrupt: bool, automatic: bool) -> None:
        self.due()
        before = self.taker.rules
        if automatic != before.automatic:
            self.client_clears()
            self.reset()
        self.taker.rules = msgspec.structs.replace(
            before,
            automatic=automatic,
            create_response=create,
            interrupt_response=interrupt,
        )

    def teardown(self) -> None:
        """Whatever happened: in silence everything comes to rest, and every turn has its end."""
        if self.speaking:
            self.speech_turns(max(self.paused_at, self.taker.clock.judged))
        self.time_passes(2.1)
        self.time_passes(2.1)
        self.reply_ends()
        self.time_passes(0.1)
        self.reply_ends()
        assert self.taker.deadline() is None
        assert not self.unsettled
        assert not self.taker.reply_pending
        assert not self.ducked
        if self.taker.rules.automatic:
            assert self.taker.caller is Caller.SILENT and self.live is None
        assert len(self.understood - self.closed) <= 1, "only the last may be asked for later"


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
