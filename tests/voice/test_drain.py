"""A stopping server ends each call where nobody is speaking; over virtual time and real sockets."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mocks.clock import now, run_virtual
from tests.driving import Call
from tests.served import LIMIT_S, SIGTERM, Served, get, loud, realtime, request, silence, upgrade
from voice.drain import QUIET_S, STOPPING, drain

Serve = Callable[..., Served]

SPEAKING = 50
CHUNK_S = 0.1


# --- one by one, in virtual time ------------------------------------------------------------------


def ends(*scripts: Callable[[Call], Any], until: float) -> list[float]:
    """When each call is hung up, if the server is told to stop at 0.5 s."""

    async def one(call: Call, script: Callable[[Call], Any]) -> None:
        call.session.open()
        call.listen_at_16_khz()
        await script(call)

    async def run() -> list[float]:
        calls = [Call() for _ in scripts]
        for number, call in enumerate(calls):
            call.session.id = f"sess_{number}"
        async with asyncio.TaskGroup() as group:
            for call, script in zip(calls, scripts, strict=True):
                group.create_task(one(call, script))
            await asyncio.sleep(0.5)
            await drain(lambda: [call.session for call in calls], until=until, now=now)
        for call in calls:
            await call.session.close()
            assert [(code, why) for _, code, why in call.client.ended] == [STOPPING]
        return [call.client.ended[0][0] for call in calls]

    return run_virtual(run())


async def quiet(call: Call) -> None:
    await call.hush(8.0)


async def speaks(call: Call) -> None:
    await call.say(1.0)
    await call.hush(7.0)


async def speaks_again_and_again(call: Call) -> None:
    for _ in range(4):
        await call.say(1.0)
        await call.hush(1.0)


def test_a_quiet_call_ends_at_once_and_one_that_speaks_behind_its_answer() -> None:
    at_once, later = ends(quiet, speaks, until=20.0)
    assert at_once < 0.5 + QUIET_S + 0.11
    assert 3.0 < later < 5.0, "1 s of words, the endpoint, and the answer to its end"


def test_who_begins_to_speak_as_it_is_told_is_heard_and_answered() -> None:
    async def begins_then(call: Call) -> None:
        await call.hush(0.5)
        await call.say(1.0)
        await call.hush(6.5)

    (at,) = ends(begins_then, until=20.0)
    assert 3.0 < at < 5.5


def test_no_call_waits_for_a_moment_at_which_all_are_quiet() -> None:
    at_once, later, last = ends(quiet, speaks, speaks_again_and_again, until=6.0)
    assert at_once < later < 5.0 < last < 6.2


def test_at_the_deadline_everybody_is_told() -> None:
    (at,) = ends(speaks, until=1.0)
    assert 1.0 <= at < 1.1


# --- fifty who speak, over sockets ----------------------------------------------------------------


class Speaker:
    """Speaks once and listens, in real time, until the line is closed."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._spoken_s = url, seconds
        self.speaks = asyncio.Event()
        self.kinds: list[str] = []
        self.heard_s = self.sound_s = 0.0
        self.status = ""
        self.ended: tuple[int, str] = (0, "")

    async def call(self) -> None:
        async with connect(self._url, compression=None, open_timeout=LIMIT_S) as line:
            mouth = asyncio.create_task(self._speak(line))
            try:
                while True:
                    self._take(await line.recv())
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                self.ended = closed.rcvd.code, closed.rcvd.reason
            mouth.cancel()
            await asyncio.gather(mouth, return_exceptions=True)

    async def _speak(self, line: Any) -> None:
        begun, sent = time.monotonic(), 0
        words, pause = loud(CHUNK_S), silence(CHUNK_S)
        while True:
            await line.send(words if sent * CHUNK_S < self._spoken_s else pause)
            sent += 1
            if sent == 3:
                self.speaks.set()
            await asyncio.sleep(begun + sent * CHUNK_S - time.monotonic())

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.sound_s += (len(frame) - 8) / 48_000
            return
        event = json.loads(frame)
        self.kinds.append(event["type"])
        if event["type"] == "conversation.item.input_audio_transcription.completed":
            self.heard_s = event["usage"]["seconds"]
        elif event["type"] == "response.done":
            self.status = event["response"]["status"]

    @property
    def whole(self) -> bool:
        """Whether all that was said was heard, and answered to the end."""
        return self.heard_s >= self._spoken_s and self.status == "completed" and self.sound_s > 0.5


@pytest.mark.real_time
def test_fifty_who_are_speaking_are_heard_and_answered_to_the_end(serving: Serve) -> None:
    server = serving(fresh=True, server={"drain_s": 30.0}, mock={"stt_text": "yes please"})
    choice = random.Random(5)

    async def run() -> list[Speaker]:
        url = realtime(server.url) + "?audio=binary"
        speakers = [Speaker(url, choice.randint(8, 20) * CHUNK_S) for _ in range(SPEAKING)]
        async with asyncio.TaskGroup() as group:
            for speaker in speakers:
                group.create_task(speaker.call())
            for speaker in speakers:
                await speaker.speaks.wait()
            server.signal(SIGTERM)
            await asyncio.to_thread(server.logged, "draining")
            refused = await asyncio.to_thread(request, server.url, upgrade(server.url))
            assert (refused.status, refused.json["error"]["code"]) == (503, "stopping")
            assert 2 <= int(refused.headers["retry-after"]) <= 30
            assert (await asyncio.to_thread(get, server.url, "/ready")).status == 503
            health = await asyncio.to_thread(get, server.url, "/health")
            assert (health.status, health.json["status"]) == (200, "stopping")
        return speakers

    speakers = asyncio.run(run())
    cut = [(one.heard_s, one.status, one.sound_s) for one in speakers if not one.whole]
    assert cut == []
    assert {one.ended for one in speakers} == {STOPPING}
    assert server.wait() == 0
