"""Many short calls, a third of which die rudely: what is left of them in the server?

    python -m tests.soak 10000      tasks, descriptors, threads before and after; memory on the way
                                    (make soak); exit status 1 if more is left than may be

Each call is one spoken turn on the mock profile, with the real VAD, its audio sent at once: silence
is counted in audio time, so nothing but the answer takes time.
"""

import argparse
import asyncio
import contextlib
import os
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tests.served import Served, address, eventually, get, masked, silence, upgrade, written
from voice.bench.speech import made_speech

AT_ONCE = 20
BATCHES, LEAST = 20, 30
"""Batches, unless they were smaller than that."""
WARM_UP = 40
GOODBYE = masked(8, b"\x03\xe8")
SETTINGS: dict[str, Any] = {
    "server": {"max_sessions": 1000, "ping_s": 1.0},
    "mock": {"stt_text": "yes", "tts_first_audio_ms": 5.0},
}
"""Silent ones are noticed in 2 s."""
RUDE = ("in the handshake", "behind it", "in mid-frame", "in mid-answer", "silently")
PATH = "/v1/realtime?audio=binary"


MOST_SLOPE_MIB = 0.5
"""For 1,000 calls."""
ENOUGH = 5000
"""Calls from which on memory says something about itself, and not about the allocator: it stands
still for a thousand calls, then takes half a MiB at once."""


class State(msgspec.Struct, frozen=True):
    """Of the server, while nobody is on the line."""

    tasks: int
    files: int
    threads: int
    rss_mib: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    calls: int
    seconds: float
    ended: dict[str, int]
    """How many by each way; "?": not as it was meant."""
    before: State
    after: State
    rss_mib: list[float]
    """After each batch."""
    slope_mib: float
    """Of memory, for 1,000 calls; by the later four fifths of the batches."""

    @property
    def broken(self) -> list[str]:
        """What is left that should not be; empty: nothing."""
        found = [
            f"{name}: {after} after, {before} before"
            for name in ("tasks", "files", "threads")
            if (after := getattr(self.after, name)) > (before := getattr(self.before, name))
        ]
        if self.ended.get("?"):
            found.append(f"{self.ended['?']} calls were not served")
        if self.calls >= ENOUGH and self.slope_mib >= MOST_SLOPE_MIB:
            found.append(f"memory grows by {self.slope_mib} MiB for 1,000 calls")
        return found


# --- calls ----------------------------------------------------------------------------------------


async def _open(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address(url))


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first & 0x0F, await reader.readexactly(size)


