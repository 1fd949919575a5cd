"""Who answers when the preferred provider does not: in virtual time, with scripted faults."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
import structlog

from mocks.clock import now, run_virtual
from mocks.faults import LAST, ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import (
    Fault,
    Hypothesis,
    LLMRequest,
    Message,
    ProviderError,
    Slot,
    SpeechAudio,
    SttFailure,
    TextDelta,
    ToolCall,
    WordTiming,
)
from voice.breaker import FAILURES, PAUSE_S
from voice.chain import DOUBT_S, of_call
from voice.chain_llm import ChainLLM
from voice.chain_stt import LAST_LIMIT_S, ChainSTT
from voice.chain_tts import ChainTTS
from voice.patience import Patience

QUESTION = LLMRequest(messages=(Message(role="user", content="hello"),), question="hello")
DOWN = ScriptedFault(kind="fail", request=0, fault=Fault.UNREACHABLE, message="refused")
SILENCE = ScriptedFault(kind="stall", request=0)
SECOND = bytes(2 * 16_000)


def seconds(work: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """What it gives, and how long it takes in virtual time."""

    async def timed() -> tuple[Any, float]:
        began = now()
        return await work, now() - began

    return run_virtual(timed())


# --- a model --------------------------------------------------------------------------------------


def llm(*models: EchoLLM, attempt_s: float = 2.0) -> ChainLLM:
    return ChainLLM(
        models,
        now=now,
        patience=Patience(Slot.LLM, "token", 10.0, 5.0),
        attempt_s=attempt_s,
        continues=lambda one: one is not QUOTER,
    )


QUOTER = EchoLLM(["I quote."])


async def said(chain: ChainLLM, request: LLMRequest = QUESTION) -> str:
    return "".join([e.text async for e in chain.stream(request) if isinstance(e, TextDelta)])


@pytest.mark.parametrize(("fault", "at_most_s"), [(DOWN, 0.2), (SILENCE, 2.5)])
def test_a_model_that_gives_no_token_is_stood_in_for(
    fault: ScriptedFault, at_most_s: float
) -> None:
    chain = llm(EchoLLM(faults=[fault]), EchoLLM(["The second."]))
    text, took_s = seconds(said(chain))
    assert text == "The second." and took_s < at_most_s
    assert chain.fallback_count == 1


def test_the_one_that_failed_a_moment_ago_is_not_asked_first_again() -> None:
    first, second = EchoLLM(faults=[SILENCE]), EchoLLM(["One.", "Two.", "Three."])
    chain = llm(first, second)

    async def scenario() -> None:
        await said(chain)
        await said(chain)
        assert first.faults.requests == 1
        await asyncio.sleep(DOUBT_S)
        await said(chain)
        assert first.faults.requests == 2

    run_virtual(scenario())


def test_a_model_that_keeps_failing_is_left_alone_until_a_probe_succeeds() -> None:
    first = EchoLLM(["Back."] * 20, faults=[DOWN])
    chain = llm(first, EchoLLM(["x"] * 100))

    async def scenario() -> None:
        for _ in range(FAILURES):
            await asyncio.sleep(DOUBT_S)
            await said(chain)
        asked = first.faults.requests
        await asyncio.sleep(PAUSE_S - 1)
        await said(chain)
        assert first.faults.requests == asked, "asked while its breaker is open"
        first.faults.set()
        await asyncio.sleep(1)
        assert await said(chain) == "Back."

    run_virtual(scenario())


def test_where_everybody_fails_the_last_ones_reason_is_told_and_later_at_once() -> None:
    chain = llm(EchoLLM(faults=[DOWN]), EchoLLM(faults=[SILENCE]), attempt_s=1.0)

    async def scenario() -> None:
        for _ in range(FAILURES):
            with pytest.raises(ProviderError):
                await said(chain)
        with pytest.raises(ProviderError, match="not asked, since it keeps failing"):
            async with asyncio.timeout(0.1):
                await said(chain)

    chain.links[1].provider.faults.set(DOWN)  # type: ignore[attr-defined]  # a mock's
    run_virtual(scenario())


@pytest.mark.parametrize("kind", ["fail", "stall"])
def test_an_answer_that_breaks_off_is_gone_on_with_and_no_word_comes_twice(kind: Any) -> None:
    first = EchoLLM(["We open at nine and close at eight."])
    first.faults.set(ScriptedFault(kind=kind, item=4))
    chain = llm(first, EchoLLM(["at nine and close at five, madam."]))
    text, _ = seconds(said(chain))
    assert text == "We open at nine and close at five, madam."


def test_the_one_that_goes_on_is_told_what_was_said() -> None:
    class Listening(EchoLLM):
        async def stream(self, request: LLMRequest) -> Any:
            shown.extend(request.messages)
            async for event in super().stream(request):
                yield event

    shown: list[Message] = []
    first = EchoLLM(["We open at nine."], faults=[ScriptedFault(kind="fail", item=2)])
    run_virtual(said(llm(first, Listening([" at ten."]))))
    assert shown[0] == QUESTION.messages[0]
    assert any(one.role == "assistant" and one.content == "We open" for one in shown)


def test_one_that_only_quotes_does_not_go_on_where_a_model_broke_off() -> None:
    first = EchoLLM(["We open at nine."], faults=[ScriptedFault(kind="fail", item=2)])
    with pytest.raises(ProviderError, match="scripted"):
        run_virtual(said(llm(first, QUOTER)))
    first.faults.set(DOWN)
    assert run_virtual(said(llm(first, QUOTER))) == "I quote."


def test_half_a_function_call_is_not_gone_on_with() -> None:
    call = Reply(tool_calls=(ToolCall("call_1", "look_up", '{"a": 1}'),))
    first = EchoLLM([call], faults=[ScriptedFault(kind="fail", item=LAST)])
    second = EchoLLM()
    with pytest.raises(ProviderError):
        run_virtual(said(llm(first, second)))
    assert second.faults.requests == 0


def test_a_caller_who_cuts_in_is_no_failure_of_the_model() -> None:
    first = EchoLLM(["A long answer, word for word."] * 20)
    chain = llm(first, EchoLLM())

    async def scenario() -> None:
        for _ in range(10):
            stream = chain.stream(QUESTION)
            await anext(stream)
            await stream.aclose()
        assert await said(chain) == "A long answer, word for word."
        assert chain.fallback_count == 0 and not chain.links[0].problem

    run_virtual(scenario())


# --- a voice --------------------------------------------------------------------------------------


def tts(*voices: ToneTTS) -> ChainTTS:
    patience = Patience(Slot.TTS, "audio", 5.0, 1.0)
    return ChainTTS(voices, now=now, patience=patience, attempt_s=1.5)


async def sound_s(chain: ChainTTS, text: str) -> float:
    pcm = b"".join([e.pcm async for e in chain.stream(text) if isinstance(e, SpeechAudio)])
    return len(pcm) / 2 / chain.rate_hz


@pytest.mark.parametrize(("fault", "at_most_s"), [(DOWN, 1.0), (SILENCE, 2.5)])
@pytest.mark.parametrize("rate_hz", [24_000, 44_100])
def test_a_voice_that_gives_no_sound_is_stood_in_for_at_the_first_ones_rate(
    fault: ScriptedFault, at_most_s: float, rate_hz: int
) -> None:
    second = ToneTTS()
    chain = tts(ToneTTS(rate_hz=rate_hz, faults=[fault]), second)
    text = "We are open from nine until eight."
    length_s, took_s = seconds(sound_s(chain, text))
    assert length_s == pytest.approx(second.duration_s(text), abs=0.01) and took_s < at_most_s
    assert chain.rate_hz == rate_hz and chain.fallback_count == 1


def test_a_clause_that_breaks_off_is_not_said_again_and_the_next_is_anothers() -> None:
    first, second = ToneTTS(), ToneTTS()
    first.faults.set(ScriptedFault(kind="fail", item=5))
    chain = tts(first, second)

    async def scenario() -> None:
        assert await sound_s(chain, "The first clause of the answer,") == pytest.approx(0.5)
        await sound_s(chain, "and the second.")
        assert (first.texts, second.texts) == (
            ["The first clause of the answer,"],
            ["and the second."],
        )

    run_virtual(scenario())


def test_where_nobody_could_go_on_a_clause_that_breaks_off_is_an_error() -> None:
    chain = tts(ToneTTS(faults=[ScriptedFault(kind="fail", item=5)]), ToneTTS(faults=[DOWN]))

    async def scenario() -> None:
        for _ in range(FAILURES):  # opens the second one's breaker
            ticket = chain.links[1].breaker.enter(now())
            chain.fail(chain.links[1], ticket, ProviderError(*_OF_TTS))
        with pytest.raises(ProviderError, match="scripted"):
            await sound_s(chain, "The first clause of the answer,")

    run_virtual(scenario())


_OF_TTS: Any = (EchoLLM().info.slot, "tone", Fault.UNREACHABLE, "refused")


def test_the_times_of_words_come_through() -> None:
    async def words(chain: ChainTTS) -> list[str]:
        text = "Nine to eight."
        events = [e async for e in chain.stream(text) if isinstance(e, WordTiming)]
        return [text[e.start : e.end] for e in events]

    chain = tts(ToneTTS(faults=[DOWN]), ToneTTS(rate_hz=16_000))
    assert run_virtual(words(chain)) == ["Nine", "to", "eight."]


# --- a recogniser ---------------------------------------------------------------------------------


class Caller:
    """One call's stream on a chain, and what was heard of it."""

    def __init__(self, *recognisers: EchoSTT, attempt_s: float = 0.8) -> None:
        self.chain = ChainSTT(recognisers, now=now, attempt_s=attempt_s)
        self.heard: list[Hypothesis | SttFailure] = []
        self.stream = self.chain.open(self.heard.append)

    def say(self, utterance: int, length_s: int = 2) -> None:
        self.stream.begin(utterance)
        for _ in range(length_s):
            self.stream.feed(SECOND)
        self.stream.end()

    @property
    def finals(self) -> dict[int, str]:
        found = [h for h in self.heard if isinstance(h, Hypothesis) and h.is_final]
        return {h.utterance: h.text for h in found}

    @property
    def lost(self) -> list[int]:
        return [h.utterance for h in self.heard if isinstance(h, SttFailure)]


