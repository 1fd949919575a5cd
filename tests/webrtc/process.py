"""What a process has used, from outside. Linux."""

import os
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
