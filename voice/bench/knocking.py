"""Callers who are turned away, beside those who are in: what does their knocking cost the others?

    window   | quiet | knocking | quiet | knocking | ...   by turns: what else the machine does
    knocks           | x  x xx  |       |  x x  x  |       meets both alike

Knocks are a Poisson process, each timed from when it was due to the whole answer's head. The server
has no room for them: one that is started for the run has as many lines as there are callers.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from http.client import parse_headers
from io import BytesIO
from urllib.parse import urlsplit

import msgspec

from voice.bench.config import BenchConfig
from voice.bench.distribution import Distribution, distribution
from voice.bench.figures import TurnFigures
from voice.bench.speech import speech_of
from voice.bench.weight import cpu_s

WINDOW_S = 2.0
"""As short as holds most waits for an answer whole: then bursts of other work meet both alike."""
LIMIT_S = 20.0
REFUSED = 503


class Knock(msgspec.Struct, frozen=True):
    """One call that came in vain, or should have."""

    status: int
    """Of HTTP; 101: it was let in. 0: no answer."""
    ms: float
    retry_s: str = ""


class Knocks(msgspec.Struct, frozen=True, kw_only=True):
    """All of a step, and how the others fared with them and without."""

    statuses: dict[str, int]
    """How often each was the answer."""
    without_retry: int
    """Refusals that do not say when to come again."""
    refused_ms: Distribution | None
    """A call was due → it was refused."""
    added_quiet_ms: Distribution | None
    added_knocking_ms: Distribution | None
    cpu_ms: float | None
    """The server's CPU for each knock: what it took more in the windows that had any."""

    @property
    def refused_p95_ms(self) -> float | None:
        return None if self.refused_ms is None else self.refused_ms.p95

    @property
    def growth(self) -> float | None:
        """Added p95 with knocking / without."""
        if self.added_quiet_ms is None or self.added_knocking_ms is None:
            return None
        quiet, knocking = self.added_quiet_ms.p95, self.added_knocking_ms.p95
        return knocking / quiet if quiet > 0 else None


class Door(msgspec.Struct):
    """What was seen while the window was open."""

    knocks: list[Knock] = msgspec.field(default_factory=list)
    cpu: list[float] = msgspec.field(default_factory=list)
    """Seconds of the servers' CPU at each border of two windows."""


def is_knocking(at_s: float) -> bool:
    return int(at_s // WINDOW_S) % 2 == 1


@contextlib.asynccontextmanager
async def knocked_at(
    config: BenchConfig, urls: Sequence[str], pids: Sequence[int]
) -> AsyncGenerator[Door, None]:
    """Knocks from here on, until it is left."""
    door = Door()
    if not config.knocking:
        yield door
        return
    knocking = asyncio.create_task(_knock_on_and_on(config, urls[0], door))
    weighing = asyncio.create_task(_weigh(pids, door))
    try:
        yield door
    finally:
        knocking.cancel()
        weighing.cancel()
        await asyncio.gather(knocking, weighing, return_exceptions=True)


async def _weigh(pids: Sequence[int], door: Door) -> None:
    begun = time.monotonic()
    while pids:
        door.cpu.append(cpu_s(pids))
        await asyncio.sleep(begun + len(door.cpu) * WINDOW_S - time.monotonic())


async def _knock_on_and_on(config: BenchConfig, url: str, door: Door) -> None:
    rng, begun = random.Random(config.seed), time.monotonic()
    at_s = 0.0
    async with asyncio.TaskGroup() as group:
        while True:
            at_s += rng.expovariate(config.knocking)
            if not is_knocking(at_s):
                at_s = (at_s // WINDOW_S + 1) * WINDOW_S + rng.expovariate(config.knocking)
            await asyncio.sleep(begun + at_s - time.monotonic())
            group.create_task(_one(url, config.api_key, begun + at_s, door))


async def _one(url: str, api_key: str, due: float, door: Door) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            status, retry_s = await knock(url, api_key)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        status, retry_s = 0, ""
    door.knocks.append(Knock(status, round((time.monotonic() - due) * 1000, 3), retry_s))


async def knock(url: str, api_key: str = "") -> tuple[int, str]:
    """Asks for a line, and hangs up at once.

    Returns:
        The status of HTTP, and Retry-After.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: a25vY2sga25vY2sga25vYw==",
        "Sec-WebSocket-Version: 13",
        *([f"Authorization: Bearer {api_key}"] if api_key else []),
    ]
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    status, _, fields = head.partition(b"\r\n")
    return int(status.split()[1]), parse_headers(BytesIO(fields)).get("Retry-After", "")


def knocks_of(config: BenchConfig, door: Door, turns: Sequence[TurnFigures]) -> Knocks | None:
    """None where nobody was to knock."""
    if not config.knocking:
        return None
    speech = speech_of(config)
    quiet, knocking = _by_window(turns, speech.ms / 1000)
    refused = [knock for knock in door.knocks if knock.status == REFUSED]
    return Knocks(
        statuses=dict(Counter(str(knock.status or "none") for knock in door.knocks)),
        without_retry=sum(not knock.retry_s for knock in refused),
        refused_ms=distribution(knock.ms for knock in refused),
        added_quiet_ms=distribution(turn.added_ms for turn in quiet),
        added_knocking_ms=distribution(turn.added_ms for turn in knocking),
        cpu_ms=_cpu_ms(config.knocking, door.cpu),
    )


def _by_window(
    turns: Sequence[TurnFigures], speech_s: float
) -> tuple[list[TurnFigures], list[TurnFigures]]:
    """Those whose answer was waited for in one window: quiet ones, and those with knocking."""
    found: tuple[list[TurnFigures], list[TurnFigures]] = ([], [])
    for turn in turns:
        ends_s = turn.at_s + speech_s
        sounds_s = ends_s + (turn.tts_start_ms or 0.0) / 1000
        if ends_s // WINDOW_S == sounds_s // WINDOW_S:
            found[is_knocking(ends_s)].append(turn)
    return found


def _cpu_ms(per_s: float, cpu: Sequence[float]) -> float | None:
    """Of whole pairs of a quiet window and one with knocks."""
    taken = [after - before for before, after in zip(cpu, cpu[1:], strict=False)]
    pairs = len(taken) // 2
    if not pairs:
        return None
    more = sum(taken[1 : 2 * pairs : 2]) - sum(taken[0 : 2 * pairs : 2])
    return round(max(0.0, more) * 1000 / (pairs * WINDOW_S * per_s), 3)
