"""Logs: one JSON object a line on stderr, keys and times the same everywhere.

    event ──rendered──▶ Spool (bounded) ──own thread──▶ stderr

Whoever logs never waits for who reads the log: a full pipe or a slow disk would stand between every
caller and their audio. What does not fit is dropped, and the next line that fits tells how much.

Personal data never gets in by accident: what callers say is logged only where `log.transcripts` is
set, and keys are never in an event to begin with.
"""

import atexit
import contextlib
import io
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import structlog

from voice.config import LogConfig

SPOOL_LINES = 4096
"""About a megabyte, or a minute of a busy server at DEBUG."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
"""Of a logger's methods; the others tell of errors."""
EXIT_LIMIT_S = 1.0
"""For the last lines, where nobody takes them."""


class Spool:
    """A stream that takes lines at once and writes them, in order, on a thread of its own.

    Args:
        out: Unbuffered, so that a write that hangs holds no lock the interpreter needs to exit.
        lost: The line that tells how many were dropped.
    """

    def __init__(self, out: io.RawIOBase, lost: Callable[[int], str]) -> None:
        self._out, self._lost = out, lost
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._dropped = 0
        self._counting = threading.Lock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Lines that the thread has not taken yet."""
        return self._waiting.qsize()

    def write(self, text: str) -> int:
        # Once full, half of it must be free again: else every other line would tell of lost ones.
        if self.waiting >= (SPOOL_LINES // 2 if self._dropped else SPOOL_LINES):
            with self._counting:
                self._dropped += 1
        else:
            self._tell_dropped()
            self._waiting.put(text)
        return len(text)

    def flush(self) -> None:
        """Nothing: loggers call it behind every line. `drain` is what waits."""

    def drain(self, limit_s: float = EXIT_LIMIT_S) -> None:
        """Returns when all that was logged is written, or `limit_s` later."""
        self._tell_dropped()
        done = threading.Event()
        self._waiting.put(done)
        done.wait(limit_s)

    def _tell_dropped(self) -> None:
        if self._dropped:
            with self._counting:
                count, self._dropped = self._dropped, 0
            if count:
                self._waiting.put(self._lost(count))

    def _run(self) -> None:
        while True:
            waiting = self._waiting.get()
            if isinstance(waiting, threading.Event):
                waiting.set()
                continue
            with contextlib.suppress(OSError):  # who reads the log has gone: nobody is left to tell
                self._write_all(waiting.encode(errors="backslashreplace"))

    def _write_all(self, data: bytes) -> None:
        while data:
            written = self._out.write(data)
            if written is None:  # somebody made the shared stderr non-blocking, and it is full
                select.select([], [self._out], [], 1.0)
            data = data[written or 0 :]


def _raw_stderr() -> io.RawIOBase:
    if sys.stderr is None:  # a process may be started without one
        return open(os.devnull, "wb", buffering=0)
    return open(os.dup(sys.stderr.fileno()), "wb", buffering=0)


def behind_the_log(spool: Spool, shown: Callable[..., Any]) -> Callable[..., Any]:
    """A crash's traceback stands behind what was logged before it, not in the middle of a line."""

    def show(*crash: Any) -> None:
        spool.drain()
        shown(*crash)

    return show


class Threshold:
    """First of the processors. Loggers are kept once they are used, so that their own level could
    not be changed any more."""

    def __init__(self) -> None:
        self.level = logging.INFO

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        if LEVELS.get(method, logging.ERROR) < self.level:
            raise structlog.DropEvent
        return event


_threshold = Threshold()


def set_level(name: str) -> None:
    """At once, for every logger; libraries are heard from WARNING on."""
    _threshold.level = logging.getLevelNamesMapping().get(name.upper(), logging.INFO)
    logging.getLogger().setLevel(max(_threshold.level, logging.WARNING))


def configure(config: LogConfig) -> None:
    """For the whole process, libraries included."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if config.json
        else structlog.dev.ConsoleRenderer(colors=bool(sys.stderr and sys.stderr.isatty()))
    )

    def lost(count: int) -> str:
        event: Any = {"event": "log_lines_dropped", "count": count}
        for processor in (*shared[1:], renderer):
            event = processor(None, "warning", event)
        return f"{event}\n"

    spool = Spool(_raw_stderr(), lost)
    atexit.register(spool.drain)
    sys.excepthook = behind_the_log(spool, sys.excepthook)
    structlog.configure(
        processors=[_threshold, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(spool),  # type: ignore[arg-type]  # it needs no more of a TextIO
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(spool)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(config.level)
