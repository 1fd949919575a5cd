"""One cell: a call in which something fails, at a moment, in a way; and what was seen of it.

turn 1        the fault strikes in its phase
turn 2        under the fault; a second call asks at the same time
repair
turn 3        at once; where nobody stood in, when that must be known
health        until it is well again
both hang up, all is given back
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from mocks.clock import now, until
from tests.faults.caller import Caller
from tests.faults.matrix import Cell, Phase
from tests.faults.proxy import Strike
from tests.faults.speech import EXCHANGES, KnowingLLM
from tests.faults.stack import Line, Log, Resources, Stack, resources
from voice.build import Built

SETTLE_S = 5.0
"""Until everything is given back."""
MOMENT_LIMIT_S = 10.0
CLEAR_LIMIT_S = 20.0
KNOWN_S = 10.0
"""Within which a slot that had nobody left asks again, as it says when it fails."""
_SLOW_S = {"stt": 2.0, "llm": 5.0, "tts": 3.0, "embedder": 0.6, "reranker": 0.6}
"""Twice each one's limit, where others stand in."""
_MIDDLE_BYTES = {"stt": 200, "llm": 1200, "tts": 20_000, "embedder": 1000, "reranker": 10}
"""The first pieces of an answer."""


class Seen(msgspec.Struct):
    """All that the oracles judge."""

    cell: Cell
    callers: list[Caller] = []
    """The last one is the neighbour, who meets the fault only if all do."""
    struck_at: float = 0.0
    repaired_at: float = 0.0
    well_at: float | None = None
    """When health had no warning any more, after the repair; None: it never came to that."""
    warnings: list[tuple[float, tuple[str, ...]]] = []
    """Those of /health, at each change."""
    fallbacks: dict[str, int] = {}
    """By slot, from the strike to the repair."""
    hang_ups_s: list[float] = []
    running: dict[str, int] = {}
    """What servers still worked on, SETTLE_S behind the last turn."""
    before: Resources | None = None
    after: Resources | None = None
    log: list[Line] = []

    def named_at(self, slot: str) -> float | None:
        """When /health first named the slot."""
        return next((at for at, all in self.warnings if any(slot in one for one in all)), None)


async def seen(
    cell: Cell,
    index: Path,
    change: Callable[[Built], Built] = lambda built: built,
    known_s: float = KNOWN_S,
) -> Seen:
    """Plays the cell. All that it does not name is well.

    Args:
        known_s: From the repair to the next question, where nobody stood in.
    """
    found = Seen(cell)
    with Log() as log:
        found.before = resources()
        async with Stack(index, cell, change) as stack:
            await _Play(cell, stack, found, known_s).run()
        await until(lambda: resources().within(found.before), SETTLE_S)
        found.after = resources()
    found.log = log.lines
    return found


class _Play:
    def __init__(self, cell: Cell, stack: Stack, found: Seen, known_s: float) -> None:
        self._cell, self._stack, self._found, self._known_s = cell, stack, found, known_s
        self._counted: dict[str, int] = {}

    async def run(self) -> None:
        found, stack = self._found, self._stack
        async with watching(stack, found):
            caller, neighbour = Caller(stack.desk, "caller"), Caller(stack.desk, "neighbour")
            found.callers = [caller, neighbour]
            await asyncio.sleep(0.5)
            moments = Moments(stack, self._cell.phase)
            found.hang_ups_s += await moments.first_turn(caller, self._strike)
            if caller.session.closed:
                caller = Caller(stack.desk, "next caller")
                found.callers.insert(1, caller)
            await asyncio.gather(caller.ask(EXCHANGES[2]), self._ask_later(neighbour))
            counts = stack.fallbacks()
            found.fallbacks = {slot: counts[slot] - self._counted[slot] for slot in counts}
            await repair(stack, found)
            await asyncio.sleep(self._known_s if self._cell.dead else 0.0)
            await caller.ask(EXCHANGES[3])
            if await until(lambda: not found.warnings[-1][1], CLEAR_LIMIT_S):
                found.well_at = max(found.warnings[-1][0], found.repaired_at)
            await until(lambda: not stack.running(), SETTLE_S)
            found.running = stack.running()
            for one in found.callers:
                if not one.session.closed:
                    found.hang_ups_s.append(await one.hang_up())

    async def _ask_later(self, neighbour: Caller) -> None:
        await asyncio.sleep(0.7)
        await neighbour.ask(EXCHANGES[4])

    def _strike(self) -> None:
        self._counted = self._stack.fallbacks()
        strike(self._stack, self._found)


