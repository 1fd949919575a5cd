"""Recordings on their way to disk: one thread for all calls, and no call ever waits for it.

    Tape ──put──▶ Spool ──thread, every 0.25 s──▶ folder/TIME-SESSION.kaiwa
                                                  oldest ones deleted: retention.py

Where the disk is full, slow or gone, that recording stops, and the log says so; the call goes on.
A file on disk ends with a whole record, but for a server that dies in the middle of writing one.
"""

import atexit
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from voice.config import RecordConfig
from voice.errors import ConfigError
from voice.recording import SUFFIX
from voice.retention import ALL, BEGUN, Keeping, Retention
from voice.tape import Tape

log = structlog.get_logger()

FLUSH_S = 0.25
"""So much of a call is lost at most when the process dies."""
MOST_WAITING_BYTES = 64 << 20
"""Of all calls, for a disk that is slow: eight seconds of a hundred of them."""
EXIT_LIMIT_S = 2.0


def create(path: Path) -> int:
    """A new file, which nobody else may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)


class Traffic:
    """Bytes of all calls; each figure is counted by one side alone."""

    def __init__(self) -> None:
        self.given = self.taken = 0


class Spool:
    """One call's bytes between the loop, which puts, and the thread, which writes.

    Args:
        opened: Makes the file; called on the thread.
    """

    def __init__(
        self, path: Path, session: str, traffic: Traffic, opened: Callable[[Path], int]
    ) -> None:
        self.path = path
        self._session, self._traffic, self._opened = session, traffic, opened
        self._waiting: deque[bytes] = deque()
        self._whole = 0
        self._file: int | None = None
        self.problem = ""
        """Why nothing more is written."""

    def put(self, data: bytes) -> str:
        """On the loop. A record is put in one piece."""
        if self.problem:
            return self.problem
        self._waiting.append(data)
        self._traffic.given += len(data)
        slow = self._traffic.given - self._traffic.taken > MOST_WAITING_BYTES
        return f"the disk takes it too slowly ({self.path})" if slow else ""

    def write(self) -> None:
        """On the thread: all that waits."""
        try:
            while self._waiting and not self.problem:
                if self._file is None:
                    self._file = self._opened(self.path)
                data = self._taken()
                self._write_all(self._file, data)
                self._whole += len(data)
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror or error}"
            while self._waiting:
                self._taken()
            if self._file is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._whole)
            log.warning("recording_failed", session=self._session, why=self.problem)

    def _taken(self) -> bytes:
        data = self._waiting.popleft()
        self._traffic.taken += len(data)
        return data

    def _write_all(self, file: int, data: bytes) -> None:
        while data:
            data = data[os.write(file, data) :]

    def close(self) -> None:
        """On the thread."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


class Recorder:
    """Args:
        folder: Made if it is not there; for the owner only.
        most_mb: Of one call.
        keeping: Of all of them.
        opened: Makes a file.
    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_mb: int,
        keeping: Keeping = ALL,
        opened: Callable[[Path], int] = create,
    ) -> None:
        self._folder, self._most_bytes, self._opened = folder, most_mb * 1_000_000, opened
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error.strerror or str(error)) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unusable(folder, "no permission to write there")
        self._traffic = Traffic()
        self._retention = Retention(folder, keeping)
        self._new: SimpleQueue[tuple[Spool, Tape] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        log.warning(
            "calls_are_recorded",
            folder=str(folder.resolve()),
            keep_days=keeping.days,
            keep_mb=keeping.megabytes,
        )

    def tape(self, session_id: str) -> Tape:
        """For the call that begins now."""
        begun = datetime.now(UTC)
        path = self._folder / f"{begun:{BEGUN}}-{session_id}{SUFFIX}"
        spool = Spool(path, session_id, self._traffic, self._opened)
        tape = Tape(
            spool.put, most_bytes=self._most_bytes, begun=begun.isoformat(timespec="seconds")
        )
        self._new.put((spool, tape))
        log.info("call_recorded", session=session_id, file=str(path))
        return tape

    def close(self) -> None:
        """Writes what waits, within 2 s. Idempotent."""
        self._new.put(None)
        self._thread.join(EXIT_LIMIT_S)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        running: list[tuple[Spool, Tape]] = []
        closing = False
        while not closing:
            with contextlib.suppress(Empty):
                new = self._new.get(timeout=FLUSH_S if running else self._retention.wait_s)
                closing = new is None
                running += [] if new is None else [new]
            running = [one for one in running if not _written(*one)]
            if not closing:
                self._retention.tick()
        for spool, _ in running:
            spool.close()


def _written(spool: Spool, tape: Tape) -> bool:
    """Whether the recording is over, and on disk."""
    over = tape.stopped  # before what waits is looked at: its last record comes with it
    spool.write()
    if over or spool.problem:
        spool.close()
    return over or bool(spool.problem)


def _unusable(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        f"record.folder: {folder} cannot be used: {why}. Choose another (KAIWA_RECORD_FOLDER), or "
        "leave it empty to record nothing."
    )


def recorder_of(config: RecordConfig) -> Recorder | None:
    """None where nothing is to be recorded.

    Raises:
        ConfigError: The folder cannot be used.
    """
    if not config.folder:
        return None
    keeping = Keeping(days=config.keep_days, megabytes=config.keep_mb)
    return Recorder(Path(config.folder), most_mb=config.most_mb, keeping=keeping)
