"""The promises of `ping`, kept by every voice that has one."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mocks.clock import Sockets, now, run_virtual
from mocks.serve_tts import TtsFault, TtsServer
from providers.base import Fault, NoNews, ProviderError
from providers.tts_espeak import EspeakTTS
from providers.tts_fish import FishTTS
from providers.tts_sherpa import SherpaTTS
from providers.tts_speech_api import SpeechApiTTS
from tests.providers import tiny_voice
from tests.providers.voices import (
    KEY,
    Answer,
    BadServer,
    cancel,
    fish,
    open_files,
    say,
    say_again,
    speech,
    until,
    with_server,
    with_servers,
)

LIMIT_S = 1.0
REMOTE = pytest.mark.parametrize("serve", [fish, speech])
Serve = Callable[..., TtsServer]


async def pinged(tts: Any) -> None:
    assert tts.ping is not None
    await tts.ping()


async def no_news(asking: Any) -> None:
    with pytest.raises(NoNews):
        await asking


async def ping_error(tts: Any) -> ProviderError:
    began = now()
    with pytest.raises(ProviderError) as caught:
        await pinged(tts)
    assert now() - began < LIMIT_S
    return caught.value


# --- servers --------------------------------------------------------------------------------------


@REMOTE
def test_a_server_that_lives_is_asked_nothing_that_costs_it_something(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        for _ in range(3):
            await pinged(tts)
        assert server.requests == 0 and server.pings

    server = serve()
    with_server(server, work)


@REMOTE
@pytest.mark.parametrize(
    ("answer", "fault"),
    [("hang", Fault.TIMEOUT), ("reset", Fault.UNREACHABLE), ("nonsense", Fault.UNREACHABLE)],
)
def test_a_server_that_is_none_is_an_error_in_time(
    serve: Serve, answer: Answer, fault: Fault
) -> None:
    async def main() -> ProviderError:
        async with BadServer(answer) as url:
            tts = FishTTS([url]) if serve is fish else SpeechApiTTS(url)
            try:
                return await ping_error(tts)
            finally:
                await tts.aclose()

    error = run_virtual(main(), sockets=Sockets.OURS)
    assert error.fault in (fault, Fault.BROKEN) and "TTS_ENDPOINT" in str(error)


@REMOTE
def test_a_server_that_refuses_is_missed_at_once_and_found_again(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await pinged(tts)
        await server.refuse()
        error = await ping_error(tts)
        assert error.fault is Fault.UNREACHABLE and "TTS_ENDPOINT" in str(error)
        await server.reopen()
        await pinged(tts)

    server = serve()
    with_server(server, work)


@REMOTE
def test_a_server_that_says_it_is_not_well_is_believed(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await tts.check()
        server.is_healthy = False
        await ping_error_within(tts, 3)
        server.is_healthy = True
        await pinged(tts)

    async def ping_error_within(tts: Any, pings: int) -> None:
        """A client may have to find out first by which path the server tells."""
        for _ in range(pings - 1):
            try:
                await pinged(tts)
            except ProviderError as error:
                assert "503" in str(error)
                return
        assert "503" in str(await ping_error(tts))

    server = serve()
    with_server(server, work)


@REMOTE
def test_a_server_busy_with_our_own_request_has_an_excuse(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await pinged(tts)
        speaking = asyncio.create_task(say(tts))
        await until(lambda: server.running == 1)
        server.faults = (TtsFault(kind="hang", request=0),)  # nothing else is answered
        for _ in range(3):
            await no_news(pinged(tts))
        server.faults = ()
        assert await speaking

    server = serve(latency_ms=4500)
    with_server(server, work)


@REMOTE
def test_a_check_is_excused_too_while_our_own_request_runs(serve: Serve) -> None:
    async def main() -> None:
        async with BadServer("hang") as url:
            tts = FishTTS([url]) if serve is fish else SpeechApiTTS(url)
            speaking = asyncio.create_task(say(tts))
            await asyncio.sleep(0.1)
            await no_news(tts.check())
            await cancel(speaking)
            await tts.aclose()

    run_virtual(main(), sockets=Sockets.OURS)


def test_while_fish_hangs_no_question_of_ours_finds_it_well() -> None:
    """ping fails ─▶ a caller's clause waits, and is cut off ─▶ pings and checks have no news"""

    async def work(tts: FishTTS) -> None:
        await tts.check()
        server.faults = (TtsFault(kind="hang", request=0),)
        assert (await ping_error(tts)).fault is Fault.TIMEOUT
        well = 0
        for _ in range(3):
            speaking = asyncio.create_task(say(tts))
            await asyncio.sleep(0.5)
            well += await is_well(tts.ping) + await is_well(tts.check)
            await cancel(speaking)
            for _ in range(4):
                well += await is_well(tts.ping) + await is_well(tts.check)
        assert not well
        server.faults = ()
        await asyncio.sleep(10.0)
        await tts.ping()

    server = fish()
    with_server(server, work)


