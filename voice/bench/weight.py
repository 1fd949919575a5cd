"""CPU and memory of processes and their descendants, from /proc."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Core(msgspec.Struct, frozen=True):
    """What one server had of the core it runs on, up to one moment; seconds."""

    busy: float
    """CPU of it and its descendants."""
    waited: float
    """Its first thread, where the loop is, had something to do and others had the core; 0 where
    the kernel does not count it."""


class Weight(msgspec.Struct, frozen=True):
    """A process and its descendants at one moment."""

    at: float
    """Seconds on the monotonic clock."""
    cpu: float
    """Seconds of CPU used so far, user and system."""
    memory: float
    """Bytes: proportional share (Pss), or resident where the kernel does not tell it."""
    processes: int
    cores: tuple[Core, ...] = ()
    """Of each server, where there are several."""


def family(pid: int) -> list[int]:
    """A process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue.extend(children.get(found[-1], []))
    return found


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on; the second may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _memory(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return float(pages * os.sysconf("SC_PAGESIZE"))


def weigh(pid: int) -> Weight | None:
    """None where there is no /proc, or no such process."""
    if not Path(f"/proc/{pid}/stat").exists():
        return None
    pids = family(pid)
    memory, cpu = sum(_memory(member) for member in pids), sum(map(_cpu_s, pids))
    return Weight(time.monotonic(), cpu, memory, len(pids), (Core(cpu, _waited_s(pid)),))


def cpu_s(pids: Sequence[int]) -> float:
    """Seconds of CPU alone, descendants included: their memory is not looked at, which would hold
    them up for some milliseconds."""
    return sum(_cpu_s(member) for pid in pids for member in family(pid))


def _cpu_s(pid: int) -> float:
    if (stat := _stat(pid)) is None:
        return 0.0
    # utime, stime, and both of the children that ended and were waited for.
    return sum(int(field) for field in stat[11:15]) / os.sysconf("SC_CLK_TCK")


def _waited_s(pid: int) -> float:
    try:  # Time on a core, time waiting for one, both in ns, and how often.
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def weigh_all(pids: Sequence[int]) -> Weight | None:
    """Several together; None where there are none, or one of them cannot be weighed."""
    weights = [weight for pid in pids if (weight := weigh(pid)) is not None]
    if not weights or len(weights) < len(pids):
        return None
    return Weight(
        weights[-1].at,
        sum(weight.cpu for weight in weights),
        sum(weight.memory for weight in weights),
        sum(weight.processes for weight in weights),
        tuple(core for weight in weights for core in weight.cores),
    )
