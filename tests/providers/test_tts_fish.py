import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from mocks.clock import now
from mocks.serve_tts import FISH_RATE_HZ, FaultKind, FishServer, TtsFault, audio_of
from providers.base import Fault, ProviderError
from providers.tts_fish import FishTTS, Reference
from tests.providers.voices import (
    TEXT,
    Work,
    cancel,
    fish,
    say,
    until,
    with_server,
    with_servers,
)

VOICE = Reference(audio=bytes(range(256)) * 4, text="This is me.")


def failure(server: FishServer, work: Work) -> ProviderError:
    """The error a clause ends in."""
    with pytest.raises(ProviderError) as caught:
        with_server(server, work, first_audio_s=0.4, audio_gap_s=0.2)
    return caught.value


# --- the request and the audio --------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("kind", ["plain", "wav"])
def test_the_samples_come_with_or_without_a_header(encoding: str, kind: FaultKind) -> None:
    faults = [TtsFault(kind="wav")] if kind == "wav" else []
    pcm = with_servers([fish(faults=faults)], say, encoding=encoding)
    assert pcm == audio_of(TEXT, FISH_RATE_HZ)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_whole_numbers_go_out_as_floats_and_references_as_they_must(encoding: str) -> None:
    server = fish()
    options = {"temperature": 1, "top_p": 1, "repetition_penalty": 1, "seed": 7}
    with_server(server, say, encoding=encoding, references=[VOICE], **options)
    body = server.bodies[0]
    assert body["text"] == TEXT and body["streaming"] is True and body["format"] == "wav"
    assert [type(body[name]) for name in ("temperature", "top_p", "repetition_penalty")] == (
        [float] * 3
    )
    assert body["seed"] == 7 and body["references"][0]["text"] == "This is me."
    assert isinstance(body["references"][0]["audio"], bytes if encoding == "msgpack" else str)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"endpoints": []}, "at least one server"),
        ({"endpoints": ["fish:8080"]}, "TTS_ENDPOINT must be like"),
        ({"endpoints": ["http://a:b@fish"]}, "set TTS_API_KEY"),
        ({"temperature": 0.0}, "temperature must be 0.1..1"),
        ({"repetition_penalty": 3.0}, "repetition_penalty must be 0.9..2"),
        ({"encoding": "json", "references": [Reference(b"x", "y")]}, "references: the audio"),
        ({"api_key": "bad key"}, "TTS_API_KEY"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        FishTTS(**{"endpoints": ["http://fish:8080"], **options})


def test_nothing_to_say_asks_nobody() -> None:
    server = fish()
    assert with_server(server, lambda tts: say(tts, "  ")) == b"" and server.requests == 0


# --- one request at a time ------------------------------------------------------------------------


def test_our_queue_gives_a_server_one_request_at_a_time_in_order() -> None:
    async def work(tts: FishTTS) -> None:
        await asyncio.gather(*(say(tts, f"Clause number {number}.") for number in range(6)))

    server = fish(latency_ms=20)
    with_server(server, work)
    assert server.most_at_once == 1
    assert [body["text"] for body in server.bodies] == [f"Clause number {n}." for n in range(6)]


def test_several_servers_work_at_the_same_time() -> None:
    async def work(tts: FishTTS) -> float:
        began = now()
        await asyncio.gather(*(say(tts) for _ in range(6)))
        return now() - began

    servers = [fish(latency_ms=100) for _ in range(3)]
    took_s = with_servers(servers, work)
    assert [server.requests for server in servers] == [2, 2, 2]
    assert [server.most_at_once for server in servers] == [1, 1, 1]
    assert took_s < 0.5


def test_a_cancelled_waiter_leaves_the_queue() -> None:
    async def work(tts: FishTTS) -> None:
        first = asyncio.create_task(say(tts))
        waiter = asyncio.create_task(say(tts, "Never said."))
        third = asyncio.create_task(say(tts, "Said."))
        await until(lambda: tts.waiting == 2)
        waiter.cancel()
        await asyncio.gather(first, third)
        assert tts.waiting == 0

    server = fish(latency_ms=50)
    with_server(server, work)
    assert [body["text"] for body in server.bodies] == [TEXT, "Said."]


def test_the_place_is_free_at_first_audio_not_when_the_caller_has_heard_it() -> None:
    async def work(tts: FishTTS) -> None:
        async with aclosing(tts.stream("A long clause. " * 10)) as events:
            await anext(events)
            assert await say(tts)

    with_server(fish(), work)


def test_after_a_cut_in_another_server_is_asked_while_the_first_runs_on() -> None:
    async def work(tts: FishTTS) -> None:
        cut = asyncio.create_task(say(tts))
        await until(lambda: servers[0].generating == 1)
        await cancel(cut)
        await say(tts)
        assert servers[0].generating == 1, "nothing stops it"
        await say(tts)
        assert [server.requests for server in servers] == [1, 2]

    servers = [fish(latency_ms=1000), fish()]
    with_servers(servers, work)


def test_with_one_server_the_next_clause_waits_behind_the_one_cut_off() -> None:
    async def work(tts: FishTTS) -> bytes:
        cut = asyncio.create_task(say(tts))
        await until(lambda: server.generating == 1)
        await cancel(cut)
        return await say(tts)

    server = fish(latency_ms=150)
    assert with_server(server, work) == audio_of(TEXT, FISH_RATE_HZ)


def test_being_late_behind_our_own_cut_off_clause_is_overload_not_a_fault() -> None:
    async def work(tts: FishTTS) -> None:
        cut = asyncio.create_task(say(tts, TEXT * 3))
        await until(lambda: server.generating == 1)
        await cancel(cut)
        await say(tts)

    server = fish(latency_ms=2000)
    error = failure(server, work)
    assert error.fault is Fault.OVERLOADED and "cut off" in str(error)


def test_a_full_queue_is_overload_and_says_what_helps() -> None:
    async def work(tts: FishTTS) -> None:
        blocked = asyncio.create_task(say(tts))
        await until(lambda: server.generating == 1)
        try:
            await say(tts)
        finally:
            await asyncio.wait([blocked])
            assert isinstance(blocked.exception(), ProviderError | None)

    server = fish(latency_ms=390)
    error = failure(server, work)
    assert error.fault is Fault.OVERLOADED and "add more addresses to TTS_ENDPOINT" in str(error)


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hang_up", "error", "busy", "html", "empty", "mp3"])
def test_what_fails_before_the_first_audio_is_said_by_another_server(kind: FaultKind) -> None:
    servers = [fish(faults=[TtsFault(kind=kind, request=0)]), fish()]
    assert with_servers(servers, say) == audio_of(TEXT, FISH_RATE_HZ)


def test_a_refusal_is_not_tried_elsewhere() -> None:
    servers = [fish(max_text_length=5), fish()]
    with pytest.raises(ProviderError, match="Text is too long, max length is 5") as caught:
        with_servers(servers, say)
    assert caught.value.fault is Fault.REFUSED and servers[1].requests == 0


def test_a_failed_server_rests_and_is_found_again_after_its_repair() -> None:
    async def work(tts: FishTTS) -> None:
        await servers[0].refuse()
        for _ in range(3):
            await say(tts)
        assert servers[1].requests == 3
        await servers[0].reopen()
        await until_asked(tts)

    async def until_asked(tts: FishTTS) -> None:
        async with asyncio.timeout(5):
            while not servers[0].requests:
                await say(tts)

    servers = [fish(latency_ms=50), fish(latency_ms=50)]
    with_servers(servers, work)
