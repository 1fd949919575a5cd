"""What `start` and `check` of the voices over HTTP promise."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mocks.clock import now
from mocks.serve_tts import TtsFault, TtsServer
from providers.base import Fault, ProviderError
from providers.tts_fish import FishTTS
from tests.providers.voices import fish, say, speech, until, with_server, with_servers

REMOTE = pytest.mark.parametrize("serve", [fish, speech])
Serve = Callable[..., TtsServer]


async def error_of(asking: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asking
    return caught.value


# --- check ----------------------------------------------------------------------------------------


@REMOTE
def test_check_speaks_once_and_then_believes_the_traffic(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        for _ in range(3):
            await tts.check()
        assert server.requests == 1

    server = serve()
    with_server(server, work)


@REMOTE
def test_check_notices_a_server_that_went_away_at_once_and_its_return(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await tts.check()
        await server.refuse()
        assert (await error_of(tts.check())).fault is Fault.UNREACHABLE
        await server.reopen()
        await tts.check()

    server = serve()
    with_server(server, work)


@REMOTE
def test_after_a_callers_failure_check_asks_again_and_sees_the_repair(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        assert (await error_of(say(tts))).fault is Fault.BROKEN
        await tts.check()
        assert server.requests == 2

    server = serve(faults=[TtsFault(kind="silence")])
    with_server(server, work)


@REMOTE
def test_check_fails_while_the_voice_is_silent_and_asks_no_oftener_than_it_must(
    serve: Serve,
) -> None:
    async def work(tts: Any) -> None:
        for _ in range(3):
            assert "silence" in str(await error_of(tts.check()))
        assert server.requests == 1

    server = serve(faults=[TtsFault(kind="silence", request=0)])
    with_server(server, work)


def test_a_health_that_waits_for_our_own_request_is_no_fault() -> None:
    async def work(tts: FishTTS) -> None:
        await tts.check()
        speaking = asyncio.create_task(say(tts))
        await until(lambda: server.generating == 1)
        began = now()
        await tts.check()  # it spoke last
        assert now() - began < 0.1
        assert await speaking

    server = fish(latency_ms=300)
    with_server(server, work)


# --- start ----------------------------------------------------------------------------------------


@REMOTE
def test_a_first_word_that_takes_a_minute_is_waited_for_by_the_checks_and_asked_for_once(
    serve: Serve,
) -> None:
    async def work(tts: Any) -> None:
        error = await error_of(tts.start())
        assert error.fault is Fault.TIMEOUT and "first word" in str(error)
        assert now() < 10
        while now() < 59:
            assert (await error_of(tts.check())).fault is Fault.TIMEOUT
            await asyncio.sleep(2.0)
        await tts.check()
        assert now() < 70 and server.requests == 1
        server.latency_ms = 100
        assert await say(tts)

    server = serve(latency_ms=60_000)
    with_server(server, work)


@REMOTE
def test_once_it_has_spoken_a_word_may_take_no_longer_than_any_clause(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await tts.start()
        server.latency_ms = 6000
        await asyncio.sleep(31.0)
        error = await error_of(tts.check())
        assert "no audio in 5 s" in str(error) and "tts.first_audio_limit_s" in str(error)

    server = serve()
    with_server(server, work)


@REMOTE
def test_a_first_word_has_an_end_too(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        for _ in range(3):
            error = await error_of(tts.check())
        assert "no audio in 20 s" in str(error) and now() < 25

    server = serve(faults=[TtsFault(kind="hang", times=9)])
    with_server(server, work, first_word_s=20.0)


@REMOTE
def test_a_server_that_went_and_came_back_may_be_slow_with_its_first_word_again(
    serve: Serve,
) -> None:
    async def work(tts: Any) -> None:
        await tts.start()
        await server.refuse()
        await error_of(tts.check())
        server.latency_ms = 12_000
        await server.reopen()
        await asyncio.sleep(31.0)
        assert (await error_of(tts.check())).fault is Fault.TIMEOUT
        await tts.check()

    server = serve()
    with_server(server, work)


@REMOTE
def test_nobody_waits_for_a_server_that_is_not_there(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await server.refuse()
        assert (await error_of(tts.start())).fault is Fault.UNREACHABLE and now() < 0.5

    server = serve()
    with_server(server, work)


@REMOTE
def test_closing_ends_a_word_that_is_being_waited_for(serve: Serve) -> None:
    async def work(tts: Any) -> None:
        await error_of(tts.start())
        await tts.aclose()
        await until(lambda: server.running == 0)

    server = serve(latency_ms=60_000)
    with_server(server, work)


# --- voices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "known"),
    [(fish(references=["anna", "ben"]), "anna, ben"), (speech(), "vivian, ryan")],
)
def test_an_unknown_voice_is_an_error_at_start_that_names_the_known(
    server: TtsServer, known: str
) -> None:
    async def work(tts: Any) -> None:
        error = await error_of(tts.start())
        assert error.fault is Fault.REFUSED
        assert f"set TTS_VOICE to one of: {known}" in str(error)

    with_server(server, work, voice="clara")


@pytest.mark.parametrize(
    "server", [fish(references=["anna", "ben"]), speech()], ids=["fish", "speech"]
)
def test_an_unknown_voice_is_an_error_though_the_server_came_after_start(
    server: TtsServer,
) -> None:
    async def work(tts: Any) -> None:
        await server.refuse()
        assert (await error_of(tts.start())).fault is Fault.UNREACHABLE
        await server.reopen()
        assert (await error_of(tts.check())).fault is Fault.REFUSED

    with_server(server, work, voice="clara")


@pytest.mark.parametrize(
    ("server", "name", "field"),
    [(fish(references=None), "anna", "reference_id"), (speech(voices=None), "alloy", "voice")],
)
def test_a_server_without_a_list_is_trusted(server: TtsServer, name: str, field: str) -> None:
    with_server(server, lambda tts: tts.start(), voice=name)
    assert server.bodies[0][field] == name


@pytest.mark.parametrize(
    ("server", "own", "other", "field"),
    [
        (fish(references=["anna", "ben"]), "anna", "ben", "reference_id"),
        (speech(), "vivian", "ryan", "voice"),
    ],
)
def test_a_callers_voice_is_used_where_the_server_has_it(
    server: TtsServer, own: str, other: str, field: str
) -> None:
    async def work(tts: Any) -> None:
        await tts.start()
        await say(tts)
        await say(tts, voice=other)
        await say(tts, voice="alloy")

    with_server(server, work, voice=own)
    assert [body[field] for body in server.bodies] == [own, own, other, own]


def test_of_several_one_without_our_voice_is_not_used() -> None:
    async def work(tts: FishTTS) -> None:
        await tts.start()
        await asyncio.gather(*(say(tts) for _ in range(4)))
        assert servers[0].requests == 0 and servers[1].requests == 5

    servers = [fish(references=["ben"]), fish(references=["anna"])]
    with_servers(servers, work, voice="anna")
