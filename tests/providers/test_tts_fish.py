import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import pytest

from mocks.serve_tts import FISH_RATE_HZ, FaultKind, FishServer, TtsFault, audio_of
from providers.base import Fault, ProviderError, SpeechAudio
from providers.tts_fish import FishTTS, Reference

TEXT = "We open at nine, every day."
KEY = "fish-very-secret"
VOICE = Reference(audio=bytes(range(256)) * 4, text="This is me.")


def with_servers(
    servers: list[FishServer], work: Callable[[FishTTS], Awaitable[Any]], **options: Any
) -> Any:
    """What `work` makes of a client of all `servers`."""

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            tts = FishTTS([server.url for server in servers], **options)
            try:
                async with asyncio.timeout(60):
                    return await work(tts)
            finally:
                await tts.aclose()

    return asyncio.run(main())


def fish(**options: Any) -> FishServer:
    return FishServer(**{"latency_ms": 5, **options})


async def say(tts: FishTTS, text: str = TEXT, **options: Any) -> bytes:
    async with aclosing(tts.stream(text, **options)) as events:
        return b"".join([event.pcm async for event in events if isinstance(event, SpeechAudio)])


def failure(
    server: FishServer, work: Callable[[FishTTS], Awaitable[Any]] = say, **options: Any
) -> ProviderError:
    """The error a clause ends in."""
    limits = {"first_audio_s": 0.4, "audio_gap_s": 0.2}
    with pytest.raises(ProviderError) as caught:
        with_servers([server], work, **{**limits, **options})
    return caught.value


async def until(condition: Callable[[], bool], limit_s: float = 2.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server's counters have no event
            await asyncio.sleep(0.005)


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
    with_servers([server], say, encoding=encoding, references=[VOICE], **options)
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
    assert with_servers([server], lambda tts: say(tts, "  ")) == b"" and server.requests == 0


def test_a_key_opens_and_a_wrong_one_is_named_without_being_shown() -> None:
    assert with_servers([fish(api_key=KEY)], say, api_key=KEY)
    error = failure(fish(api_key="other"), api_key=KEY)
    assert error.fault is Fault.REFUSED and "TTS_API_KEY" in str(error) and KEY not in str(error)


# --- voices ---------------------------------------------------------------------------------------


def test_an_unknown_voice_is_an_error_at_start_not_another_voice() -> None:
    error = failure(fish(references=["anna", "ben"]), FishTTS.start, voice="clara")
    assert error.fault is Fault.REFUSED
    assert "TTS_VOICE" in str(error) and "anna, ben" in str(error)


def test_a_known_voice_is_used_and_a_callers_known_one_before_it() -> None:
    async def work(tts: FishTTS) -> None:
        await tts.start()
        await say(tts)
        await say(tts, voice="ben")
        await say(tts, voice="alloy")

    server = fish(references=["anna", "ben"])
    with_servers([server], work, voice="anna")
    assert [body["reference_id"] for body in server.bodies] == ["anna", "anna", "ben", "anna"]


def test_a_server_without_a_list_is_trusted() -> None:
    server = fish(references=None)
    with_servers([server], FishTTS.start, voice="anna")
    assert server.bodies[0]["reference_id"] == "anna"


# --- one request at a time ------------------------------------------------------------------------


def test_our_queue_gives_a_server_one_request_at_a_time_in_order() -> None:
    async def work(tts: FishTTS) -> None:
        await asyncio.gather(*(say(tts, f"Clause number {number}.") for number in range(6)))

    server = fish(latency_ms=20)
    with_servers([server], work)
    assert server.most_at_once == 1
    assert [body["text"] for body in server.bodies] == [f"Clause number {n}." for n in range(6)]


def test_several_servers_work_at_the_same_time() -> None:
    async def work(tts: FishTTS) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(say(tts) for _ in range(6)))
        return loop.time() - began

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
    with_servers([server], work)
    assert [body["text"] for body in server.bodies] == [TEXT, "Said."]


def test_the_place_is_free_at_first_audio_not_when_the_caller_has_heard_it() -> None:
    async def work(tts: FishTTS) -> None:
        async with aclosing(tts.stream("A long clause. " * 10)) as events:
            await anext(events)
            assert await say(tts)

    with_servers([fish()], work)


def test_after_a_cut_in_another_server_is_asked_while_the_first_runs_on() -> None:
    async def work(tts: FishTTS) -> None:
        cut = asyncio.create_task(say(tts))
        await until(lambda: servers[0].generating == 1)
        cut.cancel()
        with suppress(asyncio.CancelledError):
            await cut
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
        cut.cancel()
        with suppress(asyncio.CancelledError):
            await cut
        return await say(tts)

    server = fish(latency_ms=150)
    assert with_servers([server], work) == audio_of(TEXT, FISH_RATE_HZ)


