"""Servers that die while nobody is on the line, as an operator's probes read of it over HTTP.

strike
/health, /ready   name it, when they must
repair            some failed checks later
/health, /ready   are well
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mocks.clock import now, until
from tests.faults.cell import SETTLE_S, Seen, repair, strike, watching
from tests.faults.matrix import Cell
from tests.faults.oracles import (
    CLEARED_S,
    FUZZ_S,
    NAMED_S,
    gives_back,
    is_well_again,
    lives,
    logs,
)
from tests.faults.stack import Log, Stack, resources
from tests.faults.transport import serving
from voice.build import Built

QUIET_S = 3.35
DEAD_S = 9.0
PROBES = ("/health", "/ready")


class Probed(msgspec.Struct, frozen=True):
    """What a probe read."""

    at: float
    path: str
    unwell: frozenset[str]
    """Slots in which a provider is not healthy."""


async def seen(
    cell: Cell, index: Path, change: Callable[[Built], Built] = lambda built: built
) -> tuple[Seen, list[Probed]]:
    found, probed = Seen(cell), []
    with Log() as log:
        found.before = resources()
        async with (
            Stack(index, cell, change) as stack,
            watching(stack, found),
            serving(stack.desk) as server,
        ):
            await asyncio.sleep(QUIET_S)
            counted = stack.fallbacks()
            strike(stack, found)
            await asyncio.sleep(NAMED_S + FUZZ_S)
            probed += [await _probe(server.port, path) for path in PROBES]
            await asyncio.sleep(DEAD_S)
            await repair(stack, found)
            await until(lambda: not found.warnings[-1][1], CLEARED_S)
            if not found.warnings[-1][1]:
                found.well_at = max(found.warnings[-1][0], found.repaired_at)
            probed += [await _probe(server.port, path) for path in PROBES]
            found.fallbacks = {
                slot: count - counted[slot] for slot, count in stack.fallbacks().items()
            }
        await until(lambda: resources().within(found.before), SETTLE_S)
        found.after = resources()
    found.log = log.lines
    return found, probed


async def _probe(port: int, path: str) -> Probed:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        answer = (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()
    slots: dict[str, dict[str, Any]] = msgspec.json.decode(answer)["providers"]
    unwell = {
        slot
        for slot, status in slots.items()
        if not all(one["healthy"] for one in (status, *status["fallbacks"]))
    }
    return Probed(now(), path, frozenset(unwell))


# --- what must hold -------------------------------------------------------------------------------


def complaints(found: Seen, probed: list[Probed]) -> Iterator[str]:
    for oracle in (lives, is_well_again, gives_back, logs):
        yield from (f"{oracle.__name__}: {what}" for what in oracle(found))
    yield from (f"names: {what}" for what in _names(found))
    yield from (f"probes: {what}" for what in _probes(found, probed))
    if any(found.fallbacks.values()):
        yield f"counts: {found.fallbacks}, and nobody called"


def _names(found: Seen) -> Iterator[str]:
    by = found.struck_at + NAMED_S + FUZZ_S
    for slot in sorted(found.cell.slots):
        named = found.named_at(slot)
        if named is None or named > by:
            yield f"{slot} died at {found.struck_at:.2f}, was named at {named}"
    for at, warnings in found.warnings:
        for one in warnings:
            if at < found.struck_at or one.partition(":")[0] not in found.cell.slots:
                yield f"{one!r} at {at:.2f}"


def _probes(found: Seen, probed: list[Probed]) -> Iterator[str]:
    for one in probed:
        wanted = found.cell.slots if one.at < found.repaired_at else frozenset()
        if one.unwell != wanted:
            yield f"{one.path} says {set(one.unwell)} at {one.at:.2f}, not {set(wanted)}"
