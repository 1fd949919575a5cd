import asyncio
from contextlib import aclosing

import pytest

from mocks.clock import now, run_virtual
from mocks.faults import LAST, ScriptedFault
from mocks.llm import EchoLLM, Reply, tokens
from providers.base import (
    Fault,
    Finish,
    LLMEvent,
    LLMRequest,
    Message,
    ProviderError,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)

QUESTION = LLMRequest(messages=(Message(role="user", content="When do you open?"),))


async def timed(llm: EchoLLM, request: LLMRequest = QUESTION) -> list[tuple[int, LLMEvent]]:
    """Every event with the millisecond it came at."""
    began = now()
    async with aclosing(llm.stream(request)) as events:
        return [(round((now() - began) * 1000), event) async for event in events]


def text_of(events: list[tuple[int, LLMEvent]]) -> str:
    return "".join(event.text for _, event in events if isinstance(event, TextDelta))


def test_it_repeats_the_question_token_by_token_on_schedule() -> None:
    events = run_virtual(timed(EchoLLM()))
    assert text_of(events) == "You said: When do you open."
    assert [at for at, _ in events] == [50, 60, 70, 80, 90, 100, 110, 120, 120]
    assert isinstance(events[-1][1], Finish)


def test_scripted_replies_come_in_order_and_then_the_echo() -> None:
    async def main() -> list[str]:
        llm = EchoLLM(["One.", Reply(text="Two.")])
        return [text_of(await timed(llm)) for _ in range(3)]

    assert run_virtual(main()) == ["One.", "Two.", "You said: When do you open."]


def test_a_scripted_tool_call_names_itself_once_and_finishes_as_one() -> None:
    call = ToolCall(call_id="call_1", name="book", arguments='{"day": "Monday"}')
    events = run_virtual(timed(EchoLLM([Reply(tool_calls=(call,))])))
    deltas = [event for _, event in events if isinstance(event, ToolCallDelta)]
    assert (deltas[0].call_id, deltas[0].name) == ("call_1", "book")
    assert all(not delta.name for delta in deltas[1:])
    assert "".join(delta.arguments for delta in deltas) == call.arguments
    last = events[-1][1]
    assert isinstance(last, Finish) and last.reason == "tool_calls"


def test_reasoning_takes_time_and_is_not_heard() -> None:
    events = run_virtual(timed(EchoLLM([Reply(text="Yes.", reasoning="Let me think")])))
    assert text_of(events) == "Yes."
    assert events[0][0] == 80


def test_a_slow_reader_finds_the_next_tokens_waiting() -> None:
    async def main() -> float:
        async with aclosing(EchoLLM().stream(QUESTION)) as events:
            await anext(events)
            await asyncio.sleep(1)
            before = now()
            async for _ in events:
                pass
            return now() - before

    assert run_virtual(main()) == 0


def test_closing_it_early_counts_as_aborted() -> None:
    async def main() -> EchoLLM:
        llm = EchoLLM()
        async with aclosing(llm.stream(QUESTION)) as events:
            await anext(events)
            assert llm.running == 1
        return llm

    llm = run_virtual(main())
    assert (llm.running, llm.aborted, llm.finished) == (0, 1, 0)


def test_max_tokens_cuts_the_answer_and_says_so() -> None:
    request = LLMRequest(messages=QUESTION.messages, max_tokens=2)
    events = run_virtual(timed(EchoLLM(), request))
    assert text_of(events) == "You said"
    last = events[-1][1]
    assert isinstance(last, Finish) and last.reason == "length" and last.usage.output_tokens == 2


def test_a_scripted_failure_comes_at_its_request_and_token() -> None:
    fault = ScriptedFault(kind="fail", request=2, item=3, fault=Fault.OVERLOADED)

    async def main() -> list[str]:
        llm = EchoLLM(faults=[fault])
        await timed(llm)
        heard = []
        with pytest.raises(ProviderError) as caught:
            async for event in llm.stream(QUESTION):
                assert isinstance(event, TextDelta)
                heard.append(event.text)
        assert caught.value.fault is Fault.OVERLOADED
        assert (llm.running, llm.aborted) == (0, 0)
        await timed(llm)
        return heard

    assert run_virtual(main()) == ["You", " said", ":"]


def test_a_stall_hangs_until_it_is_cancelled() -> None:
    async def main() -> float:
        llm = EchoLLM(faults=[ScriptedFault(kind="stall", item=1)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await timed(llm)
        assert (llm.running, llm.aborted) == (0, 1)
        return now()

    assert run_virtual(main()) == pytest.approx(100)


def test_a_cut_stream_ends_without_a_finish() -> None:
    events = run_virtual(timed(EchoLLM(faults=[ScriptedFault(kind="cut", item=LAST)])))
    assert all(isinstance(event, TextDelta) for _, event in events)


def test_slow_stretches_everything_from_its_item_on() -> None:
    fault = ScriptedFault(kind="slow", item=1, factor=10)
    events = run_virtual(timed(EchoLLM(faults=[fault])))
    assert [at for at, _ in events][:3] == [50, 150, 250]


def test_jitter_only_adds_and_repeats_with_its_seed() -> None:
    runs = [run_virtual(timed(EchoLLM(jitter_ms=30, seed=seed))) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0][0] >= 50


def test_tokens_joined_are_the_text() -> None:
    for text in ["It's 3.50 €, isn't it?", "九時から八時まで開いています。", " a\n\nb "]:
        assert "".join(tokens(text)) == text


def test_check_fails_while_the_next_request_would() -> None:
    llm = EchoLLM(faults=[ScriptedFault(kind="fail", request=0, fault=Fault.UNREACHABLE)])
    with pytest.raises(ProviderError):
        asyncio.run(llm.check())
    llm.faults.set()
    asyncio.run(llm.check())
