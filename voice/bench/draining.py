"""A server is told to stop while everybody speaks: is anybody cut, and what are the others told?

    callers   ~~~~~~~~~~~~|  each its own last word
    SIGTERM         |
    /ready    200   | 503
    new calls 101   | 503, Retry-After
    answers         |         ###########|
    calls           |                       | 1001, one by one
    process         |                              | 0

and once more, with a second signal behind the first: that one ends at once.
"""

import asyncio
import contextlib
import signal
import time
from collections import Counter

import aiohttp
import msgspec

from voice.bench.caller import Line
from voice.bench.config import BenchConfig, BenchError
from voice.bench.generator import Generator
from voice.bench.knocking import REFUSED, knock
from voice.bench.schedule import staying
from voice.bench.server import ASK_LIMIT_S, Started, http_url, started
from voice.bench.step import load_average
from voice.bench.task import Task
from voice.bench.turn import Turn

GAP_MS = 1200.0
RAMP_S = 0.3
"""All begin within 0.9 to 1.8 s, and speak for 2: for a second, all do."""
SPEAKING_LIMIT_S = 20.0
EXIT_LIMIT_S = 60.0
"""Longer than any deadline of a drain that one would set."""
SECOND_AFTER_S = 0.3
SOON_S = 2.0
"""What a second signal may take at most: sockets are closed, models put away."""
GOING_AWAY = 1001


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """What callers, a balancer and the operator saw. Times count from the signal."""

    callers: int
    heard: int
    """Of those who spoke at the signal: with a final of all they said."""
    answered: int
    """With an answer that came to its end."""
    codes: dict[str, int]
    """How many calls were closed with each; 1006: without a goodbye."""
    ready_off_ms: float
    """Until `/ready` was first not 200."""
    refused_ms: float
    """A call that came then, until it was refused."""
    refused_with: int
    retry_s: str
    last_call_s: float
    exit_s: float
    exit_status: int
    second_exit_s: float
    """From a second signal on, to another server in the same state."""
    load_average: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, in words; empty: all were."""
        found = {
            f"{self.callers - self.heard} utterances were cut": self.heard < self.callers,
            f"{self.callers - self.answered} answers were cut": self.answered < self.callers,
            f"calls were closed with {self.codes}": set(self.codes) != {str(GOING_AWAY)},
            f"a new call got {self.refused_with}, not {REFUSED}": self.refused_with != REFUSED,
            "a refused call was not told when to come again": not self.retry_s,
            f"the process ended with {self.exit_status}": self.exit_status != 0,
            f"a second signal took {self.second_exit_s:.1f} s": self.second_exit_s > SOON_S,
        }
        return [what for what, holds in found.items() if holds]


async def drained(config: BenchConfig, callers: int) -> Drain:
    """Raises:
    BenchError: It came to no drain: a server that cannot start, callers that get no answer.
    """
    config = msgspec.structs.replace(
        config, turns=1, warmup_turns=0, gap_ms=GAP_MS, ramp_s=RAMP_S, barge_in_every=0, processes=1
    )
    async with started(config) as (server,):
        second_exit_s = await _told_twice(config, callers, server)
    async with started(config) as (server,):
        drain = await _told_once(config, callers, server)
    return msgspec.structs.replace(drain, second_exit_s=round(second_exit_s, 3))


async def _everybody_speaks(config: BenchConfig, callers: int, server: Started) -> list[Line]:
    generator = Generator(
        Task(config=config, calls=staying(config, callers), of=callers, urls=(server.url,)),
        lambda turns: None,
    )
    await generator.connect()
    generator.open_window()
    try:
        async with asyncio.timeout(SPEAKING_LIMIT_S):
            while not all(map(_is_speaking, generator.lines)):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise BenchError(
            f"{callers} callers never spoke all at once: the generator is too slow for them"
        ) from None
    return generator.lines


def _is_speaking(line: Line) -> bool:
    turns = line.caller.turns if line.caller is not None else []
    return bool(turns) and turns[-1].end is None


async def _told_twice(config: BenchConfig, callers: int, server: Started) -> float:
    lines = await _everybody_speaks(config, callers, server)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(SECOND_AFTER_S)
    told_at = time.monotonic()
    with contextlib.suppress(ProcessLookupError):  # The first one was enough.
        server.process.send_signal(signal.SIGTERM)
    await _exit(server, lines)
    return time.monotonic() - told_at


async def _told_once(config: BenchConfig, callers: int, server: Started) -> Drain:
    lines = await _everybody_speaks(config, callers, server)
    turns = [line.caller.turns[-1] for line in lines if line.caller is not None]
    told_at = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    exiting = asyncio.create_task(_exit(server, lines))
    await _until_not_ready(server.url)
    off_at = time.monotonic()
    refused_with, retry_s = await _refused(server.url, config.api_key)
    refused_at = time.monotonic()
    await exiting
    return Drain(
        callers=callers,
        heard=sum(turn.final is not None and len(turn.item_ids) == 1 for turn in turns),
        answered=sum(_is_whole(turn) for turn in turns),
        codes=dict(Counter(str(line.close_code) for line in lines)),
        ready_off_ms=round((off_at - told_at) * 1000, 1),
        refused_ms=round((refused_at - off_at) * 1000, 1),
        refused_with=refused_with,
        retry_s=retry_s,
        last_call_s=round(max(line.gone_at for line in lines) - told_at, 3),
        exit_s=round(time.monotonic() - told_at, 3),
        exit_status=server.process.returncode or 0,
        second_exit_s=0.0,
        load_average=load_average(),
    )


def _is_whole(turn: Turn) -> bool:
    return turn.status == "completed" and turn.done is not None and turn.first_audio is not None


async def _until_not_ready(url: str) -> None:
    """Also where nobody answers any more."""
    timeout = aiohttp.ClientTimeout(total=ASK_LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with contextlib.suppress(aiohttp.ClientError):
            while True:
                async with session.get(http_url(url, "/ready")) as response:
                    if response.status != 200:
                        return
                await asyncio.sleep(0.001)


async def _refused(url: str, api_key: str) -> tuple[int, str]:
    try:
        return await knock(url, api_key)
    except (OSError, asyncio.IncompleteReadError):
        return 0, ""


async def _exit(server: Started, lines: list[Line]) -> None:
    try:
        async with asyncio.timeout(EXIT_LIMIT_S):
            await server.process.wait()
            await asyncio.gather(*(line.closed for line in lines))
    except TimeoutError:
        raise BenchError(
            f"the server is still there {EXIT_LIMIT_S:g} s after it was told to stop"
        ) from None
