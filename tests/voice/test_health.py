"""The watch over the providers: what fails is told within seconds, what recovers too."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import structlog

from mocks.clock import VirtualLoop, now, run_virtual
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.serve_tts import FishServer, TtsFault
from mocks.tts import ToneTTS
from providers.base import (
    Fault,
    LLMEvent,
    LLMRequest,
    NoNews,
    Provider,
    ProviderError,
    Slot,
    TextDelta,
)
from providers.tts_fish import PING_EVERY_S, FishTTS
from tests.providers.voices import cancel, say, until, with_server
from voice.chain_llm import ChainLLM
from voice.chain_tts import ChainTTS
from voice.health import CHECK_AGAIN_S, CHECK_EVERY_S, Watch, without_addresses
from voice.patience import Patience

DOWN = ScriptedFault(kind="fail", request=0, fault=Fault.UNREACHABLE, message="connection refused")


def watch(llm: Any) -> Watch:
    providers: dict[str, Provider] = {"llm": llm, "tts": ToneTTS()}
    return Watch(providers)


def test_a_provider_that_goes_down_is_named_and_forgotten_once_it_is_back() -> None:
    async def scenario() -> None:
        llm = EchoLLM()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(1)
        assert watched.statuses()["llm"].healthy
        llm.faults.set(DOWN)
        await asyncio.sleep(CHECK_EVERY_S)
        status = watched.statuses()["llm"]
        assert not status.healthy and "connection refused" in status.problem
        assert any("llm: echo: connection refused" in warning for warning in watched.warnings())
        assert watched.statuses()["tts"].healthy
        llm.faults.set()
        await asyncio.sleep(CHECK_AGAIN_S + 0.1)
        assert watched.statuses()["llm"].healthy
        await watched.aclose()

    run_virtual(scenario())


def test_what_a_call_met_is_told_without_waiting_for_a_check() -> None:
    watched = watch(EchoLLM())
    watched.failed("llm", ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token for 5 s"))
    assert watched.statuses()["llm"].problem == "no token for 5 s"


def test_what_a_call_met_is_taken_back_soon_after_the_repair() -> None:
    async def scenario() -> None:
        watched = watch(EchoLLM())
        watched.start()
        await asyncio.sleep(1)
        watched.failed("llm", ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no token for 5 s"))
        await asyncio.sleep(15)
        assert watched.statuses()["llm"].healthy, "told for longer than 15 s after the repair"
        await watched.aclose()

    run_virtual(scenario())


def test_a_check_that_hangs_or_breaks_does_not_end_the_watch() -> None:
    class Hanging(EchoLLM):
        async def check(self) -> None:
            await asyncio.sleep(3600)

    class Broken(ToneTTS):
        async def check(self) -> None:
            raise KeyError("ours")

    async def scenario() -> None:
        watched = Watch({"llm": Hanging(), "tts": Broken()})
        watched.start()
        await asyncio.sleep(20)
        statuses = watched.statuses()
        assert "longer than 10 s" in statuses["llm"].problem
        assert "KeyError" in statuses["tts"].problem
        await watched.aclose()

    run_virtual(scenario())


def chained(*providers: Any) -> ChainLLM:
    return ChainLLM(
        providers,
        now=lambda: asyncio.get_running_loop().time(),
        patience=Patience(Slot.LLM, "token", 10.0, 5.0),
        attempt_s=2,
        continues=bool,
    )


def test_of_a_chain_every_link_is_asked_and_shown() -> None:
    async def scenario() -> None:
        first, second = EchoLLM(), EchoLLM()
        watched = watch(chained(first, second))
        watched.start()
        await asyncio.sleep(1)
        second.faults.set(DOWN)
        await asyncio.sleep(CHECK_EVERY_S)
        status = watched.statuses()["llm"]
        assert status.healthy and [one.healthy for one in status.fallbacks] == [False]
        await watched.aclose()

    run_virtual(scenario())


def test_a_fallback_is_counted_for_good_and_warned_of_for_a_while() -> None:
    async def scenario() -> None:
        first = EchoLLM()
        chain = chained(first, EchoLLM())
        watched = watch(chain)
        chain.on_failed = lambda link, error: watched.link_failed(link)
        watched.start()
        await asyncio.sleep(1)
        first.faults.set(DOWN)
        async for _ in chain.stream(LLMRequest(messages=(), question="hello")):
            pass
        assert watched.statuses()["llm"].fallback_count == 1
        assert "llm: in-process stands in for echo" in watched.warnings()
        first.faults.set()
        await asyncio.sleep(15)
        assert [w for w in watched.warnings() if "mock" not in w] == []
        assert watched.statuses()["llm"].fallback_count == 1
        await watched.aclose()

    run_virtual(scenario())


class Hanging(EchoLLM):
    """From some moment on it answers nothing, and a ping gives up after 0.9 s."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = asyncio.Event()
        self.alive.set()

    async def check(self) -> None:
        await asyncio.sleep(0.4)
        await self.alive.wait()

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(0.9):
                await self.alive.wait()
        except TimeoutError:
            raise ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "it hangs") from None


