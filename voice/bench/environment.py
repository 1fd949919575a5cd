"""Where a run takes place."""

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

from voice.bench.report import Environment


def environment_of(server_cores: tuple[int, ...]) -> Environment:
    """Of this machine and process."""
    names = ("kaiwa", "websockets", "uvloop", "msgspec", "numpy")
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    own = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    return Environment(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        versions=versions,
        server_cores=server_cores,
        generator_cores=own,
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
