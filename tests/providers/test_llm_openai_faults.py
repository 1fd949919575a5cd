"""Everything that can go wrong on the wire, and what the client makes of it."""

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.llm import EchoLLM
from mocks.serve_llm import LLMServer, serve_llm
from mocks.wire_faults import WireFault
from providers.base import Fault, LLMRequest, Message, ProviderError, TextDelta
from providers.llm_openai import OpenAICompatibleLLM
from tests.cancels import cancels

HELLO = LLMRequest(messages=(Message(role="user", content="When do you open?"),))
WHOLE = "You said: When do you open."


async def ask(llm: OpenAICompatibleLLM) -> tuple[str, ProviderError | None]:
    """What was said, and what ended it."""
    said = ""
    try:
        async with aclosing(llm.stream(HELLO)) as events:
            async for event in events:
                said += event.text if isinstance(event, TextDelta) else ""
    except ProviderError as error:
        return said, error
    return said, None


async def until(condition: Callable[[], bool], limit_s: float = 1.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server's counters have no event
            await asyncio.sleep(0.005)


def met(*faults: WireFault, **limits: Any) -> tuple[str, ProviderError | None, int]:
    """One question under `faults`, a second one after the repair; the first's outcome, requests."""

    async def main() -> tuple[str, ProviderError | None, int]:
        echo = EchoLLM(first_token_ms=1, token_ms=0)
        async with serve_llm(echo) as server:
            llm = OpenAICompatibleLLM(
                server.endpoint, model="mock", **{"first_token_s": 0.4, "token_gap_s": 0.3} | limits
            )
            await llm.start()
            await server.inject(*faults)
            said, error = await ask(llm)
            requests = server.requests
            await until(lambda: server.running == 0)
            await server.inject()
            assert await ask(llm) == (WHOLE, None)
            await llm.aclose()
            await until(lambda: server.connections == 0)
            return said, error, requests

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (WireFault(kind="refuse"), Fault.UNREACHABLE),
        (WireFault(kind="hang", request=0), Fault.TIMEOUT),
        (WireFault(kind="slow", request=0, delay_s=5), Fault.TIMEOUT),
        (WireFault(kind="stall", request=0), Fault.TIMEOUT),
        (WireFault(kind="drip", request=0, delay_s=1), Fault.TIMEOUT),
        (WireFault(kind="reset", request=0), Fault.BROKEN),
        (WireFault(kind="truncate", request=0), Fault.BROKEN),
        (WireFault(kind="malformed", request=0), Fault.BROKEN),
        (WireFault(kind="bad_utf8", request=0), Fault.BROKEN),
        (WireFault(kind="status", request=0, status=500), Fault.BROKEN),
        (WireFault(kind="status", request=0, status=503), Fault.OVERLOADED),
        (WireFault(kind="status", request=0, status=429, retry_after="60"), Fault.OVERLOADED),
    ],
    ids=lambda value: value.kind if isinstance(value, WireFault) else value.value,
)
def test_before_the_first_token_nothing_is_said_and_after_the_repair_all_is_well(
    fault: WireFault, expected: Fault
) -> None:
    said, error, _ = met(fault)
    assert said == "" and error is not None and error.fault is expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (WireFault(kind="stall", item=4), Fault.TIMEOUT),
        (WireFault(kind="drip", item=4, delay_s=1), Fault.TIMEOUT),
        (WireFault(kind="reset", item=4), Fault.BROKEN),
        (WireFault(kind="truncate", item=4), Fault.BROKEN),
        (WireFault(kind="malformed", item=4), Fault.BROKEN),
        (WireFault(kind="bad_utf8", item=4), Fault.BROKEN),
    ],
    ids=lambda value: value.kind if isinstance(value, WireFault) else value.value,
)
def test_in_mid_answer_what_came_stands_and_nothing_is_asked_again(
    fault: WireFault, expected: Fault
) -> None:
    said, error, requests = met(fault)
    assert said and WHOLE.startswith(said) and said != WHOLE
    assert error is not None and error.fault is expected
    assert requests == 1


@pytest.mark.parametrize("kind", ["reset", "truncate"])
@pytest.mark.parametrize("item", [0, 1])
def test_a_connection_that_breaks_before_the_first_token_is_made_anew(kind: Any, item: int) -> None:
    said, error, _ = met(WireFault(kind=kind, item=item))
    assert (said, error) == (WHOLE, None)


def test_a_slow_server_within_the_limit_is_waited_for() -> None:
    said, error, requests = met(WireFault(kind="slow", delay_s=0.2))
    assert (said, error, requests) == (WHOLE, None, 1)


@pytest.mark.parametrize("behind", ["reset", "stall"])
def test_when_all_words_came_only_the_count_of_tokens_is_lost(behind: Any) -> None:
    pieces = 1 + 8 + 1  # role, tokens, finish_reason
    said, error, requests = met(WireFault(kind=behind, item=pieces))
    assert (said, error, requests) == (WHOLE, None, 1)


def test_attempts_share_the_time_for_the_first_token() -> None:
    async def main() -> float:
        async with serve_llm(faults=[WireFault(kind="status", status=503, request=0)]) as server:
            llm = OpenAICompatibleLLM(
                server.url, model="mock", first_token_s=0.12, chance=lambda: 1
            )
            began = asyncio.get_running_loop().time()
            _, error = await ask(llm)
            await llm.aclose()
            assert error is not None and error.fault is Fault.OVERLOADED
            assert server.requests == 2  # the second pause of 0.2 s would not fit
            return asyncio.get_running_loop().time() - began

    assert run_virtual(main(), sockets=Sockets.OURS_CHATTY) < 0.3


async def one_cancelled(llm: OpenAICompatibleLLM, chance: random.Random) -> None:
    """Cancelled at any moment, or closed behind any token."""
    if chance.random() < 0.5:
        asking = asyncio.create_task(ask(llm))
        await asyncio.sleep(chance.uniform(0, 0.015))
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        return
    async with aclosing(llm.stream(HELLO)) as events:
        for _ in range(chance.randrange(6)):
            await anext(events)


@pytest.mark.cancels
def test_random_cancels_leak_nothing_and_stop_the_server_within_a_second() -> None:
    async def main(server: LLMServer) -> None:
        llm = OpenAICompatibleLLM(server.endpoint, model="mock")
        await ask(llm)
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        chance = random.Random(7)
        for _ in range(cancels(200) // 8):
            await asyncio.gather(*(one_cancelled(llm, chance) for _ in range(8)))
        await until(lambda: server.running == 0)
        assert "vllm:num_requests_running{" in await metrics(server)
        assert '"mock"} 0\n' in (await metrics(server)).splitlines(keepends=True)[0]
        assert server.aborted > cancels(200) // 10
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files + 16)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 8)  # one a kept connection
        assert await ask(llm) == (WHOLE, None)
        await llm.aclose()
        await until(lambda: server.connections == 0)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)

    async def run() -> None:
        echo = EchoLLM(first_token_ms=4, token_ms=2, jitter_ms=3)
        async with serve_llm(echo) as server:
            await main(server)

    run_virtual(run(), sockets=Sockets.OURS_CHATTY)


async def metrics(server: LLMServer) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url + "/metrics") as response,
    ):
        return await response.text()
