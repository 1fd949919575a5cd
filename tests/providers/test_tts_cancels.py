"""Clauses cancelled at random moments leave no connection, task, file or place in a queue."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from providers.base import TTS
from providers.tts_espeak import EspeakTTS
from providers.tts_openjtalk import OpenJTalkTTS
from providers.tts_sherpa import SherpaTTS
from tests.cancels import cancels
from tests.providers import tiny_voice
from tests.providers.test_tts_openjtalk import engine
from tests.providers.voices import (
    cancel_at_random,
    fish,
    open_files,
    say,
    speech,
    until,
    with_server,
    with_servers,
)

__all__ = ["engine"]
pytestmark = pytest.mark.cancels
LONG = "one two three four. " * 8


def test_fish_is_left_with_nothing_of_ours() -> None:
    async def work(tts: Any) -> None:
        whole = await say(tts, "Hi there.")
        files, tasks = open_files(), len(asyncio.all_tasks())
        await cancel_at_random(tts, "Hi there.", cancels(150))
        await until(lambda: not any(s.running or s.generating for s in servers), 20.0)
        # At most one kept connection for each of six at a time, and its other end here.
        await until(lambda: open_files() <= files + 12)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 6)
        assert tts.waiting == 0 and await say(tts, "Hi there.") == whole
        await tts.aclose()
        await until(lambda: not any(server.connections for server in servers))

    servers = [fish(latency_ms=2, jitter_ms=4) for _ in range(2)]
    with_servers(servers, work, first_audio_s=30.0)


@pytest.mark.parametrize("mode", ["audio", "sse"])
def test_a_speech_server_is_left_with_nothing_of_ours(mode: Any) -> None:
    async def work(tts: Any) -> None:
        whole = await say(tts)
        files, tasks = open_files(), len(asyncio.all_tasks())
        await cancel_at_random(tts, "We open at nine, every day.", cancels(200), pieces=5)
        await until(lambda: server.running == 0)
        await until(lambda: open_files() <= files + 12)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 6)
        assert server.aborted and await say(tts) == whole
        await tts.aclose()
        await until(lambda: server.connections == 0)

    server = speech(latency_ms=2, jitter_ms=4, rtf=0.01)
    with_server(server, work, stream=mode)


async def leaves_nothing(tts: TTS, text: str, times: int, within_s: float) -> None:
    try:
        await tts.start()
        whole = await say(tts, text)
        files, tasks = open_files(), len(asyncio.all_tasks())
        await cancel_at_random(tts, text, times, within_s=within_s)
        # Not sample by sample: espeak's prosody depends on what it said before.
        assert len(await say(tts, text)) == pytest.approx(len(whole), rel=0.05)
        await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
    finally:
        await tts.aclose()


@pytest.mark.real_time
def test_a_voice_in_a_process_is_left_with_nothing_of_ours(tmp_path: Path) -> None:
    tts = SherpaTTS(tiny_voice.write(tmp_path))
    asyncio.run(leaves_nothing(tts, LONG, cancels(300), 0.01))
    assert not tts._process._jobs and not tts.restarts


@pytest.mark.usefixtures("engine")
@pytest.mark.real_time
def test_open_jtalk_is_left_with_nothing_of_ours() -> None:
    asyncio.run(leaves_nothing(OpenJTalkTTS(), "はい。", cancels(60), 0.05))


@pytest.mark.real_time
def test_espeak_is_left_with_nothing_of_ours() -> None:
    asyncio.run(leaves_nothing(EspeakTTS(), LONG, cancels(300), 0.01))
