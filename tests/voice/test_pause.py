"""When a silence asks for the final, when it ends the turn, and when it had ended one too early."""

from voice.endpoint import AudioClock, samples
from voice.events import JudgePause
from voice.pause import CutShort, Pause
from voice.turn_rules import TurnRules
from voice.utterance import Utterance
from voice.words import NoWords

EXACT = TurnRules(silence_ms=500, final_after_ms=200)
ADAPTIVE = TurnRules(silence_ms=1500, final_after_ms=200, adaptive=True)
START = samples(1000)


class Taught(NoWords):
    """Words that are settled or not, and remember what they are taught."""

    def __init__(self, silence_ms: int = 500, *, settled: bool = False) -> None:
        super().__init__(silence_ms)
        self._settled = settled
        self.taught: list[float | None] = []

    def settles(self, text: str) -> bool:
        return self._settled

    def was_cut_short(self, gap_ms: float) -> None:
        self.taught.append(gap_ms)

    def turn_ended(self) -> None:
        self.taught.append(None)


def begun(rules: TurnRules, words: Taught) -> Pause:
    pause = Pause(rules)
    pause.begin(START)
    pause.weigh(Utterance(1, 0), words, rules)
    return pause


def test_a_silence_the_client_set_is_not_moved_by_words() -> None:
    assert begun(EXACT, Taught(900)).ends(EXACT) == START + samples(500)
    assert begun(ADAPTIVE, Taught(900)).ends(ADAPTIVE) == START + samples(900)


def test_the_final_is_asked_for_in_the_silence_and_no_later_than_its_end() -> None:
    assert begun(EXACT, Taught()).asks_at(EXACT) == START + samples(200)
    assert begun(ADAPTIVE, Taught(150)).asks_at(ADAPTIVE) == START + samples(150)


def test_the_turn_model_is_asked_once_in_a_pause_and_not_where_words_settle_it() -> None:
    said, words = Utterance(1, samples(300)), Taught()
    pause = begun(ADAPTIVE, words)
    assert pause.judge(said, words, ADAPTIVE) == [JudgePause(START, samples(300))]
    assert pause.judge(said, words, ADAPTIVE) == []
    assert begun(ADAPTIVE, words).judge(said, Taught(settled=True), ADAPTIVE) == []
    assert begun(EXACT, words).judge(said, words, EXACT) == []


def test_it_is_due_when_it_asks_and_then_when_it_ends() -> None:
    clock, pause = AudioClock(), begun(EXACT, Taught())
    for at in range(50, 1450, 50):
        clock.arrive(samples(50), at / 1000)
        clock.judge(clock.position)
    assert pause.deadline(clock, EXACT, is_live=True) == clock.arrived_at, "it should have asked"
    clock.arrive(samples(50), 1.45)
    clock.judge(clock.position)
    assert pause.deadline(clock, EXACT, is_live=False) == 1.5


def gap(*, after_ms: int, unheard: bool = True, worded: bool = True) -> list[float | None]:
    """What is taught by who goes on so long after the end of a turn, 500 ms behind its words."""
    cut_short, words = CutShort(), Taught()
    cut_short.committed(START, START + samples(500), worded=True, words=words)
    cut_short.speaks(START + samples(500 + after_ms), unheard=unheard)
    cut_short.committed(START * 3, START * 4, worded=worded, words=words)
    return words.taught[1:]


def test_who_goes_on_at_once_was_cut_short_by_the_pause_they_made() -> None:
    assert gap(after_ms=300) == [800.0, None]


def test_who_goes_on_later_or_answers_what_was_heard_or_has_no_words_was_not() -> None:
    assert gap(after_ms=1100) == [None]
    assert gap(after_ms=300, unheard=False) == [None]
    assert gap(after_ms=300, worded=False) == []


def test_what_turned_out_to_be_no_speech_says_nothing() -> None:
    cut_short, words = CutShort(), Taught()
    cut_short.committed(START, START, worded=True, words=words)
    cut_short.speaks(START + samples(300), unheard=True)
    cut_short.forget()
    cut_short.committed(START * 3, START * 3, worded=True, words=words)
    assert words.taught == [None, None]
