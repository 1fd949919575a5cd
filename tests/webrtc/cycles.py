"""Calls that come, talk and go: is anything left of them in the server's process?

    python -m tests.webrtc.cycles URL PROCESS [--calls 60] [--at-once 6]

Each call speaks a second and leaves when it has been answered; on a server that only echoes media,
an answer is any packet.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import msgspec

from tests.webrtc.caller import Caller, speak
from tests.webrtc.load import voice
from tests.webrtc.process import Used, used

SETTLE_S = 20.0
PAUSE = [None] * 5


class Report(msgspec.Struct, frozen=True):
    calls: int
    answered: int
    before: Used
    """After the first calls, which load what stays."""
    after: Used
    rss_mib: list[float]
    """After each batch."""


async def one(
    url: str, http: aiohttp.ClientSession, said: Sequence[bytes], *, channel: bool
) -> bool:
    """One call; whether it was answered in sound."""
    caller = Caller(channel=channel)
    try:
        await caller.connect(url, http)
        await speak([caller], said)
        for _ in range(100):
            await speak([caller], PAUSE)
            if caller.count:
                return True
        return False
    finally:
        await caller.close()


async def cycles(
    url: str,
    process: int,
    *,
    calls: int = 60,
    at_once: int = 6,
    said: Sequence[bytes] | None = None,
    channel: bool = True,
    settled: Callable[[], Awaitable[bool]] | None = None,
) -> Report:
    """`calls` after a first batch that does not count.

    Args:
        settled: Whether the server has forgotten the calls that are over.
    """
    said = said or voice(1)
    answered, rss_mib = 0, []
    before = used(process)
    async with aiohttp.ClientSession() as http:
        for batch in range(1 + calls // at_once):
            done = await asyncio.gather(
                *(one(url, http, said, channel=channel) for _ in range(at_once))
            )
            answered += sum(done) if batch else 0
            if settled is not None:
                async with asyncio.timeout(SETTLE_S):
                    while not await settled():  # noqa: ASYNC110  # another process
                        await asyncio.sleep(0.05)
            if not batch:
                before = used(process)
            rss_mib.append(used(process).rss_mib)
    return Report(calls - calls % at_once, answered, before, used(process), rss_mib)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("url")
    asked.add_argument("process", type=int)
    asked.add_argument("--calls", type=int, default=60)
    asked.add_argument("--at-once", type=int, default=6)
    asked.add_argument("--no-channel", action="store_true")
    chosen = asked.parse_args()
    report = asyncio.run(
        cycles(
            chosen.url,
            chosen.process,
            calls=chosen.calls,
            at_once=chosen.at_once,
            channel=not chosen.no_channel,
        )
    )
    print(json.dumps(msgspec.to_builtins(report)))


if __name__ == "__main__":
    main()