# --- the fault ------------------------------------------------------------------------------------


def strike(stack: Stack, found: Seen) -> None:
    found.struck_at = now()
    for part, kind in found.cell.faults.items():
        slot = part.removeprefix("other_")
        if kind == "malformed":
            stack.spoil(part)
            continue
        delay_s = _SLOW_S[slot] if kind == "slow" else 5.0
        fault = Strike(kind=kind, after=_MIDDLE_BYTES[slot], delay_s=delay_s)
        stack.proxies[part].strike(fault)


async def repair(stack: Stack, found: Seen) -> None:
    stack.unspoil()
    for part in found.cell.faults:
        await stack.proxies[part].repair()
    found.repaired_at = now()


@contextlib.asynccontextmanager
async def watching(stack: Stack, found: Seen) -> AsyncIterator[None]:
    """Reads /health ten times a second."""

    async def watch() -> None:
        while True:
            warnings = tuple(stack.desk.health().warnings)
            if not found.warnings or found.warnings[-1][1] != warnings:
                found.warnings.append((now(), warnings))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch(), name="reads health")
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


class Moments:
    """When, in a turn, a phase is on."""

    def __init__(self, stack: Stack, phase: Phase) -> None:
        self._stack, self._phase = stack, phase
        self._given = 0

    async def first_turn(self, caller: Caller, strike: Callable[[], None]) -> list[float]:
        """Asks, and has the fault strike in the phase.

        Returns:
            The seconds that hanging up took, if it did.
        """
        if self._phase == "idle":
            strike()
            await asyncio.sleep(1.0)
            await caller.ask(EXCHANGES[1])
            return []
        if self._phase == "barge_in":
            before = await caller.speak(EXCHANGES[0])
            before.cut = True
            await caller.hush()
            await until(lambda: self._sounds(caller, 0.5), MOMENT_LIMIT_S)
        asking = asyncio.create_task(caller.ask(EXCHANGES[1]), name="asks")
        self._given = self._knowing.given
        await until(lambda: self._has_come(caller), MOMENT_LIMIT_S)
        strike()
        try:
            if self._phase == "closing":
                caller.turns[-1].cut = True
                asking.cancel()
                return [await caller.hang_up()]
            await asyncio.wait((asking,))
            return []
        except asyncio.CancelledError:
            asking.cancel()
            raise
        finally:
            await asyncio.wait((asking,))

    @property
    def _knowing(self) -> KnowingLLM:
        assert isinstance(self._stack.llm.llm, KnowingLLM)
        return self._stack.llm.llm

    def _has_come(self, caller: Caller) -> bool:
        if not caller.turns:
            return False
        turn = caller.turns[-1]
        match self._phase:
            case "speaking":
                return now() >= turn.began + 0.3
            case "barge_in":
                return now() >= turn.began + 0.1
            case "endpointing":
                return 0 < turn.spoken <= now() - 0.25
            case "thinking":
                return bool(self._stack.llm.running)
            case "answering":
                return self._knowing.given >= self._given + 4
            case "voicing":
                return bool(self._stack.tts.running)
            case _:
                return self._sounds(caller, 0.2)

    def _sounds(self, caller: Caller, seconds: float) -> bool:
        sounds = caller.sounds()
        return bool(sounds) and now() >= sounds[0].at + seconds