@pytest.mark.parametrize("item", [0, 3, LAST])
@pytest.mark.parametrize("kind", ["fail", "stall"])
def test_what_one_recogniser_loses_another_hears_from_its_beginning(kind: Any, item: int) -> None:
    async def scenario() -> None:
        first = EchoSTT(faults=[ScriptedFault(kind=kind, item=item)])
        second = EchoSTT(text="what the second one heard")
        caller = Caller(first, second)
        caller.say(1)
        await asyncio.sleep(2.5)
        assert caller.finals == {1: "what the second one heard"} and caller.lost == []
        assert caller.chain.fallback_count == 1
        caller.stream.close()
        assert (first.open_streams, second.open_streams) == (0, 0)

    run_virtual(scenario())


def test_an_utterance_under_way_goes_on_at_the_other_one() -> None:
    async def scenario() -> None:
        second = EchoSTT(text="one two three four five six seven eight nine ten")
        caller = Caller(EchoSTT(faults=[ScriptedFault(kind="fail", item=2)]), second)
        caller.stream.begin(1)
        for _ in range(30):
            caller.stream.feed(SECOND[: len(SECOND) // 10])
            await asyncio.sleep(0.1)
        partials = [h.text for h in caller.heard if isinstance(h, Hypothesis)]
        assert partials[-1] == "one two three four five six seven eight nine ten"
        caller.stream.end()
        await asyncio.sleep(0.1)
        assert 1 in caller.finals
        caller.stream.close()

    run_virtual(scenario())


def test_an_utterance_lost_late_does_not_disturb_the_one_that_is_being_spoken() -> None:
    async def scenario() -> None:
        stalled = ScriptedFault(kind="stall", item=LAST)
        first, second = EchoSTT(faults=[stalled]), EchoSTT(texts=["one", "two"])
        caller = Caller(first, second)
        caller.say(1)
        await asyncio.sleep(0.5)
        caller.stream.begin(2)
        caller.stream.feed(SECOND)
        await asyncio.sleep(0.5)  # the first one is given up on in the middle of this
        caller.stream.feed(SECOND)
        caller.stream.end()
        await asyncio.sleep(1.0)
        assert sorted(caller.finals) == [1, 2] and caller.lost == []
        caller.stream.close()
        assert (first.open_streams, second.open_streams) == (0, 0)

    run_virtual(scenario())


def test_what_nobody_can_hear_is_lost_once() -> None:
    async def scenario() -> None:
        caller = Caller(EchoSTT(faults=[DOWN]), EchoSTT(faults=[SILENCE]), attempt_s=0.5)
        caller.chain.links[1].provider.faults.set(DOWN)  # type: ignore[attr-defined]  # a mock's
        caller.say(1)
        await asyncio.sleep(2.0)
        assert caller.lost == [1] and caller.finals == {}
        caller.stream.close()

    run_virtual(scenario())


def test_late_news_of_the_one_that_was_given_up_on_is_not_heard() -> None:
    async def scenario() -> None:
        slow = EchoSTT(text="too late", final_delay_ms=3000)
        caller = Caller(slow, EchoSTT(text="in time"))
        caller.say(1)
        await asyncio.sleep(5.0)
        assert caller.finals == {1: "in time"} and slow.abandoned == [1]
        assert [h.text for h in caller.heard if isinstance(h, Hypothesis) and h.is_final] == [
            "in time"
        ]
        caller.stream.close()

    run_virtual(scenario())


def test_an_abandoned_utterance_is_nobodys() -> None:
    async def scenario() -> None:
        first = EchoSTT()
        caller = Caller(first, EchoSTT())
        caller.stream.begin(1)
        caller.stream.feed(SECOND)
        caller.stream.abandon()
        await asyncio.sleep(2.0)
        assert caller.finals == {} and caller.lost == [] and caller.chain.fallback_count == 0
        caller.say(2)
        await asyncio.sleep(1.0)
        assert list(caller.finals) == [2]
        caller.stream.close()

    run_virtual(scenario())


def test_an_ended_utterance_that_is_given_up_is_nobodys() -> None:
    async def scenario() -> None:
        first, second = EchoSTT(final_delay_ms=500), EchoSTT()
        caller = Caller(first, second)
        caller.say(1)
        caller.say(2)
        caller.stream.abandon(1)
        await asyncio.sleep(5.0)
        assert list(caller.finals) == [2] and caller.lost == [] and first.abandoned == [1]
        assert caller.chain.fallback_count == 0
        caller.stream.close()

    run_virtual(scenario())


@pytest.mark.parametrize(("length_s", "handed_on"), [(14.0, True), (5.0, False)])
def test_a_long_utterance_is_handed_on_as_soon_as_its_recogniser_is_missed(
    length_s: float, handed_on: bool
) -> None:
    """All that hangs is its answers: until the end shows it, half of what was said is behind.

    speech    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~|
    the first      | hangs  | a ping has no answer
    the second              ~~~~~~~~~~~~~~~~|  hears it from its beginning
    """

    async def scenario() -> None:
        first = EchoSTT(faults=[SILENCE])
        second = EchoSTT(text="what the second one heard")
        caller = Caller(first, second)
        caller.stream.begin(1)
        missed = ProviderError(Slot.STT, "echo", Fault.TIMEOUT, "no answer in 0.9 s")
        for frame in range(round(length_s / 0.1)):
            await asyncio.sleep(0.1)
            caller.stream.feed(SECOND[: len(SECOND) // 10])
            if frame == 40:
                caller.chain.links[0].check_failed(missed, now())
        assert second.open_streams == handed_on
        caller.stream.end()
        await asyncio.sleep(0.5)
        assert bool(caller.finals) == handed_on
        await asyncio.sleep(5.0)
        assert caller.finals == {1: "what the second one heard"} and caller.lost == []
        assert caller.chain.fallback_count == 1 and first.open_streams + second.open_streams <= 2
        caller.stream.close()
        assert (first.open_streams, second.open_streams) == (0, 0)

    run_virtual(scenario())


def test_a_long_utterance_stays_where_it_is_while_nobody_else_is_well() -> None:
    async def scenario() -> None:
        first, second = EchoSTT(text="heard after all"), EchoSTT(text="no")
        caller = Caller(first, second)
        missed = ProviderError(Slot.STT, "echo", Fault.TIMEOUT, "no answer in 0.9 s")
        caller.stream.begin(1)
        for link in caller.chain.links:
            link.check_failed(missed, now())
        for _ in range(140):
            await asyncio.sleep(0.1)
            caller.stream.feed(SECOND[: len(SECOND) // 10])
        caller.stream.end()
        await asyncio.sleep(1.0)
        assert caller.finals == {1: "heard after all"} and caller.chain.fallback_count == 0
        caller.stream.close()

    run_virtual(scenario())


def test_a_recogniser_that_cannot_be_opened_is_passed_over() -> None:
    class NotRunning(EchoSTT):
        def open(self, *args: Any, **more: Any) -> Any:
            raise ProviderError(Slot.STT, "echo", Fault.CRASHED, "not running")

    async def scenario() -> None:
        caller = Caller(NotRunning(), EchoSTT(text="heard"))
        caller.say(1)
        await asyncio.sleep(1.0)
        assert caller.finals == {1: "heard"}
        nobody = Caller(NotRunning(), NotRunning())
        nobody.say(1)
        assert nobody.lost == [1]
        caller.stream.close()
        nobody.stream.close()

    run_virtual(scenario())


def test_a_recogniser_is_given_the_time_that_a_burst_takes() -> None:
    async def scenario() -> None:
        caller = Caller(EchoSTT(text="in time", final_delay_ms=2000), EchoSTT(text="no"))
        caller.say(1, length_s=5)  # at once
        await asyncio.sleep(3.0)
        assert caller.finals == {1: "in time"} and caller.chain.fallback_count == 0
        caller.stream.close()

    run_virtual(scenario())


WORDS = "one two three four five six seven eight nine ten"


async def eight_seconds(caller: Caller) -> None:
    caller.stream.begin(1)
    for _ in range(80):
        caller.stream.feed(SECOND[: len(SECOND) // 10])
        await asyncio.sleep(0.1)
    caller.stream.end()


def partials(caller: Caller) -> list[str]:
    return [h.text for h in caller.heard if isinstance(h, Hypothesis) and not h.is_final]


class SlowToHearAgain(EchoSTT):
    """Tells a word each 0.3 s from `begin` on, however fast the audio came."""

    def open(self, sink: Any, **kind: Any) -> Any:
        return _Telling(sink)


class _Telling:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def begin(self, utterance: int) -> None:
        self._task = asyncio.ensure_future(self._tell(utterance))

    async def _tell(self, utterance: int) -> None:
        for count in range(1, 11):
            await asyncio.sleep(0.3)
            self._sink(Hypothesis(utterance, " ".join(WORDS.split()[:count]), count == 10))

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None: ...

    def abandon(self, utterance: int | None = None) -> None: ...

    def close(self) -> None: ...


def test_what_a_recogniser_understood_is_not_told_shorter_by_one_who_hears_it_again() -> None:
    async def scenario() -> None:
        first = EchoSTT(text=WORDS, faults=[ScriptedFault(kind="stall", item=LAST)])
        caller = Caller(first, SlowToHearAgain())
        await eight_seconds(caller)
        await asyncio.sleep(2.0)
        assert partials(caller)[-1] == WORDS and not caller.finals
        await asyncio.sleep(3.0)
        assert caller.finals == {1: WORDS}
        caller.stream.close()

    run_virtual(scenario())


def test_the_first_words_of_what_is_heard_again_are_not_told_as_if_they_were_all() -> None:
    async def scenario() -> None:
        caller = Caller(EchoSTT(faults=[SILENCE]), SlowToHearAgain())
        await eight_seconds(caller)
        await asyncio.sleep(2.0)
        assert partials(caller) == [] and caller.finals == {}
        await asyncio.sleep(3.0)
        assert caller.finals == {1: WORDS}
        caller.stream.close()

    run_virtual(scenario())


def test_a_recogniser_that_never_ends_is_given_up_though_nobody_can_take_over() -> None:
    async def scenario() -> None:
        caller = Caller(EchoSTT(faults=[ScriptedFault(kind="stall", item=LAST)]))
        caller.say(1)
        await asyncio.sleep(LAST_LIMIT_S + 3)
        assert caller.lost == [1] and caller.chain.links[0].problem
        caller.stream.close()

    run_virtual(scenario())


# --- time -----------------------------------------------------------------------------------------


def test_one_that_nobody_can_go_on_for_is_given_its_own_time_in_mid_answer() -> None:
    slow = EchoLLM(["We open at nine."], faults=[ScriptedFault(kind="slow", item=2, factor=400)])
    slow.token_ms = 10
    text, took_s = seconds(said(llm(slow, QUOTER)))
    assert text == "We open at nine." and took_s > 8


def test_the_last_of_a_chain_is_asked_however_long_the_others_hung() -> None:
    hung = [EchoLLM(faults=[ScriptedFault(kind="stall", item=3)]) for _ in range(2)]
    third = EchoLLM(["nine."], first_token_ms=8000)
    text, _ = seconds(said(llm(*hung, third, attempt_s=2.5)))
    assert text.endswith("nine.")


def test_a_small_request_that_succeeds_does_not_make_up_for_large_ones_that_fail() -> None:
    chain = llm(EchoLLM(), EchoLLM())
    error = ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token")
    link = chain.links[0]

    async def scenario() -> None:
        for _ in range(FAILURES):
            link.failed(error, link.breaker.enter(now()), now())
            link.check_succeeded(now())
            assert link.problem == "no token"
        await asyncio.sleep(PAUSE_S - 0.1)
        link.check_succeeded(now())
        assert not link.breaker.admits(now())
        await asyncio.sleep(0.2)
        link.check_succeeded(now())
        assert link.breaker.admits(now()) and not link.problem

    run_virtual(scenario())


def test_a_success_of_before_it_opened_does_not_hide_that_a_breaker_is_open() -> None:
    link = llm(EchoLLM(), EchoLLM()).links[0]
    long = link.breaker.enter(0.0)
    for second in range(FAILURES):
        error = ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token")
        link.failed(error, link.breaker.enter(second), second)
    link.succeeded(long, FAILURES)
    assert link.problem == "no token" and not link.breaker.admits(FAILURES)


def test_pings_between_failures_do_not_make_them_forgotten() -> None:
    link = llm(EchoLLM(), EchoLLM()).links[0]
    for at in (0.0, 1.0, 2.0, 3.0, 14.0):
        error = ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token")
        link.check_succeeded(at - 0.5)
        link.failed(error, link.breaker.enter(at), at)
    assert not link.breaker.admits(14.0)


def test_a_failure_that_a_check_only_tells_again_does_not_open_a_breaker() -> None:
    link = llm(EchoLLM(), EchoLLM()).links[0]
    told = ProviderError(Slot.LLM, "echo", Fault.BROKEN, "HTTP 500")
    for at in range(2 * FAILURES):
        link.check_failed(told, at)
    assert link.breaker.admits(2 * FAILURES) and link.problem == "HTTP 500"


@pytest.mark.parametrize("others", [0, 1])
def test_only_where_nobody_else_is_left_one_that_a_small_request_found_well_is_asked(
    others: int,
) -> None:
    first = EchoLLM(["Back."] * 20, faults=[DOWN])
    chain = llm(first, *[EchoLLM(["x"] * 20)] * others)

    async def scenario() -> None:
        for _ in range(FAILURES):
            with contextlib.suppress(ProviderError):
                await said(chain)
            await asyncio.sleep(DOUBT_S)
        first.faults.set()
        chain.links[0].check_succeeded(now())
        assert await said(chain) == ("x" if others else "Back.")

    run_virtual(scenario())


def test_what_only_small_requests_found_wrong_one_of_them_takes_back_at_once() -> None:
    link = llm(EchoLLM(), EchoLLM()).links[0]
    for second in range(FAILURES):
        link.check_failed(ProviderError(Slot.LLM, "echo", Fault.UNREACHABLE, "refused"), second)
    assert not link.breaker.admits(FAILURES)
    link.check_succeeded(FAILURES)
    assert link.breaker.admits(FAILURES) and not link.problem


def test_a_chain_starts_if_one_can_and_the_others_are_known_not_to_have() -> None:
    class Absent(EchoLLM):
        async def start(self) -> None:
            raise ProviderError(Slot.LLM, "echo", Fault.UNREACHABLE, "not there yet")

    chain = llm(Absent(), EchoLLM())
    run_virtual(chain.start())
    assert [link.started for link in chain.links] == [False, True]
    assert chain.links[0].problem == "not there yet"
    with pytest.raises(ProviderError, match="not there yet"):
        run_virtual(llm(Absent(), Absent()).start())


def test_the_log_names_the_call_whose_answer_another_gives() -> None:
    async def scenario() -> None:
        with of_call({"session": "sess_7", "turn": 3}):
            await said(llm(EchoLLM(faults=[DOWN]), EchoLLM()))

    with structlog.testing.capture_logs() as lines:
        run_virtual(scenario())
    told = {line["event"]: (line.get("session"), line.get("turn")) for line in lines}
    assert told == {"provider_failed": ("sess_7", 3), "fell_back": ("sess_7", 3)}


def test_who_served_a_request_of_before_the_repair_stands_in_no_longer() -> None:
    """An utterance that outlasted the repair kept /ready degraded for 5 s behind its end."""
    chain = llm(EchoLLM(), EchoLLM())
    first, other = chain.links
    first.check_failed(ProviderError(Slot.LLM, "echo", Fault.UNREACHABLE, "refused"), now=1.0)
    chain.now = lambda: 2.0
    chain.served_by(other)
    assert chain.stand_in
    chain.now = lambda: 20.0
    first.check_succeeded(now=20.0)
    with structlog.testing.capture_logs() as lines:
        chain.served_by(other)
    assert not chain.stand_in and chain.fallback_count == 2
    assert [line["problem"] for line in lines] == ["refused (well again)"]


def test_a_recogniser_that_fails_while_it_is_being_told_is_passed_over_once() -> None:
    class Prompt(EchoSTT):
        """Fails in the middle of `begin`."""

        def open(self, sink: Any, **kind: Any) -> Any:
            stream, begin = super().open(sink, **kind), None
            begin = stream.begin

            def failing(utterance: int) -> None:
                begin(utterance)
                error = ProviderError(Slot.STT, "echo", Fault.CRASHED, "gone")
                sink(SttFailure(utterance=utterance, error=error))

            stream.begin = failing  # type: ignore[method-assign]
            return stream

    async def scenario() -> None:
        second = EchoSTT(text="heard once")
        caller = Caller(EchoSTT(faults=[ScriptedFault(kind="fail", item=1)]), Prompt(), second)
        caller.say(1)
        await asyncio.sleep(2.0)
        assert caller.finals == {1: "heard once"} and caller.lost == []
        caller.stream.close()

    run_virtual(scenario())


def test_one_in_the_middle_of_a_call_is_given_its_own_time_since_nobody_can_go_on() -> None:
    call = Reply(tool_calls=(ToolCall("call_1", "look_up", '{"a": 1}'),))
    first = EchoLLM([call], faults=[ScriptedFault(kind="slow", item=1, factor=400)])
    first.token_ms = 10
    _, took_s = seconds(said(llm(first, EchoLLM())))
    assert took_s > 2.5
