"""A worker whose lives are written beforehand: each start takes the next line of FOLDER/lives.

    serve    an echo worker
    hang     never gets ready
    killed   is killed while it loads
    brief    gets ready after 0.3 s of loading, and is killed at once
    slow     an echo worker, after 2 s of loading
    held     an echo worker, whose output another process holds open, FOLDER/holder
    stuck    waits for ever in its first job
    busy     computes for ever in its first job

Behind the last line all serve. Every start leaves its moment, seconds, in FOLDER/starts.
"""

import os
import signal
import sys
import time
from pathlib import Path

from providers._worker_child import send, serve, settle_in
from providers._worker_wire import Begin, Ready
from tests.providers.echo_worker import Echo, Hearing


def claimed(folder: Path) -> int:
    """Which start this is, though others start at the same time."""
    number = 0
    while True:
        try:
            (folder / f"start-{number}").touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return number


def live(folder: Path) -> None:
    lives = (folder / "lives").read_text().split()
    with (folder / "starts").open("a") as starts:
        starts.write(f"{time.monotonic()}\n")
    match lives[number] if (number := claimed(folder)) < len(lives) else "serve":
        case "hang":
            signal.pause()
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "brief":
            time.sleep(0.3)
            send(settle_in(), Ready())
            os.kill(os.getpid(), signal.SIGKILL)
        case "slow":
            time.sleep(2)
        case "held" if holder := os.fork():
            (folder / "holder").write_text(str(holder))
        case "held":
            signal.pause()
        case "stuck" | "busy" as kind:
            serve(Stuck(is_busy=kind == "busy"))
    serve(Echo())


class Stuck(Echo):
    def __init__(self, *, is_busy: bool) -> None:
        self._is_busy = is_busy

    def begin(self, message: Begin) -> Hearing:
        while self._is_busy:
            pass
        signal.pause()
        return super().begin(message)


if __name__ == "__main__":
    live(Path(sys.argv[2]))