def test_one_that_comes_to_hang_in_the_middle_of_a_check_is_named_before_the_checks_limit() -> None:
    async def scenario() -> None:
        llm = Hanging()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(0.4 + CHECK_EVERY_S + 0.2)
        llm.alive.clear()
        await asyncio.sleep(2)
        assert watched.statuses()["llm"].problem == "it hangs"
        llm.alive.set()
        await asyncio.sleep(0.1)
        assert watched.statuses()["llm"].healthy, "the check had its answer"
        await watched.aclose()

    run_virtual(scenario())


def test_while_one_that_hangs_is_asked_again_no_caller_waits_to_find_out_too() -> None:
    """Every small request has its own limit, which is longer than one failure is held against it.

    hangs    ping fails, 1.9 s                  …          answers
    |------------|--- 2 s ---|== check 2 s ==|--- 2 s ---|==== … |
                 ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^ ^  questions: the other one answers, at once
    """

    class Server(Hanging):
        async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
            await self.alive.wait()
            async with contextlib.aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event

        async def check(self) -> None:
            try:
                async with asyncio.timeout(2):
                    await self.alive.wait()
            except TimeoutError:
                raise ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "no list") from None

    async def answered_by(chain: ChainLLM) -> str:
        events = chain.stream(LLMRequest(messages=(), question="hello"))
        async with contextlib.aclosing(events):
            texts = [event.text async for event in events if isinstance(event, TextDelta)]
        return "".join(texts)

    async def scenario() -> None:
        first, second = Server(), EchoLLM(["The other."] * 40)
        chain = chained(first, second)
        watched = watch(chain)
        watched.start()
        await asyncio.sleep(5)
        first.alive.clear()
        await asyncio.sleep(2)
        loop = asyncio.get_running_loop()
        for _ in range(30):
            began = loop.time()
            assert await answered_by(chain) == "The other."
            assert loop.time() - began < 1.0, f"a caller waited {loop.time() - began:.1f} s"
            await asyncio.sleep(0.3)
        first.alive.set()
        await asyncio.sleep(CHECK_AGAIN_S + 0.1)
        assert watched.statuses()["llm"].healthy and "hello" in await answered_by(chain)
        await watched.aclose()

    run_virtual(scenario())


def test_a_ping_beside_a_check_takes_back_nothing_that_a_call_has_met() -> None:
    class Slow(Hanging):
        async def check(self) -> None:
            await asyncio.sleep(3)

    async def scenario() -> None:
        watched = watch(Slow())
        watched.start()
        await asyncio.sleep(0.5)
        watched.failed("llm", ProviderError(Slot.LLM, "echo", Fault.BROKEN, "no sense in it"))
        await asyncio.sleep(2)
        assert watched.statuses()["llm"].problem == "no sense in it"
        await asyncio.sleep(1)
        assert watched.statuses()["llm"].healthy, "as the check found"
        await watched.aclose()

    run_virtual(scenario())


