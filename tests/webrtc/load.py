"""How many peers a server holds at full rate.

    kaiwa serve --profile mock &
    python -m tests.webrtc.load http://127.0.0.1:8000/v1/realtime/calls --talk --processes $!

Every peer speaks without a pause, so that both ways carry 50 packets a second. Give the address of
several servers to deal the peers out; give the process ids of the servers for their CPU and memory.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import aiohttp
import msgspec
import numpy as np

from tests.webrtc import opus
from tests.webrtc.caller import Caller, speak
from tests.webrtc.process import used, yardstick_ms

YARDSTICK_EVERY_S = 0.25


class Report(msgspec.Struct, frozen=True, kw_only=True):
    peers: int
    connected: int
    seconds: float
    setup_s: list[float]
    """Median and worst."""
    sent_fps: float
    """Per peer and second: what the callers gave away, the median."""
    received_fps: list[float]
    """Per peer and second, what reached the callers: the least and the median."""
    gap_ms: list[float]
    """Between two packets that reached one caller: 50th, 95th and 99th percentile."""
    server_cpu: list[float]
    """Share of a core, for each process."""
    server_cpu_per_peer: float
    """Percent of a core."""
    server_rss_mib: list[float]
    server_threads: list[int]
    client_cpu: float
    yardstick_ms: float
    """Meanwhile, the median: reports are comparable where it is the same."""


def voice(seconds: float) -> list[bytes]:
    """Opus packets of a made voice that never pauses."""
    from voice.bench.speech import RATE_HZ, made_speech
    from voice.resample import Resampler

    speech = made_speech().samples
    whole = np.tile(speech, int(np.ceil(seconds * RATE_HZ / len(speech))))
    return opus.packets(Resampler(RATE_HZ, opus.RATE_HZ).whole(whole))


def talk(seconds: float) -> list[dict[str, Any]]:
    """Events that make Kaiwa's mock profile speak for so long, and not be interrupted."""
    detection = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    text = "a word or two " * int(seconds * 1000 / 65 / 14 + 1)
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    return [
        {"type": "session.update", "session": session},
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create"},
    ]


async def load(
    urls: Sequence[str],
    *,
    peers: int,
    seconds: float,
    processes: Sequence[int] = (),
    opened: list[dict[str, Any]] | None = None,
    payloads: Sequence[bytes] | None = None,
) -> Report:
    """`peers` calls dealt out over `urls`.

    Args:
        processes: Of the servers.
        opened: Events that each caller sends before it speaks.
    """
    payloads = payloads or voice(min(seconds, 4))
    callers = [Caller(channel=opened is not None) for _ in range(peers)]
    async with aiohttp.ClientSession() as http:
        asked = []
        for caller, url in zip(callers, cycle(urls), strict=False):
            # A few at a time: it is no test of a hundred offers in one second.
            asked.append(asyncio.create_task(caller.connect(url, http)))
            if len(asked) % 4 == 0:
                await asyncio.wait(asked)
        done = await asyncio.gather(*asked, return_exceptions=True)
        for wrong in {str(one) for one in done if isinstance(one, BaseException)}:
            print("not connected:", wrong)
        there = [one for one, how in zip(callers, done, strict=True) if how is None]
        for caller in there:
            for event in opened or []:
                caller.post(event)
        await speak(there, payloads[:100])
        before, cpu, begun = [used(one) for one in processes], time.process_time(), time.monotonic()
        marks = [(caller.sent, len(caller.received)) for caller in there]
        speed = asyncio.create_task(_machine_speed())
        await speak(there, list(islice(cycle(payloads), int(seconds * 50))))
        took = time.monotonic() - begun
        after, client = [used(one) for one in processes], time.process_time() - cpu
        sent = [(c.sent - mark[0]) / took for c, mark in zip(there, marks, strict=True)]
        came = [(len(c.received) - mark[1]) / took for c, mark in zip(there, marks, strict=True)]
        speed.cancel()
        (yardsticks_ms,) = await asyncio.gather(speed)
        gaps = np.concatenate(
            [np.diff([p.at for p in c.received[m[1] :]]) for c, m in zip(there, marks, strict=True)]
            or [np.zeros(1)]
        )
        await asyncio.gather(*(caller.close() for caller in callers))
    shares = [(b.cpu_s - a.cpu_s) / took for a, b in zip(before, after, strict=True)]
    setups = sorted(caller.setup_s for caller in there) or [0.0]
    return Report(
        peers=peers,
        connected=len(there),
        seconds=round(took, 2),
        setup_s=[round(statistics.median(setups), 3), round(setups[-1], 3)],
        sent_fps=round(statistics.median(sent or [0.0]), 1),
        received_fps=[round(min(came or [0.0]), 1), round(statistics.median(came or [0.0]), 1)],
        gap_ms=[round(float(g) * 1000, 1) for g in np.percentile(gaps, [50, 95, 99])]
        if gaps.size
        else [],
        server_cpu=[round(share, 3) for share in shares],
        server_cpu_per_peer=round(100 * sum(shares) / max(1, len(there)), 2),
        server_rss_mib=[one.rss_mib for one in after],
        server_threads=[one.threads for one in after],
        client_cpu=round(client / took, 3),
        yardstick_ms=round(statistics.median(yardsticks_ms), 2),
    )


async def _machine_speed() -> list[float]:
    """The yardstick again and again, until cancelled."""
    taken = [yardstick_ms()]
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(YARDSTICK_EVERY_S)
            taken.append(yardstick_ms())
    return taken


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("urls", nargs="+")
    asked.add_argument("--peers", type=int, default=10)
    asked.add_argument("--seconds", type=float, default=20.0)
    asked.add_argument("--talk", action="store_true", help="a Kaiwa with the mock profile")
    asked.add_argument("--processes", type=int, nargs="*", default=[])
    chosen = asked.parse_args()
    report = asyncio.run(
        load(chosen.urls, peers=chosen.peers, seconds=chosen.seconds, processes=chosen.processes)
    )
    print(json.dumps(msgspec.to_builtins(report)))


if __name__ == "__main__":
    main()
