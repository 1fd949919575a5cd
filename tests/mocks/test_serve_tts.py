"""The mock servers against their sources, with a client that is none of ours."""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.serve_tts import FISH_RATE_HZ, FishServer, SpeechServer, TtsFault, TtsServer, audio_of

TEXT = "Hello there."


def with_server(
    server: TtsServer, work: Callable[[aiohttp.ClientSession, str], Awaitable[Any]]
) -> Any:
    async def main() -> Any:
        async with server, aiohttp.ClientSession() as session:
            async with asyncio.timeout(20):
                return await work(session, server.url + "/v1")

    return run_virtual(main(), sockets=Sockets.OURS)


async def post(
    session: aiohttp.ClientSession, url: str, body: Any, kind: str = "json"
) -> tuple[int, bytes, str]:
    data = (msgspec.msgpack if kind == "msgpack" else msgspec.json).encode(body)
    headers = {"Content-Type": f"application/{kind}"}
    async with session.post(url, data=data, headers=headers) as response:
        return response.status, await response.read(), response.content_type


def fish_answer(server: FishServer, body: Any, kind: str = "json") -> tuple[int, bytes, str]:
    answer: tuple[int, bytes, str] = with_server(
        server, lambda session, root: post(session, root + "/tts", body, kind)
    )
    return answer


def speech_answer(server: SpeechServer, **body: Any) -> tuple[int, bytes, str]:
    answer: tuple[int, bytes, str] = with_server(
        server,
        lambda session, root: post(session, root + "/audio/speech", {"input": TEXT, **body}),
    )
    return answer


def fish(**options: Any) -> FishServer:
    return FishServer(**{"latency_ms": 1, **options})


def speech(**options: Any) -> SpeechServer:
    return SpeechServer(**{"latency_ms": 1, "rtf": 0.0, **options})


async def until_generating(server: FishServer) -> None:
    while not server.generating:  # noqa: ASYNC110  # the server's counters have no event
        await asyncio.sleep(0.005)


# --- Fish -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_fish_sends_bare_pcm_and_calls_it_wav(kind: str) -> None:
    status, body, content_type = fish_answer(fish(), {"text": TEXT, "streaming": True}, kind)
    assert (status, content_type) == (200, "audio/wav")
    assert body == audio_of(TEXT, FISH_RATE_HZ) and not body.startswith(b"RIFF")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"text": TEXT, "temperature": 1}, 422, "strict float"),
        ({"text": TEXT, "streaming": True, "format": "mp3"}, 400, "only supports WAV"),
        ({"text": TEXT * 9}, 400, "Text is too long, max length is 40"),
        ({"text": TEXT, "references": [{"audio": "c2hvcnQ=", "text": "x"}]}, 422, "base64"),
        ({"streaming": True}, 422, "text"),
    ],
)
def test_fish_refuses_as_it_does(body: dict[str, Any], status: int, words: str) -> None:
    got, said, _ = fish_answer(fish(max_text_length=40), body)
    error = msgspec.json.decode(said)
    assert got == status and error["statusCode"] == status and words in error["message"]


def test_fish_takes_no_other_body() -> None:
    status, _, _ = fish_answer(fish(), {"text": TEXT}, "x-www-form-urlencoded")
    assert status == 415


def test_fish_says_an_unknown_reference_in_another_voice_without_a_word() -> None:
    status, _, _ = fish_answer(fish(references=["a"]), {"text": TEXT, "reference_id": "nobody"})
    assert status == 200


def test_health_waits_for_the_request_under_way() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> None:
        async def health() -> int:
            async with session.get(root + "/health") as response:
                return response.status

        assert await health() == 200
        speaking = asyncio.create_task(post(session, root + "/tts", {"text": TEXT}))
        await until_generating(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await health()
        await speaking
        assert await health() == 200

    server = fish(latency_ms=300)
    with_server(server, work)


def test_a_request_that_was_given_up_runs_on_and_the_next_waits_for_it() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> None:
        speaking = asyncio.create_task(post(session, root + "/tts", {"text": TEXT}))
        await until_generating(server)
        speaking.cancel()
        with suppress(asyncio.CancelledError):
            await speaking
        status, _, _ = await post(session, root + "/tts", {"text": TEXT})
        assert status == 200
        assert (server.most_at_once, server.aborted, server.finished) == (2, 1, 1)

    server = fish(latency_ms=150)
    with_server(server, work)


def test_the_list_of_references_is_msgpack_unless_json_is_asked_for() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> None:
        async with session.get(root + "/references/list") as response:
            assert msgspec.msgpack.decode(await response.read())["reference_ids"] == ["a", "b"]
        async with session.get(root + "/references/list?format=json") as response:
            assert (await response.json())["reference_ids"] == ["a", "b"]

    with_server(fish(references=["a", "b"]), work)


# --- /v1/audio/speech -----------------------------------------------------------------------------


def test_bare_pcm_or_events_as_asked() -> None:
    status, body, kind = speech_answer(speech(), response_format="pcm", stream_format="audio")
    assert (status, kind) == (200, "audio/pcm") and body == audio_of(TEXT, 44_100)
    status, events, kind = speech_answer(speech(), response_format="pcm", stream=True)
    assert (status, kind) == (200, "text/event-stream")
    sent = [
        msgspec.json.decode(line.removeprefix(b"data: "))
        for line in events.splitlines()
        if line.startswith(b"data: ")
    ]
    assert sent[-1]["type"] == "speech.audio.done"
    assert b"".join(b64decode(one["audio"]) for one in sent[:-1]) == body


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"response_format": "mp3"}, 422, "mp3"),
        ({"stream": True, "speed": 2.0}, 400, "speed"),
        ({"voice": "nobody"}, 400, "Invalid voice"),
        ({"model": "another"}, 404, "does not exist"),
        ({"temperature": 1}, 400, "temperature"),
    ],
)
def test_speech_refuses_as_it_does(body: dict[str, Any], status: int, words: str) -> None:
    got, said, _ = speech_answer(speech(refuses=["temperature"]), **body)
    assert got == status and words in msgspec.json.decode(said)["error"]["message"]


def test_a_key_is_asked_for_and_counts_are_told_without() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> None:
        status, _, _ = await post(session, root + "/audio/speech", {"input": TEXT})
        assert status == 401
        async with session.get(root.removesuffix("/v1") + "/mock/state") as response:
            assert (await response.json())["requests"] == 0

    with_server(speech(api_key="secret"), work)


def test_faults_concern_the_requests_they_name() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> list[int]:
        return [(await post(session, root + "/audio/speech", {"input": TEXT}))[0] for _ in range(4)]

    server = speech(faults=[TtsFault(kind="busy", request=2, times=2)])
    assert with_server(server, work) == [200, 429, 429, 200]


def test_the_hum_has_the_length_of_the_text_and_swells() -> None:
    pcm = np.frombuffer(audio_of(TEXT, 16_000), "<i2").astype(float)
    assert len(pcm) == int(len(TEXT) * 0.065 * 16_000)
    loudness = np.sqrt((pcm[: len(pcm) // 800 * 800].reshape(-1, 800) ** 2).mean(axis=1))
    assert loudness.max() > 4 * loudness.min()


def test_a_server_that_refuses_connections_can_be_opened_again() -> None:
    async def work(session: aiohttp.ClientSession, root: str) -> None:
        await server.refuse()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(root + "/models")
        await server.reopen()
        async with session.get(root + "/models") as response:
            assert response.status == 200

    server = speech()
    with_server(server, work)
