"""Recordings that are kept no longer: too old, or too much together with all newer ones.

    folder   |== oldest ==|=== … ===|=== newest ===|     in the order of their names
                        a call of this minute is still being written ^
             |-- deleted --|-------- keep_mb -------|
             before keep_days ^ or, whichever leaves less

Only files that are named as the recorder names them, compressed or not: what the operator has
renamed is the operator's.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog
from msgspec import Struct

log = structlog.get_logger()

BEGUN = "%Y%m%dT%H%M%SZ"
"""How a recording's name begins: names in their order are calls in theirs."""
NAME = re.compile(r"\d{8}T\d{6}Z-sess_\w+\.kaiwa(\.gz)?")
SWEEP_EVERY_S = 60.0
"""A hundred calls write half a gigabyte in it."""
WRITTEN_S = 60.0
"""What was written to so recently may be a call that goes on, here or in another process."""
DAY_S = 86_400.0


class Found(Struct, frozen=True):
    name: str
    size: int
    written_at: float


class Keeping(Struct, frozen=True, kw_only=True):
    """0: no limit."""

    days: float = 0
    megabytes: float = 0


ALL = Keeping()


def outlived(found: Iterable[Found], keeping: Keeping, now: float) -> list[Found]:
    """Args:
        now: Seconds since 1970.
    Returns:
        Those to be deleted, newest first.
    """
    first = ""
    if keeping.days:
        first = datetime.fromtimestamp(max(0.0, now - keeping.days * DAY_S), UTC).strftime(BEGUN)
    most = keeping.megabytes * 1e6 or float("inf")
    gone: list[Found] = []
    size = 0
    for one in sorted(found, key=lambda one: one.name, reverse=True):
        size += one.size
        in_use = now - one.written_at < WRITTEN_S
        if not in_use and (one.name < first or size > most):
            gone.append(one)
    return gone


class Retention:
    """One folder's; all of it on the recorder's thread.

    Args:
        now: Seconds since 1970.
    """

    def __init__(
        self, folder: Path, keeping: Keeping, *, now: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._keeping, self._now = folder, keeping, now
        self._due_at = 0.0

    @property
    def wait_s(self) -> float | None:
        """Until the next sweep; None: there is none."""
        if not self._keeping.days and not self._keeping.megabytes:
            return None
        return max(0.0, self._due_at - time.monotonic())

    def tick(self) -> None:
        """Sweeps, if it is time to."""
        if self.wait_s == 0.0:
            self.sweep()
            self._due_at = time.monotonic() + SWEEP_EVERY_S

    def sweep(self) -> None:
        try:
            gone = outlived(_recordings(self._folder), self._keeping, self._now())
        except OSError as error:
            log.warning("recordings_not_deleted", why=f"{self._folder}: {error.strerror or error}")
            return
        deleted = size = 0
        for one in gone:
            try:
                os.unlink(self._folder / one.name)
            except FileNotFoundError:
                continue  # another process was quicker
            except OSError as error:
                why = f"{self._folder / one.name}: {error.strerror or error}"
                log.warning("recordings_not_deleted", why=why)
                break
            deleted, size = deleted + 1, size + one.size
        if deleted:
            log.info("recordings_deleted", count=deleted, mb=round(size / 1e6, 1))


def _recordings(folder: Path) -> Iterator[Found]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    told = entry.stat(follow_symlinks=False)
                    yield Found(entry.name, told.st_size, told.st_mtime)
