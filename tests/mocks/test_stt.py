import asyncio
from collections.abc import Sequence

from mocks.clock import now, run_virtual
from mocks.faults import LAST, ScriptedFault
from mocks.llm import tokens
from mocks.stt import QUESTIONS, EchoSTT
from providers.base import Fault, Hypothesis, SttFailure
from voice.clauses import ClauseSplitter
from voice.echo import is_echo

FRAME = bytes(640)  # 20 ms


class Ear:
    """Speaks utterances in real pace and notes (ms, what came)."""

    def __init__(self, stt: EchoSTT) -> None:
        self.heard: list[tuple[int, Hypothesis | SttFailure]] = []
        self.stream = stt.open(self.hear)

    def hear(self, event: Hypothesis | SttFailure) -> None:
        self.heard.append((round(now() * 1000), event))

    async def speak(self, utterance: int, seconds: float) -> None:
        self.stream.begin(utterance)
        for _ in range(round(seconds * 50)):
            await asyncio.sleep(0.02)
            self.stream.feed(FRAME)

    @property
    def texts(self) -> list[tuple[int, str, bool]]:
        return [
            (at, event.text, event.is_final)
            for at, event in self.heard
            if isinstance(event, Hypothesis)
        ]


def speak(stt: EchoSTT, seconds: Sequence[float] = (1.0,)) -> Ear:
    """Each utterance is followed by half a second of silence."""

    async def main() -> Ear:
        ear = Ear(stt)
        for number, length in enumerate(seconds, start=1):
            await ear.speak(number, length)
            ear.stream.end()
            await asyncio.sleep(0.5)
        ear.stream.close()
        return ear

    return run_virtual(main())


def test_a_word_comes_for_every_300_ms_of_audio_and_the_final_20_ms_after_the_end() -> None:
    ear = speak(EchoSTT(text="what are your hours"))
    assert ear.texts == [
        (300, "what", False),
        (600, "what are", False),
        (900, "what are your", False),
        (1020, "what are your hours", True),
    ]


def test_japanese_grows_by_characters() -> None:
    ear = speak(EchoSTT(text="営業時間は何時ですか"), [1.3])
    assert [text for _, text, _ in ear.texts][:2] == ["営業時", "営業時間は何"]
    assert ear.texts[-1] == (1320, "営業時間は何時ですか", True)


def test_scripted_texts_come_by_utterance_and_may_be_empty() -> None:
    ear = speak(EchoSTT(["one", "", "three"], text="more"), [0.1] * 4)
    assert [text for _, text, _ in ear.texts] == ["one", "", "three", "more"]


def test_audio_faster_than_real_time_gives_all_its_partials() -> None:
    async def main() -> list[tuple[int, str, bool]]:
        ear = Ear(EchoSTT(text="a b c"))
        ear.stream.begin(1)
        ear.stream.feed(FRAME * 50)
        ear.stream.end()
        await asyncio.sleep(1)
        ear.stream.close()
        return ear.texts

    assert run_virtual(main()) == [
        (0, "a", False),
        (0, "a b", False),
        (0, "a b c", False),
        (20, "a b c", True),
    ]


def test_nothing_comes_of_an_abandoned_utterance_and_its_text_is_kept() -> None:
    async def main() -> list[tuple[int, str, bool]]:
        ear = Ear(EchoSTT(["first", "second"], partial_delay_ms=100))
        await ear.speak(1, 0.31)
        ear.stream.abandon()
        await ear.speak(2, 0.1)
        ear.stream.end()
        await asyncio.sleep(1)
        ear.stream.close()
        return ear.texts

    assert [text for _, text, _ in run_virtual(main())] == ["first"]


def test_nothing_comes_of_an_ended_utterance_that_is_given_up() -> None:
    async def main() -> list[tuple[int, str, bool]]:
        stt = EchoSTT(["first", "second"], final_delay_ms=300)
        ear = Ear(stt)
        await ear.speak(1, 0.1)
        ear.stream.end()
        await ear.speak(2, 0.1)
        ear.stream.abandon(1)
        ear.stream.end()
        await asyncio.sleep(1)
        ear.stream.close()
        assert stt.abandoned == [1]
        return ear.texts

    assert [text for _, text, is_final in run_virtual(main()) if is_final] == ["second"]


def test_nothing_comes_after_close() -> None:
    async def main() -> Ear:
        stt = EchoSTT()
        ear = Ear(stt)
        await ear.speak(1, 0.1)
        ear.stream.end()
        ear.stream.close()
        ear.stream.close()
        assert stt.open_streams == 0
        await asyncio.sleep(1)
        return ear

    assert run_virtual(main()).heard == []


def test_a_failure_takes_the_place_of_the_final() -> None:
    fault = ScriptedFault(kind="fail", item=LAST, fault=Fault.CRASHED)
    ear = speak(EchoSTT(text="hello", faults=[fault]), [0.1, 0.1])
    lost, final = (event for _, event in ear.heard)
    assert isinstance(lost, SttFailure) and lost.error.fault is Fault.CRASHED
    assert lost.utterance == 1
    assert final == Hypothesis(utterance=2, text="hello", is_final=True)


def test_a_stall_swallows_one_final_and_not_the_next() -> None:
    ear = speak(EchoSTT(["one", "two"], faults=[ScriptedFault(kind="stall", item=LAST)]), [0.1] * 2)
    assert [text for _, text, _ in ear.texts] == ["two"]


def test_a_cut_keeps_the_words_before_it() -> None:
    ear = speak(EchoSTT(text="a b c", faults=[ScriptedFault(kind="cut", item=2)]))
    assert [text for _, text, _ in ear.texts] == ["a", "a b", "a b"]


def test_what_is_said_by_turns_comes_round_again_behind_the_texts() -> None:
    ear = speak(EchoSTT(["first"], turns=["one", "other"]), [0.1] * 4)
    assert [text for _, text, final in ear.texts if final] == ["first", "one", "other", "one"]


def test_who_asks_one_question_into_the_answer_to_the_other_is_nobodys_echo() -> None:
    one, other = QUESTIONS
    assert is_echo(one, f"You said: {one}."), "which is why there are two"
    for heard, repeated in ((one, other), (other, one)):
        parts = heard.split()
        for count in range(1, len(parts) + 1):
            assert not is_echo(" ".join(parts[:count]), f"You said: {repeated}.")


def test_both_questions_take_the_model_equally_long() -> None:
    """The benchmark subtracts one figure for both."""
    assert len({_tokens_to_first_clause(question) for question in QUESTIONS}) == 1


def _tokens_to_first_clause(question: str) -> int:
    splitter, said = ClauseSplitter(), tokens(f"You said: {question}.")
    ends = (number for number, token in enumerate(said) if splitter.feed(token))
    return next(ends, len(said) - 1)