async def _until(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: bytes) -> bool:
    """Reads on, and answers pings, until a frame holds it; false if the line ends before."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            opcode, payload = await _frame(reader)
            if opcode == 9:
                writer.write(masked(10, payload))
            elif what in payload:
                return True
    return False


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


SPEECH = made_speech().samples[: 24_000 * 6 // 10].tobytes()
TURN = masked(2, SPEECH) + masked(2, silence(0.5))


async def call(url: str, number: int) -> str:
    """One call.

    Returns:
        How it ended, one of RUDE or "politely"; "?" if it was not served.
    """
    way = RUDE[number // 3 % len(RUDE)] if number % 3 == 0 else "politely"
    reader, writer = await _open(url)
    served = True
    with contextlib.suppress(ConnectionError):
        try:
            served = await _talk(url, reader, writer, way)
        finally:
            if way in ("politely", "silently"):
                writer.close()
            else:
                _reset(writer)
    return way if served else "?"


async def _talk(
    url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
) -> bool:
    hello = upgrade(url, path=PATH)
    if way == "in the handshake":
        writer.write(hello[: len(hello) // 2])
        return True
    writer.write(hello)
    if way == "behind it":
        return True
    await reader.readuntil(b"\r\n\r\n")
    if not await _until(reader, writer, b"session.created"):
        return False
    if way == "in mid-frame":
        writer.write(masked(2, SPEECH)[:-700])
        await writer.drain()
        return True
    writer.write(TURN)
    if way == "silently":
        await _to_the_end(reader)  # no ping is answered
        return True
    if way == "in mid-answer":
        return await _until(reader, writer, b"response.output_audio_transcript.delta")
    answered = await _until(reader, writer, b'"response.done"')
    writer.write(GOODBYE)
    await _to_the_end(reader)
    return answered


async def batch(url: str, numbers: range, ended: Counter[str]) -> None:
    """Calls, AT_ONCE at a time; those that fall silent are waited for at the end."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        how = await call(url, number)
        ended[how] += 1
        if how != RUDE[-1]:
            room.release()

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            if number % 3 or RUDE[number // 3 % len(RUDE)] != RUDE[-1]:
                await room.acquire()
            group.create_task(one(number))


# --- the server -----------------------------------------------------------------------------------


def gauge(served: Served, name: str) -> float:
    page = get(served.url, "/metrics").body.decode()
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def state(served: Served) -> State:
    process = Path(f"/proc/{served.process.pid}")
    return State(
        tasks=int(gauge(served, "kaiwa_tasks")),
        files=min(_files(process) for _ in range(5)),
        threads=len(os.listdir(process / "task")),
        rss_mib=round(served.rss_mib(), 2),
    )


def _files(process: Path) -> int:
    """The socket of the question for the tasks may still be among them, and is gone soon."""
    time.sleep(0.05)
    return len(os.listdir(process / "fd"))


def at_rest(served: Served) -> bool:
    return gauge(served, "kaiwa_sessions") == 0


def slope_mib(calls: list[int], rss_mib: list[float]) -> float:
    """For 1,000 calls."""
    skip = len(calls) // 5 if len(calls) > 3 else 0
    return round(float(np.polyfit(calls[skip:], rss_mib[skip:], 1)[0]) * 1000, 3)


def soak(served: Served, calls: int) -> Report:
    ended: Counter[str] = Counter()

    def run(numbers: range) -> None:
        asyncio.run(batch(served.url, numbers, ended))
        eventually(lambda: at_rest(served), "everybody has gone")

    run(range(WARM_UP))
    ended.clear()
    eventually(lambda: _settled(served), "the warm-up's last task is over")
    before, begun = state(served), time.monotonic()
    size = max(LEAST, -(-calls // BATCHES))
    done: list[int] = []
    rss_mib: list[float] = []
    for start in range(0, calls, size):
        stop = min(calls, start + size)
        run(range(start, stop))
        done.append(stop)
        rss_mib.append(round(served.rss_mib(), 2))
    seconds = time.monotonic() - begun
    eventually(lambda: _settled(served), "the last task is over")
    with contextlib.suppress(AssertionError):  # the report says what is left
        eventually(lambda: _is_back(served, before), "descriptors are given back")
    return Report(
        calls=calls,
        seconds=round(seconds, 1),
        ended=dict(sorted(ended.items())),
        before=before,
        after=state(served),
        rss_mib=rss_mib,
        slope_mib=slope_mib(done, rss_mib),
    )


def _is_back(served: Served, before: State) -> bool:
    """A socket that the other side has reset is given back a moment after its task."""
    now = state(served)
    return now.tasks <= before.tasks and now.files <= before.files


def _settled(served: Served) -> bool:
    """The gauge of tasks is renewed once a second."""
    seen = []
    for _ in range(3):
        seen.append(state(served).tasks)
        time.sleep(0.6)
    return len(set(seen)) == 1


def table(report: Report) -> str:
    """As docs/benchmark.md has it."""
    before, after = report.before, report.after
    rows = [
        ("", "before", "after"),
        ("---", "---", "---"),
        ("tasks", before.tasks, after.tasks),
        ("descriptors", before.files, after.files),
        ("threads", before.threads, after.threads),
        ("memory, MiB", before.rss_mib, after.rss_mib),
    ]
    ways = ", ".join(f"{count} {way}" for way, count in report.ended.items())
    return "\n".join(
        [
            f"{report.calls} calls in {report.seconds:.0f} s: {ways}\n",
            *("| " + " | ".join(map(str, row)) + " |" for row in rows),
            f"\nMemory grows by {report.slope_mib} MiB for 1,000 calls.",
            *report.broken,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=int, nargs="?", default=10_000)
    parser.add_argument("--json", default="", help="write everything here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(written(Path(folder), {**SETTINGS, "vad": {"provider": "silero"}}))
        try:
            report = soak(served, given.calls)
        finally:
            served.stop()
    if given.json:
        Path(given.json).write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print(table(report))
    sys.exit(bool(report.broken))


if __name__ == "__main__":
    main()