def test_being_late_behind_our_own_cut_off_clause_is_overload_not_a_fault() -> None:
    async def work(tts: FishTTS) -> None:
        cut = asyncio.create_task(say(tts, TEXT * 3))
        await until(lambda: server.generating == 1)
        cut.cancel()
        with suppress(asyncio.CancelledError):
            await cut
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
            with suppress(ProviderError):
                await blocked

    server = fish(latency_ms=390)
    error = failure(server, work)
    assert error.fault is Fault.OVERLOADED and "add more addresses to TTS_ENDPOINT" in str(error)


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fault", "words"),
    [
        ("hang_up", Fault.UNREACHABLE, "is the server at"),
        ("hang", Fault.TIMEOUT, "no audio in 0.4 s"),
        ("slow", Fault.TIMEOUT, "no audio in 0.4 s"),
        ("error", Fault.BROKEN, "CUDA out of memory"),
        ("busy", Fault.OVERLOADED, "takes no more now"),
        ("html", Fault.BROKEN, "text/html instead of audio"),
        ("stall", Fault.TIMEOUT, "behind"),
        ("drip", Fault.TIMEOUT, "behind"),
        ("reset", Fault.BROKEN, "the connection broke"),
        ("cut", Fault.BROKEN, "the connection broke"),
        ("malformed", Fault.BROKEN, "in the middle of a sample"),
        ("odd", Fault.BROKEN, "in the middle of a sample"),
        ("short", Fault.BROKEN, "of audio for a text"),
        ("empty", Fault.BROKEN, "no audio at all"),
        ("long", Fault.BROKEN, "still speaking"),
        ("silence", Fault.BROKEN, "silence"),
        ("noise", Fault.BROKEN, "noise"),
        ("float", Fault.BROKEN, "no 16-bit"),
        ("mp3", Fault.BROKEN, "compressed"),
        ("stuck", Fault.BROKEN, "stand still"),
        ("clipped", Fault.BROKEN, "clipped"),
    ],
)
def test_every_fault_of_the_server_has_its_name(kind: FaultKind, fault: Fault, words: str) -> None:
    server = fish(latency_ms=30, faults=[TtsFault(kind=kind, request=0)])
    error = failure(server)
    assert (error.fault, words in str(error)) == (fault, True), str(error)


@pytest.mark.parametrize("kind", ["hang_up", "error", "busy", "html", "empty", "mp3"])
def test_what_fails_before_the_first_audio_is_said_by_another_server(kind: FaultKind) -> None:
    servers = [fish(faults=[TtsFault(kind=kind, request=0)]), fish()]
    assert with_servers(servers, say) == audio_of(TEXT, FISH_RATE_HZ)


def test_a_refusal_is_not_tried_elsewhere() -> None:
    servers = [fish(max_text_length=5), fish()]
    with pytest.raises(ProviderError, match="Text is too long, max length is 5") as caught:
        with_servers(servers, say)
    assert caught.value.fault is Fault.REFUSED and servers[1].requests == 0


def test_a_server_that_is_not_there_is_named() -> None:
    async def main() -> None:
        tts = FishTTS(["http://127.0.0.1:9"])
        try:
            await say(tts)
        finally:
            await tts.aclose()

    with pytest.raises(ProviderError, match=r"is the server at http://127.*TTS_ENDPOINT") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE


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


# --- check ----------------------------------------------------------------------------------------


def test_check_speaks_once_and_then_believes_the_traffic() -> None:
    async def work(tts: FishTTS) -> None:
        for _ in range(3):
            await tts.check()
        assert server.requests == 1

    server = fish()
    with_servers([server], work)


def test_check_notices_a_server_that_went_away_at_once_and_its_return() -> None:
    async def work(tts: FishTTS) -> None:
        await tts.check()
        await server.refuse()
        with pytest.raises(ProviderError) as caught:
            await tts.check()
        assert caught.value.fault is Fault.UNREACHABLE
        await server.reopen()
        await tts.check()

    server = fish()
    with_servers([server], work)


def test_a_health_that_waits_for_our_own_request_is_no_fault() -> None:
    async def work(tts: FishTTS) -> None:
        await tts.check()
        speaking = asyncio.create_task(say(tts))
        await until(lambda: server.generating == 1)
        async with asyncio.timeout(0.1):
            await tts.check()
        await speaking

    server = fish(latency_ms=300)
    with_servers([server], work)


def test_check_fails_while_the_voice_is_silent_and_says_so_until_it_is_asked_again() -> None:
    async def work(tts: FishTTS) -> None:
        for _ in range(3):
            with pytest.raises(ProviderError, match="silence"):
                await tts.check()
        assert server.requests == 1

    server = fish(faults=[TtsFault(kind="silence", request=0)])
    with_servers([server], work)


# --- leaks ----------------------------------------------------------------------------------------


async def cancel_at_random(tts: FishTTS, times: int) -> None:
    """Cancelled or closed while queueing, connecting, waiting or listening, six at a time."""
    chance = random.Random(7)

    async def one() -> None:
        if chance.random() < 0.6:
            asking = asyncio.create_task(say(tts, "Hi there."))
            await asyncio.sleep(chance.uniform(0, 0.02))
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            return
        async with aclosing(tts.stream("Hi there.")) as events:
            for _ in range(chance.randrange(4)):
                await anext(events, None)

    for _ in range(times // 6):
        await asyncio.gather(*(one() for _ in range(6)))


def test_random_cancels_leak_nothing(times: int = 150) -> None:
    async def work(tts: FishTTS) -> None:
        await say(tts)
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        await cancel_at_random(tts, times)
        await until(lambda: not any(s.running or s.generating for s in servers), 20.0)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= files + 12)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 6)
        assert tts.waiting == 0
        assert await say(tts) == audio_of(TEXT, FISH_RATE_HZ)

    servers = [fish(latency_ms=2, jitter_ms=4) for _ in range(2)]
    with_servers(servers, work, first_audio_s=30.0)


def test_aclose_leaves_no_connection_and_may_be_called_twice() -> None:
    async def work(tts: FishTTS) -> None:
        await say(tts)
        await tts.aclose()
        await tts.aclose()
        await until(lambda: server.connections == 0)

    server = fish()
    with_servers([server], work)
