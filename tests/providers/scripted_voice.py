"""A voice whose lives are written beforehand: each start takes the next word of FOLDER/lives.

    serve    hums; the text "slow" after 0.6 s of silence; "refuse …" is refused, of "die …" it dies
    hang     never gets ready
    held     hums, and another process holds its output open, FOLDER/holder

Behind the last word all serve. Run as `python -m tests.providers.scripted_voice FOLDER`.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from providers._voice_child import Listener, serve
from tests.providers.scripted_worker import claimed

RATE_HZ = 16_000


class Hum:
    rate_hz = RATE_HZ
    voices = 1
    check_text = "Ready."

    def speak(self, text: str, voice: str, speed: float, listener: Listener) -> None:
        if text == "slow":
            time.sleep(0.6)
        if text.startswith("refuse"):
            raise ValueError(f"this engine cannot say {text!r}")
        if text.startswith("die"):
            print(f"this engine cannot say {text!r}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        phase = np.arange(RATE_HZ // 2) * (2 * np.pi * 200 / RATE_HZ)
        listener.hear((8000 * np.sin(phase)).astype("<i2").tobytes())


def live(folder: Path) -> None:
    lives = (folder / "lives").read_text().split()
    match lives[number] if (number := claimed(folder)) < len(lives) else "serve":
        case "hang":
            signal.pause()
        case "held" if holder := os.fork():
            (folder / "holder").write_text(str(holder))
        case "held":
            signal.pause()
    serve(Hum)


if __name__ == "__main__":
    live(Path(sys.argv[1]))
