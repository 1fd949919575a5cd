"""Callers at full rate over several server processes: how many does this machine hold?

    python -m tests.webrtc.shards --processes 2 --peers 40                (make peers)
    python -m tests.webrtc.shards --processes 2 --peers 40 --media        (make peers)

Real servers with the mock profile, the voice activity detector at work; every caller speaks without
a pause and is spoken to all the while. Offers are dealt out in turn, as a balancer would. With
`--media` there is nothing behind the transports but somebody who hears and speaks (engine.py):
what is left of the CPU is the media's share.
"""

import argparse
import asyncio
import json
import subprocess
import sys
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


def shards(processes: int, peers: int, seconds: float, *, media: bool = False) -> Report:
    """Args:
    media: Nothing but transports and sound, no sessions.
    """
    start = _engine if media else _server
    with ExitStack() as stack:
        servers = [start(stack) for _ in range(processes)]
        return asyncio.run(
            load(
                [url for url, _ in servers],
                peers=peers,
                seconds=seconds,
                processes=[process for _, process in servers],
                opened=None if media else talk(seconds + SET_UP_S),
            )
        )


def _server(stack: ExitStack) -> tuple[str, int]:
    """Where offers go, and the process id."""
    place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = Served(written(place, SETTINGS))
    stack.callback(server.stop)
    return f"{server.url}v1/realtime/calls", server.process.pid


def _engine(stack: ExitStack) -> tuple[str, int]:
    command = [sys.executable, "-m", "tests.webrtc.engine", "kaiwa"]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stdout is not None
    return f"http://127.0.0.1:{process.stdout.readline().split()[1]}/", process.pid


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--peers", type=int, default=40)
    asked.add_argument("--seconds", type=float, default=20.0)
    asked.add_argument("--media", action="store_true", help="without sessions")
    chosen = asked.parse_args()
    report = shards(chosen.processes, chosen.peers, chosen.seconds, media=chosen.media)
    print(json.dumps(msgspec.to_builtins(report), indent=2))


if __name__ == "__main__":
    main()
