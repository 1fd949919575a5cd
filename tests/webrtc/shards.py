"""Callers at full rate over several server processes: how many does this machine hold?

    python -m tests.webrtc.shards --processes 2 --peers 40      (make peers)

Real servers with the mock profile, the voice activity detector at work; every caller speaks without
a pause and is spoken to all the while. Offers are dealt out in turn, as a balancer would.
"""

import argparse
import asyncio
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from tests.served import Served, written
from tests.webrtc.load import Report, load, talk

SETTINGS: dict[str, Any] = {
    "vad": {"provider": "silero"},
    "server": {"max_sessions": 500},
    "webrtc": {"offers_per_minute": 100_000},
}
SET_UP_S = 14.0
"""Of the answers' length, spent before anything is measured."""


def shards(processes: int, peers: int, seconds: float) -> Report:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = []
        for number in range(processes):
            place = Path(folder) / str(number)
            place.mkdir()
            servers.append(Served(written(place, SETTINGS)))
            stack.callback(servers[-1].stop)
        return asyncio.run(
            load(
                [f"{server.url}v1/realtime/calls" for server in servers],
                peers=peers,
                seconds=seconds,
                processes=[server.process.pid for server in servers],
                opened=talk(seconds + SET_UP_S),
            )
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--peers", type=int, default=40)
    asked.add_argument("--seconds", type=float, default=20.0)
    chosen = asked.parse_args()
    report = shards(chosen.processes, chosen.peers, chosen.seconds)
    print(json.dumps(msgspec.to_builtins(report), indent=2))


if __name__ == "__main__":
    main()