def test_a_death_in_silence_is_told_within_two_seconds_where_a_ping_costs_nothing() -> None:
    class Pinged(EchoLLM):
        async def ping(self) -> None:
            self.faults.check()

    async def scenario() -> None:
        llm = Pinged()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(10)
        llm.faults.set(DOWN)
        await asyncio.sleep(2)
        assert not watched.statuses()["llm"].healthy
        await watched.aclose()

    run_virtual(scenario())


def test_one_that_could_not_be_started_with_the_server_is_started_once_it_can() -> None:
    class Late(EchoLLM):
        starts = 0
        there = False

        async def start(self) -> None:
            self.starts += 1
            if not self.there:
                raise ProviderError(Slot.LLM, "echo", Fault.REFUSED, "no model in models/llm")

    async def scenario() -> None:
        late = Late()
        chain = chained(late, EchoLLM())
        await chain.start()
        watched = watch(chain)
        watched.start()
        await asyncio.sleep(5)
        assert "no model" in watched.statuses()["llm"].problem
        late.there = True
        await asyncio.sleep(CHECK_AGAIN_S + 0.1)
        assert watched.statuses()["llm"].healthy
        begun = late.starts
        await asyncio.sleep(CHECK_EVERY_S)
        assert late.starts == begun
        await watched.aclose()

    run_virtual(scenario())


def test_a_model_that_was_switched_to_is_shown_first() -> None:
    first, second = EchoLLM(), EchoLLM(["x"])
    chain = chained(first, second)
    watched = watch(chain)
    chain.prefer(second)
    second_link = chain.links[0]
    second_link.problem = "slow"
    status = watched.statuses()["llm"]
    assert status.problem == "slow" and status.fallbacks[0].problem == ""


@pytest.mark.parametrize("before_s", [0.2, 10.0, CHECK_EVERY_S + 0.6])
def test_what_is_asked_for_anew_is_looked_for_at_once(before_s: float) -> None:
    """Also if it is in the middle of a check of what was asked for before."""

    class Named(EchoLLM):
        model = "large"

        async def check(self) -> None:
            model = self.model
            await asyncio.sleep(0.4)
            if model != "large":
                raise ProviderError(Slot.LLM, "echo", Fault.REFUSED, f"no model {model}")

    async def scenario() -> None:
        llm = Named()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(before_s)
        llm.model = "lagre"
        watched.look_again("llm")
        await asyncio.sleep(1)
        assert watched.statuses()["llm"].problem == "no model lagre"
        await watched.aclose()

    run_virtual(scenario())