async def is_well(asked: Callable[[], Any]) -> bool:
    try:
        await asked()
    except (NoNews, ProviderError):
        return False
    return True


def test_a_clause_that_was_cut_off_excuses_fish_while_it_runs_on() -> None:
    async def work(tts: FishTTS) -> None:
        await say(tts)
        server.latency_ms = 4000
        speaking = asyncio.create_task(say(tts))
        await until(lambda: server.generating == 1)
        await cancel(speaking)
        news = []
        while server.generating:
            try:
                await tts.ping()
                news.append(True)
            except NoNews:
                news.append(False)
            await asyncio.sleep(1.0)
        assert len(news) >= 3 and not any(news[:-1])  # it may end while the last one waits

    server = fish(latency_ms=1000)
    with_server(server, work)


@REMOTE
def test_two_hundred_pings_leave_nothing(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await tts.check()
        for _ in range(3):
            await pinged(tts)
        files, tasks, connections = open_files(), len(asyncio.all_tasks()), server.connections
        for _ in range(200):
            await pinged(tts)
        assert open_files() <= files and len(asyncio.all_tasks()) <= tasks
        assert server.connections == connections <= 2
        await tts.aclose()
        await until(lambda: server.connections == 0)

    server = serve()
    with_server(server, work)


@REMOTE
def test_two_hundred_pings_that_fail_leave_nothing(serve: Serve) -> None:
    async def main() -> None:
        async with BadServer("reset") as url:
            tts = FishTTS([url]) if serve is fish else SpeechApiTTS(url)
            await ping_error(tts)
            files, tasks = open_files(), len(asyncio.all_tasks())
            for _ in range(200):
                await ping_error(tts)
            await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
            await tts.aclose()

    run_virtual(main(), sockets=Sockets.OURS)


def test_fish_that_hangs_under_a_clause_is_doubted_before_any_limit_has_run_out() -> None:
    """Each clause takes 0.5 s.

    well                 0.0 ──▶ a ping answered, the last one
    hangs         0.0
    a clause      0.3            keeps the next ping away
    doubted       1.1            after 0.8 s, where `first_audio_s` would say 5 s
    well again    2.0 ──▶ heard: no doubt is left
    """

    async def work(tts: FishTTS) -> None:
        for _ in range(3):
            await say(tts)
            assert not tts.doubt
        await tts.ping()
        server.latency_ms, began = 1700, now()
        await asyncio.sleep(0.3)
        speaking = asyncio.create_task(say(tts))
        await until(lambda: bool(tts.doubt))
        assert 1.05 < now() - began < 1.15 and server.url in tts.doubt
        assert await speaking and not tts.doubt

    server = fish(latency_ms=500)
    with_server(server, work)


def test_fish_that_hangs_and_is_cut_off_is_doubted_until_it_answers() -> None:
    async def work(tts: FishTTS) -> None:
        await say(tts)
        server.faults = (TtsFault(kind="hang", request=0),)
        speaking = asyncio.create_task(say(tts))
        await asyncio.sleep(0.4)
        await cancel(speaking)
        await until(lambda: bool(tts.doubt))
        server.faults = ()
        await asyncio.sleep(5.0)
        await tts.ping()
        assert not tts.doubt

    server = fish(latency_ms=100)
    with_server(server, work)


def test_clauses_of_all_lengths_at_a_steady_server_raise_no_doubt() -> None:
    async def work(tts: FishTTS) -> None:
        doubts = []
        for words in (3, 12, 1, 40, 7, 2, 25, 9, 1, 30):
            speaking = asyncio.create_task(say(tts, "open " * words))
            while not speaking.done():
                await asyncio.sleep(0.05)
                doubts.append(tts.doubt)
        assert len(doubts) > 30 and not any(doubts)

    server = fish(latency_ms=150, rtf=0.3)
    with_server(server, work)


@pytest.mark.parametrize(("latency_ms", "rtf"), [(400, 0.05), (100, 0.1)])
def test_a_cut_in_raises_no_doubt_of_a_server_that_is_well(latency_ms: int, rtf: float) -> None:
    """Its speed is told badly at first: it was doubted for seconds, in which nobody asked it."""

    async def work(tts: FishTTS) -> None:
        for words in (3, 3, 30, 3, 3, 3):
            await say(tts, "open " * words)
        speaking = asyncio.create_task(say(tts, "open " * 30))
        await asyncio.sleep(0.1)
        await cancel(speaking)
        for _ in range(30):
            await asyncio.sleep(0.2)
            with contextlib.suppress(NoNews):
                await tts.ping()
            assert not tts.doubt

    server = fish(latency_ms=latency_ms, rtf=rtf)
    with_server(server, work)


# --- several of Fish's ----------------------------------------------------------------------------


def test_one_dead_of_several_is_no_error_and_is_asked_for_nothing_more() -> None:
    async def main() -> None:
        bad = BadServer("reset")
        async with bad as url, fish(latency_ms=200) as good:
            tts = FishTTS([url, good.url])
            await tts.ping()
            pings = bad.connections
            await asyncio.gather(*(say(tts) for _ in range(6)))
            assert good.requests == 6 and bad.connections == pings > 0
            await tts.aclose()

    run_virtual(main(), sockets=Sockets.OURS)


def test_one_that_came_back_is_asked_again() -> None:
    async def work(tts: FishTTS) -> None:
        await servers[0].refuse()
        await tts.ping()
        await say(tts)
        await servers[0].reopen()
        await tts.ping()
        await asyncio.gather(*(say(tts) for _ in range(6)))
        assert [server.requests for server in servers] == [3, 4]

    servers = [fish(), fish()]
    with_servers(servers, work)


def test_all_dead_of_several_is_an_error() -> None:
    async def work(tts: FishTTS) -> None:
        for server in servers:
            await server.refuse()
        assert (await ping_error(tts)).fault is Fault.UNREACHABLE

    servers = [fish(), fish()]
    with_servers(servers, work)


def test_one_dead_and_one_at_work_is_no_error_nor_a_proof_of_health() -> None:
    async def work(tts: FishTTS) -> None:
        speaking = asyncio.create_task(say(tts))
        await until(lambda: servers[0].generating == 1)
        await servers[1].refuse()
        await no_news(tts.ping())
        assert await speaking
        speaking = asyncio.create_task(say(tts))
        await until(lambda: servers[0].generating == 1)
        await tts.ping()  # it has spoken since
        assert await speaking

    servers = [fish(latency_ms=3000), fish()]
    with_servers(servers, work)


# --- who is not asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "key", "paid", "is_pinged"),
    [
        ("https://api.openai.com/v1", KEY, None, False),
        ("http://gpu:8091", KEY, None, True),
        ("https://tts.lan/v1", KEY, None, True),
        ("https://tts.example.com/v1", "", None, True),
        ("https://tts.example.com/v1", KEY, False, True),
        ("http://gpu:8091", "", True, False),
    ],
)
def test_a_service_that_is_paid_for_is_not_pinged_and_seldom_checked(
    endpoint: str, key: str, paid: bool | None, is_pinged: bool
) -> None:
    tts = SpeechApiTTS(endpoint, api_key=key, paid=paid)
    assert (tts.ping is not None) == is_pinged
    assert tts.check_every_s == (30.0 if is_pinged else 300.0)


# --- processes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voice.write(tmp_path_factory.mktemp("tiny"))


@pytest.mark.real_time
def test_a_voice_in_a_process_is_missed_when_it_dies_and_found_again(model: Path) -> None:
    async def main() -> None:
        tts = SherpaTTS(model)
        with pytest.raises(ProviderError, match=r"call start\(\)"):
            await tts.ping()
        await tts.start()
        files, tasks = open_files(), len(asyncio.all_tasks())
        async with aclosing(tts.stream("one two three four. " * 4)) as events:
            await anext(events)
            for _ in range(200):
                await tts.ping()
        await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
        assert tts._process.pid is not None
        os.kill(tts._process.pid, signal.SIGKILL)
        await until(lambda: tts.restarts == 1)
        with pytest.raises(ProviderError, match="died and is not up again") as caught:
            await tts.ping()
        assert caught.value.fault is Fault.CRASHED
        assert await say_again(tts)
        await tts.ping()
        await tts.aclose()

    asyncio.run(main())


def test_espeak_has_no_process_that_could_die() -> None:
    assert EspeakTTS().ping is None
