"""What a process has used, from outside, and how much a core gets done meanwhile. Linux."""

import os
import time
from pathlib import Path

from msgspec import Struct

TICKS_HZ = os.sysconf("SC_CLK_TCK")


class Used(Struct, frozen=True):
    cpu_s: float
    """Since it began."""
    rss_mib: float
    threads: int
    files: int
    """Descriptors that are open."""


def used(process: int) -> Used:
    place = Path(f"/proc/{process}")
    fields = (place / "stat").read_text().rsplit(") ", 1)[1].split()
    pages = int((place / "statm").read_text().split()[1])
    return Used(
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_HZ,
        rss_mib=round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        threads=int(fields[17]),
        files=len(os.listdir(place / "fd")),
    )


def yardstick_ms() -> float:
    """Time on the CPU that always the same work takes, now and on this core.

    Shares of a core are alike only where this is. What else runs on the processor and its caches
    changes both: on a shared machine, measured within half a minute, this took 0.36 to 1.2 ms.
    """
    begun, total = time.thread_time(), 0
    for number in range(10_000):
        total += number * number % 7
    return (time.thread_time() - begun) * 1000