def stand_still(seconds: float) -> None:
    """The clock goes on, and nothing runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._advance(seconds)


class Answering(Hanging):
    """Both take as long as from a server near by, and give up as they do."""

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(0.9):
                await asyncio.sleep(0.05)
                await self.alive.wait()
        except TimeoutError:
            raise ProviderError(Slot.LLM, "echo", Fault.TIMEOUT, "it hangs") from None


@pytest.mark.parametrize("at_s", [0.05, 0.2, 0.45, 1.41, 1.44, 1.6, CHECK_EVERY_S + 0.45])
def test_who_did_not_answer_while_we_ourselves_stood_still_is_not_blamed(at_s: float) -> None:
    async def scenario() -> None:
        watched = watch(Answering())
        watched.start()
        await asyncio.sleep(at_s)
        stand_still(30)
        for _ in range(50):
            await asyncio.sleep(0.05)
            assert watched.statuses()["llm"].healthy
        await watched.aclose()

    with structlog.testing.capture_logs() as lines:
        run_virtual(scenario())
    assert lines == []


def test_who_is_resumed_a_moment_after_us_is_not_blamed() -> None:
    class Resumed(EchoLLM):
        stopped = False

        async def ping(self) -> None:
            if self.stopped:
                raise ProviderError(Slot.LLM, "echo", Fault.CRASHED, "its process is stopped")

    async def scenario() -> None:
        llm = Resumed()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(10.3)
        llm.stopped = True
        stand_still(10)
        await asyncio.sleep(0.8)
        llm.stopped = False
        await asyncio.sleep(2)
        await watched.aclose()

    with structlog.testing.capture_logs() as lines:
        run_virtual(scenario())
    assert lines == []


def test_who_is_dead_is_named_though_we_stood_still_soon_afterwards_and_again_and_again() -> None:
    async def scenario() -> None:
        llm = Answering()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(10)
        llm.alive.clear()
        stand_still(10)
        await asyncio.sleep(4)
        assert watched.statuses()["llm"].problem == "it hangs"
        await watched.aclose()

    async def shaken() -> None:
        llm = Answering()
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(10)
        llm.alive.clear()
        for _ in range(20):
            stand_still(1)
            await asyncio.sleep(0.5)
        assert watched.statuses()["llm"].problem == "it hangs"
        await watched.aclose()

    run_virtual(scenario())
    run_virtual(shaken())


def test_one_whose_checks_cost_money_is_asked_as_often_as_it_says() -> None:
    class Paid(EchoLLM):
        check_every_s = 300.0
        checks = 0

        async def check(self) -> None:
            self.checks += 1

    async def scenario() -> None:
        paid = Paid()
        watched = watch(paid)
        watched.start()
        await asyncio.sleep(700)
        assert paid.checks == 3
        await watched.aclose()

    run_virtual(scenario())


@pytest.mark.parametrize("well", [True, False])
def test_no_answer_for_a_good_reason_leaves_what_was_known(well: bool) -> None:
    class Busy(EchoLLM):
        async def check(self) -> None:
            if self.is_busy:
                raise NoNews
            await super().check()

        is_busy = False

    async def scenario() -> None:
        llm = Busy(faults=[] if well else [DOWN])
        watched = watch(llm)
        watched.start()
        await asyncio.sleep(1)
        llm.is_busy = True
        await asyncio.sleep(2 * CHECK_EVERY_S)
        assert watched.statuses()["llm"].healthy is well
        await watched.aclose()

    run_virtual(scenario())


@pytest.mark.parametrize("endpoint", ["http://10.0.0.7:8000/v1", "ws://stt.internal:6006"])
def test_strangers_learn_that_something_is_wrong_and_not_where(endpoint: str) -> None:
    body: dict[str, Any] = {
        "providers": {
            "llm": {"endpoint": endpoint, "problem": f"{endpoint} refused the connection"},
            "vad": {"endpoint": "in-process", "problem": ""},
        },
        "warnings": [
            f"llm: {endpoint} refused the connection",
            "load: level 1: partials are fewer",
        ],
    }
    told = without_addresses(body)
    assert endpoint not in str(told)
    assert told["providers"]["llm"]["problem"] == "unhealthy"
    assert told["providers"]["vad"] == {"endpoint": "in-process", "problem": ""}
    assert told["warnings"] == ["llm: see the log"]


@pytest.mark.parametrize("clause_takes_s", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("asked_after_s", [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9])
def test_a_voice_that_stops_is_named_within_2_s_whenever_a_clause_is_asked(
    clause_takes_s: float, asked_after_s: float, phase: float
) -> None:
    """Its pings wait behind the clause, and the clause may take longer than that by the settings.

    ping well, `phase` of the way to the next ─▶ it stops ─▶ a clause is asked ─▶ told
    """

    async def work(fish: FishTTS) -> None:
        patience = Patience(Slot.TTS, "audio", 5.0, 3.0)
        chain = ChainTTS([fish, ToneTTS()], now=now, patience=patience, attempt_s=1.5)
        watched = Watch({"tts": chain})
        watched.start()
        for _ in range(3):
            await say(fish)
        pings = server.pings
        await until(lambda: server.pings > pings)
        await asyncio.sleep(phase * PING_EVERY_S)
        assert not told(watched)
        server.faults, stopped_at = (TtsFault(kind="hang", request=0),), now()
        await asyncio.sleep(asked_after_s)
        speaking = asyncio.create_task(say(chain))
        await until(lambda: bool(told(watched)))
        assert now() - stopped_at <= 2.0
        await cancel(speaking)
        await watched.aclose()

    server = FishServer(latency_ms=1000 * clause_takes_s)
    with_server(server, work)


def told(watched: Watch) -> list[str]:
    return [one for one in watched.warnings() if "is a mock" not in one]
